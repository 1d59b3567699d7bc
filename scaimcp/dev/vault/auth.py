"""Bearers: fixture tokens and RS256 tokens of the identity provider. Spec: scaivault 7."""

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

from scaimcp.dev.vault.errors import refuse
from scaimcp.dev.vault.state import Identity, Vault

ADMIN_ROLES = ("super_admin", "partner_admin", "tenant_admin")
USER_SCOPES = ("secrets:read", "secrets:list", "policies:read", "audit:read")


class KeySet:
    """The keys that check JWTs, read again for an unknown key id.

    Args:
        jwks: a key set; None reads `url`.
        url: where it is read; None knows no key.
    """

    def __init__(self, jwks: Mapping[str, Any] | None, url: str | None) -> None:
        self._keys = _public_keys(jwks or {})
        self._url = url

    async def key(self, key_id: str) -> RSAPublicKey | None:
        """Return a public key; None for an id nobody has."""
        if key_id not in self._keys and self._url is not None:
            async with aiohttp.ClientSession() as http, http.get(self._url) as response:
                self._keys = _public_keys(msgspec.json.decode(await response.read()))
        return self._keys.get(key_id)


async def identify(vault: Vault, keys: KeySet, header: str | None) -> Identity:
    """Return who a request's Authorization header stands for.

    Raises:
        Refusal: 401 `authentication_required`, `token_invalid`, `token_expired`, `token_revoked`.
    """
    kind, _, token = (header or "").partition(" ")
    if kind.lower() != "bearer" or not token:
        refuse(401, "authentication_required", "An Authorization header with a bearer is needed.")
    if token.startswith("skt_"):
        identity = vault.tokens.get(token)
    else:
        claims = await _claims(keys, token)
        identity = None if claims is None else _identity(claims)
    if identity is None:
        refuse(401, "token_invalid", "The token is not valid.")
    if identity.revoked:
        refuse(401, "token_revoked", "The token was revoked.")
    if identity.expires_at is not None and identity.expires_at <= vault.clock.now():
        refuse(401, "token_expired", "The token has expired.")
    return identity


def _public_keys(jwks: Mapping[str, Any]) -> dict[str, RSAPublicKey]:
    return {
        row["kid"]: RSAPublicNumbers(_integer(row["e"]), _integer(row["n"])).public_key()
        for row in jwks.get("keys", ())
        if row.get("kty") == "RSA"
    }


def _integer(text: str) -> int:
    return int.from_bytes(_segment(text), "big")


def _segment(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def _claims(keys: KeySet, token: str) -> dict[str, Any] | None:
    """Return the claims of a token signed with a known key; None for any other text."""
    try:
        head, payload, signature = token.split(".")
        header = msgspec.json.decode(_segment(head), type=dict[str, Any])
        key = await keys.key(str(header.get("kid")))
        if header.get("alg") != "RS256" or key is None:
            return None
        key.verify(_segment(signature), f"{head}.{payload}".encode(), PKCS1v15(), SHA256())
        return msgspec.json.decode(_segment(payload), type=dict[str, Any])
    except (ValueError, InvalidSignature):
        return None


def _identity(claims: Mapping[str, Any]) -> Identity | None:
    """Return the identity of a token; None where it names no subject, tenant or expiry."""
    subject, tenant, expires = claims.get("sub"), claims.get("tenant_id"), claims.get("exp")
    if not (isinstance(subject, str) and isinstance(tenant, str) and isinstance(expires, int)):
        return None
    service = claims.get("token_type") == "client"
    role = claims.get("role")
    administrator = role in ADMIN_ROLES
    scope = claims.get("scope")
    granted = ("admin",) if administrator else USER_SCOPES
    return Identity(
        id=f"{'sa' if service else 'user'}:{subject}",
        type="service_account" if service else "user",
        tenant_id=tenant,
        partner_id=str(claims.get("partner_id") or ""),
        scopes=tuple(scope.split()) if scope else granted,
        groups=("group:admins" if administrator else "group:users",),
        partner_admin=role in ADMIN_ROLES[:2],
        expires_at=expires,
    )
