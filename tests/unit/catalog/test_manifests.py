"""Manifests of modules: fetched, kept, shared within a tenant. Spec: core-tools 9, form B."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from scaimcp.catalog.contributed import Contribution
from scaimcp.catalog.manifests import FAILURE_SECONDS, KEEP_SECONDS, Manifests
from scaimcp.catalog.modules import ModuleRow, ModuleState
from scaimcp.scaigrid.client import PlatformRequest
from scaimcp.types import ModuleView, RequestContext
from tests.fakes.callers import Clock, caller, context, homeless
from tests.fakes.platform import DOWN, FakePlatform, Reply, Scripted, data, refusal
from tests.unit.catalog.test_contributed import entry, manifest

PATH = "/v1/modules/acme-crm/mcp/tools"
ROUTE = f"GET {PATH}"
NAME = "acme_crm_contacts_find"
OTHER = "sgk_" + "b" * 40


def row(module_id: str = "acme-crm", **more: Any) -> ModuleRow:
    fields = {"status": "active", "version": "1", "mcp_tools_path": PATH}
    return ModuleRow(module_id, **{**fields, **more})


def state(*rows: ModuleRow, active: frozenset[str] | None = None) -> ModuleState:
    enabled = frozenset(row.module_id for row in rows if row.status == "active")
    return ModuleState(ModuleView(enabled if active is None else active, "platform"), rows)


class Setup:
    """Manifests over a fake platform and a clock."""

    def __init__(self, answer: Scripted | None = None, *, ask: str = "") -> None:
        self.platform = FakePlatform({ROUTE: answer or Reply(body=manifest(entry()))})
        self.clock = Clock()
        asked = frozenset(ask.split())
        self.manifests = Manifests(self.platform, asked, monotonic=self.clock)

    async def get(
        self, known: ModuleState | None = None, who: RequestContext | None = None
    ) -> tuple[Contribution, ...]:
        return await self.manifests.contributions(who or context(), known or state(row()))

    async def names(self, *args: Any, **kwargs: Any) -> list[str]:
        found = await self.get(*args, **kwargs)
        return [tool.name for contribution in found for tool in contribution.tools]

    @property
    def count(self) -> int:
        return len(self.platform.calls)


@pytest.mark.parametrize(
    "answer", [Reply(body=manifest(entry())), data(msgspec.json.decode(manifest(entry())))]
)
async def test_a_manifest_is_read_with_and_without_an_envelope(answer: Reply) -> None:
    setup = Setup(answer)
    assert await setup.names() == [NAME]
    ((request, bearer),) = setup.platform.calls
    assert request == PlatformRequest("GET", PATH, timeout_seconds=3.0, is_raw=True)
    assert bearer == context().bearer.reveal()


async def test_modules_without_a_manifest_are_not_asked() -> None:
    setup = Setup()
    assert await setup.get(state(row(mcp_tools_path=None), row("b", mcp_tools_path=""))) == ()
    assert await setup.get(state()) == ()
    assert setup.count == 0


async def test_the_setting_names_modules_that_are_always_asked() -> None:
    setup = Setup(ask="acme-crm zeta")
    assert await setup.names(state(row(mcp_tools_path=None))) == [NAME]


async def test_the_setting_counts_where_only_names_are_known() -> None:
    setup = Setup(ask="acme-crm zeta")
    assert await setup.names(state(active=frozenset({"acme-crm", "scaimatrix"}))) == [NAME]
    assert setup.count == 1


async def test_a_module_that_is_not_enabled_is_not_asked() -> None:
    setup = Setup()
    assert await setup.get(state(row(status="available"))) == ()
    assert setup.count == 0


async def test_what_is_known_of_a_disabled_module_is_still_returned() -> None:
    setup = Setup()
    await setup.get()
    assert await setup.names(state(row(status="disabled"))) == [NAME]
    setup.clock.forward(KEEP_SECONDS)
    assert await setup.names(state(row(status="disabled"))) == []
    assert setup.count == 1


async def test_a_manifest_is_kept_for_a_quarter_of_an_hour() -> None:
    setup = Setup()
    (first,) = await setup.get()
    setup.clock.forward(899)
    (again,) = await setup.get()
    assert again is first
    assert setup.count == 1
    setup.clock.forward(1)
    (anew,) = await setup.get()
    assert setup.count == 2
    assert anew.serial != first.serial


@pytest.mark.parametrize(
    ("known", "who"),
    [
        (state(row(version="2")), context()),
        (state(row()), context(caller(tenant_id="tnt_globex"))),
        (state(row()), context(homeless())),
    ],
    ids=["version", "tenant", "no tenant"],
)
async def test_another_version_or_tenant_is_asked_anew(
    known: ModuleState, who: RequestContext
) -> None:
    setup = Setup()
    await setup.get()
    await setup.get(known, who)
    assert setup.count == 2


async def test_another_caller_of_the_tenant_shares_the_manifest() -> None:
    setup = Setup()
    await setup.get()
    assert await setup.names(who=context(token=OTHER)) == [NAME]
    assert setup.count == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (DOWN, "The manifest could not be fetched (PLATFORM_UNAVAILABLE)."),
        (refusal(500, "INTERNAL_ERROR"), "The manifest could not be fetched (INTERNAL_ERROR)."),
        (Reply(404, b"gone"), "The manifest could not be fetched (NOT_SUPPORTED)."),
        (Reply(200, b"<html>"), "The manifest cannot be read."),
        (Reply(200, b"[" * 5000), "The manifest cannot be read."),
        (Reply(200, b'{"data":{"a":1}}'), "The manifest cannot be read."),
        (Reply(200, manifest(module_id="other")), "The manifest names another module."),
    ],
)
async def test_a_failure_is_kept_for_a_minute(answer: Scripted, reason: str) -> None:
    setup = Setup(answer)
    (found,) = await setup.get()
    assert found.tools == ()
    assert found.dropped == {"acme-crm/acme_crm_*": reason}
    setup.platform.on(ROUTE, Reply(body=manifest(entry())))
    setup.clock.forward(FAILURE_SECONDS - 1)
    assert await setup.names() == []
    assert setup.count == 1
    setup.clock.forward(1)
    assert await setup.names() == [NAME]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_concerns_one_caller_and_is_not_kept(status: int) -> None:
    setup = Setup(refusal(status, "AUTHZ_PERMISSION_DENIED"))
    assert await setup.get() == (Contribution(),)
    setup.platform.on(ROUTE, Reply(body=manifest(entry())))
    assert await setup.names(who=context(token=OTHER)) == [NAME]
    assert await setup.names() == [NAME]
    assert setup.count == 2


@pytest.mark.parametrize(("status", "forgotten"), [(401, 1), (403, 0)])
async def test_a_bearer_that_is_no_longer_accepted_is_told(status: int, forgotten: int) -> None:
    code = {401: "AUTH_TOKEN_INVALID", 403: "AUTHZ_PERMISSION_DENIED"}[status]
    setup = Setup(refusal(status, code))
    keys: list[bytes] = []
    found = await setup.manifests.contributions(context(), state(row()), keys.append)
    assert found == (Contribution(),)
    assert keys == [context().caller.key] * forgotten


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example/x",
        "//evil.example/v1/modules/a/b",
        "/v1/users",
        "/v1/modules/acme-crm",
        "/v1/modules/../users/x",
        "/v1/modules/acme-crm/../../users",
        "/v1/modules/acme-crm/..",
        "/v1/modules/acme-crm/x?y=z",
        "/v1/modules/acme-crm/%2e%2e/x",
    ],
)
async def test_a_manifest_is_read_from_a_modules_own_path_only(path: str) -> None:
    setup = Setup()
    (found,) = await setup.get(state(row(mcp_tools_path=path)))
    assert found.dropped == {
        "acme-crm/acme_crm_*": "The manifest's path is not one of this platform."
    }
    assert setup.count == 0


async def test_tools_that_break_a_rule_come_with_their_reason() -> None:
    setup = Setup(Reply(body=manifest(entry(), entry(name="acme_crm_x", title="One"))))
    (found,) = await setup.get()
    assert found.dropped == {"acme-crm/acme_crm_x": "The title is not 2 to 5 words."}


async def test_several_modules_come_in_the_order_of_their_ids() -> None:
    setup = Setup(ask="zeta beta")
    for module_id in ("zeta", "beta"):
        body = manifest(entry(name=f"{module_id}_find"), module_id=module_id)
        setup.platform.on(f"GET /v1/modules/{module_id}/mcp/tools", Reply(body=body))
    rows = [row("zeta", mcp_tools_path=None), row(), row("beta", mcp_tools_path=None)]
    assert await setup.names(state(*rows)) == [NAME, "beta_find", "zeta_find"]


@pytest.mark.slow
async def test_the_memory_does_not_grow_without_end() -> None:
    setup = Setup(Reply(body=manifest()))
    for number in range(10_001):
        await setup.get(state(row(version=str(number))))
    await setup.get(state(row(version="10000")))
    assert setup.count == 10_001
    await setup.get(state(row(version="0")))
    assert setup.count == 10_002


async def test_callers_at_the_same_time_share_one_question() -> None:
    platform = FakePlatform({ROUTE: Reply(body=manifest(entry()))}, is_slow=True)
    manifests = Manifests(platform, frozenset(), monotonic=Clock())
    found = await asyncio.gather(
        *(manifests.contributions(context(), state(row())) for _ in range(5))
    )
    assert len(platform.calls) == 1
    assert all(contributions == found[0] for contributions in found)
