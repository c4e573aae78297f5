"""What of TLS can be read without a key: records (RFC 8446, section 5.1) and the hellos inside them (section 4.1).

The numbers are those of the specification; TLS 1.2 (RFC 5246) has the same records and hellos.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

HEADER_SIZE = 5
MOST_BYTES = 2**14 + 2048
"""The longest fragment of a record: 2^14 + 256 bytes in TLS 1.3 (section 5.2), 2^14 + 2048 in TLS 1.2 (RFC 5246, 6.2.3)."""

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
CONTENT_TYPES = {
    CHANGE_CIPHER_SPEC: "change_cipher_spec",
    ALERT: "alert",
    HANDSHAKE: "handshake",
    APPLICATION_DATA: "application_data",
}

CLIENT_HELLO, SERVER_HELLO = 1, 2
HANDSHAKE_TYPES = {
    0: "HelloRequest", 1: "ClientHello", 2: "ServerHello", 4: "NewSessionTicket", 8: "EncryptedExtensions", 11: "Certificate",
    12: "ServerKeyExchange", 13: "CertificateRequest", 14: "ServerHelloDone", 15: "CertificateVerify",
    16: "ClientKeyExchange", 20: "Finished", 22: "CertificateStatus", 24: "KeyUpdate",
}  # fmt: skip
"""Section 4 and RFC 5246, section 7.4. In TLS 1.3 only the two hellos can be seen; all others are sealed."""

VERSIONS = {0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}

ALERTS = {
    0: "close notify", 10: "unexpected message", 20: "bad record MAC", 22: "record overflow", 40: "handshake failure",
    42: "bad certificate", 43: "unsupported certificate", 44: "certificate revoked", 45: "certificate expired",
    46: "certificate unknown", 47: "illegal parameter", 48: "unknown CA", 49: "access denied", 50: "decode error",
    51: "decrypt error", 70: "protocol version", 71: "insufficient security", 80: "internal error",
    86: "inappropriate fallback", 90: "user canceled", 109: "missing extension", 110: "unsupported extension",
    112: "unrecognized name", 113: "bad certificate status response", 115: "unknown PSK identity",
    116: "certificate required", 120: "no application protocol",
}  # fmt: skip
"""Section 6."""

SERVER_NAME, GROUPS, SIGNATURES, ALPN, SUPPORTED_VERSIONS, KEY_SHARE = 0, 10, 13, 16, 43, 51
EXTENSIONS = {
    0: "server_name", 1: "max_fragment_length", 5: "status_request", 10: "supported_groups", 11: "ec_point_formats",
    13: "signature_algorithms", 16: "application_layer_protocol_negotiation", 21: "padding", 22: "encrypt_then_mac",
    23: "extended_master_secret", 35: "session_ticket", 41: "pre_shared_key", 42: "early_data", 43: "supported_versions",
    44: "cookie", 45: "psk_key_exchange_modes", 47: "certificate_authorities", 49: "post_handshake_auth",
    50: "signature_algorithms_cert", 51: "key_share",
}  # fmt: skip
"""Section 4.2, and IANA's registry for those of earlier documents."""

RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""A ServerHello with this random is a HelloRetryRequest: SHA-256 of that name (section 4.1.3)."""

_Note = Callable[[bytes], str]

_HANDSHAKE_HEADER = 4
_RANDOM_SIZE = 32
_HOST_NAME = 0


class MalformedError(ValueError):
    """Bytes that cannot be TLS; the message says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record at bytes `start` to `end`; what it carries begins behind the header."""

    kind: int
    start: int
    end: int

    @property
    def fragment(self) -> tuple[int, int]:
        return self.start + HEADER_SIZE, self.end


def record_at(data: bytes | bytearray, start: int) -> Record | None:
    """The record that begins there, perhaps not all here; None before its header is. Raises MalformedError."""
    head = data[start : start + HEADER_SIZE]
    if head and head[0] not in CONTENT_TYPES:
        raise MalformedError(f"no record of type {head[0]}")
    if len(head) > 1 and head[1] != 3:
        raise MalformedError(f"no record of version {head[1]}")
    if len(head) < HEADER_SIZE:
        return None
    length = int.from_bytes(head[3:5], "big")
    if length > MOST_BYTES:
        raise MalformedError(f"a record of {length:,} bytes")
    return Record(head[0], start, start + HEADER_SIZE + length)


@dataclass(frozen=True, slots=True)
class Field:
    """A piece of a handshake message and where it is. `number` is its extension's, or -1."""

    start: int
    end: int
    name: str
    note: str = ""
    number: int = -1


