"""The platform catalogue over a fake platform, with a clock that moves only when told to."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from scaimcp.auth.verifier import Verifier, VerifierPolicy
from scaimcp.catalog.builtin import CORE, MODULES
from scaimcp.catalog.manifests import Manifests
from scaimcp.catalog.modules import CALL_SECONDS, LIST_SECONDS, ModuleDirectory, ModulePolicy
from scaimcp.catalog.registry import Registry, build
from scaimcp.catalog.reshape import Caps
from scaimcp.catalog.source import CatalogServices, CatalogSource
from scaimcp.errors import ToolError
from scaimcp.types import RequestContext, Snapshot, Tool, ToolResult
from tests.fakes.callers import Clock, context
from tests.fakes.platform import FakePlatform, Scripted, data

PROFILE: dict[str, Any] = {
    "user": {"id": "usr_1", "display_name": "Ann", "status": "active"},
    "tenant": {"id": "tnt_acme", "slug": "acme", "status": "active"},
    "partner": None,
    "roles": ["tenant_admin"],
    "permissions": ["models:list"],
    "module_permissions": ["*"],
}
MODULE_IDS = (
    "scaibot", "scaibunker", "scaicore", "scaiecho", "scaimatrix", "scaimind", "scaipersona",
    "scaiqueue", "scaiskills", "scaispeak",
)  # fmt: skip
MODULE_ROWS: list[dict[str, Any]] = [
    {"module_id": module_id, "status": "active", "version": "1"} for module_id in MODULE_IDS
]


class Setup:
    """A catalogue source, and everything behind it but the network."""

    def __init__(
        self,
        rows: Any = MODULE_ROWS,
        *,
        chars: int = 48_000,
        assume: str = "",
        manifests: str = "",
        registry: Registry | None = None,
    ) -> None:
        self.clock = Clock()
        self.platform = FakePlatform({"GET /v1/modules": data(rows), "GET /v1/me": data(PROFILE)})
        self.verifier = Verifier(
            self.platform, VerifierPolicy("http://localhost/mcp"), monotonic=self.clock
        )
        policy = ModulePolicy(None, frozenset(assume.split()))
        self.modules = ModuleDirectory(self.platform, self.verifier, policy, monotonic=self.clock)
        asked = frozenset(manifests.split())
        self.manifests = Manifests(self.platform, asked, monotonic=self.clock)
        self.changes: list[str] = []
        services = CatalogServices(
            self.platform, self.verifier, self.modules, self.manifests, self._changed
        )
        registry = registry or build((*CORE, *MODULES), 16 * 1024 * 1024)
        self.source = CatalogSource(
            registry, services, Caps(chars, 8 * 1024 * 1024), monotonic=self.clock
        )

    async def _changed(self, context: RequestContext, scope: str) -> None:
        self.changes.append(scope)

    def on(self, route: str, *answers: Scripted) -> None:
        """Set what a route of the platform answers."""
        self.platform.on(route, *answers)

    def reads(self, route: str = "GET /v1/modules") -> int:
        """Return how often a route was asked."""
        return len(self.platform.seen(route))

    async def snapshot(
        self, who: RequestContext | None = None, max_age: float = LIST_SECONDS
    ) -> Snapshot:
        return await self.source.snapshot(who or context(), max_age)

    async def tool(self, name: str, who: RequestContext | None = None) -> Tool:
        return (await self.snapshot(who, CALL_SECONDS)).by_name[name]

    async def call(
        self, called: str, /, *, who: RequestContext | None = None, **arguments: Any
    ) -> ToolResult:
        tool = await self.tool(called, who)
        raw = msgspec.json.encode(arguments) if arguments else b""
        return await self.source.call(tool, raw, who or context())

    async def value(self, called: str, /, **more: Any) -> dict[str, Any]:
        """Call a tool and return its decoded result."""
        result = await self.call(called, **more)
        decoded: dict[str, Any] = json.loads(result.text or b"")
        return decoded

    async def failure(self, called: str, /, **more: Any) -> ToolError:
        """Call a tool and return its failure."""
        with pytest.raises(ToolError) as error:
            await self.call(called, **more)
        return error.value
