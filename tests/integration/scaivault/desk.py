"""The tools in front of the stand-in vault, in one process, with a clock that only tests move."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec

from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.faults import Fault
from scaimcp.dev.vault.fixture import AGENT
from scaimcp.dev.vault.server import Served, serve_vault
from scaimcp.outbound import open_http
from scaimcp.scaivault.catalogue import BY_NAME
from scaimcp.scaivault.client import VaultClient
from scaimcp.scaivault.context_lock import Identity
from scaimcp.scaivault.cursors import Cursors, process_ring
from scaimcp.scaivault.errors import VaultError
from scaimcp.scaivault.execution import VaultTools
from scaimcp.scaivault.guards import Guards
from scaimcp.scaivault.timing import Timing
from scaimcp.types import Secret

FROZEN_AT = 1_777_000_000.0
NO_GUARDS = Guards()


def identity_of(token: str, **more: Any) -> Identity:
    return Identity(token=Secret(token), key=hashlib.sha256(token.encode()).digest(), **more)


@dataclass
class Desk:
    """Calls tools by name and shows what reached the vault."""

    served: Served
    http: aiohttp.ClientSession
    slept: list[float] = field(default_factory=list)
    shift: float = 0.0
    guards: Guards = NO_GUARDS
    identity: Identity = field(default_factory=lambda: identity_of(AGENT))
    bearer: str = AGENT
    tenant_id: str = "tnt_a"
    partner_id: str = "ptn_x"

    def __post_init__(self) -> None:
        self.timing = Timing(self.monotonic, self.now, self.sleep, lambda most: most)
        self.client = VaultClient(self.http, self.served.url, timing=self.timing)
        self.tools = self.with_tools()

    def with_tools(self, **settings: Any) -> VaultTools:
        self.tools = VaultTools(self.client, Cursors(process_ring(b"k" * 32)), **settings)
        return self.tools

    def monotonic(self) -> float:
        return 1_000.0 + self.shift

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.served.vault.clock.now(), UTC)

    async def sleep(self, seconds: float) -> None:
        """Let time go by, here and in the vault."""
        self.slept.append(seconds)
        self.shift += seconds
        self.served.vault.clock.shift(seconds)

    async def raw(self, name: str, arguments: bytes, guards: Guards | None = None) -> bytes:
        held = self.guards if guards is None else guards
        result = await self.tools.call(BY_NAME[name], arguments, self.identity, held)
        assert result.text is not None
        assert not result.is_error
        return result.text

    async def call(self, name: str, guards: Guards | None = None, /, **arguments: Any) -> Any:
        """Return the decoded result of a call."""
        encoded = await self.raw(f"scaivault_{name}", msgspec.json.encode(arguments), guards)
        return msgspec.json.decode(encoded)

    async def refused(
        self, name: str, guards: Guards | None = None, /, **arguments: Any
    ) -> VaultError:
        """Return the error of a call that must fail."""
        try:
            result = await self.call(name, guards, **arguments)
        except VaultError as error:
            return error
        raise AssertionError(f"it gave {result}")

    async def rest(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the vault without the tools, as somebody who may do everything."""
        async with self.http.request(
            method,
            self.served.url + path,
            json=body,
            headers={"Authorization": f"Bearer {self.bearer}"},
        ) as response:
            assert response.status < 300, await response.text()
            return await response.json()

    async def secret(self, path: str, data: Any = None, **more: Any) -> Any:
        return await self.rest("PUT", f"/v1/secrets/{path}", {"data": data or {"k": "v"}, **more})

    def fault(self, path: str, **what: Any) -> None:
        self.served.vault.faults.add(Fault(path=path, **what))

    def forget(self) -> None:
        self.served.vault.calls.clear()

    def sent(self) -> list[dict[str, Any]]:
        return list(self.served.vault.calls)

    def lines(self) -> list[str]:
        """Return method and target of every request since `forget`."""
        return [f"{row['method']} {row['path']}" for row in self.served.vault.calls]


@asynccontextmanager
async def open_desk(**config: Any) -> AsyncIterator[Desk]:
    settings = VaultConfig(frozen_at=FROZEN_AT, **config)
    async with serve_vault(settings) as served, open_http("scaimcp/9.9") as http:
        yield Desk(served, http)
