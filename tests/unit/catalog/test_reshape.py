"""From the platform's answer to the result. Spec: core-tools 6, scaigrid 5 and 6."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from scaimcp.catalog.builtin import CORE, GATEWAY, MODULES
from scaimcp.catalog.definition import ToolDefinition
from scaimcp.catalog.reshape import SHAPERS, Caps, to_result
from scaimcp.errors import PlatformFailure, ToolError
from scaimcp.scaigrid.client import PlatformAnswer
from scaimcp.scaigrid.envelope import Envelope
from scaimcp.types import ToolResult
from tests.fakes.platform import Reply, data, to_answer
from tests.unit.catalog.table import Row, expected_fields, rows

TOOLS = {tool.name: tool for tool in (*CORE, *GATEWAY, *MODULES)}
TABLE = {row.name: row for row in rows()}
CAPS = Caps(48_000, 8 * 1024 * 1024)
PNG = base64.b64encode(b"\x89PNG" + b"\0" * 30).decode()


def shaped(
    tool: str | ToolDefinition, reply: Reply, caps: Caps = CAPS, **arguments: Any
) -> ToolResult:
    definition = TOOLS[tool] if isinstance(tool, str) else tool
    is_raw = definition.result.kind in ("audio", "export")
    return to_result(definition, arguments, to_answer(reply, is_raw=is_raw), caps)


def value(
    tool: str | ToolDefinition, reply: Reply, caps: Caps = CAPS, **arguments: Any
) -> dict[str, Any]:
    text = shaped(tool, reply, caps, **arguments).text
    assert text is not None
    decoded: dict[str, Any] = json.loads(text)
    return decoded


def code(tool: str, reply: Reply, caps: Caps = CAPS, **arguments: Any) -> str:
    with pytest.raises(ToolError) as error:
        shaped(tool, reply, caps, **arguments)
    return error.value.code


def module_tool(kind: str) -> ToolDefinition:
    """Return a tool of a module's author: no published fields."""
    result = msgspec.structs.replace(
        TOOLS["models_get"].result, kind=kind, fields=(), long_text=(), always=()
    )
    return msgspec.structs.replace(TOOLS["models_get"], result=result)


def test_every_kind_of_result_has_a_shaper() -> None:
    kinds = {tool.result.kind for tool in (*CORE, *MODULES)}
    assert kinds | {"manifest_text"} == set(SHAPERS)


# Value, order, numbers


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_keys_come_in_the_order_of_the_result_column(row: Row) -> None:
    tool = TOOLS[row.name]
    names = [name for name, _ in tool.result.fields]
    assert names == expected_fields(row, TABLE)
    if tool.result.kind == "object":
        given = dict.fromkeys(reversed(["extra", *names]), 1)
        assert list(value(tool, data(given))) == [*names, "extra"]


def test_the_text_is_compact_and_unescaped() -> None:
    reply = Reply(body=rb'{"data" : { "id": "x", "slug" : "caf\u00e9" , "n": [1.10, 1e400] } }')
    assert shaped("models_get", reply).text == '{"id":"x","slug":"café","n":[1.10,1e400]}'.encode()


def test_nulls_go_at_the_top_level_only() -> None:
    reply = data({"id": "x", "description": None, "default_params": {"seed": None}})
    assert value("models_get", reply) == {"id": "x", "default_params": {"seed": None}}


