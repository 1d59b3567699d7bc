"""Schemas and hints of the tools. Spec: scaivault 1 (schema rules)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from scaimcp.scaivault.catalogue import BY_NAME, TOOLS
from scaimcp.scaivault.records import ToolRecord
from scaimcp.scaivault.schemas import hints_of, input_schema

FREE = {"data", "metadata", "filters", "config", "time_window"}
EACH = pytest.mark.parametrize("record", TOOLS, ids=lambda record: record.code)


def parts(schema: dict[str, Any], name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema inside one, with the name of the property that it is or is in."""
    yield name, schema
    for inner, value in schema.get("properties", {}).items():
        yield from parts(value, inner)
    if "items" in schema:
        yield from parts(schema["items"], name)


@EACH
def test_a_schema_keeps_to_the_plain_subset(record: ToolRecord) -> None:
    text = repr(input_schema(record))
    for word in ("$ref", "anyOf", "oneOf", "allOf", "'not'"):
        assert word not in text


@EACH
def test_every_property_has_a_description_and_a_type(record: ToolRecord) -> None:
    for _, schema in parts(input_schema(record)):
        assert isinstance(schema["type"], str)
        for inner in schema.get("properties", {}).values():
            assert inner["description"].endswith((".", ":"))


@EACH
def test_objects_are_closed_where_nothing_free_is_meant(record: ToolRecord) -> None:
    for name, schema in parts(input_schema(record)):
        if schema["type"] == "object" and name not in FREE | {"path_mapping"}:
            assert schema["additionalProperties"] is False, name


@EACH
def test_lengths_are_bounded(record: ToolRecord) -> None:
    for name, schema in parts(input_schema(record)):
        if schema["type"] == "string":
            assert "maxLength" in schema or "enum" in schema, name
        if schema["type"] == "array":
            assert "maxItems" in schema, name


@EACH
def test_required_properties_exist_and_have_no_default(record: ToolRecord) -> None:
    for _, schema in parts(input_schema(record)):
        properties = schema.get("properties", {})
        for name in schema.get("required", ()):
            assert "default" not in properties[name]


def test_a_schema_says_what_its_row_says() -> None:
    schema = input_schema(BY_NAME["scaivault_write_secret"])
    properties = schema["properties"]
    assert schema["required"] == ["path", "data"]
    assert properties["path"]["pattern"] == "^[a-z0-9_-]+(/[a-z0-9_-]+){0,9}$"
    assert properties["path"]["maxLength"] == 512
    assert (properties["data"]["minProperties"], properties["data"]["maxProperties"]) == (1, 100)
    assert properties["data"]["additionalProperties"] is True
    assert properties["secret_type"]["default"] == "json"
    assert properties["max_versions"]["minimum"] == 1
    assert properties["max_versions"]["maximum"] == 100


def test_integers_may_be_open_above_and_numbers_listed() -> None:
    version = input_schema(BY_NAME["scaivault_read_secret"])["properties"]["version"]
    assert "maximum" not in version
    size = input_schema(BY_NAME["scaivault_create_root_ca"])["properties"]["key_size"]
    assert size["enum"] == [2_048, 4_096, 256, 384]
    assert size["type"] == "integer"


def test_a_map_of_globs_bounds_names_and_values() -> None:
    schema = input_schema(BY_NAME["scaivault_create_federation_backend"])
    mapping = schema["properties"]["path_mapping"]
    assert (mapping["minProperties"], mapping["maxProperties"]) == (1, 50)
    assert mapping["additionalProperties"]["maxLength"] == 512


def test_a_tool_without_arguments_takes_none() -> None:
    schema = input_schema(BY_NAME["scaivault_get_policy_types"])
    assert schema == {"type": "object", "properties": {}, "additionalProperties": False}


def test_all_four_hints_are_always_told() -> None:
    assert hints_of(BY_NAME["scaivault_revoke_lease"]) == {
        "readOnlyHint": False,
        "destructiveHint": True,
        "idempotentHint": True,
        "openWorldHint": True,
    }
    assert all(len(hints_of(record)) == 4 for record in TOOLS)
