"""Roles, keys and the one rule. Spec: scaigrid 3."""

from __future__ import annotations

import pytest

from scaimcp.auth.permissions import (
    CORE_PERMISSIONS,
    PLATFORM_ROLES,
    ROLE_CORE,
    ROLE_MODULES,
    has_role,
    holds,
    of_roles,
)
from scaimcp.types import Grants
from tests.catalogue import CORE, CORE_ALL, MODULE

# scaivault 3 gives tenant_user its one module key.
MODULES = {**MODULE, "tenant_user": ["scaivault:read"]}
ROLES = [
    *("super_admin", "partner_admin", "partner_viewer"),
    *("tenant_admin", "tenant_user", "tenant_viewer"),
]


def grants(
    core: list[str] | None, module: list[str] | None, *, is_open: bool = False, source: str = "me"
) -> Grants:
    return Grants(
        frozenset(core) if core is not None else None,
        frozenset(module) if module is not None else None,
        source=source,
        fallback_open=is_open,
    )


def test_there_are_fifteen_core_permissions() -> None:
    assert len(CORE_PERMISSIONS) == 15
    assert frozenset(CORE_ALL) == CORE_PERMISSIONS


def test_the_bundles_are_those_of_the_table() -> None:
    assert {role: set(keys) for role, keys in ROLE_CORE.items()} == {
        role: set(CORE[role]) for role in ROLES
    }
    assert {role: set(keys) for role, keys in ROLE_MODULES.items()} == {
        role: set(MODULES[role]) for role in ROLES if MODULES.get(role)
    }
    assert set(PLATFORM_ROLES) == {"super_admin", "partner_admin", "partner_viewer"}


@pytest.mark.parametrize("key", ["models:manage", "routing:manage"])
def test_only_super_admin_manages_models_and_routing(key: str) -> None:
    assert [role for role, keys in ROLE_CORE.items() if key in keys] == ["super_admin"]


def test_several_roles_add_up_and_unknown_ones_add_nothing() -> None:
    core, module = of_roles(["tenant_viewer", "partner_viewer", "emperor"])
    assert core == set(CORE["tenant_viewer"]) | set(CORE["partner_viewer"])
    assert module == set(MODULE["tenant_viewer"])
    assert of_roles([]) == (frozenset(), frozenset())


@pytest.mark.parametrize("role", ROLES)
def test_each_role_holds_its_core_permissions_and_no_others(role: str) -> None:
    core, module = of_roles([role])
    held = Grants(core, module)
    assert {key for key in CORE_PERMISSIONS if holds(held, key)} == set(CORE[role])


@pytest.mark.parametrize(
    ("core", "module", "permission", "expected"),
    [
        ([], [], "", True),
        (None, None, "", True),
        (["models:use"], [], "models:use", True),
        (["models:use"], [], "models:list", False),
        ([], ["models:use"], "models:use", False),
        ([], ["*"], "models:use", False),
        ([], ["models:*"], "models:use", False),
        (["*"], [], "models:use", False),
        (["scaimatrix:view"], [], "scaimatrix:view", False),
        ([], ["scaimatrix:view"], "scaimatrix:view", True),
        ([], ["scaimatrix:view"], "scaimatrix:vie", False),
        ([], ["scaimatrix:view"], "scaimatrix:view2", False),
        ([], ["scaimatrix:view"], "SCAIMATRIX:VIEW", False),
        ([], ["scaimatrix:*"], "scaimatrix:view", True),
        ([], ["scaimatrix:*"], "scaimatrixx:view", False),
        ([], ["scaibot:*"], "scaibot:bots:read", True),
        ([], ["scaibot:bots:*"], "scaibot:bots:read", False),
        ([], ["*"], "scaibot:bots:read", True),
        ([], [], "scaibot:bots:read", False),
    ],
)
def test_the_whole_key_decides(
    core: list[str] | None, module: list[str] | None, permission: str, expected: bool
) -> None:
    assert holds(grants(core, module), permission) is expected
    assert holds(grants(core, module), permission, is_guarded=True) is expected


@pytest.mark.parametrize("permission", ["models:use", "scaimatrix:view"])
@pytest.mark.parametrize("is_open", [True, False])
def test_unresolved_permissions_follow_the_fallback_but_open_nothing_guarded(
    permission: str, is_open: bool
) -> None:
    unresolved = grants(None, None, is_open=is_open, source="unresolved")
    assert holds(unresolved, permission) is is_open
    assert not holds(unresolved, permission, is_guarded=True)


def test_a_stated_list_counts_even_when_the_other_is_unresolved() -> None:
    half = grants(["models:list"], None, is_open=True, source="unresolved")
    assert holds(half, "models:list")
    assert not holds(half, "models:use")
    assert holds(half, "scaimatrix:view")


def test_a_role_condition() -> None:
    admin = Grants(frozenset(), frozenset(), frozenset({"super_admin"}))
    assert has_role(admin, ())
    assert has_role(admin, ("super_admin", "partner_admin"))
    assert not has_role(admin, ("partner_admin",))
    assert not has_role(grants([], []), ("super_admin",))


def test_a_role_condition_without_known_roles_follows_the_fallback() -> None:
    assert has_role(grants(None, None, is_open=True, source="unresolved"), ("super_admin",))
    assert not has_role(grants(None, None, source="unresolved"), ("super_admin",))
    known = Grants(None, None, frozenset({"tenant_user"}), "unresolved", True)
    assert not has_role(known, ("super_admin",))
