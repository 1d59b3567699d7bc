"""The notation of arguments and the JSON Schema that comes out of it."""

from __future__ import annotations

from typing import Any

import pytest

from scaimcp.catalog.notation import Argument, NotationError, arg, object_schema

TEXT = "Ten or more characters."


def schema(notation: str, **nested: str) -> dict[str, Any]:
    """Return the schema of one argument without its own description."""
    read = arg(notation, TEXT, nested).schema
    assert read.pop("description") == TEXT
    return read


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("a:str", {"type": "string", "minLength": 1, "maxLength": 256}),
        ("a:text", {"type": "string", "minLength": 1, "maxLength": 65536}),
        ("a:id", {"type": "string", "minLength": 1, "maxLength": 128}),
        ("a:ts", {"type": "string", "minLength": 10, "maxLength": 40}),
        ("a:money", {"type": "string", "minLength": 1, "maxLength": 32}),
        ("a:int", {"type": "integer"}),
        ("a:num", {"type": "number"}),
        ("a:bool", {"type": "boolean"}),
        ("a:map", {"type": "object", "maxProperties": 64, "additionalProperties": True}),
        ("a:enum(x,y)", {"type": "string", "enum": ["x", "y"]}),
        ("a:list<int>", {"type": "array", "items": {"type": "integer"}}),
    ],
)
def test_each_type_word_has_its_schema(notation: str, expected: dict[str, Any]) -> None:
    assert schema(notation) == expected


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("a:str(2–8)", {"type": "string", "minLength": 2, "maxLength": 8}),
        ("a:str(≤512)", {"type": "string", "maxLength": 512}),
        ("a:str(≥3)", {"type": "string", "minLength": 3}),
        ("a:int(1–100)", {"type": "integer", "minimum": 1, "maximum": 100}),
        ("a:int(≥1)", {"type": "integer", "minimum": 1}),
        ("a:int(≤9)", {"type": "integer", "maximum": 9}),
        ("a:int(-5–5)", {"type": "integer", "minimum": -5, "maximum": 5}),
        ("a:num(0.25–4)", {"type": "number", "minimum": 0.25, "maximum": 4}),
        ("a:num(0–1)", {"type": "number", "minimum": 0, "maximum": 1}),
    ],
)
def test_a_range_replaces_the_bounds_of_its_type(notation: str, expected: dict[str, Any]) -> None:
    assert schema(notation) == expected


def test_whole_bounds_stay_integers_in_the_published_bytes() -> None:
    read = schema("a:num(0–2)")
    assert [type(read["minimum"]), type(read["maximum"])] == [int, int]


@pytest.mark.parametrize(
    ("notation", "low", "high"),
    [
        ("a:list<str>(1–4)", 1, 4),
        ("a:list<str>(≤4)", None, 4),
        ("a:list<str>(≥1)", 1, None),
        ("a:list<str>", None, None),
    ],
)
def test_a_range_behind_a_list_counts_its_items(
    notation: str, low: int | None, high: int | None
) -> None:
    read = schema(notation)
    assert (read.get("minItems"), read.get("maxItems")) == (low, high)
    assert read["items"] == {"type": "string", "minLength": 1, "maxLength": 256}


def test_ranges_of_items_and_of_the_list_are_told_apart() -> None:
    assert schema("a:list<str(1–64)>(≤4)") == {
        "type": "array",
        "items": {"type": "string", "minLength": 1, "maxLength": 64},
        "maxItems": 4,
    }


def test_lists_hold_enums_maps_and_lists() -> None:
    assert schema("a:list<enum(x,y)>(≤2)")["items"] == {"type": "string", "enum": ["x", "y"]}
    assert schema("a:list<map>(≤2)")["items"]["additionalProperties"] is True
    assert schema("a:list<list<bool>(≤3)>(≤2)")["items"] == {
        "type": "array",
        "items": {"type": "boolean"},
        "maxItems": 3,
    }


def test_enum_values_keep_order_case_and_marks() -> None:
    assert schema("a:enum(SUCCESS,audio/mp4,24h,1024x1024)")["enum"] == [
        "SUCCESS",
        "audio/mp4",
        "24h",
        "1024x1024",
    ]
    assert schema("a:enum(x, y)")["enum"] == ["x", "y"]


def test_a_map_schema_is_a_copy_that_others_do_not_share() -> None:
    first = arg("a:map", TEXT).schema
    first["maxProperties"] = 1
    assert arg("b:map", TEXT).schema["maxProperties"] == 64


@pytest.mark.parametrize(
    ("notation", "default"),
    [
        ("a:int(1–100)=25", 25),
        ("a:num(0–1)=0.8", 0.8),
        ("a:bool=true", True),
        ("a:bool=false", False),
        ("a:enum(url,b64_json)=url", "url"),
        ("a:enum(24h,4h)=24h", "24h"),
        ("a:str(3–128)=text/plain", "text/plain"),
    ],
)
def test_a_default_has_the_type_of_its_argument(notation: str, default: object) -> None:
    read = arg(notation, TEXT)
    assert read.schema["default"] == default
    assert type(read.schema["default"]) is type(default)
    assert not read.is_required


def test_no_default_is_published_when_none_is_written() -> None:
    assert "default" not in arg("a:int(1–100)", TEXT).schema


