"""From arguments to the request. Spec: core-tools 5."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.catalog.arguments import compile_arguments
from scaimcp.catalog.builtin import CORE, GATEWAY, MODULES
from scaimcp.catalog.definition import PLACE, RestRequest, ToolDefinition
from scaimcp.catalog.translate import (
    AUDIO_BYTES,
    DOCUMENT_BYTES,
    TranslationFault,
    decode_base64,
    escape,
    path_faults,
    to_request,
)
from scaimcp.scaigrid.client import FilePart, PlatformRequest

TOOLS = {tool.name: tool for tool in (*CORE, *GATEWAY, *MODULES)}
REST = [tool for tool in TOOLS.values() if tool.request is not None]
MESSAGE = [{"role": "user", "content": "hi"}]


def sent(called: str, /, *, tenant_slug: str = "acme", **arguments: Any) -> PlatformRequest:
    """Return the request of a call with checked arguments."""
    tool = TOOLS[called]
    checked, faults = compile_arguments(tool.input_schema, tool.rules).check(arguments)
    assert faults == []
    assert path_faults(tool, checked) == []
    return to_request(tool, checked, tenant_slug)


def body(request: PlatformRequest) -> Any:
    assert request.body is not None
    return msgspec.json.decode(request.body)


def faults_of(called: str, /, **arguments: Any) -> list[dict[str, str]]:
    with pytest.raises(TranslationFault) as error:
        sent(called, **arguments)
    return error.value.faults


def module_tool(rest: RestRequest, result: str = "object") -> ToolDefinition:
    """Return a tool such as a module's author declares."""
    base = msgspec.structs.replace(TOOLS["models_get"], request=rest, id_arguments=frozenset())
    return msgspec.structs.replace(
        base, result=msgspec.structs.replace(base.result, kind=result), rules=()
    )


# Path


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("openai/gpt-4o", "/v1/models/openai%2Fgpt-4o"),
        ("50%", "/v1/models/50%25"),
        ("a%2Fb", "/v1/models/a%252Fb"),
        ("a b?c#d", "/v1/models/a%20b%3Fc%23d"),
        ("a-b._~c", "/v1/models/a-b._~c"),
        ("é", "/v1/models/%C3%A9"),
        ("a:b@c", "/v1/models/a%3Ab%40c"),
        ("...", "/v1/models/..."),
    ],
)
def test_a_path_argument_is_encoded_down_to_the_unreserved_set(value: str, path: str) -> None:
    assert sent("models_get", model=value).path == path


@pytest.mark.parametrize(
    "value",
    ["", ".", "..", "a\nb", "a\x7f", "\x00", "/", "/a", "a/", "a//b", "a/../b", "../x", "a\\..\\b"],
)
def test_path_tricks_are_refused(value: str) -> None:
    assert path_faults(TOOLS["models_get"], {"model": value}) == [
        {"field": "model", "message": "is not an identifier"}
    ]


@pytest.mark.parametrize("value", ["a/b", "a b", "é", "x" * 129, "a%2e", "a?b"])
def test_an_id_holds_only_the_characters_of_ids(value: str) -> None:
    found = path_faults(TOOLS["sessions_get"], {"session_id": value})
    assert [fault["field"] for fault in found] == ["session_id"]


def test_every_path_argument_is_looked_at() -> None:
    found = path_faults(TOOLS["rooms_remove_member"], {"room_id": "..", "member_id": "a b"})
    assert [fault["field"] for fault in found] == ["room_id", "member_id"]


def test_a_tool_without_a_request_has_no_path_and_no_request() -> None:
    assert path_faults(TOOLS["tools_search"], {"query": ".."}) == []
    with pytest.raises(ValueError, match="tools_search"):
        to_request(TOOLS["tools_search"], {"query": "x"}, "acme")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_an_escaped_value_is_one_segment_and_comes_back(value: str) -> None:
    escaped = escape(value)
    assert unquote(escaped) == value
    assert "/" not in escaped
    assert escaped.isascii()
    if not path_faults(TOOLS["models_get"], {"model": value}):
        assert not {"", ".", ".."} & set(unquote(escaped).split("/"))


