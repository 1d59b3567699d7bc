"""The constructors of result shapes. Spec: core-tools 6."""

from __future__ import annotations

import pytest

from scaimcp.catalog import results
from scaimcp.catalog.definition import Result, output_schema
from scaimcp.catalog.glossary import FIELDS, OBJECTS


def names(result: Result) -> list[str]:
    return [name for name, _ in result.fields]


@pytest.mark.parametrize("owner", OBJECTS)
def test_an_object_has_its_fields_in_the_published_order(owner: str) -> None:
    result = results.an(owner)
    assert result.kind == "object"
    assert dict(result.fields) == OBJECTS[owner]
    assert names(result) == list(OBJECTS[owner])
    assert result.always == ()


def test_an_object_may_carry_further_fields_behind_its_own() -> None:
    result = results.an("ApiKey", "key")
    assert names(result) == [*OBJECTS["ApiKey"], "key"]
    assert dict(result.fields)["key"] == FIELDS["key"]


def test_an_unknown_object_is_refused_at_import() -> None:
    with pytest.raises(KeyError, match="Nothing"):
        results.an("Nothing")


def test_fields_come_from_the_glossary_without_their_question_mark() -> None:
    result = results.fields("exit_code, stderr?", long_text=("stderr",))
    assert result.fields == (("exit_code", FIELDS["exit_code"]), ("stderr", FIELDS["stderr"]))
    assert result.long_text == ("stderr",)


def test_a_field_without_a_description_is_refused_at_import() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        results.fields("nonsense")


def test_a_list_always_has_items_and_has_more() -> None:
    schema = output_schema(results.list_of("Bot"))
    assert schema["required"] == ["items", "has_more"]
    assert list(schema["properties"]) == ["items", "has_more", "next_cursor", "total_count"]
    assert schema["properties"]["items"] == {
        "type": "array",
        "description": "Bot rows: id, name, slug, model_slug, status, created_at.",
    }


def test_a_list_of_something_that_is_no_object_takes_its_words() -> None:
    result = results.list_of("what was found", "modules_source")
    assert dict(result.fields)["items"] == "Rows: what was found."
    assert names(result)[-1] == "modules_source"


def test_a_deletion_says_so_and_names_the_object() -> None:
    assert output_schema(results.DELETED) == {
        "type": "object",
        "properties": {
            "deleted": {"type": "boolean", "description": FIELDS["deleted"]},
            "id": {
                "type": "string",
                "description": "Identifier that was given for what is now deleted.",
            },
        },
        "required": ["deleted"],
        "additionalProperties": True,
    }


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        (results.chat("id, model, content, finish_reason, usage, tool_calls?"), "chat"),
        (results.message("session_id, message_id, content, finish_reason, usage"), "message"),
    ],
)
def test_a_reply_always_has_a_text_that_may_be_cut(result: Result, kind: str) -> None:
    assert result.kind == kind
    assert result.always == ("content",)
    assert result.long_text == ("content",)
    assert output_schema(result)["properties"]["content"]["type"] == "string"


def test_types_of_fields_a_result_does_not_have_are_not_published() -> None:
    schema = output_schema(results.message("room_id, message_id, content, replies"))
    assert list(schema["properties"]) == ["room_id", "message_id", "content", "replies"]


def test_vectors_and_images_are_never_cut() -> None:
    assert results.EMBEDDINGS.long_text == results.IMAGES.long_text == ()
    assert results.EMBEDDINGS.always == ("dimensions", "embeddings")
    assert results.IMAGES.always == ("images",)


@pytest.mark.parametrize(("is_json", "kind"), [(False, "audio"), (True, "audio_json")])
def test_audio_always_has_its_type_and_size(is_json: bool, kind: str) -> None:
    result = results.audio("voice?, mime_type, size_bytes, audio_base64?", is_json=is_json)
    assert result.kind == kind
    assert result.always == ("mime_type", "size_bytes")
    assert names(result) == ["voice", "mime_type", "size_bytes", "audio_base64"]


def test_an_export_is_text_with_its_format_and_size() -> None:
    assert names(results.EXPORT) == ["format", "content", "size_bytes"]
    assert results.EXPORT.always == ("format", "content", "size_bytes")
    assert results.EXPORT.long_text == ("content",)


def test_a_gateway_answer_requires_what_the_gateway_always_sets() -> None:
    result = results.gateway("items, not_found", ("items",))
    assert output_schema(result)["required"] == ["items"]
    assert output_schema(results.gateway(""))["properties"] == {}
    assert "required" not in output_schema(results.gateway(""))