def test_a_star_makes_an_argument_required_and_leaves_the_schema_alone() -> None:
    required, optional = arg("a:str*", TEXT), arg("a:str", TEXT)
    assert (required.is_required, optional.is_required) == (True, False)
    assert required.schema == optional.schema


@pytest.mark.parametrize(
    ("notation", "kind"),
    [
        ("a:id*", "id"),
        ("a:str", "str"),
        ("a:money", "money"),
        ("a:ts", "ts"),
        ("a:enum(x)", "enum"),
        ("a:map", "map"),
        ("a:list<id>(≤5)", "list"),
        ("a:{b:int}", "object"),
    ],
)
def test_the_type_word_is_kept_as_kind(notation: str, kind: str) -> None:
    read = arg(notation, TEXT, {"b": TEXT})
    assert (read.name, read.kind) == ("a", kind)


def test_type_comes_first_and_description_second_in_the_published_bytes() -> None:
    assert list(arg("a:int(1–5)=2", TEXT).schema) == [
        "type",
        "description",
        "minimum",
        "maximum",
        "default",
    ]


def test_a_record_is_a_closed_object_with_its_own_required_members() -> None:
    read = schema("a:{kind:enum(x)*, note:str(≤9), at:ts*}*", kind="K", note="N", at="A")
    assert read == {
        "type": "object",
        "properties": {
            "kind": {"type": "string", "description": "K", "enum": ["x"]},
            "note": {"type": "string", "description": "N", "maxLength": 9},
            "at": {"type": "string", "description": "A", "minLength": 10, "maxLength": 40},
        },
        "required": ["kind", "at"],
        "additionalProperties": False,
    }


def test_a_list_of_records_keeps_defaults_inside_records() -> None:
    read = schema("a:list<{n:int=3, mode:enum(x,y)=y}>(1–2)", n="N", mode="M")
    members = read["items"]["properties"]
    assert (members["n"]["default"], members["mode"]["default"]) == (3, "y")
    assert "required" not in read["items"]
    assert (read["minItems"], read["maxItems"]) == (1, 2)


def test_records_in_records_are_described_by_dotted_names() -> None:
    read = arg("a:{b:{c:int*}*}", TEXT, {"b": "B", "b.c": "C"}).schema
    assert read["properties"]["b"]["description"] == "B"
    assert read["properties"]["b"]["properties"]["c"]["description"] == "C"


def test_spaces_around_members_do_not_matter() -> None:
    nested = {"b": TEXT, "c": TEXT}
    assert arg("a:{b:int,c:str}", TEXT, nested) == arg("a:{b:int, c: str}", TEXT, nested)


@pytest.mark.parametrize(
    "notation",
    [
        "",
        "a",
        "a:",
        "A:str",
        "1a:str",
        "a-b:str",
        "a:string",
        "a:list",
        "a:list(≤4)",
        "a:list<str",
        "a:list<str(≤4)",
        "a:list<>",
        "a:enum",
        "a:{b:int",
        "a:{}",
        "a:{b:int;c:int}",
        "a:str!",
        "a:str* extra",
        "a:str(1–2",
        "a:map(≤3)",
        "a:bool(1–2)",
        "a:enum(x)(≤3)",
        "a:int=",
        "a:int, b:int",
    ],
)
def test_a_line_that_cannot_be_read_is_an_error(notation: str) -> None:
    with pytest.raises(NotationError):
        arg(notation, TEXT, {"b": TEXT, "c": TEXT})


@pytest.mark.parametrize("notation", ["a:int(5)", "a:int(x–y)", "a:str(–)"])
def test_a_range_without_two_numbers_is_an_error(notation: str) -> None:
    with pytest.raises(ValueError, match=r"could not convert"):
        arg(notation, TEXT)


def test_a_member_without_a_description_is_named_in_the_error() -> None:
    with pytest.raises(NotationError, match=r"no description for 'a\.c'"):
        arg("a:{b:int, c:int}", TEXT, {"b": TEXT})


def test_the_error_names_the_line_and_the_word() -> None:
    with pytest.raises(NotationError, match=r"unknown type 'uuid' in 'a:uuid'"):
        arg("a:uuid", TEXT)


def test_an_object_schema_keeps_order_and_leaves_out_an_empty_required() -> None:
    fields = [arg("z:int", TEXT), arg("a:int", TEXT)]
    read = object_schema(fields)
    assert list(read) == ["type", "properties", "additionalProperties"]
    assert list(read["properties"]) == ["z", "a"]


def test_an_object_schema_lists_required_members_before_closing() -> None:
    fields = (arg("z:int*", TEXT), arg("a:int", TEXT), arg("m:int*", TEXT))
    read = object_schema(fields)
    assert list(read) == ["type", "properties", "required", "additionalProperties"]
    assert read["required"] == ["z", "m"]


def test_no_arguments_make_a_closed_empty_object() -> None:
    assert object_schema([]) == {"type": "object", "properties": {}, "additionalProperties": False}


def test_an_argument_cannot_be_changed() -> None:
    read = arg("a:int", TEXT)
    with pytest.raises(AttributeError):
        read.name = "b"  # type: ignore[misc]  # the assignment is what must fail
    assert isinstance(read, Argument)
