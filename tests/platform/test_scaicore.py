"""Cores, events and bots, which are read only."""

import pytest

from tests.platform.conftest import Starter, World
from tests.platform.helpers import actions, assert_needs, assert_walls, enable

CORES, EVENTS = "/v1/modules/scaicore/cores", "/v1/modules/scaicore/events"
BOTS = "/v1/modules/scaibot/bots"


@pytest.fixture
async def world(start: Starter) -> World:
    """A platform on which acme has both modules, which the seed leaves off."""
    world = await start()
    for module, path in (("scaicore", CORES), ("scaibot", BOTS)):
        assert (await world.as_("tenant_admin").get(path)).code == "MODULE_NOT_ENABLED"
        await enable(world, module, "acme")
    return world


async def test_cores_are_listed_and_shown(world: World) -> None:
    viewer = world.as_("tenant_viewer")
    answer = await viewer.get(f"{CORES}?limit=1")
    assert set(answer.json) == {"data", "pagination", "meta"}
    row = answer.data["items"][0]
    assert row["id"].startswith("cor_")
    assert row == {
        "id": row["id"],
        "name": "Inbox",
        "runtime_mode": "event",
        "concurrency_mode": "serial",
        "privilege_level": "tenant",
        "status": "running",
        "created_at": "2026-01-01T00:00:00.000Z",
    }
    assert (await viewer.get(f"{CORES}/{row['id']}")).data == row
    cursor = answer.json["pagination"]["next_cursor"]
    rest = (await viewer.get(f"{CORES}?cursor={cursor}")).data["items"]
    assert [core["name"] for core in rest] == ["Nightly"]


async def test_events_are_filtered(world: World) -> None:
    viewer = world.as_("tenant_viewer")
    rows = (await viewer.get(EVENTS)).data["items"]
    assert [row["type"] for row in rows] == [
        "core.created",
        "core.running",
        "core.created",
        "core.stopped",
    ]
    assert set(rows[0]) == {"id", "core_id", "type", "payload", "created_at"}
    assert rows[0]["payload"] == {"name": "Inbox"}
    for query, count in (
        (f"core_id={rows[0]['core_id']}", 2),
        ("core_id=none", 0),
        ("type=core.created", 2),
        (f"type=core.created&core_id={rows[0]['core_id']}", 1),
        ("since=2026-01-01T00:00:00Z", 4),
        ("since=2026-01-01T01:00:01%2B01:00", 0),
        ("limit=3", 3),
    ):
        assert len((await viewer.get(f"{EVENTS}?{query}")).data["items"]) == count
    assert (await viewer.get(f"{EVENTS}?since=today&x=1")).faults == {"since", "x"}


async def test_bots_are_listed_and_shown(world: World) -> None:
    viewer = world.as_("tenant_viewer")
    rows = (await viewer.get(BOTS)).data["items"]
    assert [row["slug"] for row in rows] == ["support-bot", "sales-bot"]
    assert rows[0] == {
        "id": rows[0]["id"],
        "name": "Support bot",
        "slug": "support-bot",
        "model_slug": "scailabs/echo-1",
        "status": "active",
        "created_at": "2026-01-01T00:00:00.000Z",
    }
    assert rows[0]["id"].startswith("bot_")
    assert (await viewer.get(f"{BOTS}/{rows[0]['id']}")).data == rows[0]
    assert (await viewer.get(f"{BOTS}?limit=1")).json["pagination"]["has_more"] is True


async def test_every_call_needs_its_permission(world: World) -> None:
    for path, permission in (
        (CORES, "scaicore:view"),
        (f"{CORES}/x", "scaicore:view"),
        (EVENTS, "scaicore:view"),
        (BOTS, "scaibot:bots:read"),
        (f"{BOTS}/x", "scaibot:bots:read"),
    ):
        await assert_needs(world, "GET", path, permission)
    assert actions(world) == []


async def test_walls_stand_between_tenants(world: World) -> None:
    await assert_walls(world, "scaicore", "cores", "/cores", "CORE_NOT_FOUND")
    await assert_walls(world, "scaibot", "bots", "/bots", "BOT_NOT_FOUND")
    other = world.as_("other_tenant_admin")
    assert [row["name"] for row in (await other.get(CORES)).data["items"]] == ["Globex inbox"]
    assert len((await other.get(EVENTS)).data["items"]) == 2
    assert [row["name"] for row in (await other.get(BOTS)).data["items"]] == ["Globex bot"]
    foreign = world.rows("cores")[0]["id"]
    assert (await other.get(f"{EVENTS}?core_id={foreign}")).data["items"] == []


@pytest.mark.parametrize(
    "module",
    [
        "scaibunker",
        "scaimatrix",
        "scaiskills",
        "scaiqueue",
        "scaipersona",
        "scaispeak",
        "scaiecho",
        "scaicore",
        "scaibot",
    ],
)
async def test_the_manifest_and_the_switches_of_a_module_still_answer(
    world: World, module: str
) -> None:
    admin = world.as_("tenant_admin")
    manifest = (await admin.get(f"/v1/modules/{module}/mcp/tools")).data
    assert manifest == {"manifest_version": 1, "module_id": module, "tools": []}
    assert (await admin.get(f"/v1/modules/{module}")).data["status"] == "active"
    assert (await admin.get(f"/v1/modules/{module}/nothing")).code == "NOT_FOUND"
    assert (await admin.post(f"/v1/modules/{module}/disable")).data["status"] == "disabled"