@pytest.mark.parametrize(
    ("tool", "arguments", "given", "expected"),
    [
        ("inference_transcribe", {"model": "m", "prompt": "p"}, {"text": "x"},
         {"model": "m", "text": "x"}),
        ("inference_transcribe", {"model": "m"}, {"text": "x", "model": "n"},
         {"model": "n", "text": "x"}),
        ("users_get_module_permissions", {"user_id": "usr_1"}, {"permissions": []},
         {"user_id": "usr_1", "permissions": []}),
        ("providers_discover", {"provider_id": "prv_1"}, {"provider_id": None, "models": []},
         {"provider_id": "prv_1", "models": []}),
        ("echo_transcribe", {}, {"job_id": "j", "transcript": "t"},
         {"job_id": "j", "status": "completed", "transcript": "t"}),
        ("echo_transcribe", {}, {"job_id": "j", "status": "queued"},
         {"job_id": "j", "status": "queued"}),
        ("users_get", {"user_id": "usr_1"}, {"id": "usr_1"}, {"id": "usr_1"}),
        ("models_update", {"model_id": "m", "slug": "s"}, {"id": "m"}, {"id": "m"}),
    ],
)  # fmt: skip
def test_published_fields_that_the_platform_leaves_out_come_from_the_call(
    tool: str, arguments: dict[str, Any], given: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = value(tool, data(given), **arguments)
    assert list(found.items()) == list(expected.items())


@pytest.mark.parametrize(
    ("tool", "expected"),
    [("matrix_search", {"results": [1]}), ("bunker_exec", {"items": [1]})],
)
def test_a_bare_array_becomes_an_object(tool: str, expected: dict[str, Any]) -> None:
    assert value(tool, data([1])) == expected


@pytest.mark.parametrize(
    ("tool", "body"),
    [
        ("models_get", "text"),
        ("models_get", 5),
        ("models_get", True),
        ("models_list", "text"),
        ("models_list", {"items": {"a": 1}}),
        ("models_list", None),
        ("inference_chat", []),
        ("inference_chat", {"choices": []}),
        ("inference_chat", {"choices": [1]}),
        ("inference_chat", {"choices": [{"message": "x"}]}),
        ("sessions_send_message", {"message": "x"}),
        ("inference_embed", {"model": "m"}),
        ("inference_embed", {"data": [{"index": 0}]}),
        ("inference_embed", {"data": [{"embedding": "x"}]}),
        ("inference_image_generate", {"data": ["x"]}),
        ("inference_image_generate", {"data": [{"b64_json": "A"}]}),
        ("inference_image_generate", {}),
        ("speak_synthesize", "x"),
    ],
)
def test_an_answer_of_another_form_is_a_bad_response(tool: str, body: Any) -> None:
    assert code(tool, data(body), model="m") == "PLATFORM_BAD_RESPONSE"


def test_text_that_is_no_utf_8_is_a_bad_response() -> None:
    assert code("models_get", Reply(body=b'{"data":{"id":"\xff"}}')) == "PLATFORM_BAD_RESPONSE"


def test_nesting_without_end_is_a_bad_response() -> None:
    deep = msgspec.Raw(b"[" * 5000 + b"]" * 5000)
    answer = PlatformAnswer(200, "application/json", b"", Envelope(data=deep))
    with pytest.raises(PlatformFailure) as error:
        to_result(TOOLS["models_get"], {}, answer, CAPS)
    assert error.value.code == "PLATFORM_BAD_RESPONSE"


# Lists

PAGE = {"items": [{"id": "a"}], "has_more": True, "next_cursor": "c"}


def beside(payload: Any, **more: Any) -> Reply:
    return Reply(body={"status": "ok", "data": payload, **more})


@pytest.mark.parametrize("tool", ["models_list", "bunker_list", "mind_jobs_list", "skills_list"])
@pytest.mark.parametrize(
    "reply",
    [
        beside({"items": [{"id": "a"}]}, pagination={"has_more": True, "next_cursor": "c"}),
        beside([{"id": "a"}], has_more=True, next_cursor="c"),
        beside([{"id": "a"}], meta={"request_id": "r", "has_more": True, "next_cursor": "c"}),
        beside({"jobs": [{"id": "a"}], "next_page_token": "c"}),
        beside({"items": [{"id": "a"}], "has_more": True, "next_cursor": "c"}),
        beside({"items": [{"id": "a"}]}, pagination={"next_cursor": "c"}),
    ],
    ids=["A", "B", "C", "D", "inside", "cursor alone"],
)
def test_all_shapes_of_pages_are_read_whatever_the_endpoint(tool: str, reply: Reply) -> None:
    assert value(tool, reply) == PAGE


@pytest.mark.parametrize(
    "reply",
    [
        beside([{"id": "a"}]),
        beside({"items": [{"id": "a"}]}),
        beside({"items": [{"id": "a"}]}, pagination={"has_more": False, "next_cursor": None}),
        beside({"items": [{"id": "a"}]}, pagination={"has_more": False, "next_cursor": "c"}),
        beside([{"id": "a"}], has_more=False, next_cursor=""),
        beside([{"id": "a"}], meta="odd", pagination=[1]),
        beside({"jobs": [{"id": "a"}], "next_page_token": ""}),
        beside({"jobs": [{"id": "a"}], "next_page_token": None}),
    ],
)
def test_a_last_or_unpaged_list_has_no_more(reply: Reply) -> None:
    assert value("models_list", reply) == {"items": [{"id": "a"}], "has_more": False}


@pytest.mark.parametrize("reply", [Reply(204), beside([]), beside({}), beside({"items": []})])
def test_an_empty_list_has_no_items(reply: Reply) -> None:
    assert value("models_list", reply) == {"items": [], "has_more": False}


def test_a_total_count_is_passed_on_and_rows_keep_their_digits() -> None:
    reply = Reply(body=b'{"data":{"jobs":[{"cost": 0.10}],"next_page_token":"p","total_count":7}}')
    text = b'{"items":[{"cost":0.10}],"has_more":true,"next_cursor":"p","total_count":7}'
    assert shaped("mind_jobs_list", reply).text == text


def test_a_cursor_that_is_a_number_becomes_text() -> None:
    reply = beside([1], has_more=True, next_cursor=42)
    assert value("bunker_list", reply)["next_cursor"] == "42"


def test_a_list_over_its_cap_loses_rows() -> None:
    reply = beside(["x" * 100] * 50, has_more=True, next_cursor="c")
    result = value("models_list", reply, Caps(2000, 1))
    assert result["truncated"]["omitted_items"] == 50 - len(result["items"])
    assert "limit" in result["truncated"]["hint"]
    assert "next_cursor" not in result


def test_the_hint_names_no_limit_that_the_tool_does_not_take() -> None:
    result = value("accounting_usage_summary", beside(["x" * 100] * 50), Caps(2000, 1))
    assert "limit" not in result["truncated"]["hint"]


# No data


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("models_delete", {"model_id": "mdl_1"}, {"deleted": True, "id": "mdl_1"}),
        (
            "rooms_remove_member",
            {"room_id": "r", "member_id": "m"},
            {"deleted": True, "id": "m"},
        ),
        ("bunker_terminate", {"bunker_id": "b"}, {"deleted": True, "id": "b"}),
        ("rooms_add_member", {"room_id": "r"}, {"id": "r"}),
        ("models_create", {}, {}),
    ],
)
@pytest.mark.parametrize("reply", [Reply(204), Reply(200, b""), data(None)])
def test_an_answer_without_data_names_the_last_path_argument(
    tool: str, arguments: dict[str, Any], expected: dict[str, Any], reply: Reply
) -> None:
    assert value(tool, reply, **arguments) == expected


