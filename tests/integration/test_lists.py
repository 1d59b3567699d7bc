"""Who sees which tools."""

import pytest

from tests.catalogue import ACME, GLOBEX, TEN_MODULES, may, visible
from tests.world import World


@pytest.mark.parametrize("role", ["tenant_admin", "tenant_user"])
async def test_a_tenant_role_sees_exactly_what_the_permission_table_says(
    world: World, role: str
) -> None:
    names = await world.as_(role).names()
    expected = visible(role, ACME)
    assert [name for name in names if not name.startswith("demo_notes_")] == expected


async def test_another_tenant_sees_its_own_modules_only(world: World) -> None:
    assert await world.as_("other_tenant_admin").names() == visible("tenant_admin", GLOBEX)


async def test_a_user_without_roles_sees_the_open_tools_only(world: World) -> None:
    assert await world.as_("no_roles").names() == ["me_get", "modules_list", "tools_explain"]


def test_the_permission_table_gives_the_pinned_numbers() -> None:
    pinned = {
        "super_admin": (107, 45), "partner_admin": (38, 44), "partner_viewer": (15, 0),
        "tenant_admin": (75, 45), "tenant_user": (41, 1), "tenant_viewer": (11, 20),
        "no_roles": (2, 0),
    }  # fmt: skip
    for role, (core, module) in pinned.items():
        names = visible(role, TEN_MODULES)
        at = names.index("tools_explain")
        assert (at, len(names) - at - 1) == (core, module), role
    assert may("super_admin", "admin:access, role: super_admin")
