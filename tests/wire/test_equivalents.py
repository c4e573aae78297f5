"""The equivalent `curl`: what it says word by word, and that curl, as its manual has it, would send the same message."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.lab.dissection import Side
from engines.wire.equivalents import BODY_FILE, MAX_INLINE_BYTES, equivalent_command
from engines.wire.http1 import Http1Dissector
from engines.wire.http1_grammar import EMPTY_LINE, REQUEST_LINE, fields_in
from tests.wire.conversations import GARBAGE

OWN = b"Host: api\r\nAccept: */*\r\nUser-Agent: curl/8.5.0\r\n"  # what curl says by itself


def command(data: bytes, host: str = "api", port: int = 80) -> str | None:
    return equivalent_command("http/1.1", data, host, port)


Semantics = tuple[tuple[str, ...], list[tuple[str, bytes]], bytes]


def meant_by(data: bytes) -> Semantics:
    """Request line, fields in no particular order, and content of a request as bytes. Any curl is curl."""
    line, head = REQUEST_LINE.match(data), EMPTY_LINE.search(data)
    assert line
    assert head
    parts = Http1Dissector().parts(Side.CLIENT, data, 0, len(data))
    content = b"".join(data[p.start : p.end] for p in parts if p.name in ("body", "chunk data"))
    fields = [(name.lower(), value) for name, value in fields_in(data, line.end(), head.end())]
    return tuple(group.decode() for group in line.groups()), sorted(fields), content


def sent_by(command_line: str, files: dict[str, bytes]) -> Semantics:
    """What curl would send: a model of it after its manual, as far as these commands go."""
    words = iter(shlex.split(command_line)[1:])
    method, target, body, version, url = "", "", None, "", ""
    given: list[tuple[str, str | None]] = []  # None: do not send it
    for word in words:
        if word == "-H":
            text = next(words)
            name, colon, value = text.partition(":")
            given.append((name.lower(), value.strip() or None) if colon else (text.removesuffix(";").lower(), ""))
        elif word == "-X":
            method = next(words)
        elif word == "--head":
            method = "HEAD"
        elif word == "--request-target":
            target = next(words)
        elif word in ("--data-binary", "--data-raw"):
            text = next(words)
            is_file = text.startswith("@") and word == "--data-binary"
            body = files[text[1:]] if is_file else text.encode()
        elif word.startswith("--http"):
            version = word.removeprefix("--http")
        else:
            assert not word.startswith("-")
            url = word
    authority, slash, path = url.removeprefix("http://").partition("/")
    own = {"host": authority, "user-agent": "curl/8.5.0", "accept": "*/*"}
    if body is not None:
        own["content-type"] = "application/x-www-form-urlencoded"
        if "transfer-encoding" not in dict(given):
            own["content-length"] = str(len(body))
        if len(body) > 1024 * 1024:
            own["expect"] = "100-continue"
    replaced = {name for name, _ in given}
    fields = [(name, value) for name, value in own.items() if name not in replaced]
    fields += [(name, value) for name, value in given if value is not None]
    line = (method or ("GET" if body is None else "POST"), target or slash + path, version)
    return line, sorted((name, value.encode()) for name, value in fields), body or b""


TOKENS = st.text("abcXYZ-_0123", min_size=1, max_size=8)
VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" "), max_size=12).map(str.strip)
TARGETS = st.text("abc/.?&=%2e{}[]$'\"!*#é;", max_size=15).map(lambda text: "/" + text)
USUAL = st.sampled_from(
    [
        ("Accept", "*/*"),
        ("User-Agent", "curl/8.5.0"),
        ("Host", "api"),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ]
)


@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "QUERY"]) | TOKENS.filter(lambda t: t[0].isalpha()),
    TARGETS | st.just("*"),
    st.lists(
        st.tuples(TOKENS.map("X-{}".format), VALUES) | USUAL, max_size=5, unique_by=lambda field: field[0].lower()
    ),
    st.none() | st.text(max_size=20).map(str.encode) | st.binary(max_size=20) | st.just(b"@/etc/passwd\n"),
    st.booleans(),
)
def test_curl_would_send_the_same_request(
    method: str, target: str, fields: list[tuple[str, str]], body: bytes | None, chunked: bool
) -> None:
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields)
    data = head.encode()
    if body is None:
        data += b"\r\n"
    elif chunked:
        pieces = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        data += b"Transfer-Encoding: chunked\r\n\r\n" + pieces
    else:
        data += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    line = command(data)
    if method == "CONNECT" or (method == "HEAD" and body is not None):
        assert line is None
    else:
        assert line
        assert sent_by(line, {BODY_FILE: body or b""}) == meant_by(data)


WORDS = [
    (b"GET /jobs/7?wait=2 HTTP/1.1\r\n" + OWN + b"\r\n", "curl --http1.1 'http://api/jobs/7?wait=2'"),
    (b"HEAD / HTTP/1.1\r\n" + OWN + b"\r\n", "curl --http1.1 --head http://api/"),
    (b"DELETE /x HTTP/1.1\r\n" + OWN + b"\r\n", "curl --http1.1 -X DELETE http://api/x"),
    (b"GET / HTTP/1.0\r\n\r\n", "curl --http1.0 -H Host: -H User-Agent: -H Accept: http://api/"),
    (b"OPTIONS * HTTP/1.1\r\n" + OWN + b"\r\n", "curl --http1.1 -X OPTIONS --request-target '*' http://api"),
    (b"GET /a/../b HTTP/1.1\r\n" + OWN + b"\r\n", "curl --http1.1 --request-target /a/../b http://api"),
    (b"GET /a/%2E?b HTTP/1.1\r\n" + OWN + b"\r\n", "curl --http1.1 --request-target '/a/%2E?b' http://api"),
    (
        b"POST /x HTTP/1.1\r\n"
        + OWN
        + b"Content-Type: application/json\r\nX-Empty:\r\nContent-Length: 7\r\n\r\n{'a':1}",
        "curl --http1.1 -H 'Content-Type: application/json' -H 'X-Empty;' --data-binary '{'\"'\"'a'\"'\"':1}' http://api/x",
    ),
    (
        b"PATCH /u HTTP/1.1\r\n" + OWN + b"Content-Type: image/png\r\nContent-Length: 2\r\n\r\n\x89P",
        "curl --http1.1 -X PATCH -H 'Content-Type: image/png' --data-binary @body.bin http://api/u",
    ),
]


@pytest.mark.parametrize(("data", "expected"), WORDS)
def test_word_by_word(data: bytes, expected: str) -> None:
    assert command(data) == expected


def test_the_port_is_named_unless_it_is_the_usual_one() -> None:
    data = b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\nAccept: */*\r\nUser-Agent: curl/8.5.0\r\n\r\n"
    assert command(data, "::1", 8080) == "curl --http1.1 'http://[::1]:8080/'"


@pytest.mark.parametrize("body", [b"x" * (MAX_INLINE_BYTES + 1), b"\r", b"\x1b[2J", b"\xff", b"a\tb"])
def test_long_and_unprintable_bodies_come_from_a_file(body: bytes) -> None:
    line = command(b"POST / HTTP/1.1\r\n" + OWN + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert line
    assert f"--data-binary @{BODY_FILE}" in line


def test_a_body_that_is_still_on_its_way_comes_from_a_file() -> None:
    line = command(b"POST / HTTP/1.1\r\n" + OWN + b"Content-Length: 5\r\n\r\nhel")
    assert line
    assert f"--data-binary @{BODY_FILE}" in line


def test_only_the_first_request_counts() -> None:
    get = b"GET / HTTP/1.1\r\n" + OWN + b"\r\n"
    assert command(get + b"POST /2 HTTP/1.1\r\nContent-Length: 1\r\n\r\na") == command(get)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: api\r\n",
        b"CONNECT api:443 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: \xff\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: \x1b[2J\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nContent-Length: 1\r\n\r\na",
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nSum: 1\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ],
)
def test_no_command_where_none_would_be_right(data: bytes) -> None:
    assert command(data) is None


@given(GARBAGE)
def test_nothing_is_too_strange(data: bytes) -> None:
    line = command(data)
    assert line is None or line == shlex.join(shlex.split(line))


def test_other_protocols_have_no_command() -> None:
    assert equivalent_command("dns", b"GET / HTTP/1.1\r\n\r\n", "api", 53) is None
