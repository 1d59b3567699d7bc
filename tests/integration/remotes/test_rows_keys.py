"""Faults of keys and sealed values: rows 1 to 4 of docs/faults-remote.md."""

from __future__ import annotations

import base64
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
import structlog

from scaimcp.cli.main import main
from scaimcp.remotes.enumerations import AuthType, Status
from scaimcp.remotes.models import ServerRow
from scaimcp.remotes.watching.discovery import Discovered
from scaimcp.settings import environment
from scaimcp.telemetry.metrics import UNSEAL_FAILURES
from tests.integration.rawserver import serve_raw
from tests.integration.remotes.rest import ROOT, Rest, body
from tests.integration.remotes.servers import Upstream
from tests.integration.remotes.sidebyside import Fleet, dotted, plain, start_fleet
from tests.world import start_world

KEK = "SCAIMCP_ENCRYPTION_LOCAL_KEK"
RESULT = {"content": [{"type": "text", "text": "done"}], "isError": False}


class Kept:
    """A gateway, one upstream, and servers that have a bearer."""

    def __init__(self, fleet: Fleet, upstream: Upstream) -> None:
        self.fleet = fleet
        self.upstream = upstream

    async def bearing(self, name: str) -> ServerRow:
        row = await self.fleet.registry.put(
            self.upstream.url, name, auth_type=AuthType.BEARER, is_tenant_shared=True,
            scope_key="tenant", owner_user_id=self.fleet.user_id,
        )  # fmt: skip
        await self.fleet.registry.credential(row, "authorization", f"ntn_{name}")
        await self.fleet.discover(row)
        return row

    async def code(self, row: ServerRow) -> str:
        called = await self.fleet.client().call(dotted(row, "search"))
        if called.is_error:
            return called.code
        assert plain(called.reply.result) == RESULT
        return "ok"

    async def sealed(self, row: ServerRow) -> list[dict[str, Any]]:
        async with self.fleet.registry.database.transaction() as connection:
            rows = await connection.fetch(
                "SELECT * FROM remote_credentials WHERE server_id = $1", row.id
            )
        return [dict(found) for found in rows]


@pytest_asyncio.fixture(scope="module")
async def kept(database_url: str, redis_url: str) -> AsyncIterator[Kept]:
    async with serve_raw() as raw:
        upstream = Upstream(raw)
        upstream.plays["tools/call"] = upstream.answering({"resultType": "complete", **RESULT})
        async with start_fleet(database_url, redis_url, raw.url) as fleet:
            yield Kept(fleet, upstream)


# --- no key at all ----------------------------------------------------------------------------

DUMP = "SELECT * FROM {} WHERE tenant_id = $1 ORDER BY 1, 2, 3"
TABLES = (
    "remote_servers", "remote_server_state", "remote_credentials", "remote_capabilities",
    "audit_events",
)  # fmt: skip


async def dumped(kept: Kept) -> list[Any]:
    registry = kept.fleet.registry
    async with registry.database.transaction() as connection:
        return [
            [dict(row) for row in await connection.fetch(DUMP.format(table), registry.tenant)]
            for table in TABLES
        ]


@pytest.mark.row(1)
async def test_without_a_key_nothing_is_listed_called_or_written(
    kept: Kept, database_url: str, redis_url: str
) -> None:
    row = await kept.bearing("Unkeyed")
    before, sent = await dumped(kept), len(kept.upstream.raw.seen)
    calls: list[tuple[str, str, Any]] = [
        ("GET", "", None), ("POST", "", body(kept.upstream.url, "more")),
        ("GET", f"/{row.id}", None), ("PATCH", f"/{row.id}", {"name": "x"}),
        ("DELETE", f"/{row.id}", None), ("POST", f"/{row.id}/refresh", None),
        ("POST", f"/{row.id}/disable", None), ("POST", f"/{row.id}/enable", None),
        ("POST", f"/{row.id}/approve", None), ("GET", f"/{row.id}/capabilities", None),
        ("GET", f"/{row.id}/changes", None), ("GET", f"/{row.id}/pins", None),
        ("PUT", f"/{row.id}/credentials/authorization", {"value": "x"}),
        ("DELETE", f"/{row.id}/credentials/authorization", None),
        ("GET", f"/v1/modules/scailink/registrations/{row.id}", None),
        ("GET", "/v1/modules/scailink/approvals", None),
    ]  # fmt: skip
    async with start_world(database_url, redis_url) as unkeyed:
        client = unkeyed.as_("tenant_admin")
        for method, path, given in calls:
            reply = await Rest(client).send(method, path, given)
            assert (reply.status, reply.word) == (503, "SCAILINK_REGISTRY_DISABLED"), path
        name = dotted(row, "search")
        assert name not in await client.names()
        assert (await client.call(name)).code == "SCAILINK_REGISTRY_DISABLED"
        page = await client.get(f"{ROOT}")
        assert b"ntn_" not in page.content
    assert await dumped(kept) == before
    assert len(kept.upstream.raw.seen) == sent
    assert await kept.code(row) == "ok"


