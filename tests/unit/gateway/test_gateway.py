"""Lists and calls of all sources under one rule. Spec: core-tools 3, 7, 8."""

from __future__ import annotations

from typing import Any

import pytest

from scaimcp.gateway.view import View
from scaimcp.scaigrid.envelope import AuthenticationLost
from scaimcp.telemetry import metrics
from scaimcp.types import (
    Allowance,
    Caller,
    Grants,
    ModuleView,
    RequestContext,
    Tool,
    ToolResult,
)
from tests.catalogue import TEN_MODULES, visible
from tests.fakes.callers import (
    UNRESOLVED_CLOSED,
    UNRESOLVED_OPEN,
    caller,
    context,
    grants,
    homeless,
)
from tests.fakes.platform import DOWN, Reply, data, refusal
from tests.unit.catalog.setup import MODULE_ROWS
from tests.unit.catalog.test_contributed import entry, manifest
from tests.unit.gateway.setup import ListSource, Setup, tool

OPEN = ["me_get", "modules_list", "tools_explain"]
CRM = {"module_id": "acme-crm", "status": "active", "version": "1",
       "mcp_tools_path": "/v1/modules/acme-crm/mcp/tools"}  # fmt: skip
CRM_ROUTE = "GET /v1/modules/acme-crm/mcp/tools"
MODELS = "GET /v1/models"
POLICY = (("token", 60),)


class Counting:
    """Refuses every request after the first ones."""

    is_on = True

    def __init__(self, most: int) -> None:
        self.left = most

    async def take(self, caller: Caller) -> Allowance | None:
        self.left -= 1
        if self.left < 0:
            return Allowance(POLICY, "token", 0, 17, is_refused=True)
        return Allowance(POLICY, "token", self.left, 1)


class Told:
    """Keeps what an answer is told."""

    def __init__(self) -> None:
        self.told: list[Allowance] = []

    def limited(self, allowance: Allowance) -> None:
        self.told.append(allowance)

    def failed(self, code: str) -> None:
        raise AssertionError(code)


# Lists


@pytest.mark.parametrize(
    "role",
    ["super_admin", "partner_admin", "partner_viewer", "tenant_admin", "tenant_user",
     "tenant_viewer"],
)  # fmt: skip
async def test_every_role_lists_what_the_tables_say_in_published_order(role: str) -> None:
    setup = Setup()
    assert await setup.names(context(caller(grants(role)))) == visible(role, TEN_MODULES)


async def test_core_then_gateway_then_modules_then_others() -> None:
    setup = Setup([*MODULE_ROWS, CRM])
    setup.on(CRM_ROUTE, Reply(body=manifest(entry(required_permission="models:list"))))
    setup.gateway.add(ListSource(tool("remote.acme.x.do", domain="remote")))
    names = await setup.names()
    assert names[0] == "me_get"
    assert names[names.index("audit_export") + 1] == "tools_explain"
    assert names[names.index("tools_explain") + 1] == "bot_list"
    assert names[-2:] == ["acme_crm_contacts_find", "remote.acme.x.do"]


@pytest.mark.parametrize(
    ("view", "names"),
    [
        (
            View(disclosure="search"),
            ["me_get", "tools_explain", "tools_search", "tools_describe", "tools_call"],
        ),
        (
            View(toolsets=frozenset({"audit", "scaimatrix"})),
            ["me_get", "audit_list", "audit_export", "tools_explain", "matrix_collections_list"],
        ),
    ],
)
async def test_a_view_narrows_lists_but_never_calls(view: View, names: list[str]) -> None:
    setup = Setup()
    assert (await setup.names(view=view))[:5] == names
    setup.on(MODELS, data({"items": []}))
    assert await setup.run("models_list", who=context(view=view)) == {
        "items": [],
        "has_more": False,
    }


@pytest.mark.parametrize(
    ("held", "count"), [(UNRESOLVED_OPEN, 107 + 1 + 45), (UNRESOLVED_CLOSED, 3)]
)
async def test_unresolved_permissions_follow_the_fallback(held: Grants, count: int) -> None:
    setup = Setup()
    names = await setup.names(context(caller(held)))
    assert len(names) == count
    error = await setup.refused("models_list", who=context(caller(UNRESOLVED_CLOSED)))
    assert error.code == "PERMISSION_DENIED"


