"""Audit rows, filters, summary and trail. Spec: scaivault 7 (audit)."""

from typing import Any

import pytest

from scaimcp.dev.vault.fixture import DENIED_PATH, READER, REPORT_RUNNER
from tests.vault.conftest import World

LOGS = "/v1/audit/logs"


async def logs(world: World, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await world.agent.get(LOGS + query)).data["logs"]
    return found


async def test_the_seed_holds_three_denied_reads(world: World) -> None:
    rows = await logs(world, "?success=false&identity_id=sa:report-runner")
    assert [(row["secret_path"], row["timestamp"]) for row in rows] == [
        (DENIED_PATH, "2027-01-15T07:59:00.000Z"),
        (DENIED_PATH, "2027-01-15T07:58:29.000Z"),
        (DENIED_PATH, "2027-01-15T07:57:58.000Z"),
    ]
    assert all(row["extra_data"] == {"error_code": "access_denied"} for row in rows)


async def test_the_seeded_denial_is_what_the_vault_really_answers(world: World) -> None:
    answer = await world.as_(REPORT_RUNNER).get(f"/v1/secrets/{DENIED_PATH}")
    assert answer.refusal == (403, "access_denied")
    assert len(await logs(world, "?success=false")) == 4


async def test_a_call_leaves_one_row_with_every_documented_field(world: World) -> None:
    headers = {"X-Request-ID": "trace-1", "User-Agent": "probe/1"}
    await world.as_(READER).get("/v1/secrets/integrations/stripe/api-key", headers=headers)
    (row,) = await logs(world, "?request_id=trace-1")
    assert row.pop("id").startswith("log_")
    assert row == {
        "timestamp": "2027-01-15T08:00:00.000Z",
        "action": "read",
        "identity_type": "user",
        "identity_id": "user:alice@acme.example",
        "secret_path": "integrations/stripe/api-key",
        "source_ip": "127.0.0.1",
        "user_agent": "probe/1",
        "success": True,
        "duration_ms": 0,
        "request_id": "trace-1",
        "extra_data": {},
    }


async def test_every_secret_call_has_its_action(world: World) -> None:
    await world.agent.store("app/db")
    await world.agent.get("/v1/secrets/?prefix=app")
    await world.agent.get("/v1/secrets/app/db/versions")
    await world.agent.post("/v1/secrets/app/db/rotate")
    await world.agent.delete("/v1/secrets/app/db")
    await world.agent.get("/v1/secrets/App")
    rows = await logs(world, "?identity_id=sa:agent")
    assert [(row["action"], row["secret_path"], row["success"]) for row in rows] == [
        ("read", "App", False),
        ("delete", "app/db", True),
        ("rotate", "app/db", True),
        ("list", "app/db", True),
        ("list", None, True),
        ("write", "app/db", True),
    ]


async def test_strangers_leave_no_row(world: World) -> None:
    before = len(await logs(world))
    await world.anyone.get("/v1/secrets/app/db")
    await world.agent.get("/v1/auth/whoami")
    assert len(await logs(world)) == before


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("?action=write", 2),
        ("?action=write,delete", 3),
        ("?identity_type=user", 1),
        ("?path_prefix=app/", 3),
        ("?path_prefix=infra", 3),
        ("?success=true", 4),
        ("?source_ip=10.0.1.50", 3),
        ("?from=2027-01-15T07:58:00Z&to=2027-01-15T07:59:00Z", 2),
        ("?from=2027-01-13T00:00:00Z&to=2027-01-14T00:00:00Z", 0),
    ],
)
async def test_filters_narrow_the_rows(world: World, query: str, count: int) -> None:
    await world.agent.store("app/a")
    await world.agent.store("app/b")
    await world.agent.delete("/v1/secrets/app/a")
    await world.as_(READER).get("/v1/secrets/integrations/stripe/api-key")
    assert len(await logs(world, query)) == count


@pytest.mark.parametrize(
    "query", ["?action=Read", "?from=yesterday", "?to=2027-01-15T08:00:00", "?from=2027-02-31"]
)
async def test_an_odd_filter_is_refused(world: World, query: str) -> None:
    assert (await world.agent.get(LOGS + query)).refusal == (400, "invalid_request")


async def test_rows_leave_the_default_window_after_a_day(world: World) -> None:
    await world.advance(86400)
    assert await logs(world) == []
    assert len(await logs(world, "?from=2027-01-15T00:00:00Z")) == 3


async def test_a_cursor_stays_right_while_rows_are_added(world: World) -> None:
    for number in range(3):
        await world.agent.store(f"app/{number}")
    first = (await world.agent.get(LOGS + "?limit=2")).data
    await world.agent.store("app/later")
    second = (await world.agent.get(f"{LOGS}?limit=2&cursor={first['cursor']}")).data
    assert [row["secret_path"] for row in first["logs"]] == ["app/2", "app/1"]
    assert [row["secret_path"] for row in second["logs"]] == ["app/0", DENIED_PATH]
    assert second["has_more"] is True


async def test_a_summary_counts_a_window(world: World) -> None:
    await world.agent.store("app/db")
    await world.agent.get("/v1/secrets/app/db")
    assert (await world.agent.get("/v1/audit/summary")).data == {
        "from": "2027-01-14T08:00:00.000Z",
        "to": "2027-01-15T08:00:00.000Z",
        "total_events": 5,
        "successful_events": 2,
        "failed_events": 3,
        "by_action": {"read": 4, "write": 1},
        "top_paths": [{"path": DENIED_PATH, "count": 3}, {"path": "app/db", "count": 2}],
    }


async def test_a_trail_shows_one_secret_for_thirty_days(world: World) -> None:
    address = f"/v1/audit/secrets/{DENIED_PATH}"
    trail = (await world.agent.get(address)).data
    assert (trail["path"], trail["period_days"]) == (DENIED_PATH, 30)
    assert trail["totals"] == {"total_events": 3, "successful_events": 0, "failed_events": 3}
    assert len(trail["logs"]) == 3
    await world.advance(31 * 86400)
    assert (await world.agent.get(address)).data["logs"] == []
    odd = await world.agent.get("/v1/audit/secrets/App")
    assert odd.refusal == (400, "invalid_path")


async def test_audit_needs_its_scope(world: World) -> None:
    answer = await world.as_(REPORT_RUNNER).get(LOGS)
    assert answer.refusal == (403, "insufficient_scope")
