"""TLS 1.3 on a lab stream, with certificates that are really checked, on both sides if both have one (mutual TLS).

The protocol is OpenSSL's, through the standard library's memory buffers; this module carries its records. Unlike trio's
SSLStream it delivers the alert that says why a handshake failed, as RFC 8446 (section 6.2) wants it: that is what a lesson
is about.

In TLS 1.3 a client is through with its handshake before the server has looked at its certificate (section 2, figure 1). One
that is refused therefore learns of it when it next reads.
"""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import cast

import trio

from engines.lab.tcp import Endpoint
from engines.wire.certificates import Identity, certificate_of, trust_in

HANDSHAKE_S = 15.0
"""How long a server waits for a handshake."""

_MOST_BYTES = 65_536


class TlsError(OSError):
    """A handshake came to nothing; the message says why in a few words."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one side brings to a handshake: a certificate of its own, or None, and whose signatures it believes.

    A server with `authority` asks for a client's certificate and takes nobody without one. `protocols` are offered by ALPN
    (RFC 7301), best first.
    """

    identity: Identity | None
    authority: str | None = "mesh"
    protocols: tuple[str, ...] = ("h2",)


class TlsStream:
    """A byte stream inside TLS. One task at a time may read; any number may write, in turn."""

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext, *, server_name: str | None) -> None:
        self.transport = endpoint
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self._send_lock = trio.Lock()

    async def shake_hands(self) -> None:
        """Raises TlsError, after the alert that says why has left and the connection is closed."""
        try:
            while True:
                try:
                    self._tls.do_handshake()
                except ssl.SSLWantReadError:
                    await self._flush()
                    await self._fill()
                else:
                    return await self._flush()
        except ssl.SSLError as error:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._flush()
            self.close()
            raise TlsError(reason_of(error)) from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.close()
            raise TlsError(str(error) or "the connection was closed") from error
        except trio.Cancelled:
            self.close()
            raise

    @property
    def protocol(self) -> str | None:
        """What ALPN agreed on."""
        return self._tls.selected_alpn_protocol()

    @property
    def peer(self) -> str:
        """The name in the peer's certificate, which was checked; "" without one."""
        certificate = self._tls.getpeercert() or {}
        names = cast(Sequence[tuple[str, str]], certificate.get("subjectAltName", ()))
        return next((name for kind, name in names if kind == "DNS"), "")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Raises as an Endpoint does."""
        await trio.lowlevel.checkpoint()
        if data:
            with _errors_of_a_stream():
                self._tls.write(data)
                await self._flush()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes; b"" at the peer's end, said or not (HTTP knows by itself whether its messages are whole).

        Raises as an Endpoint does, with the words of the peer's alert when there was one.
        """
        await trio.lowlevel.checkpoint()
        with _errors_of_a_stream():
            while True:
                try:
                    return self._tls.read(max_bytes or _MOST_BYTES)
                except ssl.SSLWantReadError:
                    await self._flush()
                    await self._fill()
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    return b""

    async def aclose(self) -> None:
        """Say goodbye (close_notify, RFC 8446, section 6.1) as far as that is possible at once, and close."""
        try:
            with suppress(ssl.SSLError, trio.BrokenResourceError, trio.ClosedResourceError):
                with suppress(ssl.SSLWantReadError):
                    self._tls.unwrap()
                await self._flush()
        finally:
            self.close()

    def close(self) -> None:
        """Close without a word, and without waiting."""
        self.transport.close()

    async def _flush(self) -> None:
        """Hand to the kernel what OpenSSL has written, in its order."""
        async with self._send_lock:
            while data := self._outgoing.read():
                await self.transport.send_all(data)

    async def _fill(self) -> None:
        data = await self.transport.receive_some()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


@contextmanager
def _errors_of_a_stream() -> Iterator[None]:
    """OpenSSL's errors as those of a trio stream."""
    try:
        yield
    except ssl.SSLError as error:
        raise trio.BrokenResourceError(reason_of(error)) from error


async def connect_tls(endpoint: Endpoint, server_name: str, credentials: Credentials) -> TlsStream:
    """The client's handshake with who calls itself `server_name`. Raises TlsError."""
    stream = TlsStream(endpoint, _client_context(credentials), server_name=server_name)
    await stream.shake_hands()
    return stream


async def accept_tls(endpoint: Endpoint, credentials: Credentials) -> TlsStream:
    """The server's handshake. Raises TlsError."""
    stream = TlsStream(endpoint, _server_context(credentials), server_name=None)
    try:
        with trio.fail_after(HANDSHAKE_S):
            await stream.shake_hands()
    except trio.TooSlowError:
        raise TlsError(f"no handshake within {HANDSHAKE_S:g} s") from None
    return stream


def reason_of(error: ssl.SSLError) -> str:
    """OpenSSL's complaint in the words of people: "certificate has expired", "alert: certificate required"."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLEOFError):
        return "the connection was closed"
    words = (error.reason or "TLS failed").lower().replace("_", " ")
    _, alert, what = words.partition(" alert ")
    return f"alert: {what}" if alert else words


# One context for each set of credentials in a process: they hold no state of a connection, as no session is resumed.


@cache
def _client_context(credentials: Credentials) -> ssl.SSLContext:
    context = _context(ssl.PROTOCOL_TLS_CLIENT, credentials)
    if credentials.authority is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@cache
def _server_context(credentials: Credentials) -> ssl.SSLContext:
    context = _context(ssl.PROTOCOL_TLS_SERVER, credentials)
    context.num_tickets = 0  # nobody resumes a session here: every handshake is a whole one
    if credentials.authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _context(side: "ssl._SSLMethod", credentials: Credentials) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # One group for all versions of OpenSSL, so that their hellos do not differ in what is offered.
    context.set_ecdh_curve("prime256v1")
    context.set_alpn_protocols(list(credentials.protocols))
    if credentials.authority is not None:
        trust_in(credentials.authority).configure_trust(context)
    if credentials.identity is not None:
        certificate_of(credentials.identity).configure_cert(context)
    return context
