"""Writes the zip: handler/package.py ZIP BOOTSTRAP [RULE]. The same inputs give the same bytes."""

import pathlib
import re
import sys
import zipfile


def files(bootstrap, rule=None):
    """What is packed: name, content, mode."""
    yield "bootstrap", pathlib.Path(bootstrap).read_bytes(), 0o755
    if rule is None:
        return
    rule = pathlib.Path(rule)
    yield "rule.toml", rule.read_bytes(), 0o644
    text = rule.read_text(encoding="utf-8")
    if named(text, "token_file"):
        sys.exit("package: token_file: a token is not packed; leave the key out of the rule; make deploy takes the token from TDMQ_BACKUP_TOKEN, on Lambda from deploy.token_secret")
    if ca_file := named(text, "ca_file"):
        place = pathlib.PurePosixPath(ca_file)
        if place.is_absolute() or ".." in place.parts or place.name in ("bootstrap", "rule.toml"):
            sys.exit(f"package: ca_file: {ca_file!r} cannot be packed; put it beside the rule and name it without a folder")
        yield str(place), (rule.parent / ca_file).read_bytes(), 0o644


def named(text, key):
    found = re.search(rf"""^\s*{key}\s*=\s*["'](.+?)["']""", text, re.MULTILINE)
    return found and found.group(1)


def main():
    path, *inputs = sys.argv[1:]
    new = path + ".new"
    with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as package:
        for name, content, mode in files(*inputs):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = (0o100000 | mode) << 16
            # The rule as it is: make deploy looks whether the package holds the one that it deploys.
            entry.compress_type = zipfile.ZIP_STORED if name == "rule.toml" else zipfile.ZIP_DEFLATED
            package.writestr(entry, content, compresslevel=9)
    pathlib.Path(new).replace(path)
    print(path)


main()
