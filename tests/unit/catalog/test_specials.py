"""Tools that the gateway answers in part by itself. Spec: core-tools 5 and 6, scaigrid 4."""

from __future__ import annotations

from typing import Any

import pytest

from scaimcp.errors import ToolError
from scaimcp.scaigrid.envelope import AuthenticationLost
from scaimcp.types import Grants
from tests.fakes.callers import UNRESOLVED_OPEN, caller, context, grants
from tests.fakes.platform import DOWN, Reply, Scripted, data, refusal
from tests.unit.catalog.setup import PROFILE, Setup

ROWS = [
    {"status": "active", "module_id": "scaibot", "id": "mod_1", "version": "1"},
    {"status": "available", "module_id": "scaimind", "id": "mod_2"},
]
DENIED = refusal(403, "AUTHZ_PERMISSION_DENIED")
VIEWER = context(caller(grants("tenant_viewer")))


# me_get


async def test_me_is_the_platforms_word_with_the_source_of_the_permissions() -> None:
    found = await Setup().value("me_get")
    assert list(found) == [
        "user", "tenant", "roles", "permissions", "module_permissions", "permissions_source",
    ]  # fmt: skip
    assert found["user"] == PROFILE["user"]
    assert found["permissions_source"] == "me"


async def test_me_passes_on_what_the_contract_does_not_name() -> None:
    setup = Setup()
    profile = {"id": "usr_1", "tenant_id": "tnt_acme", "roles": ["tenant_user"], "extra": 1.5}
    setup.on("GET /v1/me", data(profile))
    found = await setup.value("me_get")
    assert found == {**profile, "permissions_source": "roles"}
    assert next(iter(found)) == "roles"


async def test_me_is_asked_anew_at_most_once_in_five_seconds() -> None:
    setup = Setup()
    for _ in range(3):
        await setup.call("me_get")
    assert setup.reads("GET /v1/me") == 1
    setup.clock.forward(4.9)
    await setup.call("me_get")
    assert setup.reads("GET /v1/me") == 1
    setup.clock.forward(0.1)
    await setup.call("me_get")
    assert setup.reads("GET /v1/me") == 2


async def test_me_of_a_bearer_that_counts_no_more_is_a_401() -> None:
    setup = Setup()
    setup.on("GET /v1/me", refusal(401, "AUTH_TOKEN_INVALID"))
    with pytest.raises(AuthenticationLost) as error:
        await setup.call("me_get")
    assert error.value.code == "AUTH_TOKEN_INVALID"


async def test_me_is_never_an_old_answer() -> None:
    setup = Setup()
    await setup.call("me_get")
    setup.on("GET /v1/me", DOWN)
    setup.clock.forward(6)
    assert (await setup.failure("me_get")).code == "PLATFORM_UNAVAILABLE"


async def test_me_keeps_to_its_cap() -> None:
    setup = Setup(chars=500)
    setup.on("GET /v1/me", data({**PROFILE, "module_permissions": ["x" * 600]}))
    assert (await setup.failure("me_get")).code == "RESULT_TOO_LARGE"


# modules_list


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ({}, ["scaibot", "scaimind"]),
        ({"status": "active"}, ["scaibot"]),
        ({"status": "available"}, ["scaimind"]),
        ({"status": "error"}, []),
    ],
)
async def test_modules_are_the_platforms_rows_filtered_here(
    arguments: dict[str, Any], ids: list[str]
) -> None:
    setup = Setup(ROWS)
    found = await setup.value("modules_list", **arguments)
    assert [row["module_id"] for row in found["items"]] == ids
    assert (found["has_more"], found["modules_source"]) == (False, "platform")
    assert all(call.query == "" for call in setup.platform.seen("GET /v1/modules"))
    if not arguments:
        assert found["items"] == ROWS


@pytest.mark.parametrize("held", [grants("tenant_viewer"), Grants(frozenset(), frozenset())])
async def test_without_the_permission_the_platform_is_asked_for_the_set_only(held: Grants) -> None:
    setup = Setup(ROWS)
    found = await setup.value("modules_list", who=context(caller(held)))
    assert found == {
        "items": [
            {"module_id": "scaibot", "status": "active"},
            {"module_id": "scaimind", "status": "available"},
        ],
        "has_more": False,
        "modules_source": "tenant_cache",
    }


