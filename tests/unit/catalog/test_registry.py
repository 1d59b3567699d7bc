"""Published order, collisions and what clients see of a tool. Spec: core-tools 3, 5, 9."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scaimcp.catalog.builtin import CORE, GATEWAY, MODULES
from scaimcp.catalog.definition import Hints, RestRequest, ToolDefinition
from scaimcp.catalog.registry import Registry, build, domain, snapshot, to_tool
from scaimcp.types import ModuleView
from tests.unit.catalog.table import rows

BUILT_IN = {tool.name: tool for tool in (*CORE, *MODULES)}
MIB = 1024 * 1024
VIEW = ModuleView(frozenset({"scaimatrix"}), "platform")


def further(name: str, module_id: str, origin: str = "manifest") -> ToolDefinition:
    """Return a tool that a further module brings."""
    return msgspec.structs.replace(
        BUILT_IN["models_get"],
        name=name,
        module_id=module_id,
        origin=origin,
        request=RestRequest("GET", f"/v1/modules/{module_id}/x"),
    )


def base(request_bytes: int = 64 * MIB) -> Registry:
    return build((*CORE, *MODULES), request_bytes)


def test_built_in_tools_keep_their_order() -> None:
    assert list(base().definitions) == [tool.name for tool in (*CORE, *MODULES)]


@pytest.mark.parametrize(
    ("request_bytes", "audio", "document"),
    [
        (64 * MIB, 33_333_336, 13_333_336),
        (16 * MIB, 16 * MIB, 13_333_336),
        (MIB, MIB, MIB),
    ],
)
def test_base64_arguments_publish_the_smaller_of_two_limits(
    request_bytes: int, audio: int, document: int
) -> None:
    definitions = base(request_bytes).definitions

    def limit(tool: str, argument: str) -> int:
        most: int = definitions[tool].input_schema["properties"][argument]["maxLength"]
        return most

    assert limit("inference_transcribe", "audio_base64") == audio
    assert limit("echo_transcribe", "audio_base64") == audio
    assert limit("matrix_ingest_document", "content_base64") == document
    original = BUILT_IN["inference_transcribe"].input_schema["properties"]["audio_base64"]
    assert original["maxLength"] == 33_333_336


def test_further_modules_come_behind_by_id_and_name_whatever_brought_them() -> None:
    first = base().extended([further("zeta_b", "zeta", "entry_point")])
    more = [further("zeta_a", "zeta"), further("beta_z", "beta"), further("beta_a", "beta")]
    extended = first.extended(more)
    names = list(extended.definitions)[len(BUILT_IN) :]
    assert names == ["beta_a", "beta_z", "zeta_a", "zeta_b"]
    assert list(first.definitions)[len(BUILT_IN) :] == ["zeta_b"]


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("models_list", "the core catalogue"),
        ("bunker_list", "scaibunker"),
        ("acme_find", "acme"),
    ],
)
def test_for_equal_names_the_earlier_origin_wins(name: str, owner: str) -> None:
    held = base().extended([further("acme_find", "acme", "entry_point")])
    extended = held.extended([further(name, "rival")])
    assert extended.definitions[name] is held.definitions[name]
    assert extended.dropped == {f"rival/{name}": f"The name is already taken by {owner}."}


def test_of_two_equal_manifests_the_first_module_wins() -> None:
    extended = base().extended([further("a_b_c", "a.b"), further("a_b_c", "a-b")])
    assert extended.definitions["a_b_c"].module_id == "a-b"
    assert list(extended.dropped) == ["a.b/a_b_c"]


def test_reasons_add_up() -> None:
    first = base().extended([], {"a/x": "one"})
    assert first.extended([], {"b/y": "two"}).dropped == {"a/x": "one", "b/y": "two"}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_a_client_sees_all_four_hints_and_the_meta_data(row: Any) -> None:
    definition = {tool.name: tool for tool in (*CORE, *GATEWAY, *MODULES)}[row.name]
    tool = to_tool(definition, 48_000)
    assert tool.annotations == {
        "readOnlyHint": "R" in row.hints,
        "destructiveHint": "D" in row.hints,
        "idempotentHint": "I" in row.hints,
        "openWorldHint": "O" in row.hints,
    }
    assert tool.meta == {
        "ai.scailabs.scaimcp/module_id": row.module,
        "ai.scailabs.scaimcp/required_permission": row.key,
        "anthropic/maxResultSizeChars": 48_000,
    }
    assert (tool.permission, set(tool.roles), tool.module_id) == (row.key, row.roles, row.module)
    assert (tool.output_schema is None) == (row.name == "tools_call")
    assert tool.record is definition


def test_a_cap_of_its_own_is_published() -> None:
    tool = to_tool(msgspec.structs.replace(BUILT_IN["models_get"], chars=9_000), 48_000)
    assert tool.meta["anthropic/maxResultSizeChars"] == 9_000


DOMAINS = {
    "me": 1, "inference": 6, "inference_batch": 4, "models": 5, "model_access": 3,
    "model_groups": 5, "backends": 6, "providers": 6, "routing_policies": 5, "sessions": 7,
    "rooms": 9, "accounting": 8, "users": 6, "api_keys": 3, "groups": 2, "custom_roles": 5,
    "role_mappings": 3, "webhooks": 7, "modules": 6, "partners": 4, "tenants": 4, "audit": 2,
}  # fmt: skip


def test_core_domains_are_those_of_the_headings() -> None:
    counts: dict[str, int] = {}
    for tool in CORE:
        counts[domain(tool)] = counts.get(domain(tool), 0) + 1
    assert counts == DOMAINS
    assert list(counts) == list(DOMAINS)


def test_module_tools_belong_to_the_toolset_of_their_module() -> None:
    assert to_tool(BUILT_IN["persona_invoke"], 1).domain == "scaipersona"
    assert {to_tool(tool, 1).domain for tool in GATEWAY} == {"tools"}


def test_hints_are_read_from_letters() -> None:
    assert Hints.of("R I") == Hints(True, False, True, False)
    assert Hints.of("") == Hints(False, False, False, False)


def test_a_snapshot_holds_everything_unfiltered() -> None:
    registry = base().extended([further("acme_x", "acme")], {"acme/y": "reason"})
    built = snapshot(registry, VIEW, "key", 48_000)
    assert [tool.name for tool in built.tools] == list(registry.definitions)
    assert built.by_name["acme_x"] is built.tools[-1]
    assert (built.key, built.modules, built.dropped) == ("key", VIEW, {"acme/y": "reason"})
