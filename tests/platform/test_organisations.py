"""Partners, tenants and the audit log."""

import csv
import io
from typing import Any

import msgspec
import pytest

from tests.platform.conftest import World

PARTNERS, TENANTS, AUDIT = "/v1/partners", "/v1/tenants", "/v1/audit-log"
NEW = {"slug": "new", "display_name": "New"}


def partner_id(world: World, slug: str = "north") -> str:
    return str(next(row["id"] for row in world.rows("partners") if row["slug"] == slug))


async def test_a_partner_is_created_and_changed(world: World) -> None:
    admin = world.as_("super_admin")
    made = (await admin.post(PARTNERS, {**NEW, "settings": {"a": 1}})).data
    assert made["id"].startswith("prt_")
    assert (made["status"], made["settings"]) == ("active", {"a": 1})
    path = f"{PARTNERS}/{made['id']}"
    changed = (await admin.put(path, {"status": "suspended", "settings": {}})).data
    assert changed == {**made, "status": "suspended", "settings": {}}
    assert (await admin.get(path)).data == changed
    listed = (await admin.get(f"{PARTNERS}?status=suspended")).data["items"]
    assert listed == [changed]
    again = await admin.post(PARTNERS, NEW)
    assert (again.status, again.code) == (409, "SLUG_CONFLICT")
    assert (await admin.put(path, {"slug": "x"})).faults == {"slug"}
    assert (await admin.post(PARTNERS, {"slug": "x", "status": "active"})).faults == {
        "slug",
        "display_name",
        "status",
    }
    assert (await admin.put(f"{PARTNERS}/none", {})).code == "PARTNER_NOT_FOUND"
    assert (await admin.delete(path)).code == "METHOD_NOT_ALLOWED"


async def test_partner_roles_see_their_own_partner_only(world: World) -> None:
    viewer = world.as_("partner_viewer")
    (own,) = (await viewer.get(PARTNERS)).data["items"]
    assert own["slug"] == "north"
    assert (await viewer.get(f"{PARTNERS}/{own['id']}")).data == own
    foreign = f"{PARTNERS}/{partner_id(world, 'south')}"
    assert (await viewer.get(foreign)).code == "PARTNER_NOT_FOUND"
    assert (await world.as_("tenant_admin").get(PARTNERS)).code == "AUTHZ_PERMISSION_DENIED"


@pytest.mark.parametrize("name", ["partner_admin", "tenant_admin"])
async def test_only_super_admins_make_partners(world: World, name: str) -> None:
    caller = world.as_(name)
    answer = await caller.post(PARTNERS, NEW)
    assert (answer.status, answer.code) == (403, "AUTHZ_PERMISSION_DENIED")
    path = f"{PARTNERS}/{partner_id(world)}"
    assert (await caller.put(path, {"display_name": "x"})).status == 403
    row = world.rows("audit")[0]
    assert (row["action"], row["status"]) == ("partner.create", "FAILURE")


async def test_a_suspended_partner_shuts_out_everybody_below(world: World) -> None:
    root, path = world.as_("super_admin"), f"{PARTNERS}/{partner_id(world)}"
    await root.put(path, {"status": "suspended"})
    for name in ("partner_admin", "tenant_user"):
        assert (await world.as_(name).get("/v1/me")).status == 403
    assert (await world.as_("other_tenant_user").get("/v1/me")).status == 200
    await root.put(path, {"status": "active"})
    assert (await world.as_("tenant_user").get("/v1/me")).status == 200


async def test_a_tenant_is_created_and_changed(world: World) -> None:
    admin = world.as_("partner_admin")
    made = (await admin.post(TENANTS, NEW)).data
    assert made["id"].startswith("tnt_")
    assert (made["partner_id"], made["status"]) == (partner_id(world), "active")
    path = f"{TENANTS}/{made['id']}"
    changed = (await admin.put(path, {"display_name": "Newer", "status": "suspended"})).data
    assert changed == {**made, "display_name": "Newer", "status": "suspended"}
    again = await admin.post(TENANTS, {**NEW, "slug": "globex"})
    assert (again.status, again.code) == (409, "SLUG_CONFLICT")
    assert (await admin.post(TENANTS, {"slug": "UP", "x": 1})).faults == {
        "slug",
        "display_name",
        "x",
    }
    assert [(r["action"], r["resource_id"]) for r in world.rows("audit")][:2] == [
        ("tenant.create", made["id"]),
        ("tenant.update", made["id"]),
    ]


async def test_tenants_are_listed_within_the_partner(world: World) -> None:
    viewer, root = world.as_("partner_viewer"), world.as_("super_admin")
    north, south = partner_id(world), partner_id(world, "south")
    assert [row["slug"] for row in (await viewer.get(TENANTS)).data["items"]] == ["acme"]
    assert len((await root.get(TENANTS)).data["items"]) == 2
    listed = (await root.get(f"{TENANTS}?partner_id={south}")).data["items"]
    assert [row["slug"] for row in listed] == ["globex"]
    assert len((await viewer.get(f"{TENANTS}?partner_id={north}")).data["items"]) == 1
    foreign = await viewer.get(f"{TENANTS}?partner_id={south}")
    assert foreign.code == "PARTNER_NOT_FOUND"
    assert (await root.get(f"{TENANTS}?status=suspended")).data["items"] == []
    path = f"{TENANTS}/{world.tenant_id('globex')}"
    assert (await viewer.get(path)).code == "TENANT_NOT_FOUND"
    assert (await world.as_("partner_admin").put(path, {})).code == "TENANT_NOT_FOUND"
    assert (await world.as_("other_partner_viewer").get(path)).data["slug"] == "globex"


