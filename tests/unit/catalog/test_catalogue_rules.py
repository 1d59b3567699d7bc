"""Every rule for a published tool, over the whole built-in catalogue.

The tables of the specification are in ``tests/data/catalogue.json``; each schema is rendered back
into the tables' notation and compared with them. Spec: core-tools 1–4.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from scaimcp.catalog.arguments import compile_arguments
from scaimcp.catalog.builtin import CORE, GATEWAY, MODULES
from scaimcp.catalog.definition import SENSITIVE_ARGUMENTS, ToolDefinition
from scaimcp.catalog.glossary import FIELDS, OBJECTS

TABLES: list[dict[str, Any]] = msgspec.json.decode(
    (Path(__file__).parents[2] / "data" / "catalogue.json").read_bytes()
)
ROWS = {row["name"]: row for row in TABLES}
TOOLS = (*CORE, *GATEWAY, *MODULES)
BY_NAME = {tool.name: tool for tool in TOOLS}

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
KEYWORDS = {
    "type", "properties", "required", "additionalProperties", "description", "enum", "items",
    "default", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    "maxProperties",
}  # fmt: skip
BY_TYPE = {
    "string": {"enum", "default", "minLength", "maxLength"},
    "integer": {"default", "minimum", "maximum"},
    "number": {"default", "minimum", "maximum"},
    "boolean": {"default"},
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties", "maxProperties"},
}
PUBLISHED = {
    "inference_chat": "Send a conversation to one model and get its complete reply; use it "
    "whenever text has to be written, answered or transformed by a named model from models_list; "
    "returns the reply text, the finish reason and token usage.",
    "models_list": "List the models the caller may see, page by page; use it before any inference "
    "tool to find a valid model slug; returns slug, modality, context window, status and health "
    "of each model.",
    "users_set_roles": "Replace all roles of one user; use it only after users_get, because roles "
    "left out of the call are removed; returns the user with the new roles.",
    "bunker_exec": "Run one shell command in a running bunker and wait for it; use it for short "
    "commands, raising timeout_s for long ones; returns exit code, standard output and standard "
    "error.",
}
ALIASES = {"id": "str(1–128)", "ts": "str(10–40)", "money": "str(1–32)", "text": "str(1–65536)"}
PAGE = ["limit:int(1–100)=25", "cursor:str(≤512)"]


def every_tool(rule: Callable[[ToolDefinition], None]) -> Callable[[], None]:
    """Turn a rule for one tool into a test over all of them."""

    def test() -> None:
        for tool in TOOLS:
            try:
                rule(tool)
            except AssertionError as fault:
                raise AssertionError(f"{tool.name}: {fault}") from fault

    return test


def split(text: str, separator: str = ",") -> list[str]:
    """Split at `separator` outside brackets."""
    parts, depth, start = [], 0, 0
    for at, mark in enumerate(text):
        depth += (mark in "<({") - (mark in ">)}")
        if mark == separator and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


def published_arguments(row: dict[str, Any]) -> list[str]:
    """Return the table's arguments, pages spelled out, type words reduced to ``str``."""
    text = row["arguments"].partition(";")[0]
    arguments: list[str] = []
    for argument in split(text) if text else ():
        arguments += PAGE if argument == "@page" else [argument]
    return [reduced(argument) for argument in arguments]


def reduced(notation: str) -> str:
    """Write ``id``, ``ts``, ``money``, ``text`` and plain ``str`` as strings with a range."""
    words = "|".join(ALIASES)
    notation = re.sub(rf"(?<=[:<])({words})\b", lambda found: ALIASES[found[1]], notation)
    return re.sub(r"(?<=[:<])str(?!\()", "str(1–256)", notation)


def bounds(schema: dict[str, Any], low: str, high: str) -> str:
    """Render a range."""
    if low in schema and high in schema:
        return f"({schema[low]}–{schema[high]})"
    if low in schema:
        return f"(≥{schema[low]})"
    return f"(≤{schema[high]})" if high in schema else ""