def test_a_deletion_says_the_same_whatever_comes_back() -> None:
    reply = data({"id": "other", "gone": True})
    assert value("models_delete", reply, model_id="m") == {"deleted": True, "id": "m"}
    assert value("bunker_terminate", data({"id": "b", "status": "x"}), bunker_id="b") == {
        "id": "b",
        "status": "x",
    }


# Chat


def choice(content: Any, **more: Any) -> Reply:
    first = {"index": 0, "message": {"role": "assistant", "content": content}, **more}
    second = {"index": 1, "message": {"content": "second"}}
    usage = {"total_tokens": 3}
    return data({"id": "c", "created": 1, "model": "m", "choices": [first, second], "usage": usage})


@pytest.mark.parametrize("tool", ["inference_chat", "persona_invoke"])
def test_chat_is_flat_and_from_the_first_choice(tool: str) -> None:
    result = value(tool, choice("hello", finish_reason="stop"))
    assert list(result.items()) == [
        ("id", "c"),
        ("model", "m"),
        ("content", "hello"),
        ("finish_reason", "stop"),
        ("usage", {"total_tokens": 3}),
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("x", "x"),
        (None, ""),
        ("", ""),
        ([], ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "image_url"}, "odd", {"text": 5}, {"text": "b"}], "b"),
        (7, ""),
    ],
)
def test_content_is_always_a_string(content: Any, text: str) -> None:
    assert value("inference_chat", choice(content))["content"] == text


def test_tool_calls_are_added_when_present() -> None:
    calls = [{"id": "t", "function": {"name": "f", "arguments": "{}"}}]
    reply = data({"id": "c", "choices": [{"message": {"content": None, "tool_calls": calls}}]})
    assert value("inference_chat", reply) == {"id": "c", "content": "", "tool_calls": calls}


def test_generated_text_is_content() -> None:
    reply = data({"id": "g", "model": "m", "text": "out", "finish_reason": "length", "usage": {}})
    names = ["id", "model", "content", "finish_reason", "usage"]
    assert list(value("inference_generate", reply)) == names
    assert value("inference_generate", reply)["content"] == "out"
    assert value("inference_generate", data({"id": "g"}))["content"] == ""


def test_a_reply_over_its_cap_is_cut() -> None:
    result = value("inference_chat", choice("x" * 5000), Caps(1000, 1))
    assert result["truncated"]["field"] == "content"


# Messages


def test_a_session_reply_is_flat_with_its_ids() -> None:
    message = {
        "id": "msg_1",
        "role": "assistant",
        "content": "hi",
        "model": "m2",
        "usage": {"a": 1},
    }
    reply = data({"message": message, "model": "m", "finish_reason": "stop", "usage": {"t": 2}})
    assert list(value("sessions_send_message", reply, session_id="ses_1").items()) == [
        ("session_id", "ses_1"),
        ("message_id", "msg_1"),
        ("model", "m"),
        ("content", "hi"),
        ("finish_reason", "stop"),
        ("usage", {"t": 2}),
    ]


