"""The platform's identity provider as this gateway sees it: client, metadata, failures. Pure.

Spec: mcp-configs 4.4 (`login`); OpenID Connect Discovery 1.0; RFC 8414, 9207.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

from scaimcp.errors import GatewayError
from scaimcp.settings import LOOPBACK_HOSTS, Settings
from scaimcp.types import Secret

# After a failure nothing is asked again for this long, nor are keys looked up once more.
PAUSE_SECONDS = 5.0
BASIC, POST = "client_secret_basic", "client_secret_post"
_WORD = re.compile(r"[a-z_]{1,64}\Z")
# What an error answer means; anything else is a mistake in the set-up. RFC 6749, 4.1.2.1 and 5.2.
_MEANINGS = {
    "access_denied": "declined",
    "login_required": "declined",
    "interaction_required": "declined",
    "consent_required": "declined",
    "server_error": "unavailable",
    "temporarily_unavailable": "unavailable",
    "invalid_grant": "stale",
}
_FAILURES: dict[str, tuple[str, int, str]] = {
    "unavailable": (
        "SERVICE_UNAVAILABLE",
        503,
        "The platform's sign-in does not answer. Nothing is lost: try again in a few seconds.",
    ),
    "unusable": (
        "SERVICE_UNAVAILABLE",
        503,
        "The sign-in is not set up correctly. Tell whoever runs this gateway; "
        "the cause is in its log.",
    ),
    "distrusted": (
        "PLATFORM_BAD_RESPONSE",
        502,
        "The answer of the platform's sign-in cannot be trusted, so nobody is signed in.",
    ),
    "declined": ("AUTHZ_PERMISSION_DENIED", 403, "Nobody was signed in, and nothing was decided."),
    "stale": (
        "VALIDATION_ERROR",
        400,
        "This sign-in is over, was used before, or was started in another browser. "
        "Nobody is signed in.",
    ),
    "foreign": (
        "VALIDATION_ERROR",
        400,
        "This answer is not one of the sign-in that was asked. Nobody is signed in.",
    ),
}


class LoginFailed(GatewayError):
    """Nobody is signed in.

    Args:
        reason: which kind of failure, a key of the table above: ``unavailable``, ``unusable``,
            ``distrusted``, ``declined``, ``stale`` or ``foreign``.
        cause: a word for the log, never a text from outside.
    """

    def __init__(self, reason: str, cause: str = "") -> None:
        code, status, message = _FAILURES[reason]
        wait = int(PAUSE_SECONDS) if status == 503 else None
        super().__init__(code, message, http_status=status, retry_after=wait)
        self.reason = reason
        self.cause = cause


class LoginClient(msgspec.Struct, frozen=True):
    """This gateway as a client of the identity provider.

    Args:
        client_id: as registered there.
        secret: None for a public client.
        subject_claim: the claim that holds the platform's user id.
        allows_http: whether addresses may be plain HTTP off loopback.
    """

    client_id: str
    secret: Secret | None = None
    subject_claim: str = "sub"
    allows_http: bool = False


class Provider(msgspec.Struct, frozen=True):
    """What matters of a provider's metadata.

    ``auth_method`` is how the client names itself at the token endpoint; ``tells_issuer`` says
    that each answer to the browser has ``iss`` (RFC 9207).
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    auth_method: str
    tells_issuer: bool


class _Metadata(msgspec.Struct):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    code_challenge_methods_supported: list[str] | None = None
    token_endpoint_auth_methods_supported: list[str] | None = None
    authorization_response_iss_parameter_supported: bool = False


def login_client(settings: Settings) -> LoginClient | None:
    """Return this gateway as the settings describe it, None without browser sign-in."""
    if settings.login_client_id is None:
        return None
    return LoginClient(
        settings.login_client_id,
        settings.login_client_secret,
        settings.login_subject_claim,
        settings.platform_allow_http,
    )


def read_provider(body: bytes, issuer: str, client: LoginClient) -> Provider:
    """Return the provider that a discovery document describes.

    A document without ``code_challenge_methods_supported`` is taken: PKCE is always sent, and
    the nonce guards against foreign codes as well.

    Raises:
        LoginFailed: ``distrusted`` for another issuer's document or none at all, ``unusable``
            for addresses and methods that cannot be used.
    """
    try:
        found = msgspec.json.decode(body, type=_Metadata)
    except ValueError:
        raise LoginFailed("distrusted", "metadata") from None
    if found.issuer != issuer:
        raise LoginFailed("distrusted", "metadata_issuer")
    for url in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
        if not is_safe(url, allows_http=client.allows_http):
            raise LoginFailed("unusable", "endpoint")
    challenges = found.code_challenge_methods_supported
    if challenges is not None and "S256" not in challenges:
        raise LoginFailed("unusable", "pkce")
    return Provider(
        issuer,
        found.authorization_endpoint,
        found.token_endpoint,
        found.jwks_uri,
        _auth_method(client, found.token_endpoint_auth_methods_supported),
        found.authorization_response_iss_parameter_supported,
    )


def is_safe(url: str, *, allows_http: bool) -> bool:
    """Tell whether an address may be used: HTTPS, or plain HTTP on loopback or where allowed."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    if not host or parts.username is not None or parts.fragment or re.search(r"[\s\\]", url):
        return False
    is_near = host in LOOPBACK_HOSTS or allows_http
    return parts.scheme == "https" or (parts.scheme == "http" and is_near)


def _auth_method(client: LoginClient, supported: list[str] | None) -> str:
    if client.secret is None:
        return "none"
    # What a provider takes that does not tell. RFC 8414, 2.
    known = [BASIC] if supported is None else supported
    for method in (BASIC, POST):
        if method in known:
            return method
    raise LoginFailed("unusable", "auth_method")


def refused(error: str) -> LoginFailed:
    """Return the failure that a provider's ``error`` stands for; only known forms are logged."""
    word = error if _WORD.match(error) else "unreadable"
    return LoginFailed(_MEANINGS.get(word, "unusable"), word)
