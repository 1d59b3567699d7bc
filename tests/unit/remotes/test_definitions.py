"""Which definitions of an upstream's list are kept, and why others are dropped.

Spec: remote-servers 6.
"""

from __future__ import annotations

import contextlib
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import find_invalid_x_mcp_header

from scaimcp.remotes.enumerations import Kind
from scaimcp.remotes.rules.definitions import (
    LIMITS,
    REASONS,
    Definition,
    Prefix,
    Reading,
    read,
)
from scaimcp.remotes.rules.naming import alias

PREFIX = Prefix("usr_42", "acme-notion-mcp-1ef47b")
OPEN = {"type": "object"}
TOOL = {"name": "search", "description": "Search pages.", "inputSchema": OPEN}
PROMPT = {"name": "ask", "arguments": [{"name": "topic", "required": True}]}
RESOURCE = {"uri": "file:///a", "name": "A"}
TEMPLATE = {"uriTemplate": "db://{table}", "name": "T"}
SAMPLES = {
    Kind.TOOL: TOOL,
    Kind.PROMPT: PROMPT,
    Kind.RESOURCE: RESOURCE,
    Kind.RESOURCE_TEMPLATE: TEMPLATE,
}


def listed(kind: Kind, *definitions: Any) -> Reading:
    raw = [d if isinstance(d, bytes) else msgspec.json.encode(d) for d in definitions]
    return read(kind, raw, PREFIX)


def kept(kind: Kind, definition: Any) -> Definition:
    reading = listed(kind, definition)
    assert reading.dropped == ()
    return reading.kept[0]


def reason(kind: Kind, definition: Any) -> str:
    reading = listed(kind, definition)
    assert reading.kept == ()
    assert reading.dropped[0].kind is kind
    return reading.dropped[0].reason


def tool(**members: Any) -> dict[str, Any]:
    return {**TOOL, **members}


def takes(**properties: Any) -> dict[str, Any]:
    return tool(inputSchema={"type": "object", "properties": properties})


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(depth - 1):
        schema = {"type": "object", "not": schema}
    return schema


