"""The composition root: opens every service in one place and closes them in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import msgspec

from scaimcp import __version__
from scaimcp.audit import store as audit
from scaimcp.auth.challenge import metadata_url
from scaimcp.auth.identity_provider import login_client
from scaimcp.auth.issuer import Issuer
from scaimcp.auth.login import Fetch, Login
from scaimcp.auth.verifier import Verifier, VerifierPolicy
from scaimcp.catalog import builtin
from scaimcp.catalog.hook import installed, load_modules
from scaimcp.catalog.manifests import Manifests
from scaimcp.catalog.modules import ModuleDirectory, ModulePolicy, SwitchedModule
from scaimcp.catalog.own import own_tools, read_own
from scaimcp.catalog.registry import build
from scaimcp.catalog.reshape import Caps
from scaimcp.catalog.source import CatalogServices, CatalogSource
from scaimcp.gateway.discovery import DiscoverySource
from scaimcp.gateway.explain import Explainer
from scaimcp.gateway.gateway import Gateway
from scaimcp.gateway.limits import InFlight, NoLimits, RateLimiter
from scaimcp.gateway.sources import ToolSource
from scaimcp.outbound import fetch, open_http
from scaimcp.postgres import Database, DatabaseUnavailable, open_database
from scaimcp.redis import RedisClient, RedisRateLimiter, open_redis
from scaimcp.remotes.calls.disabled import DisabledSource
from scaimcp.remotes.config import remote_policy
from scaimcp.remotes.plugging import Plugged
from scaimcp.remotes.serving import RemoteServices, open_remote_services
from scaimcp.scaigrid.client import PlatformClient
from scaimcp.scaigrid.traced import platform_client
from scaimcp.scaivault.config import VaultPolicy, vault_policy
from scaimcp.scaivault.offers import MODULE as VAULT
from scaimcp.scaivault.serving import VaultSeams, VaultServices, open_vault_services
from scaimcp.sealing import Sealer
from scaimcp.server.asking import Questions
from scaimcp.server.dispatch import Dispatcher
from scaimcp.server.endpoint import EdgePolicy, McpEndpoint
from scaimcp.server.methods import Methods
from scaimcp.server.rendering import ListedTools, Renderer
from scaimcp.server.session import Sessions
from scaimcp.server.subscriptions import ALL_ANNOUNCED, Subscriptions
from scaimcp.server.traced import TracedEndpoint
from scaimcp.settings import KeyRing, Settings, require
from scaimcp.telemetry.logs import get_logger
from scaimcp.telemetry.metrics import AUDIT_DROPPED
from scaimcp.telemetry.tracing import Tracing, open_tracing
from scaimcp.types import RequestContext
from scaimcp.versions.notices import Notice, announce, follow
from scaimcp.versions.store import raise_version

SERVER_NAME = "scaimcp"
_log = get_logger("scaimcp.bootstrap")


class Services(msgspec.Struct, frozen=True):
    """Everything that app, worker and command line use, opened together.

    ``followers`` hear of every change of a tenant's catalogue, here or elsewhere. ``remotes`` is
    None without a key that seals credentials: there is no registry then. ``vault`` is None
    without a ScaiVault. ``login`` is None where browsers cannot sign in.
    """

    settings: Settings
    database: Database
    redis: RedisClient
    platform: PlatformClient
    verifier: Verifier
    modules: ModuleDirectory
    gateway: Gateway
    explainer: Explainer
    subscriptions: Subscriptions
    questions: Questions
    endpoint: McpEndpoint
    followers: list[Callable[[Notice], None]] = msgspec.field(default_factory=list)
    remotes: RemoteServices | None = None
    vault: VaultServices | None = None
    login: Login | None = None

    def drain(self) -> None:
        """End what waits for a client's next word: streams of news, questions, held calls."""
        self.subscriptions.close()
        self.questions.close()
        if self.remotes is not None:
            self.remotes.plugged.holds.close()


