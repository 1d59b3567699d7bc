"""Which modules are enabled: five sources in order, and how old they may be. Spec: scaigrid 4."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from scaimcp.auth.verifier import Verifier, VerifierPolicy
from scaimcp.catalog.modules import (
    CALL_SECONDS,
    LIST_SECONDS,
    ModuleDirectory,
    ModulePolicy,
    ModuleState,
    scope_of,
)
from scaimcp.errors import ToolError
from scaimcp.scaigrid.client import Trace
from scaimcp.types import Grants, RequestContext, Secret
from tests.fakes.callers import (
    SERVICE_TOKEN,
    TOKEN,
    UNRESOLVED_OPEN,
    Clock,
    caller,
    context,
    grants,
    homeless,
)
from tests.fakes.platform import DOWN, FakePlatform, Reply, Scripted, data, refusal

ROUTE = "GET /v1/modules"
ROWS = [
    {"module_id": "scaimatrix", "status": "active", "version": "2"},
    {"module_id": "scaibunker", "status": "available"},
    {"module_id": "acme-crm", "status": "active", "mcp_tools_path": "/v1/modules/acme-crm/t"},
]
ACTIVE = {"scaimatrix", "acme-crm"}
DENIED = refusal(403, "AUTHZ_PERMISSION_DENIED")
OTHER = "sgk_" + "b" * 40
VIEWER = grants("tenant_viewer")


def me(tenant: str = "tnt_acme") -> Reply:
    return data({"user": {"id": "usr_service"}, "tenant": {"id": tenant, "slug": "acme"},
                 "roles": [], "permissions": [], "module_permissions": []})  # fmt: skip


class Setup:
    """A directory over a fake platform and a clock."""

    def __init__(
        self, answer: Scripted | None = None, *, service: bool = False, assume: str = ""
    ) -> None:
        self.platform = FakePlatform({ROUTE: answer or data(ROWS), "GET /v1/me": me()})
        self.clock = Clock()
        self.verifier = Verifier(
            self.platform, VerifierPolicy("http://localhost/mcp"), monotonic=self.clock
        )
        token = Secret(SERVICE_TOKEN) if service else None
        policy = ModulePolicy(token, frozenset(assume.split()))
        self.directory = ModuleDirectory(self.platform, self.verifier, policy, monotonic=self.clock)

    async def state(
        self, max_age: float = LIST_SECONDS, who: RequestContext | None = None
    ) -> ModuleState:
        return await self.directory.state(who or context(), max_age)

    async def seen(
        self, max_age: float = LIST_SECONDS, who: RequestContext | None = None
    ) -> tuple[set[str], str]:
        """Return the enabled modules and who said so."""
        view = (await self.state(max_age, who)).view
        return set(view.active), view.source

    def answer(self, *answers: Scripted) -> None:
        self.platform.on(ROUTE, *answers)

    @property
    def reads(self) -> int:
        return len(self.platform.seen(ROUTE))

    def bearers(self) -> list[str]:
        return [bearer for call, bearer in self.platform.calls if call.path == "/v1/modules"]


def viewer(token: str = TOKEN, held: Grants = VIEWER) -> RequestContext:
    return context(caller(held, token=token), token=token)


# The sources in their order


async def test_the_platform_is_asked_with_the_callers_bearer() -> None:
    setup = Setup()
    state = await setup.state()
    assert state.view.active == ACTIVE
    assert state.view.source == "platform"
    assert [row.module_id for row in state.rows] == ["scaimatrix", "scaibunker", "acme-crm"]
    assert setup.bearers() == [TOKEN]


async def test_rows_may_stand_in_items() -> None:
    assert await Setup(data({"items": ROWS})).seen() == (ACTIVE, "platform")


async def test_the_tenants_other_callers_share_what_is_known() -> None:
    setup = Setup()
    await setup.state()
    assert await setup.seen(who=viewer(OTHER)) == (ACTIVE, "tenant_cache")
    assert setup.reads == 1


async def test_a_refused_caller_is_served_by_the_service_token() -> None:
    setup = Setup(service=True)
    setup.answer(DENIED, data(ROWS))
    assert await setup.seen(who=viewer()) == (ACTIVE, "service_token")
    assert setup.bearers() == [TOKEN, SERVICE_TOKEN]
    assert await setup.seen(who=viewer()) == (ACTIVE, "tenant_cache")


async def test_a_service_token_of_another_tenant_does_not_count() -> None:
    setup = Setup(DENIED, service=True, assume="scaimatrix")
    setup.platform.on("GET /v1/me", me("tnt_globex"))
    assert await setup.seen(who=viewer()) == ({"scaimatrix"}, "settings")
    assert setup.bearers() == [TOKEN]


async def test_a_service_token_that_is_no_longer_accepted_is_confirmed_anew() -> None:
    setup = Setup(DENIED, service=True, assume="scaimatrix")
    setup.answer(DENIED, refusal(401, "AUTH_TOKEN_INVALID"))
    await setup.seen(who=viewer())
    assert setup.verifier.remembered(SERVICE_TOKEN) is None


@pytest.mark.parametrize("answer", [DENIED, DOWN, refusal(401, "AUTH_TOKEN_INVALID")])
async def test_a_service_token_of_no_use_is_tried_once_a_second(answer: Scripted) -> None:
    setup = Setup(DENIED, service=True, assume="scaimatrix")
    setup.answer(DENIED, answer)
    assert await setup.seen(who=viewer()) == ({"scaimatrix"}, "settings")
    await setup.seen(who=viewer())
    assert setup.bearers() == [TOKEN, SERVICE_TOKEN]
    setup.clock.forward(1)
    await setup.seen(who=viewer())
    assert setup.bearers() == [TOKEN, SERVICE_TOKEN, SERVICE_TOKEN]


async def test_a_service_token_that_the_platform_refuses_does_not_count() -> None:
    setup = Setup(DENIED, service=True, assume="scaimatrix")
    setup.platform.on("GET /v1/me", refusal(401, "AUTH_TOKEN_INVALID"))
    assert await setup.seen(who=viewer()) == ({"scaimatrix"}, "settings")


async def test_then_the_operators_setting_counts() -> None:
    setup = Setup(DENIED, assume="scaimatrix scaibunker")
    assert await setup.seen(who=viewer()) == ({"scaimatrix", "scaibunker"}, "settings")


@pytest.mark.parametrize(
    ("held", "modules"),
    [
        (Grants(frozenset(), frozenset({"scaimatrix:view", "scaibot:bots:read"})),
         {"scaimatrix", "scaibot"}),
        (Grants(frozenset(), frozenset({"scaimatrix:*"})), {"scaimatrix"}),
        (Grants(frozenset(), frozenset({"*"})), set()),
        (Grants(frozenset(), frozenset()), set()),
        (UNRESOLVED_OPEN, set()),
    ],
)  # fmt: skip
async def test_at_last_the_callers_own_permissions_name_modules(
    held: Grants, modules: set[str]
) -> None:
    assert await Setup(DENIED).seen(who=viewer(held=held)) == (modules, "permissions")


async def test_a_refused_caller_asks_again_after_half_a_minute() -> None:
    setup = Setup(DENIED)
    for _ in range(3):
        await setup.state(who=viewer())
    assert setup.reads == 1
    setup.clock.forward(30)
    setup.answer(data(ROWS))
    assert await setup.seen(who=viewer()) == (ACTIVE, "platform")


async def test_a_refused_caller_does_not_keep_others_from_asking() -> None:
    setup = Setup()
    setup.answer(DENIED, data(ROWS))
    assert await setup.seen(who=viewer()) == (
        {"scaimatrix", "scaiskills", "scaipersona", "scaispeak", "scaimind", "scaicore", "scaibot"},
        "permissions",
    )
    assert await setup.seen(who=context(token=OTHER)) == (ACTIVE, "platform")


async def test_a_refused_caller_keeps_to_what_another_read_a_minute_ago() -> None:
    setup = Setup()
    await setup.state()
    setup.answer(DENIED)
    setup.clock.forward(59)
    assert await setup.seen(who=viewer(OTHER)) == (ACTIVE, "tenant_cache")
    setup.clock.forward(1)
    assert (await setup.seen(who=viewer(OTHER)))[1] == "permissions"


# Age


@pytest.mark.parametrize(
    ("max_age", "seconds", "reads"),
    [
        (LIST_SECONDS, 4.9, 1),
        (LIST_SECONDS, 5, 2),
        (CALL_SECONDS, 59.9, 1),
        (CALL_SECONDS, 60, 2),
    ],
)
async def test_lists_take_five_seconds_and_calls_sixty(
    max_age: float, seconds: float, reads: int
) -> None:
    setup = Setup()
    await setup.state()
    setup.clock.forward(seconds)
    await setup.state(max_age)
    assert setup.reads == reads


async def test_a_stale_mark_makes_the_next_list_read_but_not_a_call() -> None:
    setup = Setup()
    await setup.state()
    setup.clock.forward(2)
    setup.directory.mark_stale("tnt_acme")
    await setup.state(CALL_SECONDS)
    assert setup.reads == 1
    await setup.state(LIST_SECONDS)
    await setup.state(LIST_SECONDS)
    assert setup.reads == 2


async def test_marking_what_is_not_known_does_nothing() -> None:
    setup = Setup()
    setup.directory.mark_stale("tnt_acme")
    assert setup.directory.known(caller(), CALL_SECONDS) is None


async def test_a_tenant_is_read_at_most_once_a_second() -> None:
    setup = Setup()
    await setup.state()
    setup.directory.mark_stale("tnt_acme")
    assert await setup.seen(0) == (ACTIVE, "tenant_cache")
    setup.clock.forward(0.9)
    assert await setup.seen(0) == (ACTIVE, "tenant_cache")
    assert setup.reads == 1
    setup.clock.forward(0.1)
    assert await setup.seen(0) == (ACTIVE, "platform")


@pytest.mark.parametrize(
    ("failure", "seconds"), [(DOWN, 5.0), (refusal(500, "INTERNAL_ERROR"), 1.0)]
)
async def test_a_platform_that_is_away_does_not_hold_up_every_list(
    failure: Scripted, seconds: float
) -> None:
    setup = Setup(failure)
    for _ in range(3):
        assert await setup.seen() == (set(), "permissions")
    assert setup.reads == 1
    setup.clock.forward(seconds - 0.1)
    await setup.seen()
    assert setup.reads == 1
    setup.clock.forward(0.1)
    setup.answer(data(ROWS))
    assert await setup.seen() == (ACTIVE, "platform")


async def test_a_dropped_tenant_is_read_at_once() -> None:
    setup = Setup()
    await setup.state()
    setup.directory.drop("tnt_acme")
    await setup.state(CALL_SECONDS)
    assert setup.reads == 2
    setup.directory.drop_all()
    await setup.state(CALL_SECONDS)
    assert setup.reads == 3


@pytest.mark.parametrize("who", ["tnt_acme", ""])
async def test_a_reading_older_than_a_switch_is_not_remembered(who: str) -> None:
    setup = Setup()
    setup.platform.is_slow = True
    reading = asyncio.create_task(setup.state())
    await asyncio.sleep(0)
    assert setup.reads == 1
    setup.directory.drop(who) if who else setup.directory.drop_all()
    await reading
    assert setup.directory.known(caller(), CALL_SECONDS) is None
    assert await setup.seen() == (ACTIVE, "platform")


# Without the platform


@pytest.mark.parametrize(
    "failure",
    [
        DOWN,
        refusal(500, "INTERNAL_ERROR"),
        Reply(200, b"<html>"),
        data("no list"),
        data([{"module_id": 5}]),
        ToolError("RATE_LIMITED", "Wait."),
        refusal(429, "RATE_LIMITED"),
    ],
)
async def test_the_last_known_set_serves_for_ten_minutes(failure: Scripted) -> None:
    setup = Setup(assume="scaibunker")
    await setup.state()
    setup.answer(failure)
    setup.clock.forward(599)
    assert await setup.seen() == (ACTIVE, "tenant_cache")
    setup.clock.forward(1)
    assert await setup.seen() == ({"scaibunker"}, "settings")


async def test_a_stale_caller_is_still_served() -> None:
    setup = Setup()
    await setup.state()
    setup.answer(DOWN)
    setup.clock.forward(100)
    who = context(caller(is_stale=True))
    assert await setup.seen(who=who) == (ACTIVE, "tenant_cache")


async def test_a_rate_limit_of_one_bearer_does_not_hold_up_another() -> None:
    setup = Setup()
    setup.answer(refusal(429, "RATE_LIMITED"), data(ROWS))
    await setup.state()
    assert await setup.seen(who=context(token=OTHER)) == (ACTIVE, "platform")


async def test_a_401_drops_the_identity() -> None:
    setup = Setup()
    await setup.verifier.verify(TOKEN, Trace("req_1"))
    assert setup.verifier.remembered(TOKEN) is not None
    setup.answer(refusal(401, "SESSION_EXPIRED"))
    assert (await setup.seen())[1] == "permissions"
    assert setup.verifier.remembered(TOKEN) is None


# Scopes and switches


async def test_callers_without_a_tenant_have_a_set_of_their_own() -> None:
    setup = Setup()
    first, second = homeless(), homeless(user_id="usr_2")
    assert scope_of(first) == "user:usr_1"
    assert scope_of(caller()) == "tnt_acme"
    await setup.state(who=context(first))
    await setup.state(who=context(second))
    await setup.state(who=context())
    assert setup.reads == 3
    assert await setup.seen(who=context(first)) == (ACTIVE, "tenant_cache")
    setup.directory.mark_stale(scope_of(first))
    assert setup.directory.known(first, LIST_SECONDS) is None
    assert setup.directory.known(second, LIST_SECONDS) is not None


async def test_callers_without_a_tenant_get_nothing_by_the_service_token() -> None:
    setup = Setup(DENIED, service=True)
    assert (await setup.seen(who=context(homeless(VIEWER))))[1] == "permissions"
    assert setup.bearers() == [TOKEN]


@pytest.mark.parametrize(
    ("rows", "is_off"),
    [
        ([], False),
        ([{"module_id": "scaimcp", "status": "active"}], False),
        ([{"module_id": "scaimcp", "status": "available"}], True),
        ([{"module_id": "scaimcp", "status": "disabled"}], True),
    ],
)
async def test_scaimcp_is_off_when_it_is_listed_and_not_active(
    rows: list[Any], is_off: bool
) -> None:
    setup = Setup(data(rows))
    assert (await setup.state()).view.mcp_is_off is is_off
    assert (await setup.state()).view.mcp_is_off is is_off


async def test_callers_at_the_same_time_share_one_question() -> None:
    setup = Setup()
    setup.platform.is_slow = True
    found = await asyncio.gather(*(setup.state() for _ in range(5)))
    assert setup.reads == 1
    assert all(state.view.active == ACTIVE for state in found)


@pytest.mark.slow
async def test_memory_does_not_grow_without_end() -> None:
    setup = Setup(data([]))
    first = context(caller(tenant_id="t0"))
    for number in range(10_001):
        await setup.state(who=context(caller(tenant_id=f"t{number}")))
    assert setup.directory.known(first.caller, LIST_SECONDS) is None
    setup.answer(DENIED)
    for number in range(10_001):
        await setup.state(who=context(caller(tenant_id=f"u{number}", token=f"sgk_{number}")))
    reads = setup.reads
    await setup.state(0, who=context(caller(tenant_id="u1", token="sgk_0")))
    assert setup.reads == reads + 1
