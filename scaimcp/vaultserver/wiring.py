"""Opens the parts of the command in one place and closes them in reverse.

Nothing is asked of the network, a database or Redis. Spec: scaivault 4 (install, start).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from scaimcp import __version__
from scaimcp.errors import SettingsError
from scaimcp.gateway.gateway import Gateway
from scaimcp.gateway.limits import InFlight, NoLimits
from scaimcp.ids import new_id
from scaimcp.outbound import open_http
from scaimcp.scaivault.client import VaultClient
from scaimcp.scaivault.completion import Completions
from scaimcp.scaivault.cursors import Cursors, process_ring
from scaimcp.scaivault.execution import VaultTools
from scaimcp.scaivault.resources import Resources
from scaimcp.sealing import Sealer
from scaimcp.server.dispatch import Dispatcher
from scaimcp.server.exchange import Exchange
from scaimcp.server.rendering import Renderer
from scaimcp.server.session import Sessions
from scaimcp.server.subscriptions import Subscriptions
from scaimcp.types import Caller, Grants, RequestContext, Secret
from scaimcp.vaultserver.environment import Config
from scaimcp.vaultserver.identity import TokenHolder
from scaimcp.vaultserver.methods import SURFACES, TTLS, VaultMethods
from scaimcp.vaultserver.source import Vault, VaultSource

SERVER_NAME = "scaivault-mcp"
API_CALLS_AT_ONCE = 8
_KEY_BYTES = 32
# Transports hold the number of running calls down themselves.
_UNBOUNDED = 1_000_000
# Whoever is connected acts with the one token; no platform tells them apart.
CALLER = Caller(
    key=b"scaivault-mcp",
    user_id=SERVER_NAME,
    tenant_id="",
    tenant_slug="",
    partner_id="",
    grants=Grants(frozenset(), frozenset()),
    method="configured",
)
_NO_BEARER = Secret("")


class Parts(msgspec.Struct, frozen=True):
    """What the transports work with.

    Args:
        dispatcher: runs JSON-RPC messages.
        sessions: reads what ``initialize`` has sealed.
        subscriptions: long streams, of which nothing is ever told.
        vault: the way to ScaiVault.
        client: sends its requests.
    """

    dispatcher: Dispatcher
    sessions: Sessions
    subscriptions: Subscriptions
    vault: Vault
    client: VaultClient


@asynccontextmanager
async def open_parts(config: Config) -> AsyncIterator[Parts]:
    """Open everything but a transport.

    Raises:
        SettingsError: the file of certificates cannot be used.
    """
    holder = TokenHolder(config.token, config.token_file)
    async with AsyncExitStack() as stack:
        try:
            http = await stack.enter_async_context(
                open_http(
                    f"{SERVER_NAME}/{__version__}",
                    ca_bundle=config.ca_file,
                    connect_seconds=config.connect_seconds,
                )
            )
        except OSError:
            raise SettingsError("SCAIVAULT_CA_FILE cannot be read as certificates") from None
        client = VaultClient(
            http, config.url, timeout_seconds=config.timeout_seconds, at_once=API_CALLS_AT_ONCE
        )
        yield _parts(config, client, holder)


def _parts(config: Config, client: VaultClient, holder: TokenHolder) -> Parts:
    ring = process_ring(os.urandom(_KEY_BYTES))
    cursors = Cursors(ring)
    tools = VaultTools(client, cursors, most_bytes=config.most_result_bytes)
    resources = Resources(tools, cursors)
    guards = config.read.guards
    vault = Vault(tools, resources, Completions(resources), holder, guards)
    source = VaultSource(vault)
    gateway = Gateway((source,), NoLimits(), InFlight(_UNBOUNDED))
    gateway.contents.add(source)
    renderer = Renderer(SERVER_NAME, __version__, ttls=TTLS)
    sessions = Sessions(Sealer(ring, "session"))
    subscriptions = Subscriptions(SURFACES, renderer)
    subscriptions.announced = frozenset()
    methods = VaultMethods(source, renderer, sessions, gateway, guards, Sealer(ring, "cursor"))
    dispatcher = Dispatcher(methods, sessions, subscriptions, "")
    return Parts(dispatcher, sessions, subscriptions, vault, client)


def context_of(exchange: Exchange) -> RequestContext:
    """Return the context of one request."""
    return RequestContext(exchange.request_id, CALLER, _NO_BEARER, answer=exchange)


def new_request_id() -> str:
    """Return the id of a request whose client has not given one."""
    return new_id("req_")
