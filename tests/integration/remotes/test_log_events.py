"""The log's named events: each is there when it happens, and says of which server and request.

Spec: remote-servers 10.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, redirect_stderr
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from scaimcp.cli.keys import AuditJournal
from scaimcp.credentials.keys import LocalKeys
from scaimcp.credentials.rotation import Pace, rotate
from scaimcp.ids import new_id
from scaimcp.jobs.remotes import discover_one, probe_many
from scaimcp.remotes.enumerations import AuthType, Status, ToolChanges
from scaimcp.remotes.models import ServerRow
from scaimcp.remotes.rules.naming import TENANT_SCOPE
from scaimcp.settings import KeyRing
from scaimcp.telemetry.logs import configure_logs
from tests.integration.rawserver import reply, reset, serve_raw
from tests.integration.remotes.servers import KEK, Upstream, named
from tests.integration.remotes.sidebyside import Fleet, dotted, start_fleet
from tests.integration.upstream import support
from tests.world import Reply

SECRET = "ntn_s3cret"
CALLS = {
    "remote_call_finished", "remote_call_failed", "remote_session_restarted",
    "remote_breaker_opened", "remote_credential_opened",
}  # fmt: skip
NO_SERVER = {"kek_rotated"}
Line = dict[str, Any]


@contextmanager
def recorded(level: str = "debug") -> Iterator[list[Line]]:
    """Fill a list with what is logged meanwhile, at the end of the block."""
    lines: list[Line] = []
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            configure_logs(level, "json")
            yield lines
    finally:
        configure_logs("error", "json")
        lines += [json.loads(line) for line in said.getvalue().splitlines()]


@dataclass
class Stage:
    """A gateway with a modern server that says what it is told to, and one of the SDK."""

    fleet: Fleet
    upstream: Upstream
    legacy: support.Fleet
    names: Iterator[str] = field(default_factory=lambda: (new_id("n") for _ in range(1_000)))

    async def row(self, **changed: Any) -> ServerRow:
        """Register a server of its own, with a query in its URL."""
        return await self.fleet.register(f"{self.upstream.url}?k={SECRET}", self.name, **changed)

    async def put(self, **changed: Any) -> ServerRow:
        """Register a server that nobody has asked yet."""
        given = {"is_tenant_shared": True, "scope_key": TENANT_SCOPE,
                 "owner_user_id": self.fleet.user_id, **changed}  # fmt: skip
        return await self.fleet.registry.put(self.upstream.url, self.name, **given)

    @property
    def name(self) -> str:
        return next(self.names)[-8:]

    async def call(self, row: ServerRow, tool: str = "search", **arguments: Any) -> Reply:
        return (await self.fleet.client().call(dotted(row, tool), arguments)).reply

    def answer(self, **result: Any) -> None:
        whole = {"resultType": "complete", "content": [], "isError": False, **result}
        self.upstream.plays["tools/call"] = self.upstream.answering(whole)

    async def rest(self, method: str, path: str, body: Any = None) -> Reply:
        where = f"/v1/modules/scailink/remote-servers{path}"
        return await self.fleet.client().send(body, path=where, method=method)


@asynccontextmanager
async def opened(database_url: str, redis_url: str) -> AsyncIterator[Stage]:
    async with serve_raw() as raw, support.sdk("legacy") as legacy:
        upstream = Upstream(raw)
        async with start_fleet(database_url, redis_url, raw.url, legacy.url) as fleet:
            yield Stage(fleet, upstream, legacy)


@pytest_asyncio.fixture(scope="module")
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Stage]:
    async with opened(database_url, redis_url) as started:
        yield started


# --- what makes each event happen -------------------------------------------------------------


async def registered(stage: Stage) -> None:
    body = {"name": stage.name, "endpoint_url": f"{stage.upstream.url}?k={SECRET}",
            "auth_type": "none", "is_tenant_shared": True}  # fmt: skip
    answer = await stage.rest("POST", "", body)
    assert answer.status == 201, answer.content


async def discovered(stage: Stage) -> None:
    await stage.row()


async def not_discovered(stage: Stage) -> None:
    row = await stage.put()
    stage.upstream.plays["server/discover"] = reply(500)
    ended = await stage.fleet.registry.discover(row)
    stage.upstream.plays.clear()
    assert ended.result == "failed"


async def dropped(stage: Stage) -> None:
    stage.upstream.lists["tools/list"] = [named("search"), named("search")]
    await stage.row()


async def changed(stage: Stage) -> None:
    row = await stage.row(tool_changes=ToolChanges.REVIEW)
    stage.upstream.lists["tools/list"] = [named("search", "Does more.")]
    await stage.fleet.registry.discover(row)


async def finished(stage: Stage) -> None:
    stage.answer()
    assert not (await stage.call(await stage.row())).result["isError"]


async def failed(stage: Stage) -> None:
    row = await stage.row()
    stage.upstream.plays["tools/call"] = reply(500, {"why": SECRET})
    assert (await stage.call(row, q=SECRET)).result["isError"]


async def restarted(stage: Stage) -> None:
    row = await stage.fleet.register(stage.legacy.url, stage.name)
    assert not (await stage.call(row, "add", a=1, b=2)).result["isError"]
    headers = stage.legacy.requests[-1][1]
    lines = {"mcp-session-id": headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
    async with stage.fleet.world.http.delete(stage.legacy.url, headers=lines) as ended:
        assert ended.status == 200
    assert not (await stage.call(row, "add", a=1, b=2)).result["isError"]


async def refused(stage: Stage) -> None:
    row = await stage.put()
    await forbidden(stage, row)
    ended = await stage.fleet.registry.discover(row)
    assert ended.error_class == "EndpointForbiddenError"


async def forbidden(stage: Stage, row: ServerRow) -> None:
    """Point a server at an address that no setting allows."""
    where = "http://127.0.0.1:1"
    assignments = f"endpoint_url = '{where}/mcp?k={SECRET}', endpoint_origin = '{where}'"
    await stage.fleet.registry.set_server(row, assignments)
    await stage.fleet.bump()


async def broken(stage: Stage) -> None:
    row = await stage.row()
    stage.upstream.plays["tools/call"] = reset()
    for _ in range(5):
        assert (await stage.call(row)).result["isError"]


async def with_credential(stage: Stage) -> ServerRow:
    row = await stage.put(auth_type=AuthType.BEARER)
    await stage.fleet.registry.credential(row, "authorization", SECRET)
    await stage.fleet.discover(row)
    stage.answer()
    return row


async def opened_credential(stage: Stage) -> None:
    assert not (await stage.call(await with_credential(stage))).result["isError"]


async def unsealed(stage: Stage) -> None:
    row = await with_credential(stage)
    await stage.fleet.registry.execute(
        "UPDATE remote_credentials SET ciphertext = ciphertext || '\\x00' WHERE server_id = $1",
        row.id,
    )
    await stage.fleet.bump()
    assert (await stage.call(row)).result["isError"]


async def skipped(stage: Stage) -> None:
    registry = stage.fleet.registry
    assert await discover_one(registry.parts, registry.tenant, "rs_gone", "job_1") == 0
    assert await probe_many(registry.parts, [registry.tenant], ["rs_gone"], "job_2") == 0


async def rotated(stage: Stage) -> None:
    await with_credential(stage)
    ring = KeyRing(("new", "test"), (b"n" * 32, base64.b64decode(KEK.partition(":")[2])))
    database = stage.fleet.registry.database

    async def work() -> None:
        await rotate(database, LocalKeys(ring), AuditJournal(), Pace())

    await asyncio.get_running_loop().create_task(work())


EVENTS: dict[str, tuple[Callable[[Stage], Awaitable[None]], str, tuple[str, ...]]] = {
    "remote_server_registered": (registered, "info", ()),
    "remote_discovery_finished": (discovered, "info", ("source", "result")),
    "remote_discovery_failed": (not_discovered, "info", ("source", "result", "error_class")),
    "remote_definition_dropped": (dropped, "info", ("reasons",)),
    "remote_tool_change_detected": (changed, "info", ("name", "class", "decision")),
    "remote_status_changed": (discovered, "info", ("from", "to", "class", "n")),
    "remote_call_finished": (finished, "debug", ("kind", "outcome", "duration_ms")),
    "remote_call_failed": (failed, "info", ("kind", "outcome", "duration_ms")),
    "remote_session_restarted": (restarted, "info", ("outcome",)),
    "remote_endpoint_refused": (refused, "warning", ("origin", "reason", "address")),
    "remote_breaker_opened": (broken, "warning", ("outcome",)),
    "remote_credential_opened": (opened_credential, "debug", ("field",)),
    "remote_unseal_failed": (unsealed, "error", ("field", "key_id", "reason")),
    "remote_job_skipped": (skipped, "info", ("reason",)),
    "kek_rotated": (rotated, "info", ("key_id", "rows")),
}


@pytest.fixture(autouse=True)
def calm(stage: Stage) -> None:
    stage.upstream.plays.clear()
    stage.upstream.lists["tools/list"] = [named("search")]


@pytest.mark.parametrize("event", EVENTS)
async def test_an_event_is_logged_with_what_it_belongs_to(stage: Stage, event: str) -> None:
    happen, level, members = EVENTS[event]
    with recorded() as lines:
        await happen(stage)
    found = [line for line in lines if line["event"] == event]
    assert found
    for line in found:
        assert line["level"] == level
        if event not in NO_SERVER:
            assert line["tenant_id"] == stage.fleet.registry.tenant
            assert line["server_id"].startswith("rs_")
        assert set(members) <= set(line)
    assert any(line.get("request_id") or line.get("job_id") for line in found)
    assert SECRET not in str(lines)


@pytest.mark.parametrize("event", sorted(CALLS))
async def test_what_happens_in_a_call_names_its_request(stage: Stage, event: str) -> None:
    happen, _, _ = EVENTS[event]
    with recorded() as lines:
        await happen(stage)
    found = [line for line in lines if line["event"] == event and line.get("request_id")]
    assert found
    assert all(line["request_id"].startswith("req_") for line in found)


async def test_a_refusal_is_counted_and_named_with_the_address(stage: Stage) -> None:
    row = await stage.row()
    await forbidden(stage, row)
    with recorded() as lines:
        answer = await stage.call(row)
    assert answer.result["isError"]
    (line,) = [line for line in lines if line["event"] == "remote_endpoint_refused"]
    assert (line["address"], line["origin"]) == ("127.0.0.1", "http://127.0.0.1:1")
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["reason"]


async def test_calls_that_went_well_are_logged_for_debugging_only(stage: Stage) -> None:
    row = await stage.row()
    stage.answer()
    with recorded("info") as lines:
        assert not (await stage.call(row)).result["isError"]
    assert not {line["event"] for line in lines} & {
        "remote_call_finished",
        "remote_credential_opened",
    }


async def test_a_breaker_says_once_that_it_has_opened(stage: Stage) -> None:
    with recorded() as lines:
        await broken(stage)
        assert (await stage.call(await stage.row())).result["isError"]
    opened_lines = [line for line in lines if line["event"] == "remote_breaker_opened"]
    assert len(opened_lines) == 1


async def test_a_server_that_goes_away_is_told_with_its_job(stage: Stage) -> None:
    row = await stage.row()
    registry = stage.fleet.registry
    stage.upstream.plays["server/discover"] = reply(500)
    with recorded() as lines:
        for _ in range(3):
            await registry.set_state(
                row, "next_check_at = now() - interval '1 s', last_call_ok_at = NULL"
            )
            await probe_many(registry.parts, [row.tenant_id], [row.id], "job_7")
    assert (await registry.status(row))[0] is Status.ERROR
    (line,) = [line for line in lines if line["event"] == "remote_status_changed"]
    assert (line["job_id"], line["from"], line["to"]) == ("job_7", "active", "error")