@asynccontextmanager
async def open_services(
    settings: Settings, more_sources: Iterable[ToolSource] = ()
) -> AsyncIterator[Services]:
    """Open the gateway's services.

    Args:
        settings: complete settings.
        more_sources: further tool sources, behind the platform's.

    Raises:
        SettingsError: a setting that serving needs is missing, or a list cannot be read.
    """
    require(settings, "public_url", "database_url", "redis_url", "state_keys")
    remote_policy(settings)
    vault = vault_policy(settings)
    keys, database_url, redis_url = settings.state_keys, settings.database_url, settings.redis_url
    if keys is None or database_url is None or redis_url is None:
        raise AssertionError("require() let a missing setting pass")
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(open_http(f"scaimcp/{__version__}"))
        database = await stack.enter_async_context(
            open_database(database_url, settings.database_pool_max)
        )
        redis = await stack.enter_async_context(open_redis(redis_url))
        tracing = await stack.enter_async_context(
            open_tracing(settings.is_traced, SERVER_NAME, __version__)
        )
        platform = platform_client(
            http,
            settings.platform_url,
            tracing,
            forward_client_ip=settings.platform_forward_client_ip,
        )
        services = _compose(settings, keys, platform, database, redis, tracing)
        services = await _with_vault(services, vault, keys, stack)
        services = await _with_remotes(services, stack)
        login = _login(settings, platform, partial(fetch, http))
        services = msgspec.structs.replace(services, login=login)
        for source in more_sources:
            services.gateway.add(source)
        stack.push_async_callback(services.verifier.aclose)
        follower = asyncio.get_running_loop().create_task(
            follow(redis, partial(_apply, services)), name="catalogue notices"
        )
        try:
            yield services
        finally:
            follower.cancel()
            with suppress(asyncio.CancelledError):
                await follower


def _plug(services: Services, plugged: Plugged) -> None:
    """Put what remote servers offer behind everything else."""
    services.gateway.add(plugged.source)
    services.gateway.contents.add(plugged.source)
    services.subscriptions.announced = ALL_ANNOUNCED
    services.followers.append(
        lambda notice: plugged.snapshots.changed(notice.tenant_id, notice.version)
    )


async def _with_vault(
    services: Services, policy: VaultPolicy, keys: KeyRing, stack: AsyncExitStack
) -> Services:
    """Plug ScaiVault in, behind the modules' tools, if the operator names one."""
    if not policy.url:
        return services
    seams = VaultSeams(
        services.database,
        keys,
        SwitchedModule(services.modules, VAULT),
        partial(_announced, services),
        f"{SERVER_NAME}/{__version__}",
    )
    vault = await stack.enter_async_context(open_vault_services(policy, seams))
    services.gateway.add(vault.source)
    services.gateway.contents.add(vault.source)
    services.subscriptions.announced = ALL_ANNOUNCED
    services.followers.append(lambda notice: vault.profiles.changed(notice.tenant_id))
    return msgspec.structs.replace(services, vault=vault)


async def _announced(services: Services, notice: Notice) -> None:
    """Tell this process at once, and all others, that a tenant's catalogue has changed."""
    _apply(services, notice)
    await announce(services.redis, notice)


async def _with_remotes(services: Services, stack: AsyncExitStack) -> Services:
    """Plug remote servers in, behind the platform's tools, if their credentials can be sealed."""
    settings, kek = services.settings, services.settings.encryption_local_kek
    if kek is None:
        services.gateway.add(DisabledSource())
        return services
    remotes = await stack.enter_async_context(
        open_remote_services(
            settings, kek, services.database, services.redis, partial(_apply, services)
        )
    )
    _plug(services, remotes.plugged)
    return msgspec.structs.replace(services, remotes=remotes)


def _compose(
    settings: Settings,
    keys: KeyRing,
    platform: PlatformClient,
    database: Database,
    redis: RedisClient,
    tracing: Tracing | None,
) -> Services:
    verifier = Verifier(platform, _verifier_policy(settings))
    policy = ModulePolicy(
        settings.platform_service_token, frozenset(settings.modules_assume_enabled)
    )
    modules = ModuleDirectory(platform, verifier, policy)
    renderer = Renderer(SERVER_NAME, __version__, settings.remote_name_style)
    subscriptions = Subscriptions(frozenset(settings.mcp_surfaces), renderer)
    catalog = CatalogServices(
        platform,
        verifier,
        modules,
        Manifests(platform, frozenset(settings.modules_manifests)),
        partial(_switched, database, redis, subscriptions),
    )
    gateway = _gateway(settings, catalog, redis)
    sessions = Sessions(Sealer(keys, "session"))
    methods = Methods(
        gateway,
        renderer,
        sessions,
        Sealer(keys, "cursor"),
        surfaces=frozenset(settings.mcp_surfaces),
        page_size=settings.limits_list_page,
    )
    dispatcher = Dispatcher(methods, sessions, subscriptions, metadata_url(settings.public_url))
    return Services(
        settings=settings,
        database=database,
        redis=redis,
        platform=platform,
        verifier=verifier,
        modules=modules,
        gateway=gateway,
        explainer=Explainer(gateway),
        subscriptions=subscriptions,
        questions=dispatcher.questions,
        endpoint=_endpoint(verifier, dispatcher, _edge_policy(settings), tracing),
    )


