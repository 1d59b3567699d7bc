"""Keys that a service elsewhere holds: every request waits for them. Spec: remote-servers 4."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from scaimcp.credentials.keys import LocalKeys
from scaimcp.remotes.enumerations import AuthType, Transport
from scaimcp.remotes.watching.discovery import Discovered
from scaimcp.remotes.watching.probing import Probed
from tests.integration.remotes.servers import open_registry, settings_for
from tests.integration.upstream.support import sdk


class KeysElsewhere(LocalKeys):
    """Keys that answer only when the loop has done something else."""

    asked = 0

    async def unwrap(self, wrapped: bytes, aad: bytes) -> bytearray:
        self.asked += 1
        await asyncio.sleep(0)
        return await super().unwrap(wrapped, aad)


@pytest.mark.parametrize("era", ["modern", "legacy", "sse"])
async def test_a_server_is_discovered_and_probed_with_keys_held_elsewhere(
    migrated_url: str, redis_url: str, era: Any
) -> None:
    async with (
        sdk(era) as fleet,
        open_registry(
            settings_for(migrated_url, redis_url, fleet.url), wrapper=KeysElsewhere
        ) as registry,
    ):
        transport = Transport.SSE if era == "sse" else Transport.STREAMABLE_HTTP
        row = await registry.put(fleet.url, transport=transport, auth_type=AuthType.BEARER)
        await registry.credential(row, "authorization", "ntn_1")
        assert await registry.discover(row) == Discovered("stored")
        await registry.set_state(row, "next_check_at = now()")
        probed = await registry.parts.prober.probe(row.tenant_id, row.id)
        assert probed == Probed("ok")
        assert {headers.get("authorization") for _, headers in fleet.requests} == {"Bearer ntn_1"}
        # Never kept: each request has opened the value anew.
        assert isinstance(registry.keys, KeysElsewhere)
        assert registry.keys.asked >= len(fleet.requests)