def rendered_type(schema: dict[str, Any]) -> str:
    """Render one type in the tables' notation."""
    kind = schema["type"]
    if "enum" in schema:
        return f"enum({','.join(schema['enum'])})"
    if kind == "string":
        return "str" + bounds(schema, "minLength", "maxLength")
    if kind == "array":
        return f"list<{rendered_type(schema['items'])}>" + bounds(schema, "minItems", "maxItems")
    if kind == "object" and schema["additionalProperties"] is True:
        return "map"
    if kind == "object":
        return "{" + ", ".join(rendered_arguments(schema)) + "}"
    if kind == "boolean":
        return "bool"
    return {"integer": "int", "number": "num"}[kind] + bounds(schema, "minimum", "maximum")


def rendered_arguments(schema: dict[str, Any]) -> list[str]:
    """Render all arguments of an object."""
    arguments = []
    for name, member in schema["properties"].items():
        argument = f"{name}:{rendered_type(member)}"
        if name in schema.get("required", ()):
            argument += "*"
        if "default" in member:
            default = member["default"]
            text = default if isinstance(default, str) else msgspec.json.encode(default).decode()
            argument += f"={text}"
        arguments.append(argument)
    return arguments


def nodes(schema: dict[str, Any], path: str = "", depth: int = 0) -> Iterator[tuple[str, int, Any]]:
    """Walk a schema: path, levels below the root, node."""
    yield path, depth, schema
    for name, member in schema.get("properties", {}).items():
        yield from nodes(member, f"{path}.{name}", depth + 1)
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]", depth + 1)


def wire(tool: ToolDefinition) -> dict[str, Any]:
    """Return the largest form in which a tool is published."""
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": tool.input_schema,
        "outputSchema": tool.output_schema,
        "annotations": {
            "readOnlyHint": tool.hints.read_only,
            "destructiveHint": tool.hints.destructive,
            "idempotentHint": tool.hints.idempotent,
            "openWorldHint": tool.hints.open_world,
        },
        "_meta": {
            "ai.scailabs.scaimcp/module_id": tool.module_id,
            "ai.scailabs.scaimcp/required_permission": tool.permission,
            "anthropic/maxResultSizeChars": 48_000,
        },
    }


def test_the_catalogue_has_107_core_4_gateway_and_45_module_tools() -> None:
    assert (len(CORE), len(GATEWAY), len(MODULES)) == (107, 4, 45)


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(TOOLS) == len(ROWS) == 156


def test_core_and_gateway_tools_stand_in_the_order_of_the_tables() -> None:
    assert [tool.name for tool in (*CORE, *GATEWAY)] == [
        row["name"] for row in TABLES if row["module"] is None
    ]


def test_module_tools_stand_by_module_id_then_in_the_order_of_the_table() -> None:
    rows = [row for row in TABLES if row["module"] is not None]
    expected = sorted(rows, key=lambda row: str(row["module"]))
    assert [tool.name for tool in MODULES] == [row["name"] for row in expected]


def test_each_module_has_its_number_of_tools() -> None:
    counts: dict[str | None, int] = {}
    for tool in MODULES:
        counts[tool.module_id] = counts.get(tool.module_id, 0) + 1
    assert counts == {
        "scaibunker": 8, "scaimatrix": 8, "scaiskills": 3, "scaiqueue": 7, "scaipersona": 5,
        "scaispeak": 4, "scaiecho": 2, "scaimind": 3, "scaicore": 3, "scaibot": 2,
    }  # fmt: skip


@every_tool
def test_a_name_fits_the_pattern_and_the_length(tool: ToolDefinition) -> None:
    assert NAME.fullmatch(tool.name)
    assert 3 <= len(tool.name) <= 48
    assert not tool.name.startswith("scaimcp_")
    assert tool.name.startswith("tools_") == (tool in GATEWAY)


