"""Check an ID token: who signed in, and that it was said to this gateway, now. No I/O.

Spec: mcp-configs 4.4 (`login`); OpenID Connect Core 1.0, 3.1.3.7.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Sequence
from typing import Any

import msgspec
from authlib.oidc.core import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

# What the platform signs with, and which keys serve for it; nothing symmetric. Spec: scaigrid 2.
KEY_TYPES: dict[str, type[RSAKey] | type[ECKey]] = {"RS256": RSAKey, "ES256": ECKey}
_BY_NAME: dict[str, type[RSAKey] | type[ECKey]] = {"RSA": RSAKey, "EC": ECKey}
_LEAST_RSA_BITS = 2048
_MOST_KEYS = 64
_MOST_CHARS = 16 * 1024
_MOST_SUBJECT_CHARS = 255
_LEEWAY_SECONDS = 60

SigningKey = RSAKey | ECKey


class IdTokenRefused(Exception):
    """The token proves nothing; ``reason`` is a stable word for logs, ``signature`` among them."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Expected(msgspec.Struct, frozen=True):
    """What a token has to say.

    Args:
        issuer: its ``iss``, to the character.
        client_id: to be in ``aud``, and ``azp`` where there is one.
        nonce: that went with the request.
        access_token: that came with it; its hash is compared where the token has one.
        subject_claim: the claim that holds the platform's user id.
    """

    issuer: str
    client_id: str
    nonce: str
    access_token: str
    subject_claim: str = "sub"


def read_keys(body: bytes) -> tuple[SigningKey, ...]:
    """Return the keys of a JWK set that may sign ID tokens; others are passed over.

    Raises:
        ValueError: it is no JWK set.
    """
    document = msgspec.json.decode(body)
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no JWK set")
    found = (_key(one) for one in listed[:_MOST_KEYS] if isinstance(one, dict))
    return tuple(key for key in found if key is not None)


def _key(parameters: dict[str, Any]) -> SigningKey | None:
    kind = _BY_NAME.get(str(parameters.get("kty")))
    if kind is None or parameters.get("use", "sig") != "sig":
        return None
    try:
        # Looked at first: the library takes short keys, with a warning.
        if kind is RSAKey and _bits(parameters["n"]) < _LEAST_RSA_BITS:
            return None
        return kind.import_key(parameters)
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _bits(encoded: str) -> int:
    return int.from_bytes(urlsafe_b64decode(encoded + "==")).bit_length()


def subject_of(token: str, keys: Sequence[SigningKey], expected: Expected, now: float) -> str:
    """Return whom an ID token is about.

    Args:
        token: the token as it came.
        keys: the issuer's keys.
        expected: what the token has to say.
        now: the time, in seconds.

    Raises:
        IdTokenRefused: no key of the issuer's has signed it (``signature``), or it says
            something else (``claims``), or nobody is named (``subject``).
    """
    if len(token) > _MOST_CHARS:
        raise IdTokenRefused("format")
    header, claims = _opened(token, keys)
    must_be = {
        "iss": {"essential": True, "value": expected.issuer},
        "aud": {"essential": True, "value": expected.client_id},
    }
    params = {
        "nonce": expected.nonce,
        "client_id": expected.client_id,
        "access_token": expected.access_token,
    }
    checked = CodeIDToken(claims, header, must_be, params)
    try:
        checked.validate(now=int(now), leeway=_LEEWAY_SECONDS)
    except (JoseError, ValueError, TypeError, AttributeError):
        # Types that the library does not expect end as the latter three.
        raise IdTokenRefused("claims") from None
    subject = claims.get(expected.subject_claim)
    if not isinstance(subject, str) or not 0 < len(subject) <= _MOST_SUBJECT_CHARS:
        raise IdTokenRefused("subject")
    return subject


def _opened(token: str, keys: Sequence[SigningKey]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of a token that one of the keys has signed."""
    try:
        header = jws.extract_compact(token.encode()).headers()
    except (JoseError, ValueError):
        raise IdTokenRefused("format") from None
    algorithm = header.get("alg")
    kind = KEY_TYPES.get(algorithm) if isinstance(algorithm, str) else None
    if kind is None:
        raise IdTokenRefused("algorithm")
    for key in keys:
        if not isinstance(key, kind) or ("kid" in header and key.kid != header["kid"]):
            continue
        try:
            opened = jwt.decode(token, key, algorithms=[str(algorithm)])
        except (JoseError, ValueError):
            continue
        return dict(opened.header), opened.claims
    raise IdTokenRefused("signature")
