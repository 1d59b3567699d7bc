"""Usage, exports and budgets."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tests.platform.conftest import Answer, Starter, World

USAGE, BUDGETS = "/v1/accounting/usage", "/v1/accounting/budgets"
ECHO, LEGACY = "scailabs/echo-1", "scailabs/legacy-0"
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()
ALL_TIME = "start=2000-01-01T00:00:00Z&end=2100-01-01T00:00:00Z"


async def generate(world: World, name: str = "tenant_user", model: str = ECHO) -> Answer:
    body = {"model": model, "prompt": "abcdefgh"}
    return await world.as_(name).post("/v1/inference/generate", body)


async def budget(world: World, name: str = "tenant_admin", **changes: Any) -> Any:
    body = {
        "scope": "tenant",
        "scope_id": world.tenant_id("acme"),
        "period": "daily",
        "request_limit": 2,
        **changes,
    }
    return (await world.as_(name).post(BUDGETS, body)).data


async def test_everybody_sees_their_own_usage(world: World) -> None:
    await generate(world)
    await generate(world, "tenant_admin")
    (row,) = (await world.as_("tenant_user").get(USAGE)).data["items"]
    assert set(row) == {
        "id",
        "model",
        "backend_id",
        "user_id",
        "tenant_id",
        "tokens_in",
        "tokens_out",
        "cost",
        "latency_ms",
        "created_at",
    }
    assert (row["model"], row["tokens_in"], row["tokens_out"]) == (ECHO, 2, 4)
    assert row["cost"] == "0.000010"
    assert row["user_id"] == world.user_id("tenant_user")
    assert (await world.as_("no_roles").get(USAGE)).code == "AUTHZ_PERMISSION_DENIED"


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("tenant_admin", 1),
        ("partner_viewer", 1),
        ("other_partner_viewer", 1),
        ("super_admin", 2),
        ("tenant_viewer", 0),
    ],
)
async def test_how_far_a_role_sees_usage(world: World, name: str, count: int) -> None:
    await generate(world)
    await generate(world, "other_tenant_user")
    assert len((await world.as_(name).get(USAGE)).data["items"]) == count


async def test_usage_is_filtered(world: World) -> None:
    await generate(world)
    await generate(world, model=LEGACY)
    await generate(world, "tenant_admin")
    admin = world.as_("tenant_admin")
    user = world.user_id("tenant_user")
    backend = world.rows("usage")[1]["backend_id"]
    acme = world.tenant_id("acme")
    for query, count in (
        (f"model={ECHO}", 2),
        (f"user_id={user}", 2),
        (f"user_id={user}&model={ECHO}", 1),
        (f"backend_id={backend}", 1),
        (f"tenant_id={acme}", 3),
        ("user_id=usr_none", 0),
        ("end=2001-01-01T00:00:00Z", 0),
        ("start=2001-01-01T00:00:00Z", 3),
    ):
        assert len((await admin.get(f"{USAGE}?{query}")).data["items"]) == count, query
    page = await admin.get(f"{USAGE}?limit=2")
    # The newest comes first.
    assert [row["model"] for row in page.data["items"]] == [ECHO, LEGACY]
    cursor = page.json["pagination"]["next_cursor"]
    rest = (await admin.get(f"{USAGE}?limit=2&cursor={cursor}")).data["items"]
    assert [row["user_id"] for row in rest] == [user]
    assert (await admin.get(f"{USAGE}?limit=1001&x=1")).faults == {"limit", "x"}
    backwards = "start=2026-01-02T00:00:00Z&end=2026-01-01T00:00:00Z"
    assert (await admin.get(f"{USAGE}?{backwards}")).faults == {"end"}


async def test_other_subjects_need_permission_and_reach(world: World) -> None:
    user, admin = world.as_("tenant_user"), world.as_("tenant_admin")
    other_user, globex = world.user_id("other_tenant_user"), world.tenant_id("globex")
    own = world.user_id("tenant_user")
    assert (await user.get(f"{USAGE}?user_id={own}")).status == 200
    denied = await user.get(f"{USAGE}?user_id={world.user_id('tenant_admin')}")
    assert denied.code == "AUTHZ_PERMISSION_DENIED"
    assert (await admin.get(f"{USAGE}?user_id={other_user}")).code == "USER_NOT_FOUND"
    assert (await admin.get(f"{USAGE}?tenant_id={globex}")).code == "AUTHZ_PERMISSION_DENIED"
    partner = world.as_("partner_viewer")
    assert (await partner.get(f"{USAGE}?tenant_id={globex}")).code == "TENANT_NOT_FOUND"
    assert (await partner.get(f"{USAGE}?tenant_id=none")).code == "TENANT_NOT_FOUND"
    acme = world.tenant_id("acme")
    assert (await partner.get(f"{USAGE}?tenant_id={acme}")).status == 200


async def test_a_period_is_the_time_up_to_now(start: Starter) -> None:
    world = await start(frozen_at=NOON)
    await generate(world)
    caller = world.as_("tenant_user")
    for shift, period, count in ((60, "hour", 1), (7200, "hour", 0), (0, "day", 1)):
        await world.control.post("/clock", {"seconds": shift})
        found = (await caller.get(f"{USAGE}?period={period}")).data["items"]
        assert len(found) == count
    await world.control.post("/clock", {"seconds": 8 * 86_400})
    assert (await caller.get(f"{USAGE}/summary?period=week")).data == []
    assert len((await caller.get(f"{USAGE}/summary?period=month")).data) == 1


async def test_usage_is_summed_by_what_is_asked(world: World) -> None:
    await generate(world)
    await generate(world)
    await generate(world, "tenant_admin", LEGACY)
    admin = world.as_("tenant_admin")
    assert (await admin.get(f"{USAGE}/summary")).data == [
        {
            "group_key": ECHO,
            "request_count": 2,
            "input_tokens": 4,
            "output_tokens": 8,
            "total_tokens": 12,
            "total_cost": "0.000020",
            "backend_cost": "0.000020",
        },
        {
            "group_key": LEGACY,
            "request_count": 1,
            "input_tokens": 2,
            "output_tokens": 4,
            "total_tokens": 6,
            "total_cost": "0.000005",
            "backend_cost": "0.000005",
        },
    ]
    by_user = (await admin.get(f"{USAGE}/summary?group_by=user")).data
    assert {group["group_key"]: group["request_count"] for group in by_user} == {
        world.user_id("tenant_user"): 2,
        world.user_id("tenant_admin"): 1,
    }
    by_tenant = (await admin.get(f"{USAGE}/summary?group_by=tenant")).data
    assert [group["group_key"] for group in by_tenant] == [world.tenant_id("acme")]
    assert len((await admin.get(f"{USAGE}/summary?group_by=backend")).data) == 2
    assert (await admin.get(f"{USAGE}/summary?group_by=day")).faults == {"group_by"}


async def test_usage_is_exported(world: World) -> None:
    await generate(world)
    await generate(world, model=LEGACY)
    caller = world.as_("tenant_user")
    path = f"/v1/accounting/export?{ALL_TIME}"
    text = await caller.get(path)
    assert text.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(text.content.decode())))
    assert [row["model"] for row in rows] == [ECHO, LEGACY]
    assert rows[0]["cost"] == "0.000010"
    listed = msgspec.json.decode((await caller.get(f"{path}&format=json")).content)
    lines = (await caller.get(f"{path}&format=ndjson")).content.splitlines()
    assert [msgspec.json.decode(line) for line in lines] == listed
    assert listed[::-1] == (await caller.get(USAGE)).data["items"]
    assert (await caller.get("/v1/accounting/export?format=xml")).faults == {
        "start",
        "end",
        "format",
    }


async def test_a_budget_counts_and_blocks(world: World) -> None:
    made = await budget(world, cost_limit="1.5", token_limit=1000)
    assert made["id"].startswith("bud_")
    assert (made["used_cost"], made["used_tokens"], made["used_requests"]) == ("0", 0, 0)
    assert (made["hard_action"], made["soft_limit_pct"]) == ("block", 0.8)
    await generate(world)
    await generate(world)
    refused = await generate(world)
    assert (refused.status, refused.code) == (429, "BUDGET_EXCEEDED")
    seen = (await world.as_("tenant_user").get(f"{BUDGETS}/{made['id']}")).data
    assert (seen["used_cost"], seen["used_tokens"], seen["used_requests"]) == ("0.000020", 12, 2)
    changed = await world.as_("tenant_admin").put(f"{BUDGETS}/{made['id']}", {"request_limit": 3})
    assert (changed.data["request_limit"], changed.data["used_requests"]) == (3, 2)
    assert (await generate(world)).status == 200


async def test_a_budget_starts_anew_with_its_period(start: Starter) -> None:
    world = await start(frozen_at=NOON)
    made = await budget(world)
    assert made["resets_at"] == "2026-03-05T00:00:00.000Z"
    assert (await budget(world, period="total"))["resets_at"] is None
    await generate(world)
    await world.control.post("/clock", {"seconds": 86_400})
    listed = (await world.as_("tenant_admin").get(BUDGETS)).data["items"]
    assert [(row["used_requests"], row["resets_at"]) for row in listed] == [
        (0, "2026-03-06T00:00:00.000Z"),
        (1, None),
    ]


async def test_budgets_are_listed_changed_and_deleted(world: World) -> None:
    admin = world.as_("tenant_admin")
    group = world.rows("groups")[0]["id"]
    user = world.user_id("tenant_user")
    whole = await budget(world)
    one = await budget(world, scope="user", scope_id=user)
    some = await budget(world, scope="group", scope_id=group)
    listed = (await admin.get(BUDGETS)).data["items"]
    assert [row["id"] for row in listed] == [whole["id"], one["id"], some["id"]]
    found = (await admin.get(f"{BUDGETS}?scope=group")).data["items"]
    assert [row["id"] for row in found] == [some["id"]]
    path = f"{BUDGETS}/{one['id']}"
    faults = await admin.put(path, {"scope": "user", "scope_id": user, "period": "daily"})
    assert faults.faults == {"scope", "scope_id", "period"}
    assert (await admin.put(path, {"hard_action": "notify"})).data["hard_action"] == "notify"
    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).code == "BUDGET_NOT_FOUND"
    assert (await admin.put(path, {})).code == "BUDGET_NOT_FOUND"
    assert [r["action"] for r in world.rows("audit")][-3:] == [
        "budget.update",
        "budget.delete",
        "budget.update",
    ]


async def test_a_user_sees_the_budgets_that_concern_them(world: World) -> None:
    user, member = world.user_id("tenant_user"), world.user_id("group_member")
    whole = await budget(world)
    mine = await budget(world, scope="user", scope_id=user)
    theirs = await budget(world, scope="user", scope_id=member)
    caller = world.as_("tenant_user")
    listed = (await caller.get(BUDGETS)).data["items"]
    assert [row["id"] for row in listed] == [whole["id"], mine["id"]]
    assert (await caller.get(f"{BUDGETS}/{theirs['id']}")).code == "BUDGET_NOT_FOUND"
    assert (await caller.delete(f"{BUDGETS}/{mine['id']}")).code == "AUTHZ_PERMISSION_DENIED"


async def test_budgets_stay_within_the_walls(world: World) -> None:
    made = await budget(world)
    other = world.as_("other_tenant_admin")
    path = f"{BUDGETS}/{made['id']}"
    assert (await other.get(path)).code == "BUDGET_NOT_FOUND"
    assert (await other.put(path, {})).code == "BUDGET_NOT_FOUND"
    assert (await other.delete(path)).code == "BUDGET_NOT_FOUND"
    assert (await other.get(BUDGETS)).data["items"] == []
    body = {"period": "total", "request_limit": 1}
    north = world.rows("partners")[0]["id"]
    for scope, scope_id, code in (
        ("tenant", world.tenant_id("acme"), "TENANT_NOT_FOUND"),
        ("tenant", "none", "TENANT_NOT_FOUND"),
        ("user", world.user_id("tenant_user"), "USER_NOT_FOUND"),
        ("group", world.rows("groups")[0]["id"], "GROUP_NOT_FOUND"),
        ("partner", north, "PARTNER_NOT_FOUND"),
    ):
        answer = await other.post(BUDGETS, {**body, "scope": scope, "scope_id": scope_id})
        assert answer.code == code
    mine = {**body, "scope": "partner", "scope_id": north}
    refused = await world.as_("tenant_admin").post(BUDGETS, mine)
    assert (refused.status, refused.code) == (403, "AUTHZ_PERMISSION_DENIED")
    nowhere = await world.as_("super_admin").post(BUDGETS, {**mine, "scope_id": "prt_none"})
    assert nowhere.code == "PARTNER_NOT_FOUND"


async def test_a_partners_budget_is_the_partners(world: World) -> None:
    north = world.rows("partners")[0]["id"]
    made = await budget(world, "partner_admin", scope="partner", scope_id=north)
    tenants = await budget(world, "partner_admin")
    admin = await budget(
        world, "partner_admin", scope="user", scope_id=world.user_id("partner_viewer")
    )
    path = f"{BUDGETS}/{made['id']}"
    below = world.as_("tenant_admin")
    assert (await below.get(path)).status == 200
    assert (await below.delete(path)).code == "AUTHZ_PERMISSION_DENIED"
    assert (await below.get(f"{BUDGETS}/{admin['id']}")).code == "BUDGET_NOT_FOUND"
    partner = world.as_("partner_admin")
    listed = [row["id"] for row in (await partner.get(BUDGETS)).data["items"]]
    assert listed == [made["id"], tenants["id"], admin["id"]]
    assert (await world.as_("other_partner_admin").get(path)).code == "BUDGET_NOT_FOUND"
    assert (await world.as_("super_admin").get(path)).status == 200
    assert (await partner.delete(path)).status == 204


async def test_a_budget_needs_a_limit(world: World) -> None:
    admin = world.as_("tenant_admin")
    body = {"scope": "tenant", "scope_id": world.tenant_id("acme"), "period": "daily"}
    assert (await admin.post(BUDGETS, body)).faults == {"cost_limit"}
    wrong = {"cost_limit": 1, "token_limit": 0, "request_limit": 1.5, "soft_limit_pct": 2}
    assert (await admin.post(BUDGETS, {**body, **wrong})).faults == set(wrong)
