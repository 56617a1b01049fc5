"""Unpacks a zip as the platforms do, modes included: unpack.py ZIP FOLDER."""

import pathlib
import sys
import zipfile

package, folder = zipfile.ZipFile(sys.argv[1]), pathlib.Path(sys.argv[2])
for entry in package.infolist():
    path = pathlib.Path(package.extract(entry, folder))
    path.chmod(entry.external_attr >> 16 & 0o777)