def test_a_message_may_bring_model_and_usage_itself() -> None:
    reply = data({"message": {"id": "x", "content": [{"text": "a"}], "model": "m", "usage": {}}})
    result = value("sessions_send_message", reply, session_id="s")
    assert (result["model"], result["usage"], result["content"]) == ("m", {}, "a")


def test_a_room_message_comes_with_the_replies() -> None:
    reply = data({"message": {"id": "x", "content": "hi"}, "replies": [{"id": "y"}]})
    result = value("rooms_send_message", reply, room_id="room_1")
    assert result == {
        "room_id": "room_1",
        "message_id": "x",
        "content": "hi",
        "replies": [{"id": "y"}],
    }


def test_a_message_without_its_wrapper_is_read_too() -> None:
    result = value("rooms_send_message", data({"id": "x", "content": "hi"}), room_id="r")
    assert result == {"room_id": "r", "message_id": "x", "content": "hi"}
    assert "message_id" not in value("rooms_send_message", data({"content": "hi"}), room_id="r")


# Vectors and images


def test_embeddings_keep_their_digits() -> None:
    vectors = b'[{"index":0,"embedding":[0.10,1e-400]},{"embedding":[2,3]}]'
    body = b'{"data":{"data":' + vectors + b',"object":"list","model":"m","usage":{"t":1}}}'
    text = shaped("inference_embed", Reply(body=body)).text
    assert text == (
        b'{"model":"m","dimensions":2,"embeddings":[{"index":0,"embedding":[0.10,1e-400]},'
        b'{"index":1,"embedding":[2,3]}],"usage":{"t":1}}'
    )


def test_no_embeddings_have_no_dimensions() -> None:
    assert value("inference_embed", data({"data": []})) == {"dimensions": 0, "embeddings": []}


def test_vectors_are_never_cut() -> None:
    reply = data({"data": [{"embedding": [0.5] * 1000}], "model": "m"})
    assert code("inference_embed", reply, Caps(1000, 1)) == "RESULT_TOO_LARGE"


def test_image_links_are_passed_on() -> None:
    rows_ = [{"url": "https://x/1", "revised_prompt": "cat"}, {"url": "https://x/2"}, {}]
    result = shaped("inference_image_generate", data({"created": 1, "data": rows_}), model="m")
    assert result.blocks == ()
    assert json.loads(result.text or b"") == {
        "model": "m",
        "images": [
            {"index": 0, "url": "https://x/1", "revised_prompt": "cat"},
            {"index": 1, "url": "https://x/2"},
            {"index": 2},
        ],
    }


@pytest.mark.parametrize(
    ("start", "mime"),
    [
        (b"\x89PNG", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"RIFF", "image/webp"),
        (b"????", "image/png"),
    ],
)
def test_an_image_in_base64_becomes_a_block(start: bytes, mime: str) -> None:
    encoded = base64.b64encode(start.ljust(25, b"\0")).decode()
    reply = data({"data": [{"b64_json": encoded, "revised_prompt": "p"}]})
    result = shaped("inference_image_generate", reply, model="m")
    assert result.blocks == (
        msgspec.json.encode({"type": "image", "data": encoded, "mimeType": mime}),
    )
    image = {"index": 0, "mime_type": mime, "size_bytes": 25, "revised_prompt": "p"}
    assert json.loads(result.text or b"") == {"model": "m", "images": [image]}
    assert encoded.encode() not in (result.text or b"")


def test_the_binary_cap_counts_all_images() -> None:
    reply = data({"data": [{"b64_json": PNG}] * 2})
    assert shaped("inference_image_generate", reply, Caps(48_000, 68), model="m").blocks
    caps = Caps(48_000, 67)
    assert code("inference_image_generate", reply, caps, model="m") == "RESULT_TOO_LARGE"


# Sound

SOUND = b"\xff\xfb" + b"s" * 30
SPOKEN = {"audio_base64": base64.b64encode(SOUND).decode(), "mime_type": "audio/ogg"}


def test_raw_sound_becomes_a_block() -> None:
    reply = Reply(200, SOUND, "audio/mpeg")
    result = shaped("inference_synthesize", reply, model="m", voice="v", return_as="content")
    block = {"type": "audio", "data": SPOKEN["audio_base64"], "mimeType": "audio/mpeg"}
    assert [json.loads(item) for item in result.blocks] == [block]
    expected = b'{"model":"m","voice":"v","mime_type":"audio/mpeg","size_bytes":32}'
    assert result.text == expected