def test_places_of_modules_may_have_any_name_and_type() -> None:
    tool = module_tool(RestRequest("GET", "/v1/modules/acme/x/{row-2}/{flag}"))
    arguments = {"row-2": 7, "flag": True, "q": "z"}
    assert path_faults(tool, arguments) == []
    request = to_request(tool, arguments, "")
    assert (request.path, request.query) == ("/v1/modules/acme/x/7/true", "q=z")


# Query and body, for every tool of the table


def example(schema: dict[str, Any]) -> Any:
    """Return a value that fits a schema."""
    kind = schema["type"]
    if kind == "string":
        return schema["enum"][-1] if "enum" in schema else "x" * max(1, schema.get("minLength", 1))
    if kind == "integer":
        return max(1, schema.get("minimum", 1))
    if kind == "number":
        return schema.get("maximum", 1)
    if kind == "boolean":
        return True
    if kind == "array":
        return [example(schema["items"])] * max(1, schema.get("minItems", 1))
    members = schema.get("properties", {})
    return {name: example(member) for name, member in members.items()} or {"k": 1}


def arguments_of(tool: ToolDefinition) -> dict[str, Any]:
    """Return every argument of a tool that may be given together."""
    properties = dict(tool.input_schema["properties"])
    for rule in tool.rules:
        if rule.kind == "exactly_one":
            for name in rule.arguments[:-1]:
                del properties[name]
    examples = {name: example(member) for name, member in properties.items()}
    return examples | {name: "AAAA" for name in examples if name.endswith("_base64")}


@pytest.mark.parametrize("tool", REST, ids=lambda tool: tool.name)
def test_every_argument_goes_where_its_method_says(tool: ToolDefinition) -> None:
    arguments = arguments_of(tool)
    if tool.name == "matrix_ingest_document":
        arguments["mime_type"] = "text/html"
    for message in arguments.get("messages", []):
        message.pop("image_urls", None)
    request = sent(tool.name, **arguments)
    rest = tool.request
    assert rest is not None
    places = PLACE.findall(rest.path)
    path = PLACE.sub(lambda place: escape(str(arguments[place[1]])), rest.path)
    assert (request.method, request.path) == (rest.method, path)
    left = {n: v for n, v in arguments.items() if n not in (*places, "return_as")}
    if rest.method in ("GET", "DELETE"):
        wire = dict(zip(("limit", "cursor"), rest.page, strict=True)) if rest.page else {}
        names = [wire.get(name, name) for name in left]
        assert list(dict.fromkeys(name for name, _ in parse_qsl(request.query))) == names
        assert (request.body, request.parts) == (None, ())
    elif rest.body == "json":
        assert (body(request) if left else request.body) == (left or None)
        assert request.query == ""


def test_absent_arguments_are_not_sent_but_gateway_defaults_are() -> None:
    assert sent("models_list").query == "limit=25"
    assert body(sent("queue_claim", queue_id="q")) == {"limit": 1, "lease_s": 60}


@pytest.mark.parametrize(
    ("value", "query"),
    [
        ({"snapshot": True}, "snapshot=true"),
        ({"snapshot": False}, "snapshot=false"),
        ({}, "snapshot=false"),
    ],
)
def test_booleans_in_the_query_are_words(value: dict[str, Any], query: str) -> None:
    assert sent("bunker_terminate", bunker_id="bnk_1", **value).query == query


def test_lists_in_the_query_are_repeated_keys() -> None:
    query = sent("mind_jobs_list", status=["running", "a&b"]).query
    assert query == "status=running&status=a%26b&page_size=25"


def test_scaimind_pages_have_other_names() -> None:
    query = sent("mind_jobs_list", limit=5, cursor="n=/+ x").query
    assert query == "page_size=5&page_token=n%3D%2F%2B%20x"


