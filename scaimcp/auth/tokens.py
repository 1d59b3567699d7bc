"""Look at a bearer without asking anyone: shape, expiry, claims. Pure.

A local look only ever refuses; the platform alone accepts. Spec: scaigrid 2.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

_API_KEY = re.compile(r"sgk_[A-Za-z0-9_-]{32,508}\Z")
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z")
_JWT_BYTES = 8 * 1024
_LEEWAY_SECONDS = 60


class Claims(msgspec.Struct, frozen=True):
    """What is read of a JWT; nothing here is trusted before the platform has confirmed it."""

    exp: float | None = None
    role: str | None = None
    aud: Any = None


class _Payload(msgspec.Struct):
    """The same claims as a token may hold them: other forms of them are not ours to refuse."""

    exp: float | None = None
    role: Any = None
    aud: Any = None


def inspect(token: str, now: float, audiences: tuple[str, ...] = ()) -> Claims | None:
    """Return the claims of a plausible bearer, or None when it cannot be valid.

    Args:
        token: the bearer as received, without ``Bearer``.
        now: Unix time, seconds.
        audiences: accepted ``aud`` values; empty = not compared. API keys have none.
    """
    if _API_KEY.match(token):
        return Claims()
    if len(token) > _JWT_BYTES or not _JWT.match(token):
        return None
    claims = _claims(token)
    if claims is None or claims.exp is None or claims.exp < now - _LEEWAY_SECONDS:
        return None
    if audiences and not _addressed_to(claims.aud, audiences):
        return None
    return claims


def _claims(token: str) -> Claims | None:
    try:
        parts = [base64.urlsafe_b64decode(p + "=" * (-len(p) % 4)) for p in token.split(".")]
        msgspec.json.decode(parts[0], type=dict[str, Any])
        payload = msgspec.json.decode(parts[1], type=_Payload)
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        return None
    role = payload.role if isinstance(payload.role, str) else None
    return Claims(payload.exp, role, payload.aud)


def _addressed_to(aud: Any, audiences: tuple[str, ...]) -> bool:
    named = aud if isinstance(aud, list) else [aud]
    return any(isinstance(entry, str) and entry in audiences for entry in named)