def handshake_type(fragment: bytes) -> int | None:
    """The type of the handshake message that fills `fragment`; None for anything else: sealed, in pieces, or several."""
    if len(fragment) < _HANDSHAKE_HEADER or fragment[0] not in HANDSHAKE_TYPES:
        return None
    return fragment[0] if int.from_bytes(fragment[1:4], "big") == len(fragment) - _HANDSHAKE_HEADER else None


def hello_fields(hello: bytes) -> list[Field]:
    """The fields of a ClientHello or ServerHello, header included; they end where it cannot be read any further."""
    fields: list[Field] = []
    with suppress(IndexError):
        fields.extend(_hello_fields(_Cursor(hello), hello[0] == CLIENT_HELLO))
    return fields


def _hello_fields(at: "_Cursor", from_client: bool) -> Iterator[Field]:
    """Sections 4.1.2 and 4.1.3."""
    yield at.take(1, "handshake type", lambda data: HANDSHAKE_TYPES[data[0]])
    yield at.take(3, "length", lambda data: f"{int.from_bytes(data, 'big'):,} bytes")
    yield at.take(2, "legacy version", lambda data: version_name(data))
    yield at.take(_RANDOM_SIZE, "random", lambda data: "of a HelloRetryRequest" if data == RETRY_RANDOM else "")
    yield at.vector(1, "session id", lambda data: "" if data else "none")
    if from_client:
        yield at.vector(2, "cipher suites", lambda data: f"{len(data) // 2} offered")
        yield at.vector(1, "compression methods", lambda data: "")
    else:
        yield at.take(2, "cipher suite", lambda data: data.hex())
        yield at.take(1, "compression method", lambda data: "")
    if at.over:
        return
    yield at.take(2, "length of the extensions", lambda data: f"{int.from_bytes(data, 'big'):,} bytes")
    while not at.over:
        yield at.extension(from_client)


class _Cursor:
    """Reads fields one after another. Raises IndexError where one is not all there."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def over(self) -> bool:
        return self._at >= len(self._data)

    def _bytes(self, size: int) -> bytes:
        if self._at + size > len(self._data):
            raise IndexError
        self._at += size
        return self._data[self._at - size : self._at]

    def take(self, size: int, name: str, note: _Note) -> Field:
        start = self._at
        return Field(start, start + size, name, note(self._bytes(size)))

    def vector(self, length_size: int, name: str, note: _Note) -> Field:
        """A field with its length in front (section 3.4)."""
        start = self._at
        content = self._bytes(int.from_bytes(self._bytes(length_size), "big"))
        return Field(start, self._at, name, note(content))

    def extension(self, from_client: bool) -> Field:
        start = self._at
        number = int.from_bytes(self._bytes(2), "big")
        content = self._bytes(int.from_bytes(self._bytes(2), "big"))
        return Field(start, self._at, EXTENSIONS.get(number, f"extension {number}"),
                     extension_note(number, content, from_client), number)  # fmt: skip


def version_name(data: bytes) -> str:
    """Two bytes of version in words."""
    return VERSIONS.get(int.from_bytes(data, "big"), data.hex())


def extension_note(number: int, content: bytes, from_client: bool = True) -> str:
    """What an extension says, for those that people care about; "" for all others and for what cannot be read."""
    if number == SERVER_NAME and from_client and len(content) >= 5 and content[2] == _HOST_NAME:
        return content[5:].decode("ascii", "replace")  # RFC 6066, section 3
    if number == ALPN:
        return ", ".join(_short_strings(content[2:]))  # RFC 7301, section 3.1
    if number == SUPPORTED_VERSIONS:
        versions = content[1:] if from_client else content
        return ", ".join(version_name(versions[i : i + 2]) for i in range(0, len(versions) - 1, 2))
    return ""


def _short_strings(data: bytes) -> Iterator[str]:
    while data:
        size = data[0]
        yield data[1 : 1 + size].decode("ascii", "replace")
        data = data[1 + size :]