def test_a_body_may_name_arguments_for_the_query() -> None:
    tool = module_tool(RestRequest("POST", "/v1/modules/acme/x", query=("a", "absent")))
    request = to_request(tool, {"a": 1.5, "b": [1]}, "")
    assert (request.query, body(request)) == ("a=1.5", {"b": [1]})


def test_a_post_without_arguments_has_no_body_and_a_put_an_empty_one() -> None:
    assert sent("bunker_pause", bunker_id="bnk_1").body is None
    assert body(sent("models_update", model_id="m")) == {}


def test_an_argument_about_speech_is_not_sent_but_another_of_its_name_is() -> None:
    assert "return_as" not in body(sent("inference_synthesize", model="m", input="x"))
    assert "return_as" not in body(sent("speak_synthesize", text="x", voice_id="v"))
    tool = module_tool(RestRequest("POST", "/v1/modules/acme/x"))
    assert body(to_request(tool, {"return_as": "pdf"}, "")) == {"return_as": "pdf"}


@pytest.mark.parametrize(
    ("name", "arguments", "seconds"),
    [
        ("models_list", {}, 30.0),
        ("inference_chat", {"model": "m", "messages": MESSAGE}, 120.0),
        ("inference_embed", {"model": "m", "input": ["x"]}, 120.0),
        ("speak_synthesize", {"text": "x", "voice_id": "v"}, 120.0),
        ("persona_invoke", {"persona_slug": "p", "messages": MESSAGE}, 120.0),
        ("accounting_export", {"start": "2025-01-01", "end": "2025-02-01"}, 60.0),
        ("audit_export", {}, 60.0),
        ("bunker_exec", {"bunker_id": "b", "command": "ls"}, 75.0),
        ("bunker_exec", {"bunker_id": "b", "command": "ls", "timeout_s": 600}, 615.0),
    ],
)
def test_deadlines_are_those_of_the_contract(
    name: str, arguments: dict[str, Any], seconds: float
) -> None:
    assert sent(name, **arguments).timeout_seconds == seconds


@pytest.mark.parametrize("name", ["inference_synthesize", "accounting_export", "audit_export"])
def test_bytes_without_an_envelope_are_read_raw(name: str) -> None:
    assert [tool for tool in REST if tool.result.kind in ("audio", "export")]
    assert sent(name, **arguments_of(TOOLS[name])).is_raw


# Chat, personas, batches, configuration


def test_chat_never_streams() -> None:
    expected = {"model": "m", "messages": MESSAGE, "stream": False}
    assert body(sent("inference_chat", model="m", messages=MESSAGE)) == expected
    message = body(sent("sessions_send_message", session_id="s", content="hi"))
    assert message == {"content": "hi", "stream": False}


def test_image_urls_turn_content_into_parts() -> None:
    urls = ["https://a.example/x.png", "HTTPS://b.example"]
    message = {"role": "user", "content": "see", "name": "ann", "image_urls": urls}
    sent_messages = body(sent("inference_chat", model="m", messages=[message]))["messages"]
    assert sent_messages == [
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": {"url": urls[0]}},
                {"type": "image_url", "image_url": {"url": urls[1]}},
            ],
        }
    ]


def test_no_image_urls_leave_content_as_it_is() -> None:
    message = {"role": "user", "content": "hi", "image_urls": []}
    assert body(sent("inference_chat", model="m", messages=[message]))["messages"] == MESSAGE


@pytest.mark.parametrize(
    "url",
    ["http://a/x", "data:image/png;base64,AA", "https://", "https:///x", "ftp://a", "https://a b"],
)
def test_image_urls_are_https_only(url: str) -> None:
    messages = [*MESSAGE, {"role": "user", "content": "x", "image_urls": ["https://ok/", url, url]}]
    assert faults_of("inference_chat", model="m", messages=messages) == [
        {"field": "messages[1].image_urls[1]", "message": "must be an https URL"},
        {"field": "messages[1].image_urls[2]", "message": "must be an https URL"},
    ]