def test_sound_may_stay_in_the_json() -> None:
    reply = Reply(200, SOUND, "audio/mpeg")
    result = shaped("inference_synthesize", reply, model="m", return_as="base64")
    assert result.blocks == ()
    assert list(json.loads(result.text or b"").items()) == [
        ("model", "m"),
        ("mime_type", "audio/mpeg"),
        ("size_bytes", 32),
        ("audio_base64", SPOKEN["audio_base64"]),
    ]


@pytest.mark.parametrize(
    "reply",
    [Reply(200, b"<html>secret</html>", "text/html"), data({"url": "x"})],
    ids=["page", "json"],
)
def test_what_is_no_sound_is_a_bad_answer(reply: Reply) -> None:
    assert code("inference_synthesize", reply, model="m") == "PLATFORM_BAD_RESPONSE"


@pytest.mark.parametrize("form", ["content", "base64"])
def test_the_binary_cap_counts_sound_in_either_form(form: str) -> None:
    reply = Reply(200, SOUND, "audio/mpeg")
    assert shaped("inference_synthesize", reply, Caps(48_000, 32), return_as=form)
    caps = Caps(48_000, 31)
    assert code("inference_synthesize", reply, caps, return_as=form) == "RESULT_TOO_LARGE"


def test_spoken_json_becomes_a_block() -> None:
    reply = data({**SPOKEN, "duration_ms": 5})
    result = shaped("speak_synthesize", reply, voice_id="voi_1", return_as="content")
    assert len(result.blocks) == 1
    assert json.loads(result.text or b"") == {
        "voice_id": "voi_1",
        "mime_type": "audio/ogg",
        "size_bytes": 32,
        "duration_ms": 5,
    }


def test_spoken_json_may_stay_in_the_json() -> None:
    reply = data({"audio_base64": SPOKEN["audio_base64"], "voice_id": "voi_2"})
    result = value("speak_voices_preview", reply, voice_id="voi_1", return_as="base64")
    assert result == {
        "voice_id": "voi_2",
        "mime_type": "application/octet-stream",
        "size_bytes": 32,
        "audio_base64": SPOKEN["audio_base64"],
    }


def test_a_job_in_place_of_sound_is_passed_on() -> None:
    reply = Reply(202, {"data": {"job_id": "j", "status": "queued"}})
    result = value("speak_synthesize", reply, voice_id="v")
    assert result == {"voice_id": "v", "job_id": "j", "status": "queued"}
    assert value(module_tool("audio_json"), reply) == {"job_id": "j", "status": "queued"}


# Exports and texts of modules


def test_an_export_is_text_with_its_size() -> None:
    reply = Reply(200, "a,b\né,1\n".encode(), "text/csv")
    assert list(value("accounting_export", reply, format="csv").items()) == [
        ("format", "csv"),
        ("content", "a,b\né,1\n"),
        ("size_bytes", 9),
    ]
    assert value("audit_export", Reply(200, b"\xff"), format="csv")["content"] == "\ufffd"


def test_a_page_of_a_proxy_is_no_export() -> None:
    reply = Reply(200, b"<html>secret</html>", "text/html")
    assert code("accounting_export", reply, format="csv") == "PLATFORM_BAD_RESPONSE"


def test_an_export_over_its_cap_ends_with_a_line() -> None:
    result = value("audit_export", Reply(200, b"row,1\n" * 1000), Caps(1000, 1), format="csv")
    assert result["content"].endswith("row,1\n")
    assert result["size_bytes"] == 6000


@pytest.mark.parametrize(
    ("body", "text"), [('"x\\n"', "x\n"), ('{"a" : 1.10}', '{"a":1.10}'), ('"caf\\u00e9"', "café")]
)
def test_a_modules_text_is_content(body: str, text: str) -> None:
    reply = Reply(body=f'{{"data":{body}}}'.encode())
    assert value(module_tool("manifest_text"), reply) == {"content": text}


def test_a_modules_list_and_object_need_no_published_fields() -> None:
    assert value(module_tool("list"), beside([1])) == {"items": [1], "has_more": False}
    assert value(module_tool("object"), data([1])) == {"items": [1]}
    assert value(module_tool("object"), data({"b": 1, "a": 2})) == {"b": 1, "a": 2}


def test_a_tool_may_have_a_cap_of_its_own() -> None:
    tool = msgspec.structs.replace(TOOLS["inference_chat"], chars=600)
    assert value(tool, choice("x" * 600))["truncated"]["field"] == "content"
    assert "truncated" not in value("inference_chat", choice("x" * 600))