@pytest.mark.parametrize(
    ("assume", "source", "ids"),
    [
        ("scaimind scaibot", "settings", ["scaibot", "scaimind"]),
        ("", "permissions", sorted(
            ["scaimatrix", "scaiskills", "scaipersona", "scaispeak", "scaimind", "scaicore",
             "scaibot"])),
    ],
)  # fmt: skip
async def test_a_refused_caller_gets_what_the_other_sources_say(
    assume: str, source: str, ids: list[str]
) -> None:
    setup = Setup(assume=assume)
    setup.on("GET /v1/modules", DENIED)
    found = await setup.value("modules_list", who=VIEWER)
    assert found["modules_source"] == source
    assert found["items"] == [{"module_id": name, "status": "active"} for name in ids]
    none = await setup.value("modules_list", who=VIEWER, status="disabled")
    assert none["items"] == []


async def test_an_unresolved_caller_is_decided_by_the_platform() -> None:
    setup = Setup(assume="scaibot")
    setup.on("GET /v1/modules", DENIED)
    found = await setup.value("modules_list", who=context(caller(UNRESOLVED_OPEN)))
    assert found["modules_source"] == "settings"


@pytest.mark.parametrize(
    ("answer", "code"),
    [(DOWN, "PLATFORM_UNAVAILABLE"), (refusal(429, "RATE_LIMITED"), "RATE_LIMITED")],
)
async def test_another_failure_is_passed_on(answer: Scripted, code: str) -> None:
    setup = Setup(ROWS)
    tool = await setup.tool("modules_list")
    setup.on("GET /v1/modules", answer)
    with pytest.raises(ToolError) as error:
        await setup.source.call(tool, b"", context())
    assert error.value.code == code


async def test_modules_over_the_cap_lose_rows_without_a_word_on_limits() -> None:
    rows = [{"module_id": f"m{number:03}", "status": "active"} for number in range(200)]
    found = await Setup(rows, chars=2000).value("modules_list")
    assert found["truncated"]["omitted_items"] > 0
    assert "limit" not in found["truncated"]["hint"]


# Model by slug


@pytest.mark.parametrize(
    ("name", "method", "path", "arguments"),
    [
        ("models_update", "PUT", "", {}),
        ("models_delete", "DELETE", "", {}),
        ("model_access_list", "GET", "/access", {}),
        ("model_access_delete", "DELETE", "/access/mac_1", {"access_id": "mac_1"}),
    ],
)
async def test_a_slug_with_a_slash_is_resolved_first(
    name: str, method: str, path: str, arguments: dict[str, Any]
) -> None:
    setup = Setup()
    setup.on("GET /v1/models/openai%2Fgpt-4o", data({"id": "mdl_7"}))
    setup.on(f"{method} /v1/models/mdl_7{path}", data({"items": []}))
    await setup.call(name, model_id="openai/gpt-4o", **arguments)
    assert setup.platform.calls[-1][0].path == f"/v1/models/mdl_7{path}"


async def test_a_deletion_by_slug_names_what_was_given() -> None:
    setup = Setup()
    setup.on("GET /v1/models/openai%2Fgpt-4o", data({"id": "mdl_7"}))
    setup.on("DELETE /v1/models/mdl_7", Reply(204))
    found = await setup.value("models_delete", model_id="openai/gpt-4o")
    assert found == {"deleted": True, "id": "openai/gpt-4o"}


async def test_an_id_is_not_looked_up() -> None:
    setup = Setup()
    setup.on("DELETE /v1/models/mdl_7", Reply(204))
    await setup.call("models_delete", model_id="mdl_7")
    assert [call.method for call, _ in setup.platform.calls] == ["GET", "DELETE"]


@pytest.mark.parametrize(
    "body", [{}, {"id": None}, {"id": 5}, {"id": ".."}, {"id": "a/b"}, {"id": ""}, [], "x", None]
)
async def test_a_model_without_a_usable_id_is_a_bad_response(body: Any) -> None:
    setup = Setup()
    setup.on("GET /v1/models/a%2Fb", data(body))
    assert (await setup.failure("models_delete", model_id="a/b")).code == "PLATFORM_BAD_RESPONSE"


async def test_an_unknown_slug_is_the_platforms_refusal() -> None:
    setup = Setup()
    setup.on("GET /v1/models/a%2Fb", refusal(404, "MODEL_NOT_FOUND"))
    assert (await setup.failure("models_update", model_id="a/b")).code == "MODEL_NOT_FOUND"
