"""Open all of the remote servers' part of a gateway: registry, source, questions to users."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from scaimcp.credentials.keys import LocalKeys
from scaimcp.postgres import Database
from scaimcp.redis import RedisClient
from scaimcp.remotes.calls.accounting import open_books
from scaimcp.remotes.calls.invoking import Invoker
from scaimcp.remotes.consent.approvals import Approvals
from scaimcp.remotes.consent.asking import asking
from scaimcp.remotes.plugging import Plugged, open_source
from scaimcp.remotes.registry.pacing import Pace
from scaimcp.remotes.registry.use_cases import Registry, registry_of
from scaimcp.remotes.registry.workings import Workings
from scaimcp.remotes.watching.opening import RemoteParts, open_remotes
from scaimcp.settings import KeyRing, Settings
from scaimcp.versions.notices import Notice


class RemoteServices(msgspec.Struct, frozen=True):
    """What the gateway's edges use; there is none without a key that seals credentials."""

    parts: RemoteParts
    registry: Registry
    plugged: Plugged
    approvals: Approvals
    invoker: Invoker


@asynccontextmanager
async def open_remote_services(
    settings: Settings,
    kek: KeyRing,
    database: Database,
    redis: RedisClient,
    changed: Callable[[Notice], None],
) -> AsyncIterator[RemoteServices]:
    """Open everything about remote servers.

    Args:
        settings: complete settings.
        kek: seals credentials.
        database: the open pool.
        redis: the open client.
        changed: makes this process forget what it knows of a tenant's catalogue.

    Raises:
        SettingsError: a list of the settings cannot be read.
    """
    state_keys = settings.state_keys
    if state_keys is None:
        raise AssertionError("require() let a missing setting pass")
    async with open_remotes(settings, database, redis, LocalKeys(kek)) as parts:
        asked = asking(parts.policy, settings.public_url, state_keys, database)
        async with (
            open_books(parts, database) as books,
            open_source(parts, database, asked.consent, books) as plugged,
        ):
            yield RemoteServices(
                parts=parts,
                registry=registry_of(
                    Workings(
                        database=database,
                        keys=parts.keys,
                        policy=parts.policy,
                        discovery=parts.discoverer,
                        after=parts.follow_up,
                        pace=Pace(redis),
                        check_host=parts.http.check,
                        changed=changed,
                    )
                ),
                plugged=plugged,
                approvals=asked.approvals,
                invoker=Invoker(database, asked.approvals, plugged.source.run),
            )