@every_tool
def test_a_module_tool_has_the_prefix_of_its_module(tool: ToolDefinition) -> None:
    if tool.module_id is None:
        assert tool in (*CORE, *GATEWAY)
    else:
        assert tool.name.startswith(tool.module_id.removeprefix("scai") + "_")


@every_tool
def test_the_origin_says_where_a_tool_comes_from(tool: ToolDefinition) -> None:
    origins = {"core": CORE, "gateway": GATEWAY, "module": MODULES}
    assert tool in origins[tool.origin]


@every_tool
def test_a_title_is_short_and_in_sentence_case(tool: ToolDefinition) -> None:
    words = tool.title.split(" ")
    assert 2 <= len(words) <= 5
    assert words[0][0].isupper()
    assert all(word == word.lower() or word in ("API", "SQL", "URL") for word in words[1:])
    assert "scai" not in tool.title.lower()
    assert tool.title[-1].isalpha()


def test_titles_are_unique() -> None:
    assert len({tool.title for tool in TOOLS}) == len(TOOLS)


@every_tool
def test_a_description_is_one_plain_sentence_of_three_parts(tool: ToolDefinition) -> None:
    text = tool.description
    assert 60 <= len(text) <= 300
    assert text[0].isupper()
    assert text.endswith(".")
    assert ". " not in text
    assert "; use " in text
    assert "returns " in text.rpartition(";")[2]
    assert not re.search(r"[`*#<>\n]|  ", text)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_descriptions_are_verbatim(name: str) -> None:
    assert BY_NAME[name].description == PUBLISHED[name]


def test_tools_named_in_descriptions_exist() -> None:
    domains = {tool.name.rpartition("_")[0] for tool in TOOLS}
    ends = ("_list", "_get", "_create", "_update", "_delete", "_search", "_invoke", "_exec")
    for tool in TOOLS:
        texts = [tool.description]
        texts += [node.get("description", "") for _, _, node in nodes(tool.input_schema)]
        for word in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", " ".join(texts)):
            if word.rpartition("_")[0] in domains and word.endswith(ends):
                assert word in BY_NAME, f"{tool.name} names {word}"


@every_tool
def test_hints_permission_roles_and_module_are_those_of_the_table(tool: ToolDefinition) -> None:
    row = ROWS[tool.name]
    hints = tool.hints
    letters = (
        "R" * hints.read_only + "D" * hints.destructive
        + "I" * hints.idempotent + "O" * hints.open_world
    )  # fmt: skip
    permission, _, roles = row["permission"].partition(", role: ")
    assert letters == row["hints"].replace(" ", "")
    assert tool.permission == permission
    assert tool.roles == tuple(roles.split(" or ") if roles else ())
    assert tool.module_id == row["module"]


@every_tool
def test_method_and_path_are_those_of_the_table(tool: ToolDefinition) -> None:
    method, _, path = ROWS[tool.name]["rest"].partition(" ")
    if method == "gateway":
        assert tool.request is None
        return
    if not path.startswith("/v1/"):
        path = f"/v1/modules/{tool.module_id}{path}"
    assert tool.request is not None
    assert (tool.request.method, tool.request.path) == (method, path)
    places = re.findall(r"\{([^{}]*)\}", path)
    assert set(places) <= set(tool.input_schema.get("required", ()))


@every_tool
def test_arguments_are_those_of_the_table(tool: ToolDefinition) -> None:
    rendered = [part.replace(" ", "") for part in rendered_arguments(tool.input_schema)]
    expected = [part.replace(" ", "") for part in published_arguments(ROWS[tool.name])]
    assert rendered == expected


@every_tool
def test_identifiers_are_known_as_such(tool: ToolDefinition) -> None:
    text = ROWS[tool.name]["arguments"].partition(";")[0]
    expected = {part.partition(":")[0] for part in split(text) if re.search(r":id\b", part[:40])}
    named = {name for name in expected if re.search(rf"(?:^|, ){name}:id\b", text)}
    assert tool.id_arguments == named


