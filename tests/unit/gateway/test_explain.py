"""Why is this tool missing for me? Spec: core-tools 8."""

from __future__ import annotations

from typing import Any

import pytest

from scaimcp.gateway.view import View
from tests.catalogue import visible
from tests.fakes.callers import (
    UNRESOLVED_CLOSED,
    UNRESOLVED_OPEN,
    caller,
    context,
    grants,
    homeless,
)
from tests.fakes.platform import DOWN, Reply, data
from tests.unit.catalog.setup import MODULE_ROWS
from tests.unit.catalog.test_contributed import entry, manifest
from tests.unit.gateway.setup import Setup

CRM = {"module_id": "acme-crm", "status": "active", "version": "1",
       "mcp_tools_path": "/v1/modules/acme-crm/mcp/tools"}  # fmt: skip
CRM_ROUTE = "GET /v1/modules/acme-crm/mcp/tools"
ENABLE = "Ask someone with modules:manage to call modules_enable with module_id {}."
ALL = ["exists", "loaded", "module_enabled", "permission", "role", "disclosure", "platform_support"]
VIEWER = context(caller(grants("tenant_viewer")))


def names_of(found: dict[str, Any]) -> list[str]:
    """Return the checks in order; all but the last that failed are fine."""
    return [check["check"] for check in found["checks"]]


def last(found: dict[str, Any]) -> dict[str, Any]:
    """Return the failing check without its name."""
    check = next(check for check in found["checks"] if not check["is_ok"])
    assert check["check"] == found["first_failure"]
    return {"detail": check["detail"], "remedy": check["remedy"]}


async def test_a_tool_that_is_there_passes_every_check() -> None:
    found = await Setup().explain("models_list")
    assert names_of(found) == ALL
    assert all(check["is_ok"] and "remedy" not in check for check in found["checks"])
    assert (found["is_listed"], found["is_callable"]) == (True, True)
    assert (found["first_failure"], found["suggestions"]) == (None, [])


async def test_the_caller_is_told_about_itself() -> None:
    setup = Setup()
    setup.clock.forward(12.4)
    held = grants("tenant_user", "tenant_viewer")
    assert (await setup.explain("me_get", context(caller(held))))["caller"] == {
        "user_id": "usr_1",
        "tenant_id": "tnt_acme",
        "roles": ["tenant_user", "tenant_viewer"],
        "permissions_source": "me",
        "modules_source": "tenant_cache",
        "identity_age_seconds": 12,
    }
    homeless_found = await setup.explain("me_get", context(homeless()))
    assert homeless_found["caller"]["tenant_id"] is None


async def test_an_unknown_name_suggests_visible_ones() -> None:
    found = await Setup([]).explain("model_list")
    assert names_of(found) == ["exists"]
    assert last(found)["detail"] == "There is no tool of this name."
    assert "models_list" in found["suggestions"]
    assert (found["is_listed"], found["is_callable"]) == (False, False)


async def test_a_foreign_remote_name_is_answered_like_an_unknown_one() -> None:
    setup = Setup()
    first = await setup.explain("remote.usr_2.files.read")
    second = await setup.explain("remote.nobody.files.read")
    assert {**first, "tool": ""} == {**second, "tool": ""}


async def test_suggestions_are_visible_names_other_than_the_tool_itself() -> None:
    found = await Setup().explain("bunker_exec", VIEWER)
    assert "bunker_exec" not in found["suggestions"]
    assert not any(name.startswith("bunker") for name in found["suggestions"])


# loaded


async def test_a_tool_that_broke_a_rule_is_known_but_not_loaded() -> None:
    setup = Setup([CRM])
    setup.on(CRM_ROUTE, Reply(body=manifest(entry(name="acme_crm_bad", title="One"))))
    found = await setup.explain("acme_crm_bad")
    assert names_of(found) == ["exists", "loaded"]
    assert last(found) == {
        "detail": "The title is not 2 to 5 words.",
        "remedy": "Ask the author of acme-crm to mend it.",
    }


