"""Challenges of RFC 6750 with the metadata address of RFC 9728. Pure."""

from __future__ import annotations

from scaimcp.errors import RequestRefused

MISSING = "AUTH_TOKEN_MISSING"
INVALID = "AUTH_TOKEN_INVALID"


def metadata_url(public_url: str, path: str = "/mcp") -> str:
    """Return the address of the protected-resource metadata of the endpoint at `path`."""
    return f"{public_url}/.well-known/oauth-protected-resource{path}"


def bearer_challenge(metadata: str, error: str = "", description: str = "") -> str:
    """Return a ``WWW-Authenticate`` value; no ``error`` when no token came (RFC 6750, 3.1)."""
    parts = []
    if error:
        parts.append(f'error="{error}"')
    if description:
        parts.append(f'error_description="{description}"')
    parts.append(f'resource_metadata="{metadata}"')
    return "Bearer " + ", ".join(parts)


def missing_token(metadata: str) -> RequestRefused:
    """The request carries no bearer: 401."""
    refusal = RequestRefused(
        MISSING, "Send an Authorization header: Bearer and a ScaiGrid token.", http_status=401
    )
    refusal.challenge = bearer_challenge(metadata)
    return refusal


def invalid_token(metadata: str, code: str = INVALID) -> RequestRefused:
    """The bearer is malformed, expired, revoked or unknown: 401."""
    refusal = RequestRefused(
        code, "The token is malformed, expired, revoked or unknown here.", http_status=401
    )
    refusal.challenge = bearer_challenge(
        metadata, "invalid_token", "The token is not accepted; get a new one."
    )
    return refusal