@every_tool
def test_conditions_over_several_arguments_are_those_of_the_table(tool: ToolDefinition) -> None:
    rules = {
        "inference_batch_create": ("exactly_one", {"input_file_url", "requests"}),
        "accounting_create_budget": (
            "at_least_one",
            {"cost_limit", "token_limit", "request_limit"},
        ),
        "role_mappings_create": ("exactly_one", {"role", "custom_role_id"}),
        "modules_update_config": ("at_least_one", {"config", "reset_keys"}),
        "matrix_ingest_document": ("exactly_one", {"text", "content_base64"}),
    }
    found = [(rule.kind, set(rule.arguments)) for rule in tool.rules]
    assert found == ([rules[tool.name]] if tool.name in rules else [])
    assert (tool.name in rules) == (";" in ROWS[tool.name]["arguments"])
    for rule in tool.rules:
        for name in rule.arguments:
            text = tool.input_schema["properties"][name]["description"]
            assert "one of" in text, f"{name} does not say so"


@every_tool
def test_the_schema_is_a_closed_object(tool: ToolDefinition) -> None:
    schema = tool.input_schema
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert set(schema) <= {"type", "properties", "required", "additionalProperties"}
    assert "required" not in schema or schema["required"]
    jsonschema.Draft202012Validator.check_schema(schema)


@every_tool
def test_only_the_keywords_of_the_subset_are_used_at_any_depth(tool: ToolDefinition) -> None:
    for path, depth, node in nodes(tool.input_schema):
        assert set(node) <= KEYWORDS, path
        own = set(node) - {"type", "description"}
        assert own <= BY_TYPE[node["type"]], path
        assert depth <= 4, path
        assert node.get("additionalProperties") in (None, True, False), path


@every_tool
def test_strings_lists_and_maps_are_bounded(tool: ToolDefinition) -> None:
    for path, _, node in nodes(tool.input_schema):
        if node["type"] == "string" and "enum" not in node:
            assert node["maxLength"] > 0, path
        if node["type"] == "array":
            assert node["maxItems"] > 0, path
            assert node["items"]["type"], path
        if node.get("additionalProperties") is True:
            expected = {"type": "object", "maxProperties": 64, "additionalProperties": True}
            assert {**node, "description": ""} in (expected, {**expected, "description": ""}), path


@every_tool
def test_enumerations_are_short_lists_of_words(tool: ToolDefinition) -> None:
    for path, _, node in nodes(tool.input_schema):
        if "enum" in node:
            values = node["enum"]
            assert node["type"] == "string", path
            assert 1 <= len(values) <= 32, path
            assert all(isinstance(value, str) and value for value in values), path
            assert len(set(values)) == len(values), path


@every_tool
def test_properties_are_few_and_each_is_described(tool: ToolDefinition) -> None:
    count = 0
    for path, _, node in nodes(tool.input_schema):
        if path and not path.endswith("[]"):
            count += 1
            text = node["description"]
            assert 10 <= len(text) <= 200, path
            assert text[-1] == ".", path
            assert not re.search(r"[`\n]|  ", text), path
    assert count <= 40


@every_tool
def test_a_default_is_a_value_its_own_schema_accepts(tool: ToolDefinition) -> None:
    for path, _, node in nodes(tool.input_schema):
        if "default" in node:
            jsonschema.validate(node["default"], node)
            assert path.count(".") == 1, path


@every_tool
def test_a_schema_has_at_most_6_kib(tool: ToolDefinition) -> None:
    assert len(msgspec.json.encode(tool.input_schema)) <= 6 * 1024


def test_the_full_core_list_has_at_most_200_kib() -> None:
    assert len(msgspec.json.encode([wire(tool) for tool in CORE])) <= 200 * 1024


@every_tool
def test_an_output_schema_is_shallow_and_open(tool: ToolDefinition) -> None:
    schema = tool.output_schema
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is True
    assert set(schema) <= {"type", "properties", "required", "additionalProperties"}
    for name, entry in schema["properties"].items():
        assert set(entry) <= {"type", "description"}, name
        assert 10 <= len(entry["description"]) <= 300, name
        assert entry.get("type") in (None, "string", "integer", "boolean", "array", "object"), name
    assert set(schema.get("required", ())) <= set(schema["properties"])
    assert schema.get("required", True)
    jsonschema.Draft202012Validator.check_schema(schema)