async def test_a_module_that_failed_to_load_explains_all_its_names() -> None:
    setup = Setup([CRM])
    setup.on(CRM_ROUTE, DOWN)
    found = await setup.explain("acme_crm_anything")
    assert found["first_failure"] == "loaded"
    assert "PLATFORM_UNAVAILABLE" in last(found)["detail"]
    assert (await setup.explain("acme_other"))["first_failure"] == "exists"
    assert (await setup.explain("acme_crm"))["first_failure"] == "exists"


async def test_a_dropped_rival_does_not_hide_the_tool_that_has_the_name() -> None:
    setup = Setup([CRM])
    setup.on(CRM_ROUTE, Reply(body=manifest(entry(), entry())))
    found = await setup.explain("acme_crm_contacts_find")
    assert found["is_callable"]


# module_enabled


@pytest.mark.parametrize("who", [context(), VIEWER])
async def test_a_tool_of_a_disabled_module_says_so_before_the_permission(who: Any) -> None:
    found = await Setup([]).explain("bunker_exec", who)
    assert names_of(found) == ["exists", "loaded", "module_enabled"]
    assert last(found) == {
        "detail": "scaibunker is not enabled for tenant acme.",
        "remedy": ENABLE.format("scaibunker"),
    }
    assert (found["is_listed"], found["is_callable"]) == (False, False)


async def test_a_manifest_tool_of_a_module_just_disabled_is_explained_too() -> None:
    setup = Setup([CRM])
    setup.on(CRM_ROUTE, Reply(body=manifest(entry())))
    await setup.names()
    setup.on("GET /v1/modules", data([{**CRM, "status": "disabled"}]))
    setup.clock.forward(5)
    found = await setup.explain("acme_crm_contacts_find")
    assert found["first_failure"] == "module_enabled"


@pytest.mark.parametrize("name", ["models_list", "bunker_exec"])
async def test_switched_off_mcp_is_named_as_the_module(name: str) -> None:
    setup = Setup([*MODULE_ROWS, {"module_id": "scaimcp", "status": "disabled"}])
    found = await setup.explain(name)
    assert last(found) == {
        "detail": "scaimcp is not enabled for tenant acme.",
        "remedy": ENABLE.format("scaimcp"),
    }
    assert (await setup.explain("me_get"))["is_callable"]


async def test_a_caller_without_a_tenant_is_not_called_a_tenant() -> None:
    who = context(homeless(grants("super_admin")))
    found = await Setup([]).explain("bunker_exec", who)
    assert last(found)["detail"] == "scaibunker is not enabled for this caller."
    listed = await Setup().explain("bunker_exec", who)
    assert listed["checks"][2]["detail"] == "scaibunker is enabled for this caller."


async def test_a_tenant_without_a_slug_is_named_by_its_id() -> None:
    found = await Setup([]).explain("bunker_exec", context(caller(tenant_slug="")))
    assert last(found)["detail"] == "scaibunker is not enabled for tenant tnt_acme."


# permission and role


async def test_a_missing_permission_is_named_with_its_source() -> None:
    found = await Setup().explain("bunker_exec", VIEWER)
    assert names_of(found) == ["exists", "loaded", "module_enabled", "permission"]
    assert last(found) == {
        "detail": "scaibunker:execute is missing (source: me).",
        "remedy": "Ask an administrator for a role that holds scaibunker:execute.",
    }


async def test_a_missing_role_is_named() -> None:
    found = await Setup().explain("tenants_create")
    assert names_of(found) == ["exists", "loaded", "module_enabled", "permission", "role"]
    assert last(found) == {
        "detail": "It needs the role super_admin or partner_admin.",
        "remedy": "Use an identity with super_admin or partner_admin.",
    }


