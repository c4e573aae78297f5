"""A certificate for the servers of the laboratory, made once a process.

An Ed25519 key, because all its certificates and signatures are equally long, whatever the key is: so runs that cannot have the
same bytes have the same lengths. The serial number and the dates are fixed for the same reason.
"""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

SERVER_NAME = "server.example"
"""The one name in it; clients check it, whatever the host is called in the laboratory."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that signs itself, its key, and the same in the form in which clients are told to trust it."""

    certificate: x509.Certificate
    key: Ed25519PrivateKey
    pem: bytes


_made: Certificate | None = None
_making = threading.Lock()


def server_certificate() -> Certificate:
    """The certificate, made when it is first asked for."""
    global _made
    with _making:
        if _made is None:
            _made = _make()
        return _made


def _make() -> Certificate:
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER_NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1_000_000_007)
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2200, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, None)
    )
    return Certificate(certificate, key, certificate.public_bytes(Encoding.PEM))