@every_tool
def test_result_fields_are_those_of_the_table(tool: ToolDefinition) -> None:
    assert list(tool.output_schema["properties"]) == expected_fields(ROWS[tool.name]["result"])


def expected_fields(column: str) -> list[str]:
    """Read the column "Result" of the tables."""
    if column == "the called tool's own result":
        return []
    if column == "deleted":
        return ["deleted", "id"]
    if column.startswith("as "):
        inherited = expected_fields(ROWS["echo_transcribe"]["result"])
        return inherited + expected_fields(column.partition(",")[2])
    if column.startswith("List of "):
        more = split(column)[1:]
        return ["items", "has_more", "next_cursor", "total_count", *more]
    names: list[str] = []
    for part in split(column):
        names += OBJECTS[part] if part in OBJECTS else [part.rstrip("?")]
    return names


@every_tool
def test_sensitive_arguments_are_marked(tool: ToolDefinition) -> None:
    assert tool.sensitive == SENSITIVE_ARGUMENTS & set(tool.input_schema["properties"])


@every_tool
def test_every_schema_compiles_and_accepts_its_smallest_call(tool: ToolDefinition) -> None:
    check = compile_arguments(tool.input_schema).check
    smallest = {
        name: example(tool.input_schema["properties"][name])
        for name in tool.input_schema.get("required", ())
    }
    cleaned, faults = check(smallest)
    assert faults == []
    jsonschema.validate(cleaned, tool.input_schema)


def example(schema: dict[str, Any]) -> Any:
    """Return the smallest value a schema accepts."""
    kind = schema["type"]
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "string":
        return "a" * max(schema.get("minLength", 0), 1)
    if kind == "array":
        return [example(schema["items"])] * schema.get("minItems", 0)
    if kind == "object":
        return {name: example(schema["properties"][name]) for name in schema.get("required", ())}
    return False if kind == "boolean" else schema.get("minimum", 0)


def test_slow_calls_have_longer_deadlines() -> None:
    slow = {
        tool.name: tool.request.timeout_seconds
        for tool in MODULES
        if tool.request is not None and tool.request.timeout_seconds != 30
    }
    assert slow == {
        "bunker_exec": 75.0,
        "echo_transcribe": 120.0,
        "persona_invoke": 120.0,
        "speak_voices_preview": 120.0,
        "speak_synthesize": 120.0,
    }


def test_files_and_pages_of_module_tools_are_translated() -> None:
    requests = {tool.name: tool.request for tool in MODULES if tool.request is not None}
    assert {name: r.files for name, r in requests.items() if r.files} == {
        "echo_transcribe": (("audio_base64", "file"),),
        "matrix_ingest_document": (("content_base64", "file"),),
    }
    assert {name: r.body for name, r in requests.items() if r.body != "json"} == {
        "echo_transcribe": "multipart",
        "matrix_ingest_document": "multipart",
        "persona_invoke": "persona",
    }
    assert {name: r.page for name, r in requests.items() if r.page} == {
        "mind_jobs_list": ("page_size", "page_token")
    }


def test_files_in_base64_fit_the_published_limits() -> None:
    limits = {"audio_base64": 25_000_000, "content_base64": 10_000_000}
    for tool in TOOLS:
        for name, decoded in limits.items():
            if name in tool.input_schema["properties"]:
                longest = tool.input_schema["properties"][name]["maxLength"]
                assert longest == len(base64.b64encode(bytes(decoded)))


def test_the_glossary_describes_every_field_briefly() -> None:
    entries = [*FIELDS.values()]
    entries += [text for fields in OBJECTS.values() for text in fields.values()]
    for text in entries:
        assert 10 <= len(text) <= 120, text
        assert text.endswith("."), text