def test_a_persona_is_a_model_of_the_callers_tenant() -> None:
    request = sent("persona_invoke", persona_slug="helper", messages=MESSAGE, max_tokens=5)
    assert request.path == "/v1/inference/chat"
    assert body(request) == {
        "model": "tenant/acme/helper",
        "messages": MESSAGE,
        "max_tokens": 5,
        "stream": False,
    }


def test_a_persona_without_a_tenant_is_refused() -> None:
    faults = faults_of("persona_invoke", tenant_slug="", persona_slug="p", messages=MESSAGE)
    assert [fault["field"] for fault in faults] == ["persona_slug"]


def batch(*ids: str) -> list[dict[str, Any]]:
    return [{"custom_id": name, "endpoint": "chat", "body": {"model": "é"}} for name in ids]


def test_a_batch_becomes_lines_of_json() -> None:
    found = body(sent("inference_batch_create", requests=batch("a", "b"), metadata={"k": 1}))
    assert set(found) == {"input_file_base64", "endpoint_completion_window", "metadata"}
    lines = base64.b64decode(found["input_file_base64"]).decode().splitlines()
    assert [msgspec.json.decode(line) for line in lines] == [
        {"custom_id": name, "method": "POST", "url": "/v1/inference/chat", "body": {"model": "é"}}
        for name in ("a", "b")
    ]


def test_a_batch_by_url_is_handed_over_as_it_is() -> None:
    found = body(sent("inference_batch_create", input_file_url="scaidrive://x"))
    assert found == {"input_file_url": "scaidrive://x", "endpoint_completion_window": "24h"}


def test_repeated_custom_ids_are_all_named() -> None:
    faults = faults_of("inference_batch_create", requests=batch("a", "b", "a", "a"))
    fields = ["requests[2].custom_id", "requests[3].custom_id"]
    assert [fault["field"] for fault in faults] == fields


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"config": {"a": 1}}, {"a": 1}),
        ({"reset_keys": ["b", "c"]}, {"b": None, "c": None}),
        ({"config": {"a": 1}, "reset_keys": ["b"]}, {"a": 1, "b": None}),
    ],
)
def test_reset_keys_become_nulls_beside_the_configuration(
    arguments: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert body(sent("modules_update_config", module_id="m", **arguments)) == expected


# Files


def test_audio_goes_as_a_file_with_the_other_arguments_beside_it() -> None:
    request = sent(
        "inference_transcribe",
        model="m",
        audio_base64=base64.b64encode(b"\x00sound").decode(),
        mime_type="audio/mp4",
        temperature=0.5,
        timestamp_granularities=["segment", "word"],
    )
    assert request.body is None
    assert request.parts == (
        FilePart("file", b"\x00sound", filename="file.m4a", content_type="audio/mp4"),
        FilePart("model", b"m"),
        FilePart("temperature", b"0.5"),
        FilePart("timestamp_granularities[]", b"segment"),
        FilePart("timestamp_granularities[]", b"word"),
        FilePart("response_format", b"text"),
    )


@pytest.mark.parametrize(
    ("mime", "name"),
    [
        ("audio/mpeg", "file.mp3"),
        ("audio/wav", "file.wav"),
        ("audio/ogg", "file.ogg"),
        ("audio/webm", "file.webm"),
    ],
)
def test_a_file_is_named_after_its_media_type(mime: str, name: str) -> None:
    request = sent("echo_transcribe", audio_base64="AAAA", mime_type=mime)
    assert request.parts[0].filename == name
    assert request.parts[1] == FilePart("force_async", b"false")


@pytest.mark.parametrize(
    ("given", "content", "filename", "mime"),
    [
        ({"text": "Grüße"}, "Grüße".encode(), "file.txt", "text/plain"),
        ({"text": "# x", "mime_type": "Text/Markdown"}, b"# x", "file.md", "Text/Markdown"),
        ({"content_base64": "AAE"}, b"\x00\x01", "file.txt", "text/plain"),
        (
            {"content_base64": "AAE=", "mime_type": "application/x-odd"},
            b"\x00\x01",
            "file.bin",
            "application/x-odd",
        ),
    ],
)
def test_a_document_is_text_or_base64(
    given: dict[str, Any], content: bytes, filename: str, mime: str
) -> None:
    request = sent(
        "matrix_ingest_document", collection_id="c", name="n", metadata={"k": [1]}, **given
    )
    assert request.parts == (
        FilePart("file", content, filename=filename, content_type=mime),
        FilePart("name", b"n"),
        FilePart("metadata", b'{"k":[1]}'),
    )


@pytest.mark.parametrize("mime", ["text", "text/plain; charset=x", "a/b\r\nX: y", "te xt/pl"])
def test_a_malformed_media_type_is_refused(mime: str) -> None:
    faults = faults_of("matrix_ingest_document", collection_id="c", name="n", text="x",
                       mime_type=mime)  # fmt: skip
    assert [fault["field"] for fault in faults] == ["mime_type"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "argument", "limit"),
    [
        ("inference_transcribe", "audio_base64", AUDIO_BYTES),
        ("echo_transcribe", "audio_base64", AUDIO_BYTES),
        ("matrix_ingest_document", "content_base64", DOCUMENT_BYTES),
        ("matrix_ingest_document", "text", DOCUMENT_BYTES),
    ],
)
def test_files_have_a_limit_after_decoding(name: str, argument: str, limit: int) -> None:
    tool = TOOLS[name]

    def translate(size: int) -> PlatformRequest:
        content = b"\0" * size
        text = content.decode() if argument == "text" else base64.b64encode(content).decode()
        return to_request(tool, {argument: text, "collection_id": "c"}, "acme")

    assert len(translate(limit).parts[0].content) == limit
    with pytest.raises(TranslationFault) as error:
        translate(limit + 1)
    message = f"is larger than {limit:,} bytes"
    assert error.value.faults == [{"field": argument, "message": message}]