async def test_a_tenant_that_switched_mcp_off_keeps_the_open_tools() -> None:
    setup = Setup([*MODULE_ROWS, {"module_id": "scaimcp", "status": "available"}])
    assert await setup.names() == OPEN
    assert (await setup.refused("models_list")).code == "MODULE_NOT_ENABLED"
    assert (await setup.run("modules_list"))["modules_source"] == "platform"


async def test_a_caller_without_a_tenant_has_modules_of_its_own() -> None:
    setup = Setup([{"module_id": "scaimatrix", "status": "active"}])
    await setup.names()
    setup.on("GET /v1/modules", data([{"module_id": "scaibot", "status": "active"}]))
    who = context(homeless(grants("super_admin")))
    assert await setup.names(who) == visible("super_admin", ["scaibot"])
    assert await setup.names() == visible("tenant_admin", ["scaimatrix"])


async def test_a_stale_caller_still_lists_and_calls() -> None:
    setup = Setup()
    before = await setup.names()
    setup.on("GET /v1/modules", DOWN)
    setup.clock.forward(119)
    who = context(caller(is_stale=True))
    assert await setup.names(who) == before
    setup.on(MODELS, data([]))
    assert await setup.run("models_list", who=who) == {"items": [], "has_more": False}


async def test_without_any_knowledge_the_lists_holds_core_tools_at_least() -> None:
    setup = Setup()
    setup.on("GET /v1/modules", DOWN)
    assert await setup.names() == visible("tenant_admin", [])


async def test_callers_with_equal_grants_share_one_list() -> None:
    setup = Setup()
    await setup.names()
    first = await setup.gateway.callable_tools(context())
    second = await setup.gateway.callable_tools(context(caller(user_id="usr_2")))
    other = await setup.gateway.callable_tools(context(caller(grants("tenant_user"))))
    assert first is second
    assert other is not first
    assert first.index() is first.index()


async def test_lists_do_not_grow_without_end_and_the_ones_in_use_stay() -> None:
    setup = Setup([])
    await setup.names()
    used = await setup.gateway.callable_tools(context())
    idle_caller = context(caller(grants("tenant_viewer")))
    idle = await setup.gateway.callable_tools(idle_caller)
    for number in range(256):
        held = Grants(frozenset(), frozenset({f"x:{number}"}))
        await setup.gateway.callable_tools(context(caller(held)))
        assert await setup.gateway.callable_tools(context()) is used
    assert await setup.gateway.callable_tools(idle_caller) is not idle


async def test_a_client_that_connects_marks_every_source() -> None:
    setup = Setup()
    other = ListSource()
    setup.gateway.add(other)
    await setup.names()
    setup.clock.forward(1)
    setup.gateway.connected(context())
    await setup.names()
    assert (other.marked, setup.reads()) == (1, 2)
    assert [source.name for source in setup.gateway.sources] == ["platform", "gateway", "remote"]


# Calls


@pytest.mark.parametrize(
    ("name", "held", "rows", "code"),
    [
        ("nonsense", grants("tenant_admin"), MODULE_ROWS, "TOOL_NOT_FOUND"),
        ("remote.x.y.z", grants("tenant_admin"), MODULE_ROWS, "TOOL_NOT_FOUND"),
        ("bunker_exec", grants("tenant_viewer"), [], "MODULE_NOT_ENABLED"),
        ("bunker_exec", grants("tenant_viewer"), MODULE_ROWS, "PERMISSION_DENIED"),
        ("tenants_create", grants("tenant_admin"), MODULE_ROWS, "PERMISSION_DENIED"),
        ("models_get", grants("tenant_admin"), MODULE_ROWS, "INVALID_ARGUMENTS"),
    ],
)
async def test_name_module_permission_role_and_arguments_are_checked_in_order(
    name: str, held: Grants, rows: Any, code: str
) -> None:
    error = await Setup(rows).refused(name, who=context(caller(held)), wrong=1)
    assert error.code == code


