"""The command that would send the same message: what a person can paste into a shell beside the app.

It refuses to approximate: the command sends the same request line, fields and body (in what order the fields come is
curl's choice), or the same MQTT packet, or there is no command. What curl sends of its own accord is in its manual.
"""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from engines.lab.dissection import Ended, Side, Started
from engines.lab.facts import Role
from engines.wire.envelopes import GraphQlDissector, JsonRpcDissector, SoapDissector
from engines.wire.http1 import Http1Dissector
from engines.wire.http1_grammar import REQUEST_LINE, fields_in
from engines.wire.http1_parts import message_parts
from engines.wire.mqtt import MqttDissector
from engines.wire.mqtt_equivalents import mosquitto_arguments
from engines.wire.mqtt_packets import PORT as MQTT_PORT
from engines.wire.sse_dissector import SseDissector

BODY_FILE = "body.bin"
"""Stands in a command for a file with the body, where that is too long for a command line, not text, or not all known."""

MAX_INLINE_BYTES = 2_000
_EXPECT_ABOVE_BYTES = 1024 * 1024  # from there on curl asks for 100 Continue (before version 7.86: from 1 kB on)
_FORM = "application/x-www-form-urlencoded"  # curl's guess at what a body is

_PLAIN_TARGET = re.compile(r"/[-\w.~!$&'()*+,;=:@/%?]*", re.ASCII)
_DOT_SEGMENT = re.compile(r"/(?:\.|%2e){1,2}(?:[/?]|$)", re.IGNORECASE)


def equivalent_command(protocol: str, data: bytes, host: str, port: int) -> str | None:
    """A command line, quoted for a POSIX shell, that sends the message `data` to `host`; None where there is none.

    It may name the file BODY_FILE, which must then hold the body. Clients say more than a person would type
    (`Connection: keep-alive`), and all of it is in the command.
    """
    command = _COMMANDS.get(protocol)
    return command(data, host, port) if command else None


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    target: str
    version: str
    fields: list[tuple[str, str]]
    body: bytes | None  # None: the head announces none
    whole: bool  # whether all of the body is in `body`

    def values(self, name: str) -> list[str]:
        """The values of all fields called `name`, in any case."""
        return [value for field, value in self.fields if field.lower() == name.lower()]


def _curl(data: bytes, host: str, port: int) -> str | None:
    request = _parse(data)
    if request is None or not _can_be_said(request):
        return None
    authority = (f"[{host}]" if ":" in host else host) + (f":{port}" if port != 80 else "")
    arguments = ["curl", f"--http{request.version}", *_method(request)]
    for field in _fields(request, authority):
        arguments += ["-H", field]
    return shlex.join([*arguments, *_body(request), *_url(request, authority)])


def _parse(data: bytes) -> _Request | None:
    """The request at the start of `data`; None if it has no complete head, or bytes that no command line can carry."""
    line = REQUEST_LINE.match(data)
    events = Http1Dissector().feed(Side.CLIENT, data)
    started = next((event for event in events if isinstance(event, Started)), None)
    ended = next((event for event in events if isinstance(event, Ended)), None)
    if line is None or started is None or started.role is not Role.REQUEST:
        return None
    end = ended.end if ended else len(data)
    try:
        target = line[2].decode()
        fields = [(name, value.decode()) for name, value in fields_in(data, line.end(), started.body_offset)]
    except UnicodeDecodeError:
        return None
    if not all(text.replace("\t", " ").isprintable() for text in (target, *(value for _, value in fields))):
        return None
    parts = message_parts(Side.CLIENT, data, 0, end)
    if any(part.name == "trailer" for part in parts):  # curl's command line has no way to send any
        return None
    content = b"".join(data[part.start : part.end] for part in parts if part.name in ("body", "chunk data"))
    announced = any(name.lower() in ("content-length", "transfer-encoding") for name, _ in fields)
    body = content if announced else None
    return _Request(line[1].decode(), target, line[3].decode(), fields, body, ended is not None)


def _can_be_said(request: _Request) -> bool:
    """Whether curl can send this. CONNECT it says to a proxy, of its own accord; with HEAD it sends no body."""
    if request.method == "CONNECT" or (request.method == "HEAD" and request.body is not None):
        return False
    both = request.values("content-length") and request.values("transfer-encoding")
    return request.version in ("1.0", "1.1") and not both


def _method(request: _Request) -> list[str]:
    if request.method == "HEAD":
        return ["--head"]
    by_itself = "GET" if request.body is None else "POST"
    return [] if request.method == by_itself else ["-X", request.method]


def _fields(request: _Request, authority: str) -> list[str]:
    """The fields to give to curl: those that differ from its own, and its own that must not be sent (`Name:`)."""
    own = {"Host": authority, "User-Agent": "curl/", "Accept": "*/*"}
    if request.body is not None:
        own["Content-Type"] = _FORM
        if not request.whole or len(request.body) > _EXPECT_ABOVE_BYTES:
            own["Expect"] = "100-continue"
    said = {name.lower() for name, value in own.items() if _says(request.values(name), name, value)}
    if not request.values("transfer-encoding"):
        said.add("content-length")  # curl counts for itself
    given = [f"{name}: {value}" if value else f"{name};" for name, value in request.fields if name.lower() not in said]
    return given + [f"{name}:" for name in own if not request.values(name)]


def _says(values: list[str], name: str, own: str) -> bool:
    """Whether curl, which sends `own`, needs not be told. Any version of curl is as good as another."""
    return values == [own] or (name == "User-Agent" and len(values) == 1 and values[0].startswith(own))


def _body(request: _Request) -> list[str]:
    if request.body is None:
        return []
    text = _as_text(request.body) if request.whole else None
    if text is None:
        return ["--data-binary", f"@{BODY_FILE}"]
    return ["--data-raw" if text.startswith("@") else "--data-binary", text]  # @ would name a file


def _as_text(body: bytes) -> str | None:
    """The body as text that survives a terminal's clipboard, or None."""
    if len(body) > MAX_INLINE_BYTES:
        return None
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if text.replace("\n", " ").isprintable() else None


def _url(request: _Request, authority: str) -> list[str]:
    """The URL; a target that curl would tidy up or take for something else (`*`, `{a,b}`, `/../`) is given apart."""
    if _PLAIN_TARGET.fullmatch(request.target) and not _DOT_SEGMENT.search(request.target):
        return [f"http://{authority}{request.target}"]
    return ["--request-target", request.target, f"http://{authority}"]


def _mosquitto(data: bytes, host: str, port: int) -> str | None:
    arguments = mosquitto_arguments(data, BODY_FILE, MAX_INLINE_BYTES)
    if arguments is None:
        return None
    address = ["-V", "5", "-h", host, *(["-p", str(port)] if port != MQTT_PORT else [])]
    return shlex.join([arguments[0], *address, *arguments[1:]])


_COMMANDS: dict[str, Callable[[bytes, str, int], str | None]] = {
    Http1Dissector.name: _curl,
    SseDissector.name: _curl,
    JsonRpcDissector.name: _curl,
    GraphQlDissector.name: _curl,
    SoapDissector.name: _curl,
    MqttDissector.name: _mosquitto,
}