async def test_unresolved_permissions_are_told_by_their_source() -> None:
    setup = Setup()
    assert (await setup.explain("models_list", context(caller(UNRESOLVED_OPEN))))["is_callable"]
    closed = await setup.explain("models_list", context(caller(UNRESOLVED_CLOSED)))
    assert last(closed)["detail"] == "models:list is missing (source: unresolved)."
    opened = await setup.explain("me_get", context(caller(UNRESOLVED_CLOSED)))
    detail = opened["checks"][3]["detail"]
    assert detail == "No permission is needed (source: unresolved)."


# disclosure and platform_support


@pytest.mark.parametrize(
    "view",
    [View(disclosure="search"), View(toolsets=frozenset({"rooms"})), View(toolsets=frozenset())],
)
async def test_what_the_url_hides_is_callable_all_the_same(view: View) -> None:
    found = await Setup().explain("models_list", view=view)
    assert names_of(found) == ALL
    assert (found["first_failure"], found["is_listed"], found["is_callable"]) == (
        "disclosure",
        False,
        True,
    )
    assert "can be called" in last(found)["detail"]


async def test_the_search_tools_are_hidden_by_the_default_disclosure() -> None:
    setup = Setup()
    assert (await setup.explain("tools_search"))["first_failure"] == "disclosure"
    found = await setup.explain("tools_search", view=View(disclosure="search"))
    assert found["first_failure"] is None


async def test_a_missing_endpoint_leaves_the_tool_listed() -> None:
    setup = Setup()
    assert (await setup.refused("models_get", model="m")).code == "NOT_SUPPORTED"
    found = await setup.explain("models_get")
    assert (found["first_failure"], found["is_listed"], found["is_callable"]) == (
        "platform_support",
        True,
        True,
    )
    setup.clock.forward(600)
    assert (await setup.explain("models_get"))["first_failure"] is None


# The tool and the overview


async def test_the_tool_gives_the_same_under_its_own_urls_options() -> None:
    setup = Setup()
    view = View(toolsets=frozenset({"rooms"}))
    found = await setup.run("tools_explain", tool="models_list", who=context(view=view))
    expected = await setup.explain("models_list", view=view)
    found["caller"].pop("identity_age_seconds")
    expected["caller"].pop("identity_age_seconds")
    for side in (found, expected):
        side["caller"].pop("modules_source")
    assert found == expected


async def test_a_stale_caller_gets_explanations_from_what_is_known() -> None:
    setup = Setup()
    await setup.names()
    setup.on("GET /v1/modules", DOWN)
    setup.clock.forward(100)
    found = await setup.explain("bunker_exec", context(caller(is_stale=True)))
    assert found["is_callable"]
    assert found["caller"]["modules_source"] == "tenant_cache"


async def test_the_overview_counts_and_names_the_first_failing_check() -> None:
    setup = Setup([])
    found = await setup.explainer.overview(VIEWER, View())
    assert found["visible_count"] == len(visible("tenant_viewer", []))
    assert found["visible_count"] + found["hidden_count"] == 107 + 45 + 4
    assert len(found["hidden"]) == found["hidden_count"]
    reasons = {entry["tool"]: entry["first_failure"] for entry in found["hidden"]}
    assert reasons["bunker_exec"] == "module_enabled"
    assert reasons["users_list"] == "permission"
    assert reasons["tools_search"] == "disclosure"
    assert found["caller"]["user_id"] == "usr_1"


async def test_the_overview_names_at_most_two_hundred() -> None:
    setup = Setup([{**CRM, "module_id": f"m{number}",
                    "mcp_tools_path": f"/v1/modules/m{number}/mcp/tools"}
                   for number in range(3)])  # fmt: skip
    for number in range(3):
        tools = [
            entry(name=f"m{number}_t{at}", required_permission="admin:access") for at in range(30)
        ]
        body = manifest(*tools, module_id=f"m{number}")
        setup.on(f"GET /v1/modules/m{number}/mcp/tools", Reply(body=body))
    found = await setup.explainer.overview(VIEWER, View())
    assert found["hidden_count"] > 200
    assert len(found["hidden"]) == 200