# --- keys that cannot be used -----------------------------------------------------------------


def key(seed: int, length: int = 32) -> str:
    return base64.b64encode(bytes((seed + n) % 256 for n in range(length))).decode()


UNUSABLE = {
    "31 bytes": f"one:{key(7, 31)}",
    "33 bytes": f"one:{key(7, 33)}",
    "bad base64": f"one:{key(7)[:-2]}!!",
    "base64 of URLs": f"one:{base64.urlsafe_b64encode(bytes([251, 255] * 16)).decode()}",
    "a repeated id": f"one:{key(7)},one:{key(8)}",
    "the same key twice": f"{key(7)},{key(7)}",
    "all bytes equal": f"one:{base64.b64encode(bytes(32)).decode()}",
}


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in environment():
        if name.startswith("SCAI"):
            monkeypatch.delenv(name)
    root, configured = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield monkeypatch
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configured)


@pytest.mark.row(2)
@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize("fault", UNUSABLE)
def test_a_process_with_an_unusable_key_does_not_start(
    no_settings: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: str,
    command: str,
) -> None:
    no_settings.setenv(KEK, UNUSABLE[fault])
    assert main([command]) == 5
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"scaimcp: {KEK} ")
    for entry in UNUSABLE[fault].split(","):
        assert entry.rpartition(":")[2][:8] not in said.err


# --- keys and values that do not open ---------------------------------------------------------


async def out_of_step(kept: Kept, row: ServerRow, assignments: str, *values: Any) -> None:
    """Change a sealed row past every rule, and have the gateway notice."""
    await kept.fleet.registry.execute(
        f"UPDATE remote_credentials SET {assignments} WHERE server_id = $1", row.id, *values
    )
    await kept.fleet.bump()


@pytest.mark.row(3)
async def test_a_key_that_is_not_loaded_stops_its_own_server_only(kept: Kept) -> None:
    lost, fine = await kept.bearing("Lost"), await kept.bearing("Fine")
    [sealed] = await kept.sealed(lost)
    gone = sealed["wrapped_dek"].replace(b"\x04test", b"\x04gone")
    assert gone != sealed["wrapped_dek"]
    await out_of_step(kept, lost, "kek_id = 'gone', wrapped_dek = $2", gone)
    sent = len(kept.upstream.raw.seen)
    assert await kept.code(lost) == "KeyUnavailableError"
    assert await kept.fleet.registry.discover(lost) == Discovered("failed", "KeyUnavailableError")
    assert len(kept.upstream.raw.seen) == sent
    state = (await kept.fleet.registry.seen(lost)).state
    assert (state.status, state.consecutive_failures) == (Status.ACTIVE, 0)
    assert state.last_health_status == "KeyUnavailableError"
    kept.fleet.refresh()
    assert dotted(lost, "search") in await kept.fleet.client().names()
    assert await kept.code(fine) == "ok"
    # With the key it works again: nothing was lost.
    await out_of_step(kept, lost, "kek_id = 'test', wrapped_dek = $2", sealed["wrapped_dek"])
    assert await kept.code(lost) == "ok"


def unopened(reason: str) -> float:
    return float(UNSEAL_FAILURES.labels(reason)._value.get())


@pytest.mark.row(4)
@pytest.mark.parametrize("fault", ["altered", "moved"])
async def test_a_value_that_was_tampered_with_is_corrupt_and_kept(kept: Kept, fault: str) -> None:
    row, other = await kept.bearing(f"Spoilt-{fault}"), await kept.bearing(f"Other-{fault}")
    [sealed] = await kept.sealed(row)
    [foreign] = await kept.sealed(other)
    altered = bytearray(sealed["ciphertext"])
    altered[-1] ^= 1
    given = foreign if fault == "moved" else {**sealed, "ciphertext": bytes(altered)}
    await out_of_step(
        kept, row, "ciphertext = $2, wrapped_dek = $3", given["ciphertext"], given["wrapped_dek"]
    )
    sent, counted = len(kept.upstream.raw.seen), unopened("corrupt")
    [stored] = await kept.sealed(row)
    assert await kept.code(row) == "CredentialCorruptError"
    ended = await kept.fleet.registry.discover(row)
    assert ended == Discovered("failed", "CredentialCorruptError")
    assert len(kept.upstream.raw.seen) == sent
    assert unopened("corrupt") >= counted + 2
    actions = [action for action, _ in await kept.fleet.registry.audited(row)]
    assert actions.count("remote_credential.corrupt") == 1
    assert await kept.sealed(row) == [stored]
    state = (await kept.fleet.registry.seen(row)).state
    assert (state.status, state.consecutive_failures) == (Status.ACTIVE, 0)
    assert await kept.code(other) == "ok"
