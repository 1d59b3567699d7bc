"""Look at the settings and at everything behind them, and say what to do about what fails.

Nothing here prints or returns a secret: failures are the gateway's own errors, whose messages
name kinds only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

import msgspec

from scaimcp import __version__
from scaimcp.auth.identity_provider import LoginFailed, login_client
from scaimcp.auth.issuer import Issuer
from scaimcp.auth.login import Attempt, Fetch, Login
from scaimcp.errors import GatewayError, SettingsError
from scaimcp.ids import new_id
from scaimcp.migrating import current_revision, head_revision
from scaimcp.outbound import FetchFailed, fetch, open_http
from scaimcp.postgres import Database, DatabaseUnavailable, open_database
from scaimcp.redis import RedisUnavailable, open_redis
from scaimcp.remotes.config import remote_policy
from scaimcp.scaigrid.client import PlatformClient, PlatformRequest, Trace
from scaimcp.scaivault.config import VaultPolicy, vault_policy
from scaimcp.scaivault.guards import Guards
from scaimcp.settings import Settings, require
from scaimcp.types import Secret

_SECONDS = 8.0
_HEALTH = PlatformRequest("GET", "/health", timeout_seconds=5.0, is_raw=True)
_DISCOVER = PlatformRequest("GET", "/v1/scailink/auth/discover", timeout_seconds=5.0, is_raw=True)
# Asked without a bearer, ScaiVault refuses: a route that every call of its tools depends on.
_WHOAMI = "/v1/auth/whoami"
_UNAUTHORISED = 401


class Check(msgspec.Struct, frozen=True):
    """The outcome of one look; ``detail`` holds no secret, ``remedy`` is "" where all is well."""

    name: str
    is_ok: bool
    detail: str
    milliseconds: int = 0
    remedy: str = ""


class _Failure(Exception):
    """A look that did not find what it should."""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy


Look = Callable[[], Awaitable[str]]


def check_settings(settings: Settings) -> Check:
    """Say whether everything that `serve` requires is set, and every list in it can be read.

    Raises:
        SettingsError: names what is missing, or which guard or rule cannot be read.
    """
    require(settings, "public_url", "database_url", "redis_url", "state_keys")
    remote_policy(settings)
    vault_policy(settings)
    return Check("settings", True, "complete and well-formed")


async def examine(settings: Settings) -> AsyncIterator[Check]:
    """Yield one check after the other; a failing one does not keep the next from being made.

    Args:
        settings: complete settings, see `check_settings`.
    """
    database_url, redis_url = settings.database_url, settings.redis_url
    if database_url is None or redis_url is None:
        raise SettingsError("database and Redis are not set")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(database_url, 1))
        http = await stack.enter_async_context(open_http(f"scaimcp-doctor/{__version__}"))
        platform = PlatformClient(http, settings.platform_url)
        looks: tuple[tuple[str, Look], ...] = (
            ("public URL", partial(_public_url, settings)),
            ("database", partial(_database, database)),
            ("schema", partial(_schema, database)),
            ("redis", partial(_redis, redis_url)),
            ("platform", partial(_platform, platform, settings.platform_url)),
            ("sign-in", partial(_sign_in, platform, settings.auth_issuer)),
            ("browser sign-in", partial(_browser, settings, platform, partial(fetch, http))),
            ("scaivault", partial(_vault, vault_policy(settings))),
        )
        for name, look in looks:
            yield await _made(name, look)


async def _made(name: str, look: Look) -> Check:
    started = time.perf_counter()
    is_ok, remedy = True, ""
    try:
        async with asyncio.timeout(_SECONDS):
            detail = await look()
    except _Failure as failure:
        is_ok, detail, remedy = False, failure.detail, failure.remedy
    except TimeoutError:
        is_ok, detail = False, f"no answer in {_SECONDS:.0f} s"
        remedy = "check the address and what lies between"
    return Check(name, is_ok, detail, round((time.perf_counter() - started) * 1000), remedy)


async def _public_url(settings: Settings) -> str:
    url = settings.public_url
    where = "clients connect to" if url.startswith("https:") else "clients on this machine use"
    return f"{where} {url}/mcp"


async def _database(database: Database) -> str:
    try:
        await database.ping()
    except DatabaseUnavailable as error:
        remedy = "check SCAIMCP_DATABASE_URL: host, port, user, password, database, TLS"
        raise _Failure(error.message, remedy) from None
    return "answers"


async def _schema(database: Database) -> str:
    head = head_revision()
    try:
        current = await current_revision(database)
    except DatabaseUnavailable as error:
        raise _Failure(error.message, "mend the database first") from None
    if current != head:
        detail = f"at {current or 'nothing'}, this version needs {head}"
        raise _Failure(detail, "run scaimcp migrate")
    return f"at {head}"


async def _redis(url: Secret) -> str:
    remedy = "check SCAIMCP_REDIS_URL: scheme, host, port, user, password, database"
    try:
        async with open_redis(url) as client:
            await client.ping()
    except RedisUnavailable as error:
        raise _Failure(error.message, remedy) from None
    except ValueError:
        raise _Failure("the URL cannot be read", remedy) from None
    return "answers"


async def _platform(platform: PlatformClient, url: str) -> str:
    try:
        await platform.request(_HEALTH, None, Trace(new_id("req_")))
    except GatewayError as error:
        remedy = "check SCAIMCP_PLATFORM_URL, name resolution, proxies and certificates"
        raise _Failure(f"{url}: {error.message}", remedy) from None
    return f"{url} answers"


class _Issuer(msgspec.Struct):
    issuer: str = ""


class _Discovery(msgspec.Struct):
    data: _Issuer | None = None
    issuer: str = ""


async def _sign_in(platform: PlatformClient, issuer: str | None) -> str:
    """Ask where clients sign in, unless the operator has said so."""
    if issuer is not None:
        return f"issuer {issuer}, from SCAIMCP_AUTH_ISSUER"
    remedy = "set SCAIMCP_AUTH_ISSUER; without it, clients are not told where to sign in"
    try:
        answer = await platform.request(_DISCOVER, None, Trace(new_id("req_")))
        found = msgspec.json.decode(answer.body, type=_Discovery)
    except GatewayError as error:
        raise _Failure(f"the platform does not name its issuer: {error.message}", remedy) from None
    except msgspec.DecodeError:
        raise _Failure("the platform's answer cannot be read", remedy) from None
    named = (found.data.issuer if found.data is not None else "") or found.issuer
    if not named:
        raise _Failure("the platform names no issuer", remedy)
    return f"issuer {named}, from the platform"


async def _browser(settings: Settings, platform: PlatformClient, send: Fetch) -> str:
    """Ask the identity provider where users of this gateway's pages sign in."""
    client = login_client(settings)
    if client is None:
        return "off, SCAIMCP_LOGIN_CLIENT_ID is not set"
    issuer = Issuer(platform, settings.login_issuer or settings.auth_issuer)
    callback = f"{settings.public_url}/login/callback"
    try:
        address = await Login(client, issuer, send).address(
            Attempt("doctor", "doctor"), "doctor", callback, new_id("req_"), anew=False
        )
    except LoginFailed as error:
        remedy = "check SCAIMCP_LOGIN_ISSUER and its /.well-known/openid-configuration"
        detail = f"the identity provider is {error.reason} ({error.cause})"
        raise _Failure(detail, remedy) from None
    return f"at {address.partition('?')[0]}, back at {callback}"


