"""Certificates for tests, made anew each time: no key stands in the repository."""

import datetime
from functools import cache
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Issued(NamedTuple):
    """In PEM: the authority's certificate, one that it has signed, and the latter's key. The Secret of cert-manager."""

    authority: str
    certificate: str
    key: str


@cache
def issue(*names: str) -> Issued:
    """A certificate for DNS names, of the one authority that there is."""
    root, root_key = authority()
    key = ec.generate_private_key(ec.SECP256R1())
    builder = begin(names[0], root.subject, key, ca=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    signed = builder.sign(root_key, hashes.SHA256())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    return Issued(root.public_bytes(pem).decode(), signed.public_bytes(pem).decode(), private.decode())


@cache
def authority():
    key = ec.generate_private_key(ec.SECP256R1())
    builder = begin("tests", x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")]), key, ca=True)
    return builder.sign(key, hashes.SHA256()), key


def begin(name: str, issuer: x509.Name, key, ca: bool) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
    # From an hour ago, for clocks that differ.
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    return builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