def _login(settings: Settings, platform: PlatformClient, send: Fetch) -> Login | None:
    client = login_client(settings)
    if client is None:
        return None
    return Login(client, Issuer(platform, settings.login_issuer or settings.auth_issuer), send)


def _endpoint(
    verifier: Verifier, dispatcher: Dispatcher, policy: EdgePolicy, tracing: Tracing | None
) -> McpEndpoint:
    if tracing is None:
        return McpEndpoint(verifier, dispatcher, policy)
    return TracedEndpoint(verifier, dispatcher, policy, tracing)


def _gateway(settings: Settings, catalog: CatalogServices, redis: RedisClient) -> Gateway:
    """Return the gateway with the platform's tools and its own."""
    inflight = InFlight(settings.limits_inflight_per_caller)
    gateway = Gateway((), _limiter(settings, redis), inflight)
    caps = Caps(settings.limits_result_chars, settings.limits_result_binary_bytes)
    contributed = load_modules(installed())
    registry = build((*builtin.CORE, *builtin.MODULES), settings.limits_request_bytes)
    registry = registry.extended(contributed.tools, contributed.dropped)
    gateway.add(CatalogSource(registry, catalog, caps))
    own = own_tools(builtin.GATEWAY, caps.chars)
    gateway.add(DiscoverySource(gateway, own, read_own, ListedTools(), caps.chars))
    return gateway


def _verifier_policy(settings: Settings) -> VerifierPolicy:
    return VerifierPolicy(
        settings.public_url,
        settings.auth_cache_seconds,
        settings.auth_permission_fallback == "open",
        settings.auth_audience,
    )


def _limiter(settings: Settings, redis: RedisClient) -> RateLimiter:
    limits = {
        "token": settings.limits_rate_token,
        "user": settings.limits_rate_user,
        "tenant": settings.limits_rate_tenant,
    }
    return RedisRateLimiter(redis, limits) if any(limits.values()) else NoLimits()


def _edge_policy(settings: Settings) -> EdgePolicy:
    return EdgePolicy(
        public_url=settings.public_url,
        hosts=settings.hosts,
        origins=settings.origins,
        body_bytes=settings.limits_request_bytes,
        inflight=settings.limits_inflight,
        trusted_proxies=settings.server_trusted_proxies,
    )


async def _switched(
    database: Database,
    redis: RedisClient,
    subscriptions: Subscriptions,
    context: RequestContext,
    tenant_id: str,
) -> None:
    """A module was switched through this gateway: raise the version, tell everyone.

    The switch itself has happened on the platform, so a failure here is logged, not raised.
    """
    if not tenant_id:
        subscriptions.changed_all()
        await announce(redis, Notice(""))
        return
    subscriptions.changed(tenant_id)
    version = 0
    try:
        async with database.transaction() as connection:
            version = await raise_version(connection, tenant_id)
            event = audit.AuditEvent(
                tenant_id, "catalog.change", "tenant", tenant_id, data={"version": version}
            )
            await audit.record(connection, event, context)
    except DatabaseUnavailable as error:
        AUDIT_DROPPED.inc()
        _log.warning("catalogue version not raised", reason=error.message)
    await announce(redis, Notice(tenant_id, version))


def _apply(services: Services, notice: Notice) -> None:
    """Another process changed a tenant's catalogue: forget what is known of it.

    Without a tenant it may concern every one of them: notices were missed meanwhile.
    """
    for follower in services.followers:
        follower(notice)
    if not notice.tenant_id:
        services.modules.drop_all()
        services.subscriptions.changed_all()
        return
    services.modules.drop(notice.tenant_id)
    services.subscriptions.changed(notice.tenant_id)