async def test_an_unknown_name_suggests_visible_ones() -> None:
    error = await Setup([]).refused("model_list")
    assert error.message == "There is no such tool."
    assert {"field": "name", "message": "did you mean models_list?"} in error.details
    assert len(error.details) <= 3
    bunkers = (await Setup([]).refused("bunker_exe")).details
    assert not any("bunker" in detail["message"] for detail in bunkers)


async def test_a_module_enabled_a_moment_ago_is_found_by_a_call() -> None:
    setup = Setup([])
    assert (await setup.refused("bot_list")).code == "MODULE_NOT_ENABLED"
    setup.on("GET /v1/modules", data(MODULE_ROWS))
    setup.on("GET /v1/modules/scaibot/bots", data([]))
    assert (await setup.refused("bot_list")).code == "MODULE_NOT_ENABLED"
    assert setup.reads() == 1
    setup.clock.forward(1)
    assert await setup.run("bot_list") == {"items": [], "has_more": False}
    assert setup.reads() == 2


async def test_a_module_switched_through_the_gateway_counts_at_once() -> None:
    setup = Setup([])
    setup.on("POST /v1/modules/scaibot/enable", data({"module_id": "scaibot"}))
    setup.on("GET /v1/modules/scaibot/bots", data([]))
    await setup.names()
    await setup.run("modules_enable", module_id="scaibot")
    setup.on("GET /v1/modules", data(MODULE_ROWS))
    assert "bot_list" in await setup.names()
    assert await setup.run("bot_list") == {"items": [], "has_more": False}


async def test_a_manifest_tool_that_loses_its_module_is_refused_by_name() -> None:
    setup = Setup([CRM])
    setup.on(CRM_ROUTE, Reply(body=manifest(entry())))
    assert "acme_crm_contacts_find" in await setup.names()
    setup.on("GET /v1/modules", data([{**CRM, "status": "disabled"}]))
    setup.clock.forward(5)
    assert "acme_crm_contacts_find" not in await setup.names()
    error = await setup.refused("acme_crm_contacts_find")
    assert error.code == "MODULE_NOT_ENABLED"


async def test_the_first_source_with_a_name_answers() -> None:
    setup = Setup()
    other = ListSource(tool("models_list"), tool("only_here"))
    setup.gateway.add(other)
    setup.on(MODELS, data([]))
    await setup.run("models_list")
    assert await setup.run("only_here", a=1) == {"called": True}
    assert other.calls == [("only_here", b'{"a":1}')]


async def test_another_sources_tools_are_admitted_by_its_own_modules() -> None:
    setup = Setup()
    off = ModuleView(frozenset(), "x")
    setup.gateway.add(ListSource(tool("vault_x", module_id="scaivault"), modules=off))
    assert (await setup.refused("vault_x")).code == "MODULE_NOT_ENABLED"


async def test_the_gateways_own_quota_comes_before_the_arguments() -> None:
    setup = Setup(limiter=Counting(1))
    assert (await setup.refused("models_get")).code == "INVALID_ARGUMENTS"
    error = await setup.refused("models_get")
    assert (error.code, error.retry_after) == ("RATE_LIMITED", 17)
    assert (await setup.refused("nonsense")).code == "TOOL_NOT_FOUND"
    assert await setup.gateway.admit(context()) == 17


async def test_the_answer_is_told_what_the_limits_leave() -> None:
    answer = Told()
    who = context(answer=answer)
    setup = Setup(limiter=Counting(1))
    assert await setup.gateway.admit(who) is None
    error = await setup.refused("tools_search", who=who, query="x")
    assert error.code == "RATE_LIMITED"
    told = [(each.remaining, each.window_seconds, each.is_refused) for each in answer.told]
    assert told == [(0, 1, False), (0, 17, True)]


async def test_without_a_limit_no_answer_is_told_anything() -> None:
    answer = Told()
    setup = Setup()
    assert await setup.gateway.admit(context(answer=answer)) is None
    await setup.run("tools_search", who=context(answer=answer), query="models")
    assert answer.told == []


async def test_too_many_calls_at_once_are_refused_before_the_quota() -> None:
    limiter = Counting(5)
    setup = Setup(limiter=limiter, per_caller=1)
    with setup.inflight.call(caller()):
        assert (await setup.refused("models_list")).code == "GATEWAY_BUSY"
    assert limiter.left == 5


