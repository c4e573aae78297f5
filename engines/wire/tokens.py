"""JSON Web Tokens (RFC 7519) in virtual time: PyJWT makes and checks the signature, we check the time.

PyJWT compares `exp` with the wall clock, which a run must not see; so it is told not to, and the comparison is ours.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import jwt

EPOCH_S = 1_767_225_600
"""A NumericDate counts seconds from 1970 (RFC 7519, section 2). Runs begin, for all that a token knows, with the year 2026."""

Claims = dict[str, Any]


class TokenRefusedError(Exception):
    """The token is not to be trusted; the message is a short clause that says why."""


def sign(claims: Mapping[str, Any], key: str, *, algorithm: str = "HS256") -> str:
    """The token that says `claims`, signed with `key` (RFC 7515, section 3.1: three parts in base64url, with dots between)."""
    return jwt.encode(dict(claims), key, algorithm=algorithm)


def verify(
    token: str, key: str, now_s: float, *, algorithms: Sequence[str] = ("HS256",), leeway_s: float = 0.0
) -> Claims:
    """What `token` says, if it is signed with `key` by one of `algorithms` and has not expired at virtual time `now_s`.

    The list of algorithms is the server's, never the token's: RFC 8725, section 3.1. With "none" in it, a token without a
    signature passes. From `exp` on, a token must not be accepted, give or take `leeway_s` for clocks that disagree (RFC
    7519, section 4.1.4). Raises TokenRefusedError.
    """
    try:
        unsigned = "none" in algorithms and jwt.get_unverified_header(token).get("alg") == "none"
        only_ours = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False}
        options: Any = {**only_ours, "verify_signature": not unsigned}
        signed = [name for name in algorithms if name != "none"]
        claims: Claims = jwt.decode(token, key, algorithms=signed, options=options)
    except jwt.InvalidAlgorithmError:
        raise TokenRefusedError("an algorithm that is not on the list") from None
    except jwt.InvalidSignatureError:
        raise TokenRefusedError("the signature does not fit") from None
    except jwt.InvalidTokenError:
        raise TokenRefusedError("not a token") from None
    expires = claims.get("exp")
    if isinstance(expires, int | float) and now_s + EPOCH_S >= expires + leeway_s:
        raise TokenRefusedError("expired")
    return claims


def forge(token: str, changes: Mapping[str, Any], *, algorithm: str | None = None) -> str:
    """`token` with other claims, as anybody can write it who can read it. The signature stays as it was; with `algorithm`
    "none" the header says so, and there is no signature (RFC 7519, section 6)."""
    header, claims, signature = token.split(".")
    if algorithm is not None:
        header, signature = _encoded({"alg": algorithm, "typ": "JWT"}), ""
    return ".".join((header, _encoded({**decoded(claims), **changes}), signature))


def decoded(part: str) -> Claims:
    """The JSON object in one part of a token. It takes no key: a token is signed, not encrypted. Raises ValueError."""
    found = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def _encoded(value: Claims) -> str:
    return urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).rstrip(b"=").decode()
