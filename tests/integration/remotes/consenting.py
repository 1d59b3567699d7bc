"""A gateway with servers of each tier, and the people and programs that use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from mcp.server.mcpserver import Context
from mcp_types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult

from scaimcp.dev.platform import SEED_LOGINS
from scaimcp.remotes.enumerations import CapabilityState, ConsentTier
from scaimcp.remotes.models import Capability, ServerRow
from tests.integration.remotes.sidebyside import Fleet, dotted, start_fleet
from tests.integration.upstream import support
from tests.world import CAPABILITIES, MODERN, Called, Client, Reply

APPROVALS = "/v1/modules/scailink/approvals"
SERVERS = "/v1/modules/scailink/remote-servers"
USE = "scailink:remote.use"
REALLY = {"type": "object", "properties": {"approve": {"type": "boolean"}}}
FORM = {"elicitation": {"form": {}}}
YES = {"consent": {"action": "accept", "content": {"approve": True}}}
SUM = {"a": 1, "b": 2}


@dataclass
class Consenting:
    """The fleet, its one upstream, and a row for each tier."""

    fleet: Fleet
    upstream: support.Fleet
    rows: dict[str, ServerRow]
    token: str

    def program(self, revision: str = MODERN, role: str = "tenant_admin") -> Client:
        """A client that holds an API key."""
        return self.fleet.client(revision, role)

    def person(self, token: str | None = None) -> Client:
        """The same user with a token of a sign-in."""
        return self.fleet.world.with_token(token or self.token)

    async def sign_in(self, role: str = "tenant_admin", **more: Any) -> str:
        """Return a JWT of a seeded user."""
        wanted = {"login": SEED_LOGINS[role], **more}
        return str((await self.fleet.world.control("POST", "/tokens", wanted))["token"])

    def name(self, tool: str = "add", tier: str = "confirm") -> str:
        return dotted(self.rows[tier], tool)

    async def asked(self, client: Client, arguments: Any = None, **more: Any) -> Called:
        """Call the tool that needs consent."""
        return await client.call(self.name(), SUM if arguments is None else arguments, **more)

    async def formed(self, arguments: Any = None, **params: Any) -> Reply:
        """Call it as a modern client that shows forms."""
        meta = {"_meta": {CAPABILITIES: FORM}}
        return (await self.asked(self.program(), arguments, params={**meta, **params})).reply

    async def question(self, arguments: Any = None, role: str = "tenant_admin") -> str:
        """Have a question asked by a program; return its id."""
        called = await self.asked(self.program("2025-11-25", role), arguments)
        assert called.code == "CONSENT_REQUIRED"
        return str(called.error["approval_id"])

    async def decide(
        self, client: Client, approval_id: str, verb: str = "approve", **changed: Any
    ) -> Reply:
        """Decide as REST does, by default on what is shown."""
        body = changed
        if not body:
            shown = await client.get(f"{APPROVALS}/{approval_id}")
            body = {"arguments_digest": shown.json["data"]["arguments_digest"]}
        return await client.send(body, path=f"{APPROVALS}/{approval_id}/{verb}")

    async def definition(self, tool: str, tier: str) -> Capability:
        rows = await self.fleet.registry.rows(self.rows[tier])
        return next(row for row in rows if row.name == tool)

    async def invoke(
        self, client: Client, tool: str = "add", tier: str = "locked", **body: Any
    ) -> Reply:
        """Run a tool by hand."""
        given: dict[str, Any] = {"arguments": SUM, **body}
        if "definition_hash" not in given:
            found = await self.definition(tool, tier)
            given["definition_hash"] = found.definition_hash.hex()
        path = f"{SERVERS}/{self.rows[tier].id}/tools/{tool}/invoke"
        return await client.send(given, path=path)

    async def hold(self, tool: str, tier: str, state: CapabilityState) -> None:
        """Set a definition's state past every rule."""
        row = self.rows[tier]
        await self.fleet.registry.execute(
            "UPDATE remote_capabilities SET state = $4"
            " WHERE tenant_id = $1 AND server_id = $2 AND name = $3",
            row.tenant_id,
            row.id,
            tool,
            state.value,
        )

    async def audited(self) -> list[tuple[str, str, Any]]:
        """Action, actor and data of the audit rows about consent, oldest first."""
        async with self.fleet.registry.database.transaction() as connection:
            found = await connection.fetch(
                "SELECT action, actor_id, data FROM audit_events"
                " WHERE tenant_id = $1 AND action LIKE 'consent.%' ORDER BY id",
                self.fleet.registry.tenant,
            )
        return [(r["action"], r["actor_id"], msgspec.json.decode(r["data"])) for r in found]


def wondering(upstream: support.Fleet) -> Any:
    """The SDK's server with a tool more, which asks before it answers."""
    server = support.sdk_server(upstream)

    @server.tool()
    async def wonder(ctx: Context[Any, Any]) -> str | InputRequiredResult:
        if not ctx.input_responses:
            params = ElicitRequestFormParams(message="Really?", requested_schema=REALLY)
            asked = {"really": ElicitRequest(params=params)}
            return InputRequiredResult(input_requests=asked, request_state="theirs")
        answer = ctx.input_responses["really"]
        return f"{answer.action} {answer.content} {ctx.request_state}"  # type: ignore[union-attr]

    app = server.streamable_http_app(transport_security=support.OPEN)
    return support.recording(app, upstream)


@asynccontextmanager
async def start_consenting(
    database_url: str, redis_url: str, **settings: str
) -> AsyncIterator[Consenting]:
    """Start a gateway and one upstream, registered once for each tier."""
    upstream = support.Fleet()
    async with (
        support.serving(wondering(upstream)) as origin,
        start_fleet(database_url, redis_url, f"{origin}/mcp", **settings) as fleet,
    ):
        upstream.url = f"{origin}/mcp"
        await fleet.world.grant("tenant_user", USE)
        rows = {
            tier.value: await fleet.register(upstream.url, tier.value, consent_tier=tier)
            for tier in ConsentTier
        }
        started = Consenting(fleet, upstream, rows, "")
        started.token = await started.sign_in()
        yield started


def text(reply: Reply) -> str:
    """The first text of a call's result."""
    return str(reply.result["content"][0]["text"])
