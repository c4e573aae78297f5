"""httpcore's network on a host: connections and byte streams with time limits in virtual time, each one recorded."""

import math
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import trio

from engines.lab.host import Host
from engines.lab.tcp import Endpoint


class HostBackend(httpcore.AsyncNetworkBackend):
    """Opens connections from `host`. Time limits are seconds; None is none."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises httpcore.ConnectTimeout or httpcore.ConnectError."""
        try:
            with trio.fail_after(_limit(timeout)):
                endpoint = await self._host.connect(host, port)
        except trio.TooSlowError:
            self._host.timed_out("connect", _limit(timeout))
            raise httpcore.ConnectTimeout(f"no connection to {host}:{port} within {timeout:g} s") from None
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        return HostStream(self._host, endpoint, endpoint)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class HostStream(httpcore.AsyncNetworkStream):
    """A connection as httpcore uses it, plain or with TLS on top."""

    def __init__(self, host: Host, endpoint: Endpoint, stream: trio.abc.Stream) -> None:
        self._host = host
        self._endpoint = endpoint
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes. The limit is on silence, not on the whole message: a slow drip never times out."""
        try:
            with trio.fail_after(_limit(timeout)):
                return bytes(await self._stream.receive_some(max_bytes))
        except trio.TooSlowError:
            self._host.timed_out("read", _limit(timeout))
            raise httpcore.ReadTimeout(f"nothing arrived within {timeout:g} s") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        try:
            with trio.fail_after(_limit(timeout)):
                await self._stream.send_all(buffer)
        except trio.TooSlowError:
            self._host.timed_out("write", _limit(timeout))
            raise httpcore.WriteTimeout(f"the peer took nothing within {timeout:g} s") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Raises httpcore.ConnectTimeout or httpcore.ConnectError."""
        secure = trio.SSLStream(
            self._endpoint, ssl_context, server_hostname=server_hostname, https_compatible=True, server_side=False
        )
        try:
            with trio.fail_after(_limit(timeout)):
                await secure.do_handshake()
        except trio.TooSlowError:
            await trio.aclose_forcefully(self._endpoint)
            raise httpcore.ConnectTimeout(f"no TLS handshake within {timeout:g} s") from None
        except (trio.BrokenResourceError, ssl.SSLError) as error:
            await trio.aclose_forcefully(self._endpoint)
            raise httpcore.ConnectError(str(error)) from error
        return HostStream(self._host, self._endpoint, secure)

    def get_extra_info(self, info: str) -> Any:
        """`is_readable` must be true when data, EOF or a reset is waiting: an idle connection with any of them is dead."""
        match info:
            case "is_readable":
                return self._endpoint.is_readable()
            case "server_addr":
                return self._endpoint.remote, self._endpoint.port
            case "flow":
                return self._endpoint.flow
            case "ssl_object" if isinstance(self._stream, trio.SSLStream):
                return self._stream._ssl_object
        return None


def _limit(timeout: float | None) -> float:
    return math.inf if timeout is None else timeout