async def test_a_fault_of_a_source_is_a_failed_call_that_explains_nothing() -> None:
    class Faulty(ListSource):
        async def call(self, tool: Tool, arguments: bytes, context: RequestContext) -> ToolResult:
            raise LookupError("secret of the house")

    setup = Setup()
    setup.gateway.add(Faulty(tool("faulty_do")))
    metrics.flush()
    failed = metrics.TOOL_CALLS.labels("remote", "failed")._value
    before = failed.get()
    error = await setup.refused("faulty_do")
    assert (error.code, error.message) == (
        "INTERNAL_ERROR",
        "The gateway failed; the cause is in its log.",
    )
    metrics.flush()
    assert failed.get() == before + 1
    assert not setup.inflight._running


async def test_a_refused_bearer_is_no_failure_of_a_tool() -> None:
    setup = Setup()
    setup.on("GET /v1/me", refusal(401, "AUTH_TOKEN_INVALID"))
    with pytest.raises(AuthenticationLost):
        await setup.gateway.call_tool(context(), "me_get", b"")


# The search tools


async def test_search_ranks_what_the_caller_may_call() -> None:
    setup = Setup()
    found = await setup.run("tools_search", query="run a command in a bunker", top_k=3)
    assert found["items"][0]["name"] == "bunker_exec"
    assert found["items"][0]["module_id"] == "scaibunker"
    assert len(found["items"]) == 3 < found["total_count"]
    hidden = await setup.run(
        "tools_search", query="bunker_exec", who=context(caller(grants("tenant_user")))
    )
    assert "bunker_exec" not in [item["name"] for item in hidden["items"]]


async def test_describe_tells_unknown_and_hidden_names_alike() -> None:
    who = context(caller(grants("tenant_user")))
    names = ["models_list", "bunker_exec", "nonsense", "models_list"]
    found = await Setup().run("tools_describe", names=names, who=who)
    assert [item["name"] for item in found["items"]] == ["models_list"]
    assert found["not_found"] == ["bunker_exec", "nonsense"]


async def test_call_answers_with_the_targets_own_result() -> None:
    setup = Setup()
    setup.on("GET /v1/models/m", data({"id": "mdl_1"}))
    found = await setup.run("tools_call", name="models_get", arguments={"model": "m"})
    assert found == {"id": "mdl_1"}
    setup.on(MODELS, data([]))
    assert await setup.run("tools_call", name="models_list") == {"items": [], "has_more": False}


@pytest.mark.parametrize(
    ("name", "held", "rows", "code"),
    [
        ("nonsense", grants("tenant_admin"), [], "TOOL_NOT_FOUND"),
        ("bunker_exec", grants("tenant_admin"), [], "MODULE_NOT_ENABLED"),
        ("users_list", grants("tenant_user"), [], "PERMISSION_DENIED"),
        ("tenants_create", grants("tenant_admin"), [], "PERMISSION_DENIED"),
        ("models_get", grants("tenant_admin"), [], "INVALID_ARGUMENTS"),
        ("tools_search", grants("tenant_admin"), [], "INVALID_ARGUMENTS"),
        ("tools_call", grants("tenant_admin"), [], "INVALID_ARGUMENTS"),
        ("tools_explain", grants("tenant_admin"), [], "INVALID_ARGUMENTS"),
    ],
)
async def test_a_target_passes_the_checks_of_a_direct_call(
    name: str, held: Grants, rows: Any, code: str
) -> None:
    error = await Setup(rows).refused("tools_call", who=context(caller(held)), name=name)
    assert error.code == code


async def test_a_call_through_another_counts_once() -> None:
    limiter = Counting(1)
    setup = Setup(limiter=limiter, per_caller=1)
    setup.on(MODELS, data([]))
    await setup.run("tools_call", name="models_list")
    assert limiter.left == 0


async def test_an_answer_of_the_gateways_own_keeps_to_its_cap() -> None:
    setup = Setup(own_chars=400)
    error = await setup.refused("tools_search", query="list", top_k=50)
    assert error.code == "RESULT_TOO_LARGE"


async def test_the_gateways_own_tools_are_always_supported() -> None:
    setup = Setup()
    own = (await setup.discovery.snapshot(context(), 0)).tools
    assert not any(setup.discovery.unsupported(item) for item in own)