@pytest.mark.parametrize(
    ("text", "content"),
    [("YWI=", b"ab"), ("YWI", b"ab"), ("YQ==", b"a"), ("YQ=", b"a"), ("+/+/", b"\xfb\xff\xbf")],
)
def test_padding_is_optional(text: str, content: bytes) -> None:
    assert decode_base64("audio_base64", text) == content


@pytest.mark.parametrize("text", ["A", "YW\nI=", "YW I=", "-_-_", "YQ==YQ==", "====", "é", "a?b"])
def test_what_is_not_standard_base64_is_refused(text: str) -> None:
    with pytest.raises(TranslationFault) as error:
        decode_base64("audio_base64", text)
    fault = {"field": "audio_base64", "message": "is not standard base64"}
    assert error.value.faults == [fault]


def test_a_modules_form_without_files_keeps_its_media_type_and_text() -> None:
    tool = module_tool(RestRequest("POST", "/v1/modules/acme/x", body="multipart"))
    request = to_request(tool, {"mime_type": "a/b", "text": "t", "n": 1}, "")
    assert request.parts == (
        FilePart("mime_type", b"a/b"), FilePart("text", b"t"), FilePart("n", b"1"),
    )  # fmt: skip


def test_a_modules_optional_file_may_be_left_out() -> None:
    rest = RestRequest("POST", "/v1/modules/acme/x", body="multipart", files=(("scan", "upload"),))
    assert to_request(module_tool(rest), {"text": "t"}, "").parts == (FilePart("text", b"t"),)
    parts = to_request(module_tool(rest), {"scan": "AAE="}, "").parts
    assert parts == (
        FilePart("upload", b"\x00\x01", "file.bin", content_type="application/octet-stream"),
    )


def test_every_sensitive_argument_of_the_contract_is_marked() -> None:
    words = {"connection_config", "secret", "env_vars", "stdin", "config"}
    words |= {"audio_base64", "content_base64"}
    for tool in TOOLS.values():
        assert tool.sensitive == words & set(tool.input_schema["properties"])
