"""The platform catalogue as a source: snapshots, calls, failures. Spec: core-tools 5–7, 9."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scaimcp.catalog.modules import CALL_SECONDS
from scaimcp.catalog.registry import build
from scaimcp.catalog.source import read_arguments
from scaimcp.errors import PlatformFailure, ProtocolError, ToolError
from scaimcp.scaigrid.envelope import AuthenticationLost, bad_response
from scaimcp.types import ModuleView
from tests.fakes.callers import TOKEN, caller, context, homeless
from tests.fakes.platform import DOWN, Reply, Scripted, data, refusal
from tests.unit.catalog.setup import MODULE_ROWS, Setup
from tests.unit.catalog.test_contributed import entry, manifest

CRM = {"module_id": "acme-crm", "status": "active", "version": "1",
       "mcp_tools_path": "/v1/modules/acme-crm/mcp/tools"}  # fmt: skip
CRM_ROUTE = "GET /v1/modules/acme-crm/mcp/tools"
CRM_TOOL = "acme_crm_contacts_find"


# Snapshots


async def test_a_snapshot_holds_all_built_in_tools_enabled_or_not() -> None:
    setup = Setup([])
    snapshot = await setup.snapshot()
    assert len(snapshot.tools) == 107 + 45
    assert snapshot.modules == ModuleView(frozenset(), "platform")
    assert list(setup.source.builtin.definitions) == [tool.name for tool in snapshot.tools]


async def test_equal_module_states_share_one_snapshot() -> None:
    setup = Setup()
    await setup.snapshot()
    first = await setup.snapshot()
    second = await setup.snapshot()
    other = await setup.snapshot(context(caller(tenant_id="tnt_globex")))
    again = await setup.snapshot(context(caller(tenant_id="tnt_globex")))
    assert first is second is again
    assert other.modules.source == "platform"


async def test_a_manifest_adds_its_tools_behind_and_vanishes_with_its_module() -> None:
    setup = Setup([*MODULE_ROWS, CRM])
    broken = entry(name="acme_crm_bad", title="One")
    setup.on(CRM_ROUTE, Reply(body=manifest(entry(), broken)))
    snapshot = await setup.snapshot()
    assert snapshot.tools[-1].name == CRM_TOOL
    assert snapshot.tools[-1].domain == "acme-crm"
    assert snapshot.dropped == {"acme-crm/acme_crm_bad": "The title is not 2 to 5 words."}
    assert (await setup.snapshot()).key != (await Setup().snapshot()).key
    setup.on("GET /v1/modules", data([*MODULE_ROWS, {**CRM, "status": "disabled"}]))
    setup.clock.forward(5)
    after = await setup.snapshot()
    assert "acme-crm" not in after.modules.active
    assert CRM_TOOL in after.by_name


async def test_a_manifest_read_anew_gives_a_new_snapshot() -> None:
    setup = Setup([CRM])
    setup.on(CRM_ROUTE, Reply(body=manifest(entry())), Reply(body=manifest()))
    await setup.snapshot()
    assert CRM_TOOL in (await setup.snapshot()).by_name
    setup.clock.forward(900)
    assert CRM_TOOL not in (await setup.snapshot()).by_name


async def test_snapshots_do_not_grow_without_end() -> None:
    setup = Setup([], registry=build((), 1))
    first = await setup.snapshot(context(caller(tenant_id="t0")))
    for number in range(520):
        setup.on("GET /v1/modules", data([{"module_id": f"m{number}", "status": "active"}]))
        await setup.snapshot(context(caller(tenant_id=f"x{number}")))
    setup.on("GET /v1/modules", data([]))
    assert await setup.snapshot(context(caller(tenant_id="new"))) is not first


@pytest.mark.parametrize("who", [caller(), homeless()], ids=["tenant", "no tenant"])
async def test_a_client_that_connects_makes_the_next_list_read(who: Any) -> None:
    setup = Setup()
    await setup.snapshot(context(who))
    setup.clock.forward(1)
    await setup.snapshot(context(who))
    assert setup.reads() == 1
    setup.source.mark_stale(context(who))
    await setup.snapshot(context(who), CALL_SECONDS)
    assert setup.reads() == 1
    await setup.snapshot(context(who))
    assert setup.reads() == 2


async def test_a_stale_caller_still_lists_while_the_platform_is_down() -> None:
    setup = Setup()
    await setup.snapshot()
    setup.on("GET /v1/modules", DOWN)
    setup.clock.forward(60)
    snapshot = await setup.snapshot(context(caller(is_stale=True)))
    assert len(snapshot.modules.active) == 10


# Calls


async def test_a_call_becomes_one_request_with_the_callers_bearer() -> None:
    setup = Setup()
    setup.on("GET /v1/models/openai%2Fgpt-4o", data({"slug": "openai/gpt-4o", "id": "mdl_1"}))
    found = await setup.value("models_get", model="openai/gpt-4o")
    assert list(found) == ["id", "slug"]
    assert setup.platform.calls[-1][1] == TOKEN


@pytest.mark.parametrize(
    ("raw", "expected"), [(b"", {}), (b"null", {}), (b"{}", {}), (b'{"a":1}', {"a": 1})]
)
def test_absent_arguments_are_none(raw: bytes, expected: dict[str, Any]) -> None:
    assert read_arguments(raw) == expected


@pytest.mark.parametrize(
    "raw", [b"[]", b"5", b'"x"', b"{", b'{"a":"\xff"}', b'{"a":' + b"[" * 5000]
)
def test_arguments_that_are_no_object_are_a_protocol_error(raw: bytes) -> None:
    with pytest.raises(ProtocolError) as error:
        read_arguments(raw)
    assert error.value.number == -32602


@pytest.mark.parametrize(
    ("name", "arguments", "fields"),
    [
        ("models_list", {"limit": 0, "colour": "x"}, ["limit", "colour"]),
        ("models_get", {}, ["model"]),
        ("models_get", {"model": ".."}, ["model"]),
        ("sessions_get", {"session_id": "a/b"}, ["session_id"]),
        (
            "inference_batch_create",
            {},
            ["input_file_url", "requests"],
        ),
        (
            "inference_transcribe",
            {"model": "m", "audio_base64": "?", "mime_type": "audio/wav"},
            ["audio_base64"],
        ),
        (
            "inference_chat",
            {"model": "m", "messages": [{"role": "user", "content": "x", "image_urls": ["http://x"]}]},
            ["messages[0].image_urls[0]"],
        ),
    ],
)  # fmt: skip
async def test_every_fault_is_named_and_nothing_is_sent(
    name: str, arguments: dict[str, Any], fields: list[str]
) -> None:
    setup = Setup()
    error = await setup.failure(name, **arguments)
    assert error.code == "INVALID_ARGUMENTS"
    assert [detail["field"] for detail in error.details] == fields
    assert ", ".join(fields) in error.message
    assert [call.path for call, _ in setup.platform.calls] == ["/v1/modules"]


async def test_a_schema_is_compiled_once_and_manifest_tools_are_checked_too() -> None:
    setup = Setup([CRM])
    setup.on(CRM_ROUTE, Reply(body=manifest(entry())))
    setup.on("GET /v1/modules/acme-crm/contacts", data({"items": [1]}))
    assert await setup.value(CRM_TOOL, q="x") == {"items": [1]}
    assert setup.platform.calls[-1][0].query == "q=x"
    assert (await setup.failure(CRM_TOOL, q=5)).code == "INVALID_ARGUMENTS"


async def test_compiled_schemas_do_not_grow_without_end() -> None:
    setup = Setup()
    tool = await setup.tool("models_get")
    for _ in range(4100):
        fresh = msgspec.structs.replace(tool.record)
        with pytest.raises(ToolError):
            await setup.source.call(msgspec.structs.replace(tool, record=fresh), b"", context())
    assert (await setup.failure("models_get")).code == "INVALID_ARGUMENTS"


async def test_the_hook_for_changed_modules_is_told_whose_they_are() -> None:
    setup = Setup()
    for name, verb in (("modules_enable", "enable"), ("modules_disable", "disable")):
        setup.on(f"POST /v1/modules/scaibot/{verb}", data({"module_id": "scaibot"}))
        await setup.call(name, module_id="scaibot")
    await setup.call("modules_enable", module_id="scaibot", tenant_id="tnt_globex")
    await setup.call("modules_enable", module_id="scaibot", who=context(homeless()))
    assert setup.changes == ["tnt_acme", "tnt_acme", "tnt_globex", "user:usr_1"]
    setup.on("POST /v1/modules/scaibot/enable", refusal(403, "AUTHZ_PERMISSION_DENIED"))
    await setup.failure("modules_enable", module_id="scaibot")
    assert len(setup.changes) == 4
    setup.on("POST /v1/modules/scaibot/enable", DOWN)
    await setup.failure("modules_enable", module_id="scaibot")
    assert len(setup.changes) == 5, "an unanswered switch may have happened"


@pytest.mark.parametrize(
    ("arguments", "forgotten"),
    [
        ({}, {"tnt_acme"}),
        ({"tenant_id": "tnt_globex"}, {"tnt_globex"}),
        ({"scope": "tenant"}, {"tnt_acme"}),
        ({"scope": "partner"}, {"tnt_acme", "tnt_globex", "tnt_other"}),
    ],
)
async def test_a_switch_drops_what_is_known_of_whom_it_concerns(
    arguments: dict[str, Any], forgotten: set[str]
) -> None:
    setup = Setup()
    tenants = [caller(tenant_id=tenant) for tenant in ("tnt_acme", "tnt_globex", "tnt_other")]
    for tenant in tenants:
        await setup.snapshot(context(tenant))
    setup.on("POST /v1/modules/scaibot/enable", data({"module_id": "scaibot"}))
    await setup.call("modules_enable", module_id="scaibot", **arguments)
    gone = {who.tenant_id for who in tenants if setup.modules.known(who, CALL_SECONDS) is None}
    assert gone == forgotten


# Failures

GET_MODEL = "GET /v1/models/m"


@pytest.mark.parametrize(
    ("answer", "code", "retry_after"),
    [
        (refusal(404, "MODEL_NOT_FOUND"), "MODEL_NOT_FOUND", None),
        (refusal(422, "VALIDATION_ERROR"), "VALIDATION_ERROR", None),
        (refusal(409, "SLUG_CONFLICT"), "SLUG_CONFLICT", None),
        (refusal(403, "MODEL_ACCESS_DENIED"), "MODEL_ACCESS_DENIED", None),
        (refusal(403, "AUTHZ_PERMISSION_DENIED"), "PERMISSION_DENIED", None),
        (refusal(429, "RATE_LIMITED", retry_after=12), "RATE_LIMITED", 12),
        (refusal(429, "BACKEND_RATE_LIMITED", retry_after=3), "BACKEND_RATE_LIMITED", 3),
        (refusal(429, "QUOTA_EXCEEDED", retry_after=300), "QUOTA_EXCEEDED", 300),
        (refusal(429, "BUDGET_EXCEEDED", retry_after=9), "BUDGET_EXCEEDED", 9),
        (refusal(503, "MODEL_UNAVAILABLE"), "MODEL_UNAVAILABLE", None),
        (refusal(500, "INTERNAL_ERROR"), "INTERNAL_ERROR", None),
        (DOWN, "PLATFORM_UNAVAILABLE", 5),
        (Reply(502, b"<html>"), "PLATFORM_UNAVAILABLE", 5),
        (PlatformFailure("PLATFORM_TIMEOUT", "Late."), "PLATFORM_TIMEOUT", None),
        (bad_response(302), "PLATFORM_BAD_RESPONSE", None),
        (ToolError("RATE_LIMITED", "Wait.", retry_after=7), "RATE_LIMITED", 7),
        (data({"x": "y" * 50_000}), "RESULT_TOO_LARGE", None),
        (Reply(404, b"nothing"), "NOT_SUPPORTED", None),
        (Reply(405, b""), "NOT_SUPPORTED", None),
    ],
)
async def test_codes_of_the_platform_pass_unless_the_contract_says_otherwise(
    answer: Scripted, code: str, retry_after: int | None
) -> None:
    setup = Setup()
    setup.on(GET_MODEL, answer)
    error = await setup.failure("models_get", model="m")
    assert (error.code, error.retry_after) == (code, retry_after)


async def test_a_refusal_names_the_permission_and_drops_the_identity() -> None:
    setup = Setup()
    who = context(caller(key=context().caller.key))
    setup.on(GET_MODEL, refusal(403, "AUTHZ_PERMISSION_DENIED", "secret words"))
    await setup.value("me_get")
    assert setup.verifier.remembered(TOKEN) is not None
    error = await setup.failure("models_get", who=who, model="m")
    assert error.message == "The platform refused models_get: models:list."
    assert setup.verifier.remembered(TOKEN) is None


async def test_a_401_to_a_manifest_drops_the_identity_too() -> None:
    setup = Setup([CRM])
    setup.on(CRM_ROUTE, refusal(401, "SESSION_EXPIRED"))
    await setup.value("me_get")
    assert setup.verifier.remembered(TOKEN) is not None
    await setup.snapshot()
    assert setup.verifier.remembered(TOKEN) is None


async def test_a_refusal_keeps_the_platforms_request_id() -> None:
    setup = Setup()
    error = {"code": "AUTHZ_PERMISSION_DENIED", "message": "No."}
    body = {"status": "error", "error": error, "meta": {"request_id": "req_theirs"}}
    setup.on(GET_MODEL, Reply(403, body))
    assert (await setup.failure("models_get", model="m")).request_id == "req_theirs"


async def test_a_refusal_of_an_open_tool_names_no_permission() -> None:
    setup = Setup([CRM])
    setup.on(CRM_ROUTE, Reply(body=manifest(entry(required_permission=""))))
    setup.on("GET /v1/modules/acme-crm/contacts", refusal(403, "AUTHZ_PERMISSION_DENIED"))
    assert (await setup.failure(CRM_TOOL)).message.endswith("a permission.")


async def test_a_401_is_raised_on_and_drops_the_identity() -> None:
    setup = Setup()
    await setup.value("me_get")
    setup.on(GET_MODEL, refusal(401, "SESSION_EXPIRED"))
    error = await setup.failure("models_get", model="m")
    assert isinstance(error, AuthenticationLost)
    assert error.code == "SESSION_EXPIRED"
    assert setup.verifier.remembered(TOKEN) is None


@pytest.mark.parametrize("who", [caller(), homeless()], ids=["tenant", "no tenant"])
async def test_a_module_that_is_off_after_all_drops_what_is_known(who: Any) -> None:
    setup = Setup()
    setup.on("GET /v1/modules/scaibot/bots", refusal(403, "MODULE_NOT_ENABLED"))
    assert (await setup.failure("bot_list", who=context(who))).code == "MODULE_NOT_ENABLED"
    assert setup.modules.known(who, CALL_SECONDS) is None


async def test_a_missing_endpoint_is_remembered_for_ten_minutes_by_its_template() -> None:
    setup = Setup()
    tool, other = await setup.tool("models_get"), await setup.tool("models_list")
    assert not setup.source.unsupported(tool)
    await setup.failure("models_get", model="m")
    assert setup.source.unsupported(tool)
    assert not setup.source.unsupported(other)
    setup.clock.forward(599)
    assert setup.source.unsupported(tool)
    setup.clock.forward(1)
    assert not setup.source.unsupported(tool)


@pytest.mark.parametrize(
    ("name", "route", "arguments", "field", "renamed"),
    [
        ("models_get", GET_MODEL, {"model": "m"}, "model", "model"),
        ("models_get", GET_MODEL, {"model": "m"}, "body.model", "body.model"),
        ("mind_jobs_list", "GET /v1/modules/scaimind/jobs", {}, "page_size", "limit"),
        ("mind_jobs_list", "GET /v1/modules/scaimind/jobs", {}, "page_token", "cursor"),
        (
            "echo_transcribe",
            "POST /v1/modules/scaiecho/transcribe",
            {"audio_base64": "AAAA", "mime_type": "audio/wav"},
            "file",
            "audio_base64",
        ),
        (
            "matrix_ingest_document",
            "POST /v1/modules/scaimatrix/collections/c/documents",
            {"collection_id": "c", "name": "n", "text": "x"},
            "file",
            "text",
        ),
        (
            "inference_batch_create",
            "POST /v1/inference/batch",
            {"input_file_url": "x"},
            "input_file_base64[3].body",
            "requests[3].body",
        ),
        (
            "persona_invoke",
            "POST /v1/inference/chat",
            {"persona_slug": "p", "messages": [{"role": "user", "content": "x"}]},
            "model",
            "persona_slug",
        ),
        (
            "modules_update_config",
            "PUT /v1/modules/scaibot/config",
            {"module_id": "scaibot", "config": {"a": 1}},
            "a.b",
            "config.a.b",
        ),
    ],
)
async def test_fields_of_a_validation_error_are_named_as_arguments(
    name: str, route: str, arguments: dict[str, Any], field: str, renamed: str
) -> None:
    setup = Setup()
    details = [{"field": field, "message": "is bad"}, {"message": "no field"}]
    setup.on(route, refusal(422, "VALIDATION_ERROR", details=details))
    error = await setup.failure(name, **arguments)
    expected = ({"field": renamed, "message": "is bad"}, {"message": "no field"})
    assert error.details == expected
