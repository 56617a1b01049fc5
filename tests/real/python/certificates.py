"""Two authorities, and a broker's certificate from the first: certificates.py FOLDER.

Writes ca.pem, other-ca.pem, broker.pem (for 127.0.0.1 alone, so that `localhost` is a wrong name) and broker.key.
"""

import pathlib
import sys

import trustme
from cryptography.hazmat.primitives import serialization

folder = pathlib.Path(sys.argv[1])
authority = trustme.CA(key_type=trustme.KeyType.RSA)
authority.cert_pem.write_to_path(folder / "ca.pem")
trustme.CA(key_type=trustme.KeyType.RSA).cert_pem.write_to_path(folder / "other-ca.pem")
broker = authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)
for number, pem in enumerate(broker.cert_chain_pems):
    pem.write_to_path(folder / "broker.pem", append=number > 0)
# The broker reads PKCS #8 only.
key = serialization.load_pem_private_key(broker.private_key_pem.bytes(), None)
pkcs8 = serialization.PrivateFormat.PKCS8
(folder / "broker.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption()))
