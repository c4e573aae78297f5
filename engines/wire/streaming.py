"""Responses read while they are still coming, and left at any moment."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import trio


@asynccontextmanager
async def streaming(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | httpx.Headers | list[tuple[bytes, bytes]] | None = None,
    content: AsyncIterator[bytes] | bytes | None = None,
    timeout: httpx.Timeout | None = None,
) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[bytes]]]:
    """Send a request; inside, its response is there and the pieces of its body are as they arrive.

    Leaving it before the body's end closes the connection. Raises httpx.TransportError, as does reading the pieces.
    """
    request = http.build_request(method, url, headers=headers, content=content, timeout=timeout)
    response = await http.send(request, stream=True)
    pieces = response.aiter_raw()
    try:
        yield response, pieces
    finally:
        with trio.CancelScope(shield=True):
            await response.aclose()
            # httpx and httpcore read through a stack of generators, of which closing one does not close the next: the
            # garbage collector would, when it likes. Read on: the closed connection ends them all, at once.
            try:
                async for _ in pieces:
                    pass
            except (httpx.TransportError, httpx.StreamError):
                pass
