"""Tokens: who may sign, who can read, when they end; and what the wire pane says of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.lab.dissection import Side
from engines.wire.http1 import Http1Dissector
from engines.wire.token_parts import token_parts
from engines.wire.tokens import EPOCH_S, TokenRefusedError, decoded, forge, sign, verify

KEY, OTHER = "k" * 32, "o" * 32
CLAIMS = {"sub": "ada", "role": "user", "exp": EPOCH_S + 10.0}
BOTH = ("HS256", "none")


def test_what_was_signed_can_be_verified_and_read_without_a_key() -> None:
    token = sign(CLAIMS, KEY)
    assert verify(token, KEY, 0.0) == CLAIMS
    header, claims, _ = token.split(".")
    assert decoded(header) == {"alg": "HS256", "typ": "JWT"}
    assert decoded(claims) == CLAIMS


@pytest.mark.parametrize(
    ("token", "algorithms", "reason"),
    [
        (forge(sign(CLAIMS, KEY), {"role": "admin"}), BOTH, "the signature does not fit"),
        (sign(CLAIMS, OTHER), BOTH, "the signature does not fit"),
        (forge(sign(CLAIMS, KEY), {"role": "admin"}, algorithm="none"), ("HS256",), "an algorithm that is not on the list"),
        ("", BOTH, "not a token"),
        ("a.b.c", BOTH, "not a token"),
        ("eyJhbGciOiJub25lIn0", BOTH, "not a token"),
    ],
)  # fmt: skip
def test_what_is_refused(token: str, algorithms: tuple[str, ...], reason: str) -> None:
    with pytest.raises(TokenRefusedError, match=reason):
        verify(token, KEY, 0.0, algorithms=algorithms)


def test_a_server_that_lets_the_token_choose_believes_anything() -> None:
    token = forge(sign(CLAIMS, KEY), {"role": "admin"}, algorithm="none")
    assert verify(token, KEY, 0.0, algorithms=BOTH)["role"] == "admin"


@given(st.floats(0, 30), st.floats(0, 5))
def test_it_is_valid_before_exp_and_not_from_then_on(now_s: float, leeway_s: float) -> None:
    """RFC 7519, section 4.1.4: "the expiration time on or after which the JWT MUST NOT be accepted"."""
    token = sign(CLAIMS, KEY)
    if now_s + EPOCH_S < EPOCH_S + 10.0 + leeway_s:
        assert verify(token, KEY, now_s, leeway_s=leeway_s)
    else:
        with pytest.raises(TokenRefusedError, match="expired"):
            verify(token, KEY, now_s, leeway_s=leeway_s)


@given(st.integers(0, 300), st.integers(0, 255))
def test_one_byte_changed_anywhere_is_noticed(place: int, byte: int) -> None:
    """The last character of the signature carries two bits that mean nothing: those may change (RFC 4648, section 3.5)."""
    token = sign(CLAIMS, KEY).encode()
    place %= len(token) - 1
    changed = token[:place] + bytes([byte]) + token[place + 1 :]
    if changed != token:
        with pytest.raises(TokenRefusedError):
            verify(changed.decode("latin-1"), KEY, 0.0, algorithms=("HS256",))


@pytest.mark.parametrize("field", ["Authorization: Bearer {}", "Cookie: session={}; SERVERID=server1"])
@pytest.mark.parametrize("token", [sign(CLAIMS, KEY), forge(sign(CLAIMS, KEY), {}, algorithm="none")])
def test_the_parts_of_a_token_in_a_request(field: str, token: str) -> None:
    request = f"GET /me HTTP/1.1\r\nHost: server\r\n{field.format(token)}\r\n\r\n".encode()
    parts = Http1Dissector().parts(Side.CLIENT, request, 0, len(request))
    assert [part.start for part in parts[1:]] == [part.end for part in parts[:-1]]
    assert (parts[0].start, parts[-1].end) == (0, len(request))
    inside = {part.name: request[part.start : part.end].decode() for part in parts if part.name.startswith("token")}
    assert "".join(inside.values()) == token
    claims = next(part for part in parts if part.name == "token claims")
    assert '"sub": "ada"' in claims.note


@given(st.binary(max_size=60))
def test_what_only_looks_like_a_token_is_none(junk: bytes) -> None:
    stream = b"eyJ" + junk + b".eyJ9." + junk
    for part in token_parts(stream, 0, len(stream)):
        assert 0 <= part.start < part.end <= len(stream)
