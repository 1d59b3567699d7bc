"""May this caller see and call this tool? Spec: core-tools 7, scaigrid 2, 3, 4."""

from __future__ import annotations

from typing import Any

import pytest

from scaimcp.catalog.builtin import CORE, GATEWAY, MODULES
from scaimcp.catalog.registry import to_tool
from scaimcp.gateway.admission import first_failure, missing_module, refusal
from scaimcp.types import Grants, ModuleView
from tests.catalogue import CORE as CORE_BY_ROLE
from tests.catalogue import MODULE, TEN_MODULES, visible
from tests.fakes.callers import UNRESOLVED_CLOSED, UNRESOLVED_OPEN, grants
from tests.unit.gateway.setup import tool

ALL = [to_tool(definition, 1) for definition in (*CORE, *GATEWAY, *MODULES)]
TOOLS = {item.name: item for item in ALL}
ON = ModuleView(frozenset(TEN_MODULES), "platform")
OFF = ModuleView(frozenset(), "platform")
MCP_OFF = ModuleView(frozenset(TEN_MODULES), "platform", mcp_is_off=True)
NONE = Grants(frozenset(), frozenset())
SEARCH = {"tools_search", "tools_describe", "tools_call"}


def admitted(held: Grants, modules: ModuleView) -> set[str]:
    names = {item.name for item in ALL if first_failure(item, held, modules) is None}
    return names - SEARCH


@pytest.mark.parametrize("role", CORE_BY_ROLE)
@pytest.mark.parametrize("modules", [[], ["scaimatrix"], TEN_MODULES])
def test_every_role_is_admitted_to_what_the_tables_say(role: str, modules: list[str]) -> None:
    core, module = frozenset(CORE_BY_ROLE[role]), frozenset(MODULE.get(role, []))
    held = Grants(core, module, frozenset({role}))
    assert admitted(held, ModuleView(frozenset(modules), "x")) == set(visible(role, modules))


def test_unresolved_and_open_admits_core_tools_and_enabled_modules() -> None:
    view = ModuleView(frozenset({"scaimatrix"}), "x")
    names = admitted(UNRESOLVED_OPEN, view)
    assert len(names) == 107 + 1 + 8
    assert "bunker_exec" not in names


def test_unresolved_and_closed_admits_open_tools_only() -> None:
    assert admitted(UNRESOLVED_CLOSED, ON) == {"me_get", "modules_list", "tools_explain"}


def test_one_resolved_list_counts_although_the_other_is_not() -> None:
    held = Grants(frozenset({"models:list"}), None, source="unresolved", fallback_open=True)
    names = admitted(held, ON)
    assert "models_list" in names
    assert "users_list" not in names
    assert "bunker_exec" in names


@pytest.mark.parametrize("held", [grants("super_admin"), UNRESOLVED_OPEN, NONE])
def test_switched_off_mcp_leaves_the_open_tools(held: Grants) -> None:
    assert admitted(held, MCP_OFF) == {"me_get", "modules_list", "tools_explain"}


@pytest.mark.parametrize(
    ("name", "held", "modules", "check"),
    [
        ("bunker_exec", NONE, OFF, "module_enabled"),
        ("bunker_exec", NONE, ON, "permission"),
        ("bunker_exec", grants("tenant_admin"), ON, None),
        ("tenants_create", NONE, ON, "permission"),
        ("tenants_create", grants("tenant_admin"), ON, "role"),
        ("tenants_create", grants("partner_admin"), ON, None),
        ("partners_create", grants("partner_admin"), ON, "role"),
        ("partners_create", grants("super_admin"), ON, None),
        ("partners_create", UNRESOLVED_OPEN, ON, None),
        ("models_list", grants("super_admin"), MCP_OFF, "module_enabled"),
        ("persona_invoke", grants("tenant_user"), OFF, "module_enabled"),
        ("persona_invoke", grants("tenant_user"), ON, None),
    ],
)
def test_checks_run_in_the_order_module_permission_role(
    name: str, held: Grants, modules: ModuleView, check: str | None
) -> None:
    assert first_failure(TOOLS[name], held, modules) == check


def test_an_open_tool_of_a_module_needs_the_module_all_the_same() -> None:
    item = tool("acme_x", module_id="acme")
    assert missing_module(item, OFF) == "acme"
    assert missing_module(item, ModuleView(frozenset({"acme"}), "x", mcp_is_off=True)) is None


@pytest.mark.parametrize(
    ("name", "check", "modules", "code", "message"),
    [
        ("bunker_exec", "module_enabled", OFF, "MODULE_NOT_ENABLED",
         "bunker_exec needs the module scaibunker, which is not enabled for this tenant."),
        ("models_list", "module_enabled", MCP_OFF, "MODULE_NOT_ENABLED",
         "models_list needs the module scaimcp, which is not enabled for this tenant."),
        ("models_list", "permission", ON, "PERMISSION_DENIED", "models_list needs models:list."),
        ("tenants_create", "role", ON, "PERMISSION_DENIED",
         "tenants_create needs the role super_admin or partner_admin."),
    ],
)  # fmt: skip
def test_a_refusal_names_what_is_missing(
    name: str, check: Any, modules: ModuleView, code: str, message: str
) -> None:
    error = refusal(TOOLS[name], check, modules)
    assert (error.code, error.message) == (code, message)
