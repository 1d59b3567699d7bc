"""Tools that modules bring: rules checked one by one. Spec: core-tools 3, 4, 9."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scaimcp.catalog.contributed import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_TOOLS,
    Contribution,
    RuleBroken,
    prefix,
    read_manifest,
    read_tools,
    whole_module,
)
from scaimcp.catalog.definition import Hints, RestRequest, ToolDefinition

DESCRIPTION = (
    "Find contacts by name or address; use it before writing to someone; returns their ids."
)
TEXT = {"type": "string", "maxLength": 50, "description": "Some text to look for."}


def schema(*required: str, **properties: Any) -> dict[str, Any]:
    members = properties or dict.fromkeys(("q", "row_id"), TEXT)
    written: dict[str, Any] = {"type": "object", "properties": members}
    if required:
        written["required"] = list(required)
    return {**written, "additionalProperties": False}


def entry(**changes: Any) -> dict[str, Any]:
    """Return a tool of the module acme-crm that keeps every rule, with changes."""
    good = {
        "name": "acme_crm_contacts_find",
        "title": "Find CRM contacts",
        "description": DESCRIPTION,
        "input_schema": schema(),
        "request": {"method": "GET", "path": "/contacts"},
    }
    return {name: item for name, item in {**good, **changes}.items() if item is not ...}


def request(path: str = "/contacts", **more: Any) -> dict[str, Any]:
    return {"method": "POST", "path": path, **more}


def read(*tools: Any, module_id: str = "acme-crm") -> Contribution:
    return read_tools([msgspec.json.encode(tool) for tool in tools], module_id, "manifest")


def kept(**changes: Any) -> ToolDefinition:
    contribution = read(entry(**changes))
    assert contribution.dropped == {}
    return contribution.tools[0]


def manifest(*tools: Any, **changes: Any) -> bytes:
    whole = {"manifest_version": 1, "module_id": "acme-crm", "tools": list(tools)}
    return msgspec.json.encode({**whole, **changes})


# What is kept


def test_a_tool_gets_the_defaults_of_the_contract() -> None:
    tool = kept()
    assert tool.permission == "modules:use"
    assert tool.hints == Hints(False, True, False, True)
    assert tool.output_schema == {"type": "object"}
    assert tool.result.kind == "object"
    assert tool.request == RestRequest("GET", "/v1/modules/acme-crm/contacts")
    assert (tool.module_id, tool.origin) == ("acme-crm", "manifest")


def test_a_tool_may_say_everything_itself() -> None:
    hints = {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True,
             "openWorldHint": False}  # fmt: skip
    output = {"type": "object", "properties": {"a": {"type": "string"}}}
    tool = kept(
        input_schema=schema("row_id", row_id=TEXT, q=TEXT, stdin=TEXT),
        required_permission="acme-crm:contacts.read",
        annotations=hints,
        output_schema=output,
        result="text",
        request=request(
            "/rows/{row_id}/x", query=["q"], body="form", files={"stdin": "f"}, timeout_seconds=600
        ),
    )
    assert tool.permission == "acme-crm:contacts.read"
    assert tool.hints == Hints(True, False, True, False)
    assert tool.output_schema == output
    assert tool.sensitive == {"stdin"}
    assert tool.request == RestRequest(
        "POST",
        "/v1/modules/acme-crm/rows/{row_id}/x",
        query=("q",),
        body="multipart",
        files=(("stdin", "f"),),
        timeout_seconds=600.0,
    )


@pytest.mark.parametrize(
    ("written", "kind"),
    [("object", "object"), ("list", "list"), ("text", "manifest_text"), ("audio", "audio")],
)
def test_results_have_four_forms(written: str, kind: str) -> None:
    tool = kept(result=written)
    assert tool.result.kind == kind
    assert tool.output_schema == {"type": "object"}


@pytest.mark.parametrize("permission", ["", "models:use", "admin:access", "acme-crm:x:y"])
def test_a_permission_is_open_core_or_the_modules_own(permission: str) -> None:
    assert kept(required_permission=permission).permission == permission


def test_a_schema_without_properties_gets_empty_ones() -> None:
    bare = {"type": "object", "additionalProperties": False}
    assert kept(input_schema=bare).input_schema == {"properties": {}, **bare}


@pytest.mark.parametrize(
    ("module_id", "expected"),
    [
        ("acme-crm", "acme_crm_"),
        ("scaibunker", "bunker_"),
        ("scaivault", "scaivault_"),
        ("Acme..CRM-", "acme_crm_"),
        ("demo-notes", "demo_notes_"),
    ],
)
def test_names_start_with_the_modules_prefix(module_id: str, expected: str) -> None:
    assert prefix(module_id) == expected
    assert whole_module(module_id) == f"{module_id}/{expected}*"


# What is dropped

NESTED: Any = TEXT
for _ in range(MAX_DEPTH):
    NESTED = {"type": "array", "maxItems": 1, "items": NESTED, "description": "Lists of lists."}

BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("no name", {"name": ...}, "cannot be read"),
    ("no title", {"title": ...}, "cannot be read"),
    ("no request", {"request": ...}, "cannot be read"),
    ("a handler", {"handler": "x"}, "cannot be read"),
    ("an unknown field", {"extra": 1}, "cannot be read"),
    ("name of another kind", {"name": 5}, "cannot be read"),
    ("another prefix", {"name": "acme_find_it"}, "does not start with acme_crm_"),
    ("no snake case", {"name": "acme_crm_Find"}, "not snake case"),
    ("a double underscore", {"name": "acme_crm__find"}, "not snake case"),
    ("dots", {"name": "acme_crm.find"}, "not snake case"),
    ("a line end", {"name": "acme_crm_find\n"}, "not snake case"),
    ("a long name", {"name": "acme_crm_" + "x" * 40}, "not snake case"),
    ("one word", {"title": "Find"}, "2 to 5 words"),
    ("six words", {"title": "a b c d e f"}, "2 to 5 words"),
    ("short text", {"description": "Find."}, "60 to 300"),
    ("long text", {"description": "x" * 301}, "60 to 300"),
    ("foreign permission", {"required_permission": "scaibunker:create"}, "permission"),
    ("no key", {"required_permission": "acme-crm:"}, "permission"),
    ("no such core permission", {"required_permission": "models:destroy"}, "permission"),
    ("unknown hint", {"annotations": {"isFunHint": True}}, "unknown hints: isFunHint"),
    ("hint of another kind", {"annotations": {"readOnlyHint": "yes"}}, "cannot be read"),
    ("array as output", {"output_schema": {"type": "array"}}, "output schema"),
    ("nothing as output", {"output_schema": {}}, "output schema"),
    ("unknown result", {"result": "image"}, "cannot be read"),
    ("HEAD", {"request": {"method": "HEAD", "path": "/x"}}, "cannot be read"),
    ("no slash", {"request": request("contacts")}, "not relative"),
    ("parent", {"request": request("/a/../b")}, "not relative"),
    ("own place", {"request": request("/./b")}, "not relative"),
    ("trailing parent", {"request": request("/a/..")}, "not relative"),
    ("double slash", {"request": request("//evil.example/x")}, "not relative"),
    ("query in the path", {"request": request("/a?b=c")}, "not relative"),
    ("escape in the path", {"request": request("/%2e%2e/x")}, "not relative"),
    ("another host", {"request": request("https://evil.example/")}, "not relative"),
    ("open brace", {"request": request("/a{")}, "not relative"),
    ("empty place", {"request": request("/a/{}")}, "not relative"),
    ("undeclared place", {"request": request("/{other}")}, "does not declare"),
    ("optional place", {"request": request("/{row_id}")}, "not required"),
    ("undeclared query", {"request": request(query=["other"])}, "does not declare"),
    ("undeclared file", {"request": request(files={"other": "f"})}, "does not declare"),
    ("file without body", {"request": {"method": "GET", "path": "/x", "files": {"q": "f"}}},
     "no files"),
    ("file that is no text",
     {"request": request(files={"n": "f"}),
      "input_schema": schema(n={"type": "integer", "description": "A whole number."})},
     "no string"),
    ("no time", {"request": request(timeout_seconds=0.5)}, "timeout_seconds"),
    ("too much time", {"request": request(timeout_seconds=601)}, "timeout_seconds"),
    ("open object", {"input_schema": {"type": "object"}}, "closed object"),
    ("no object", {"input_schema": {"type": "array"}}, "closed object"),
    ("large", {"input_schema": schema(q={**TEXT, "enum": ["x" * 6200]})}, "6 KiB"),
    ("pattern", {"input_schema": schema(q={**TEXT, "pattern": "x"})}, "breaks a rule"),
    ("wrong default", {"input_schema": schema(q={**TEXT, "default": 5})}, "breaks a rule"),
    ("too deep", {"input_schema": schema(q=NESTED)}, "nested deeper than 16"),
    ("deep for a schema", {"input_schema": schema(q=NESTED["items"]["items"])}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "reason"), [c[1:] for c in BROKEN], ids=[c[0] for c in BROKEN])
def test_a_tool_that_breaks_a_rule_is_dropped_alone(changes: dict[str, Any], reason: str) -> None:
    good = entry(name="acme_crm_good")
    contribution = read(entry(**changes), good)
    assert [tool.name for tool in contribution.tools] == ["acme_crm_good"]
    ((label, text),) = contribution.dropped.items()
    assert reason in text
    name = changes.get("name", "acme_crm_contacts_find")
    assert label == f"acme-crm/{name[:64] if isinstance(name, str) else '#1'}"


@pytest.mark.parametrize(
    ("module_id", "name", "reason"),
    [
        ("tools", "tools_find", "gateway's own"),
        ("scaimcp", "mcp_find", ""),
        ("a/b", "a_b_find", "module id"),
        ("", "find_it_now", "module id"),
    ],
)
def test_some_names_are_no_modules_to_give(module_id: str, name: str, reason: str) -> None:
    contribution = read(entry(name=name), module_id=module_id)
    if not reason:
        assert contribution.tools
    else:
        assert reason in contribution.dropped[f"{module_id}/{name}"]


@pytest.mark.parametrize(
    "raw",
    [b'"text"', b"5", b'{"name":"\xff"}', b'{"name":5}', b"{", b'{"a":' + b"[" * 5000 + b"]}"],
)
def test_what_is_no_tool_is_dropped_by_its_position(raw: bytes) -> None:
    good = msgspec.json.encode(entry())
    contribution = read_tools([good, raw], "acme-crm", "manifest")
    assert len(contribution.tools) == 1
    assert list(contribution.dropped) == ["acme-crm/#2"]


def test_a_name_used_twice_stays_with_the_first() -> None:
    contribution = read(entry(title="The first one"), entry(title="The second one"))
    assert [tool.title for tool in contribution.tools] == ["The first one"]
    assert contribution.dropped == {
        "acme-crm/acme_crm_contacts_find": "The name is used twice in this module."
    }


def test_a_module_brings_at_most_64_tools() -> None:
    contribution = read(*(entry(name=f"acme_crm_t{number}") for number in range(MAX_TOOLS + 2)))
    assert len(contribution.tools) == 64
    reason = "A module may bring at most 64 tools."
    assert contribution.dropped == {f"acme-crm/acme_crm_t{n}": reason for n in (64, 65)}


def test_endless_reasons_are_not_kept() -> None:
    assert len(read_tools([b"{}"] * 5000, "acme-crm", "manifest").dropped) == 4 * MAX_TOOLS


def test_tools_of_a_module_are_at_most_1_mib_together() -> None:
    with pytest.raises(RuleBroken, match="1 MiB"):
        read_tools([b" " * MAX_BYTES, b"{}"], "acme-crm", "entry_point")


# Manifests


def test_a_manifest_is_read() -> None:
    contribution = read_manifest(manifest(entry(), {"name": "bad"}), "acme-crm")
    assert [tool.name for tool in contribution.tools] == ["acme_crm_contacts_find"]
    assert list(contribution.dropped) == ["acme-crm/bad"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "cannot be read"),
        (b"<html>", "cannot be read"),
        (b"[]", "cannot be read"),
        (b"[" * 5000, "cannot be read"),
        (manifest(manifest_version=2), "cannot be read"),
        (manifest(tools={}), "cannot be read"),
        (manifest(module_id="other"), "another module"),
        (manifest() + b" " * MAX_BYTES, "1 MiB"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused_whole(raw: bytes, reason: str) -> None:
    with pytest.raises(RuleBroken, match=reason):
        read_manifest(raw, "acme-crm")
