"""What is inside the frames of HTTP/2 (RFC 9113, section 6): where padding and priority lie, and what control frames say."""

from collections.abc import Callable, Iterator

from engines.lab.facts import Role
from engines.wire.http2_frames import (
    ACK,
    PADDED,
    PRIORITY,
    SETTINGS,
    FrameHeader,
    FrameType,
    error_name,
)

_DEFAULTS = {1: 4096, 2: 1, 4: 65_535, 5: 16_384, 8: 0, 9: 0}  # section 6.5.2; what repeats them is not worth a label

_MASK = 0x7FFF_FFFF


def number(payload: bytes, at: int = 0, size: int = 4) -> int:
    """An integer in a payload; 0 where it is not there."""
    return int.from_bytes(payload[at : at + size], "big")


def data_size(header: FrameHeader, payload: bytes) -> slice:
    """Where the content of a DATA frame lies in its payload: without the padding (section 6.1)."""
    if not header.has(PADDED) or not payload:
        return slice(0, len(payload))
    return slice(1, max(1, len(payload) - payload[0]))


def fragment(header: FrameHeader, payload: bytes) -> slice:
    """Where the fragment of a header block lies (sections 6.2, 6.6, 6.10): behind pad length and priority or promised stream."""
    if header.type == FrameType.CONTINUATION:
        return slice(0, len(payload))
    inside = data_size(header, payload)
    before = 4 if header.type == FrameType.PUSH_PROMISE else 5 if header.has(PRIORITY) else 0
    return slice(min(inside.start + before, inside.stop), inside.stop)


def settings_in(payload: bytes) -> Iterator[tuple[int, int]]:
    """Identifier and value of each setting (section 6.5.1)."""
    for at in range(0, len(payload) - 5, 6):
        yield number(payload, at, 2), number(payload, at + 2)


def setting_text(identifier: int, value: int) -> str:
    return f"{SETTINGS.get(identifier, f'setting {identifier:#x}')} {value:,}"


def control_message(header: FrameHeader, payload: bytes) -> tuple[Role, str]:
    """What a frame that carries no message is to people."""
    say = _CONTROL.get(header.type)
    return say(header, payload) if say else (Role.CONTROL, header.name)


def _settings(header: FrameHeader, payload: bytes) -> tuple[Role, str]:
    if header.has(ACK):
        return Role.ACK, "SETTINGS ACK"
    unusual = [setting_text(key, value) for key, value in settings_in(payload) if _DEFAULTS.get(key) != value]
    return Role.CONTROL, " ".join(["SETTINGS", ", ".join(unusual)]).rstrip()


def _window_update(header: FrameHeader, payload: bytes) -> tuple[Role, str]:
    scope = f"stream {header.stream}" if header.stream else "connection"
    return Role.CONTROL, f"WINDOW_UPDATE {scope} +{number(payload) & _MASK:,}"


def _ping(header: FrameHeader, payload: bytes) -> tuple[Role, str]:
    return Role.HEARTBEAT, "PING ACK" if header.has(ACK) else "PING"


def _rst_stream(header: FrameHeader, payload: bytes) -> tuple[Role, str]:
    return Role.ERROR, f"RST_STREAM {error_name(number(payload))}"


def _goaway(header: FrameHeader, payload: bytes) -> tuple[Role, str]:
    last = number(payload) & _MASK
    named = f"{last:,}" if last != _MASK else "not named yet"  # the first of two farewells (section 6.8)
    return Role.CONTROL, f"GOAWAY {error_name(number(payload, 4))}, last stream {named}"


_CONTROL: dict[int, Callable[[FrameHeader, bytes], tuple[Role, str]]] = {
    FrameType.SETTINGS: _settings,
    FrameType.WINDOW_UPDATE: _window_update,
    FrameType.PING: _ping,
    FrameType.RST_STREAM: _rst_stream,
    FrameType.GOAWAY: _goaway,
}