BIG_ENUM = {"type": "object", "properties": {"a": {"enum": list(range(5_000))}}}
DROPPED: list[tuple[str, Kind, Any]] = [
    ("not_an_object", Kind.TOOL, []),
    ("not_an_object", Kind.TOOL, "search"),
    ("not_an_object", Kind.PROMPT, None),
    ("invalid_name", Kind.TOOL, {"inputSchema": OPEN}),
    ("invalid_name", Kind.TOOL, tool(name=5)),
    ("invalid_name", Kind.TOOL, tool(name="")),
    ("invalid_name", Kind.TOOL, tool(name="a" * 257)),
    ("invalid_name", Kind.TOOL, tool(name="a\nb")),
    ("invalid_name", Kind.PROMPT, {"name": "a\x85"}),
    ("invalid_name", Kind.RESOURCE, {"uri": "file:///a"}),
    ("invalid_uri", Kind.RESOURCE, {"name": "A"}),
    ("invalid_uri", Kind.RESOURCE, {"name": "A", "uri": 5}),
    ("invalid_uri", Kind.RESOURCE, {"name": "A", "uri": ""}),
    ("invalid_uri", Kind.RESOURCE, {"name": "A", "uri": "no-scheme"}),
    ("invalid_uri", Kind.RESOURCE, {"name": "A", "uri": "file:"}),
    ("invalid_uri", Kind.RESOURCE, {"name": "A", "uri": "file:///a b"}),
    ("invalid_uri", Kind.RESOURCE, {"name": "A", "uri": "file:///a\n"}),
    ("invalid_uri", Kind.RESOURCE, {"name": "A", "uri": "1a:b"}),
    ("invalid_uri", Kind.RESOURCE, {"name": "A", "uri": "f:" + "ä" * 1_024}),
    ("invalid_uri", Kind.RESOURCE_TEMPLATE, {"name": "A", "uriTemplate": "a/{b}"}),
    ("invalid_uri", Kind.RESOURCE_TEMPLATE, {"name": "A", "uriTemplate": "a:{b"}),
    ("invalid_uri", Kind.RESOURCE_TEMPLATE, {"name": "A", "uriTemplate": "a:{}"}),
    ("invalid_uri", Kind.RESOURCE_TEMPLATE, {"name": "A", "uriTemplate": "a:{b}}"}),
    ("invalid_uri", Kind.RESOURCE_TEMPLATE, {"name": "A", "uriTemplate": "a:{{b}}"}),
    ("definition_too_large", Kind.TOOL, tool(_meta={"x": "a" * 65_536})),
    ("definition_too_large", Kind.RESOURCE, {**RESOURCE, "x": "a" * 100_000}),
    ("description_too_long", Kind.TOOL, tool(description="a" * 16_385)),
    ("description_too_long", Kind.PROMPT, {**PROMPT, "description": "ä" * 8_193}),
    ("invalid_text", Kind.TOOL, tool(description="a\x00b")),
    ("invalid_text", Kind.TOOL, takes(**{"a\x00": {}})),
    ("invalid_text", Kind.TOOL, b'{"name":"a","description":"\\ud800"}'),
    ("invalid_text", Kind.TOOL, b'{"name":"\\udc00 a"}'),
    ("invalid_text", Kind.TOOL, b'{"name":"\xff"}'),
    ("schema_not_an_object", Kind.TOOL, {"name": "a"}),
    ("schema_not_an_object", Kind.TOOL, tool(inputSchema=None)),
    ("schema_not_an_object", Kind.TOOL, tool(inputSchema=True)),
    ("schema_not_an_object", Kind.TOOL, tool(inputSchema=[])),
    ("schema_not_an_object", Kind.TOOL, tool(inputSchema={})),
    ("schema_not_an_object", Kind.TOOL, tool(inputSchema={"type": "string"})),
    ("schema_not_an_object", Kind.TOOL, tool(inputSchema={"type": ["object"]})),
    ("schema_not_an_object", Kind.TOOL, tool(inputSchema={"anyOf": [OPEN]})),
    ("schema_not_an_object", Kind.TOOL, tool(inputSchema={"$ref": "#/$defs/a"})),
    ("schema_not_an_object", Kind.TOOL, tool(outputSchema=True)),
    ("schema_too_deep", Kind.TOOL, tool(inputSchema=nested(33))),
    ("schema_too_deep", Kind.TOOL, tool(outputSchema=nested(33))),
    ("schema_too_deep", Kind.TOOL, tool(inputSchema=nested(200))),
    ("schema_too_deep", Kind.TOOL, tool(_meta=nested(64))),
    ("schema_too_deep", Kind.TOOL, b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
    ("schema_too_many_nodes", Kind.TOOL, tool(inputSchema=BIG_ENUM)),
    ("schema_invalid", Kind.TOOL, takes(a={"type": "text"})),
    ("schema_invalid", Kind.TOOL, takes(a=5)),
    ("schema_invalid", Kind.TOOL, tool(inputSchema={"type": "object", "properties": None})),
    ("schema_invalid", Kind.TOOL, tool(inputSchema={"type": "object", "$schema": "urn:other"})),
    ("schema_invalid", Kind.TOOL, tool(outputSchema={"required": "a"})),
    ("schema_invalid", Kind.TOOL, b'{"name":"a","inputSchema":{"type":"object","maximum":1e400}}'),
    ("schema_invalid", Kind.TOOL, takes(a={"maximum": 10**400})),
    ("schema_invalid", Kind.PROMPT, {"name": "a", "arguments": {}}),
    ("schema_invalid", Kind.PROMPT, {"name": "a", "arguments": ["topic"]}),
    ("schema_invalid", Kind.PROMPT, {"name": "a", "arguments": [{"name": 5}]}),
    ("invalid_header_annotation", Kind.TOOL, takes(a={"type": "string", "x-mcp-header": ""})),
    ("invalid_header_annotation", Kind.TOOL, takes(a={"type": "number", "x-mcp-header": "A"})),
    ("task_only", Kind.TOOL, tool(execution={"taskSupport": "required"})),
]  # fmt: skip


@pytest.mark.row(42)
@pytest.mark.parametrize(("expected", "kind", "definition"), DROPPED)
def test_a_definition_that_fails_a_check_is_dropped_with_its_reason(
    expected: str, kind: Kind, definition: Any
) -> None:
    assert reason(kind, definition) == expected


def test_every_reason_is_tried() -> None:
    tried = {expected for expected, *_ in DROPPED} | {"duplicate_name", "alias_collision"}
    assert tried == REASONS


@pytest.mark.parametrize(("expected", "kind", "definition"), DROPPED)
def test_a_bad_definition_costs_only_itself(expected: str, kind: Kind, definition: Any) -> None:
    good = SAMPLES[kind]
    reading = listed(kind, definition, good, definition)
    assert [item.ordinal for item in reading.kept] == [1]
    assert [item.reason for item in reading.dropped] == [expected, expected]


@pytest.mark.parametrize(
    ("kind", "definition"),
    [
        *SAMPLES.items(),
        (Kind.TOOL, tool(name="a" * 256)),
        (Kind.TOOL, tool(name="scan/start now 検索")),
        (Kind.TOOL, tool(description="a" * 16_384)),
        (Kind.TOOL, tool(_meta={"x": "a" * 65_000})),
        (Kind.TOOL, tool(inputSchema=nested(32), outputSchema=nested(32))),
        (Kind.TOOL, tool(outputSchema={"type": "array", "items": True})),
        (Kind.TOOL, tool(outputSchema={})),
        (Kind.TOOL, tool(execution={"taskSupport": "optional"})),
        (Kind.TOOL, takes(a={"type": "integer", "maximum": 2**64 - 1, "minimum": -(10**30)})),
        (Kind.TOOL, tool(annotations={"readOnlyHint": True, "title": "S", "x": 1})),
        (Kind.PROMPT, {"name": "a"}),
        (Kind.RESOURCE, {**RESOURCE, "size": 5, "mimeType": "text/plain", "_meta": {}}),
        (Kind.RESOURCE, {"uri": "ui://检索?q#x", "name": "A"}),
        (Kind.RESOURCE_TEMPLATE, {"uriTemplate": "{+base}/x{?q,n}", "name": "A"}),
    ],
)
def test_a_sound_definition_is_kept_as_it_is(kind: Kind, definition: dict[str, Any]) -> None:
    item = kept(kind, definition)
    assert item.definition == definition
    assert list(item.definition) == list(definition)
    assert item.findings == ()
    assert item.kind is kind


def test_a_tool_and_a_prompt_have_an_alias_and_a_resource_has_none() -> None:
    assert kept(Kind.TOOL, TOOL).alias == "r_acme-notion__search_wlikvxlq"
    assert kept(Kind.PROMPT, PROMPT).alias == alias(PREFIX.scope, PREFIX.slug, "ask")
    assert kept(Kind.RESOURCE, RESOURCE).alias is None
    assert kept(Kind.RESOURCE, RESOURCE).name == "file:///a"
    assert kept(Kind.RESOURCE_TEMPLATE, TEMPLATE).name == "db://{table}"


def test_the_hash_is_the_specs() -> None:
    schema = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
    digest = "5ccd6d2f4e026a46f441e163596cb13c6694eeed2ba27733caf0fe4c23e00b2a"
    assert kept(Kind.TOOL, tool(inputSchema=schema)).definition_hash.hex() == digest


@pytest.mark.parametrize("keyword", ["properties", "required", "additionalProperties"])
def test_a_schema_with_object_keywords_is_read_as_an_object(keyword: str) -> None:
    value: Any = [] if keyword == "required" else {}
    item = kept(Kind.TOOL, tool(inputSchema={keyword: value}))
    assert item.definition["inputSchema"] == {"type": "object", keyword: value}


@pytest.mark.parametrize(
    ("kind", "members", "left"),
    [
        (Kind.TOOL, {"title": 5, "description": None, "unknown": 1, "icons": "x"}, {}),
        (Kind.TOOL, {"annotations": [], "execution": 1, "_meta": "x"}, {}),
        (
            Kind.TOOL,
            {"annotations": {"readOnlyHint": "yes", "title": 5, "destructiveHint": False}},
            {"annotations": {"destructiveHint": False}},
        ),
        (Kind.RESOURCE, {"size": -1, "mimeType": 5}, {}),
        (Kind.RESOURCE, {"size": True}, {}),
        (
            Kind.PROMPT,
            {"arguments": [{"name": "a", "title": 5, "required": "yes", "x": 1}]},
            {"arguments": [{"name": "a"}]},
        ),
    ],
)
def test_a_member_of_the_wrong_type_is_left_out(
    kind: Kind, members: dict[str, Any], left: dict[str, Any]
) -> None:
    sample = {name: item for name, item in SAMPLES[kind].items() if name not in members}
    assert kept(kind, {**sample, **members}).definition == {**sample, **left}


def test_icons_are_kept_that_are_fetched_safely_or_small() -> None:
    good = [
        {"src": "https://a.example/x.png", "sizes": ["48x48"]},
        {"src": "data:image/png;base64,AAAA"},
    ]
    bad = [
        {"src": "http://a.example/x.png"},
        {"src": "javascript:alert(1)"},
        {"src": "data:text/html,x"},
        {"src": "data:image/png;base64," + "A" * 16_384},
        {"src": 5},
        {},
        "https://a.example/x.png",
    ]
    assert kept(Kind.TOOL, tool(icons=[*bad, *good])).definition["icons"] == good
    assert "icons" not in kept(Kind.TOOL, tool(icons=bad)).definition


@pytest.mark.row(44)
def test_the_first_of_two_equal_names_is_kept() -> None:
    reading = listed(Kind.TOOL, TOOL, tool(description="Other."), tool(name="b"))
    assert [item.name for item in reading.kept] == ["search", "b"]
    assert reading.kept[0].definition == TOOL
    assert [(item.name, item.reason) for item in reading.dropped] == [("search", "duplicate_name")]


def test_a_bad_definition_does_not_take_the_name_of_a_good_one() -> None:
    reading = listed(Kind.TOOL, tool(inputSchema=5), TOOL)
    assert [item.ordinal for item in reading.kept] == [1]


def test_an_alias_that_is_taken_is_not_given_again() -> None:
    taken = alias(PREFIX.scope, PREFIX.slug, "search")
    raw = [msgspec.json.encode(TOOL), msgspec.json.encode(tool(name="b"))]
    reading = read(Kind.TOOL, raw, PREFIX, {taken})
    assert [item.name for item in reading.kept] == ["b"]
    assert [item.reason for item in reading.dropped] == ["alias_collision"]


@pytest.mark.row(41)
@pytest.mark.parametrize("kind", list(Kind))
def test_what_goes_beyond_the_limit_is_counted(kind: Kind) -> None:
    raw = [msgspec.json.encode({"name": f"n{n}"}) for n in range(LIMITS[kind] + 3)]
    raw[0] = b"5"
    reading = read(kind, raw, PREFIX)
    assert reading.truncated == 3
    assert len(reading.kept) + len(reading.dropped) == LIMITS[kind]
    assert read(kind, [msgspec.Raw(b"1")], PREFIX).truncated == 0


@pytest.mark.parametrize(
    ("kind", "definition", "name"),
    [
        (Kind.TOOL, b"[]", "#1"),
        (Kind.TOOL, b'"\xff"', "#1"),
        (Kind.TOOL, {}, "#1"),
        (Kind.TOOL, tool(name=""), "#1"),
        (Kind.TOOL, tool(name=["x"]), "#1"),
        (Kind.TOOL, tool(name="a\x00\nb"), "a\ufffd\ufffdb"),
        (Kind.TOOL, tool(name="a\u202eb\n"), "a<U+202E>b\ufffd"),
        (Kind.TOOL, tool(name="a" * 300), "a" * 120),
        (Kind.RESOURCE, {"uri": "x"}, "x"),
    ],
)
def test_a_dropped_definition_is_named_in_a_printable_way(
    kind: Kind, definition: Any, name: str
) -> None:
    assert listed(kind, definition).dropped[0].name == name


def test_a_reference_into_the_network_is_flagged_and_the_tool_kept() -> None:
    schema = {
        "type": "object",
        "$id": "https://a.example/root",
        "properties": {
            "a": {"$ref": "https://evil.example/s.json"},
            "b": {"$ref": "#/$defs/b"},
            "c": {"$ref": "https://a.example/root#/$defs/b"},
            "d": {"$dynamicRef": "other.json"},
            "$ref": {"type": "string"},
        },
        "$defs": {"b": {}},
    }
    item = kept(
        Kind.TOOL, tool(inputSchema=schema, outputSchema={"$ref": "//x.example/" + "a" * 200})
    )
    assert {(found.rule, found.severity) for found in item.findings} == {("opaque_text", "low")}
    assert {found.pointer: found.excerpt for found in item.findings} == {
        "/inputSchema/properties/a/$ref": "https://evil.example/s.json",
        "/inputSchema/properties/d/$dynamicRef": "other.json",
        "/outputSchema/$ref": ("//x.example/" + "a" * 200)[:120],
    }


def test_hidden_characters_are_found_in_what_is_kept() -> None:
    item = kept(Kind.TOOL, tool(description="Safe.\U000e0041\U000e0042"))
    assert [(found.rule, found.severity) for found in item.findings] == [
        ("hidden_characters", "high")
    ]


HEADERS: Any = st.sampled_from(
    ["Region", "region", "X-1", "", "a b", "é", "a:b", 5, None, True, ["x"], "!#$%&'*+-.^_`|~"]
)
TYPES: Any = st.sampled_from(["string", "integer", "boolean", "number", "object", ["string"], None])


@given(st.lists(st.tuples(HEADERS, TYPES, st.integers(0, 7)), max_size=3))
def test_header_annotations_are_judged_as_the_sdk_judges_them(
    annotations: list[tuple[Any, Any, int]],
) -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    for number, (token, kind, place) in enumerate(annotations):
        node = {"x-mcp-header": token, **({} if kind is None else {"type": kind})}
        wraps: list[Any] = [
            node,
            {"type": "object", "properties": {"in": node}},
            {"items": node},
            {"anyOf": [node]},
            {"additionalProperties": node},
            {"default": node, "const": node, "enum": [node], "examples": [node]},
            {"patternProperties": {"a": node}},
            {"items": {"properties": {"in": node}}},
        ]
        schema["properties"][f"p{number}"] = wraps[place]
    reading = listed(Kind.TOOL, tool(inputSchema=schema))
    verdict = find_invalid_x_mcp_header(schema)
    assert [item.reason for item in reading.dropped] == (
        ["invalid_header_annotation"] if verdict else []
    )


def test_an_annotation_on_the_schema_itself_is_invalid() -> None:
    schema = {"type": "object", "x-mcp-header": "A"}
    assert reason(Kind.TOOL, tool(inputSchema=schema)) == "invalid_header_annotation"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
_MEMBERS = """name title description inputSchema outputSchema annotations execution icons _meta
arguments uri uriTemplate mimeType size"""
MEMBER_NAMES = st.sampled_from(_MEMBERS.split())


@given(st.sampled_from(Kind), st.dictionaries(MEMBER_NAMES, JSON), st.booleans())
def test_whatever_an_upstream_lists_each_definition_is_kept_or_dropped(
    kind: Kind, definition: dict[str, Any], is_completed: bool
) -> None:
    if is_completed:
        definition = {**SAMPLES[kind], **definition}
    reading = listed(kind, definition)
    assert len(reading.kept) + len(reading.dropped) == 1
    assert {item.reason for item in reading.dropped} <= REASONS
    for item in reading.kept:
        assert msgspec.json.decode(msgspec.json.encode(item.definition)) == item.definition
        with contextlib.suppress(KeyError):
            jsonschema.Draft202012Validator.check_schema(item.definition["inputSchema"])


@given(st.binary(max_size=60))
def test_bytes_that_are_no_json_never_break_the_reading(raw: bytes) -> None:
    assert len(listed(Kind.TOOL, raw).dropped) == 1
