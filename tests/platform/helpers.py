"""What the tests of the module families share."""

import io
from typing import Any

import aiohttp

from tests.platform.conftest import Answer, Caller, World


async def grant(world: World, name: str, *permissions: str) -> Caller:
    """Give a seeded user these module permissions and no others; returns its caller."""
    row = {"module_permissions": list(permissions)}
    answer = await world.control.patch(f"/rows/users/{world.user_id(name)}", row)
    assert answer.status == 200
    return world.as_(name)


async def enable(world: World, module: str, tenant: str) -> None:
    """Switch a module on for a tenant and its partner."""
    for scope in ("partner", "tenant"):
        body = {"scope": scope, "tenant_id": world.tenant_id(tenant)}
        answer = await world.as_("super_admin").post(f"/v1/modules/{module}/enable", body)
        assert answer.status == 200


async def shift(world: World, seconds: float) -> None:
    """Move the platform's clock."""
    assert (await world.control.post("/clock", {"seconds": seconds})).status == 200


async def upload(caller: Caller, path: str, content: bytes, **values: str) -> Answer:
    """Post a file as a form."""
    form = aiohttp.FormData()
    form.add_field("file", io.BytesIO(content), filename="file.md", content_type="text/plain")
    for name, value in values.items():
        form.add_field(name, value)
    return await caller("POST", path, data=form)


def actions(world: World) -> list[Any]:
    """Return the audit rows' actions, without the switching of modules."""
    return [row["action"] for row in world.rows("audit") if row["action"] != "module.enable"]


async def assert_walls(world: World, module: str, table: str, path: str, code: str) -> None:
    """Check that a tenant's row is found by its own admin and by nobody else's."""
    await enable(world, module, "globex")
    await enable(world, module, "acme")
    for slug, own, other in (
        ("acme", "tenant_admin", "other_tenant_admin"),
        ("globex", "other_tenant_admin", "tenant_admin"),
    ):
        row = next(r for r in world.rows(table) if r["tenant_id"] == world.tenant_id(slug))
        address = f"/v1/modules/{module}{path}/{row['id']}"
        assert (await world.as_(own).get(address)).status == 200
        foreign = await world.as_(other).get(address)
        assert (foreign.status, foreign.code) == (404, code)
        assert (await world.as_("super_admin").get(address)).status == 200


async def assert_needs(world: World, method: str, path: str, permission: str) -> None:
    """Check that a call wants one permission: without it 403, with it another answer."""
    for name in ("no_roles", "tenant_user"):
        await grant(world, name)
        refused = await world.as_(name)(method, path)
        assert (refused.status, refused.code) == (403, "AUTHZ_PERMISSION_DENIED")
    allowed = await grant(world, "no_roles", permission)
    assert (await allowed(method, path)).status != 403
