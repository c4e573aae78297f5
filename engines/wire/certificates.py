"""Certificates for the parties of a lesson, made with trustme once a process and only when somebody asks for them.

Keys are random, and nothing can seed them; so that two runs agree at least in their lengths, everything of a certificate has a
fixed size: RSA keys of 2048 bits, signatures of as many, and serial numbers of 20 bytes. Dates are fixed as well, and so
far away that a certificate is valid, or is not, whatever day it is.
"""

import ssl
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

import trustme

RSA = trustme.KeyType.RSA
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)

_SERIAL_LENGTH = slice(13, 15)
"""Where a DER certificate of 256 to 65,535 bytes has type and length of its serial number (RFC 5280, section 4.1)."""
_TWENTY_BYTES = b"\x02\x14"
_USUAL_UNIT = "commtui"

_making = threading.Lock()  # sessions run in threads of their own, and making a key takes a while


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a certificate says its owner is. `authority` is the name of who signed it; `expired` ones are over since 2001."""

    name: str
    authority: str = "mesh"
    expired: bool = False


def certificate_of(identity: Identity) -> trustme.LeafCert:
    """The certificate and private key of `identity`, the same throughout the process."""
    with _making:
        return _certificate(identity)


def trust_in(authority: str) -> trustme.CA:
    """The authority of that name, whose signatures one may believe."""
    with _making:
        return _authority(authority)


@cache
def _authority(name: str) -> trustme.CA:
    return trustme.CA(organization_name=f"{name} authority", organization_unit_name=_USUAL_UNIT, key_type=RSA)


@cache
def _certificate(identity: Identity) -> trustme.LeafCert:
    """One in 128 random serial numbers is a byte shorter than the others: then another is drawn."""
    while True:
        leaf = _authority(identity.authority).issue_cert(
            identity.name,
            common_name=identity.name,
            organization_unit_name=_USUAL_UNIT,
            not_after=LONG_AGO if identity.expired else None,
            key_type=RSA,
        )
        if serial_has_its_length(der_of(leaf)):
            return leaf


def der_of(leaf: trustme.LeafCert) -> bytes:
    """The certificate as it goes over the wire."""
    return ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode("ascii"))


def serial_has_its_length(der: bytes) -> bool:
    return der[_SERIAL_LENGTH] == _TWENTY_BYTES