async def _vault(policy: VaultPolicy) -> str:
    """Ask ScaiVault for anything, and say what no tenant can loosen."""
    if not policy.url:
        return "off, SCAIMCP_SCAIVAULT_URL is not set"
    remedy = "check SCAIMCP_SCAIVAULT_URL, name resolution, proxies and certificates"
    try:
        async with open_http(
            f"scaimcp-doctor/{__version__}",
            ca_bundle=policy.ca_file,
            connect_seconds=policy.connect_seconds,
        ) as http:
            answer = await fetch(http, "GET", policy.url.rstrip("/") + _WHOAMI, headers={})
    except FetchFailed as error:
        raise _Failure(f"{policy.url}: no answer ({error.reason})", remedy) from None
    except OSError as error:
        detail = f"the file of certificates cannot be read ({type(error).__name__})"
        raise _Failure(detail, "check SCAIMCP_SCAIVAULT_CA_FILE") from None
    if answer.status != _UNAUTHORISED:
        raise _Failure(f"{policy.url}: HTTP {answer.status} for {_WHOAMI}, not 401", remedy)
    if policy.warnings:
        remedy = "mend SCAIMCP_SCAIVAULT_ALLOWED_PATHS and SCAIMCP_SCAIVAULT_DENIED_PATHS"
        raise _Failure("; ".join(policy.warnings), remedy)
    return f"{policy.url} answers; for every tenant: {_told(policy.guards)}"


def _told(guards: Guards) -> str:
    """Return an operator's guards in a few words; of denied paths their number only."""
    words = []
    if guards.read_only:
        words.append("read-only")
    if guards.mask_values:
        words.append("masked")
    if guards.allowed is not None:
        words.append(f"only {', '.join(guards.allowed)}")
    if guards.denied:
        words.append(f"{len(guards.denied)} denied")
    if guards.groups is not None:
        words.append(f"groups {', '.join(sorted(guards.groups))}")
    return "; ".join(words) or "no guards"