async def test_only_platform_users_name_a_partner(world: World) -> None:
    root, admin = world.as_("super_admin"), world.as_("partner_admin")
    north, south = partner_id(world), partner_id(world, "south")
    named = await admin.post(TENANTS, {**NEW, "partner_id": north})
    assert named.code == "AUTHZ_PERMISSION_DENIED"
    assert (await root.post(TENANTS, NEW)).faults == {"partner_id"}
    unknown = await root.post(TENANTS, {**NEW, "partner_id": "prt_none"})
    assert unknown.code == "PARTNER_NOT_FOUND"
    made = (await root.post(TENANTS, {**NEW, "partner_id": south})).data
    moved = await root.put(f"{TENANTS}/{made['id']}", {"partner_id": north})
    assert moved.data["partner_id"] == north
    for name in ("partner_viewer", "tenant_admin"):
        assert (await world.as_(name).post(TENANTS, NEW)).status == 403


async def test_a_tenant_admin_holds_no_partner_role(world: World) -> None:
    path = f"{TENANTS}/{world.tenant_id('acme')}"
    assert (await world.as_("tenant_admin").put(path, {})).code == "AUTHZ_PERMISSION_DENIED"
    assert (await world.as_("tenant_admin").get(path)).code == "AUTHZ_PERMISSION_DENIED"


async def act(world: World) -> None:
    """Leave four audit rows: two of acme, one of globex, one of north itself."""
    key = {"name": "k"}
    await world.as_("tenant_user").post("/v1/api-keys", key)
    await world.as_("tenant_admin").delete("/v1/api-keys/none")
    await world.as_("other_tenant_user").post("/v1/api-keys", key)
    await world.as_("partner_admin").post(TENANTS, {"slug": "acme", "display_name": "x"})


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        ("tenant_admin", ["api_key.delete", "api_key.create"]),
        ("other_tenant_admin", ["api_key.create"]),
        ("partner_admin", ["tenant.create", "api_key.delete", "api_key.create"]),
        ("partner_viewer", ["tenant.create", "api_key.delete", "api_key.create"]),
        ("super_admin", ["tenant.create", "api_key.create", "api_key.delete", "api_key.create"]),
    ],
)
async def test_how_far_a_role_sees_the_audit_log(
    world: World, name: str, actions: list[str]
) -> None:
    await act(world)
    listed = (await world.as_(name).get(AUDIT)).data["items"]
    assert [row["action"] for row in listed] == actions


@pytest.mark.parametrize("name", ["tenant_user", "tenant_viewer", "no_roles"])
async def test_the_audit_log_needs_an_administrator(world: World, name: str) -> None:
    for path in (AUDIT, f"{AUDIT}/export"):
        assert (await world.as_(name).get(path)).code == "AUTHZ_PERMISSION_DENIED"


async def test_the_audit_log_is_filtered(world: World) -> None:
    await act(world)
    admin = world.as_("tenant_admin")
    user = world.user_id("tenant_user")
    for query, count in (
        ("action=api_key.create", 1),
        (f"actor_id={user}", 1),
        (f"actor_user_id={user}", 1),
        (f"actor_id={user}&actor_user_id=other", 1),
        ("resource_type=api_key", 2),
        ("resource_id=none", 1),
        ("status=FAILURE", 1),
        ("ip_address=127.0.0.1", 2),
        ("ip_address=10.0.0.1", 0),
        ("start=2100-01-01T00:00:00Z", 0),
        ("end=2100-01-01T00:00:00Z", 2),
    ):
        assert len((await admin.get(f"{AUDIT}?{query}")).data["items"]) == count, query
    page = await admin.get(f"{AUDIT}?limit=1")
    assert page.json["pagination"]["has_more"] is True
    wrong = "status=odd&limit=1001&ip_address=1&who=x"
    assert (await admin.get(f"{AUDIT}?{wrong}")).faults == {"status", "limit", "ip_address", "who"}
    backwards = "start=2026-01-02T00:00:00Z&end=2026-01-01T00:00:00Z"
    assert (await admin.get(f"{AUDIT}/export?{backwards}")).faults == {"end"}


async def test_the_audit_log_is_exported(world: World) -> None:
    await act(world)
    admin = world.as_("tenant_admin")
    text = await admin.get(f"{AUDIT}/export")
    assert text.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(text.content.decode())))
    assert [row["action"] for row in rows] == ["api_key.create", "api_key.delete"]
    assert msgspec.json.decode(rows[1]["details"]) == {"code": "API_KEY_NOT_FOUND"}
    listed: Any = msgspec.json.decode((await admin.get(f"{AUDIT}/export?format=json")).content)
    assert listed[::-1] == (await admin.get(AUDIT)).data["items"]
    lines = await admin.get(f"{AUDIT}/export?format=ndjson&status=SUCCESS")
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert [msgspec.json.decode(line) for line in lines.content.splitlines()] == listed[:1]
