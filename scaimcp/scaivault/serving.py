"""The module in the gateway, opened together. Spec: scaivault 3."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from scaimcp.audit.buffer import open_buffer
from scaimcp.errors import SettingsError
from scaimcp.outbound import open_http
from scaimcp.postgres import Database
from scaimcp.scaivault.accounting import Books
from scaimcp.scaivault.client import VaultClient
from scaimcp.scaivault.completion import Completions
from scaimcp.scaivault.config import VaultPolicy
from scaimcp.scaivault.cursors import Cursors
from scaimcp.scaivault.execution import VaultTools
from scaimcp.scaivault.profiles import GuardProfiles
from scaimcp.scaivault.resources import Resources
from scaimcp.scaivault.source import ModuleSwitch, VaultParts, VaultSource
from scaimcp.settings import KeyRing
from scaimcp.telemetry.logs import get_logger
from scaimcp.versions.notices import Notice

_log = get_logger("scaimcp.scaivault")


class VaultSeams(msgspec.Struct, frozen=True):
    """What the module needs of the gateway around it.

    Args:
        database: where profiles and audit rows are.
        keys: seal cursors.
        switch: what the platform says of the module.
        announce: tells every process, this one included, of a change of a tenant's catalogue.
        user_agent: what the gateway calls itself.
    """

    database: Database
    keys: KeyRing
    switch: ModuleSwitch
    announce: Callable[[Notice], Awaitable[None]]
    user_agent: str


class VaultServices(msgspec.Struct, frozen=True):
    """The module: its source, and the guards that its administrators change."""

    source: VaultSource
    profiles: GuardProfiles


@asynccontextmanager
async def open_vault_services(
    policy: VaultPolicy, seams: VaultSeams
) -> AsyncIterator[VaultServices]:
    """Open the module; ScaiVault itself is not asked before somebody calls.

    Args:
        policy: with a URL.
        seams: the gateway around it.

    Raises:
        SettingsError: the file of certificates cannot be read.
    """
    for warning in policy.warnings:
        _log.warning("guards of ScaiVault", reason=warning)
    async with AsyncExitStack() as stack:
        buffer = await stack.enter_async_context(open_buffer(seams.database))
        try:
            http = await stack.enter_async_context(
                open_http(
                    seams.user_agent,
                    ca_bundle=policy.ca_file,
                    connect_seconds=policy.connect_seconds,
                )
            )
        except OSError as error:
            raise SettingsError(
                f"SCAIMCP_SCAIVAULT_CA_FILE cannot be read ({type(error).__name__})"
            ) from None
        client = VaultClient(http, policy.url, timeout_seconds=policy.timeout_seconds)
        cursors = Cursors(seams.keys)
        tools = VaultTools(client, cursors, most_bytes=policy.result_chars, counts_chars=True)
        resources = Resources(tools, cursors)
        profiles = GuardProfiles(seams.database, policy.guards, seams.announce)
        completions, books = Completions(resources), Books(buffer)
        parts = VaultParts(profiles, seams.switch, tools, resources, completions, books)
        yield VaultServices(VaultSource(parts, policy.result_chars), profiles)
