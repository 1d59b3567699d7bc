"""JSON-RPC in and out."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.errors import ProtocolError, RequestRefused, ToolError
from scaimcp.server.envelope import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    MAX_BATCH,
    PARSE_ERROR,
    Message,
    Meta,
    check_text,
    depth_exceeds,
    error_message,
    error_object,
    is_batch,
    read_batch,
    read_entry,
    read_message,
    read_params,
    request_id,
    result_message,
)


def number(body: bytes) -> int:
    with pytest.raises(ProtocolError) as caught:
        read_message(body)
    assert caught.value.http_status == 400
    return caught.value.number


def request(params: str, message_id: str = "1") -> Message:
    body = f'{{"jsonrpc":"2.0","id":{message_id},"method":"m","params":{params}}}'
    return read_message(body.encode())


# -- messages ----------------------------------------------------------------------------------


def test_a_request_is_read_with_raw_id_and_params() -> None:
    message = read_message(b'{"jsonrpc":"2.0", "id": 7 , "method":"tools/list", "params":{"a":1}}')
    assert message.method == "tools/list"
    assert bytes(message.id).strip() == b"7"
    assert json.loads(bytes(message.params)) == {"a": 1}


def test_a_notification_has_no_id() -> None:
    assert not read_message(b'{"jsonrpc":"2.0","method":"notifications/initialized"}').id


@pytest.mark.parametrize("member", ['"result":{}', '"result":null', '"error":{"code":1}'])
def test_a_response_has_no_method(member: str) -> None:
    message = read_message(b'{"jsonrpc":"2.0","id":1,%b}' % member.encode())
    assert message.method is msgspec.UNSET


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"jsonrpc":"2.0","id":1,"method":"m"} trailing',
        b'{"jsonrpc":"2.0","id":1,"method":"\xff"}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"\xc3\x28"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m"}\x00',
        b'{"jsonrpc":"2.0","id":1,"method":"a\x00b"}',
        b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"m"}',
        '{"jsonrpc":"2.0","id":1,"method":"m"}'.encode("utf-16"),
    ],
)
def test_what_is_no_json_in_utf8_is_a_parse_error(body: bytes) -> None:
    assert number(body) == PARSE_ERROR


@pytest.mark.parametrize(
    "body",
    [
        b"1",
        b"null",
        b'"text"',
        b"{}",
        b'{"id":1,"method":"m"}',
        b'{"jsonrpc":"1.0","id":1,"method":"m"}',
        b'{"jsonrpc":2.0,"id":1,"method":"m"}',
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":1,"method":7}',
    ],
)
def test_what_is_no_json_rpc_is_an_invalid_request(body: bytes) -> None:
    assert number(body) == INVALID_REQUEST


def test_text_beyond_ascii_is_welcome() -> None:
    body = '{"jsonrpc":"2.0","id":"é😀","method":"m"}'.encode()
    assert bytes(read_message(body).id).decode() == '"é😀"'


# -- depth -------------------------------------------------------------------------------------


def nested(levels: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * levels + closing * levels).encode()


@pytest.mark.parametrize("levels", [1, 63, 64])
def test_depth_up_to_the_limit_passes(levels: int) -> None:
    assert not depth_exceeds(nested(levels), 64)
    assert not depth_exceeds(nested(levels, '{"a":', "}"), 64)


@pytest.mark.parametrize("levels", [65, 66, 1_000, 10_000])
def test_depth_beyond_the_limit_is_seen(levels: int) -> None:
    assert depth_exceeds(nested(levels), 64)
    assert depth_exceeds(nested(levels // 2, '{"a":[', "]}"), 32)


def test_many_shallow_brackets_are_not_deep() -> None:
    assert not depth_exceeds(b"[" + b",".join([b'{"a":[{}]}'] * 1_000) + b"]", 64)


@given(st.lists(st.booleans(), max_size=200), st.integers(0, 30))
def test_depth_is_what_counting_every_bracket_gives(opens: list[bool], most: int) -> None:
    text, depth, deepest = b"", 0, 0
    for is_opening in (*opens, *[False] * 201):
        if is_opening:
            depth, text = depth + 1, text + b"["
        elif depth:
            depth, text = depth - 1, text + b"]"
        deepest = max(deepest, depth)
    assert depth_exceeds(text, most) is (deepest > most)


def test_brackets_in_strings_do_not_count() -> None:
    text = json.dumps(["[" * 200, '"' + "{" * 200, "\\" + "[" * 200]).encode()
    assert not depth_exceeds(text, 64)


def test_a_deep_end_behind_shallow_parts_is_seen() -> None:
    assert depth_exceeds(b"[" + b"[]," * 500 + nested(65) + b"]", 64)


def test_deep_nesting_is_a_parse_error() -> None:
    assert number(nested(10_000)) == PARSE_ERROR


@pytest.mark.parametrize("body", [b"[" * 10_000, b"[" + b'{"a":' * 5_000, b"[" + b"[}" * 100])
def test_brackets_that_never_close_are_left_to_the_decoder(body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_batch(body)
    assert caught.value.number == PARSE_ERROR


def test_objects_that_never_close_are_left_to_the_decoder() -> None:
    assert number(b'{"a":' * 5_000) == PARSE_ERROR


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "is_deep"),
    [
        (b'["' + b"x" * 10_000_000 + b'"' + b",[]" * 100 + b"]", False),
        (b'["' + b"\\n" * 4_000_000 + b'"' + b",[]" * 100 + b"]", False),
        (b"[" + b"[]," * 2_000_000 + b"[]]", False),
        (b"[" * 8_000_000, True),
        ((b"[" * 64 + b"]" * 64) * 120_000, False),
        ((b"[" * 6 + b"]" * 6) * 1_300_000, False),
    ],
    ids=["long text", "escapes", "flat", "open", "at the limit", "many hills"],
)
def test_large_bodies_are_measured(body: bytes, is_deep: bool) -> None:
    assert depth_exceeds(body, 64) is is_deep


def test_only_text_that_a_decoder_may_see_passes() -> None:
    check_text('{"a":"é"}'.encode())
    with pytest.raises(ProtocolError):
        check_text(b'{"a":"\xe9"}')


# -- ids and params ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw", ["1", "0", "-5", "123456789012345678901234567890", '"a"', '""', '"\\u0061 é"']
)
def test_strings_and_integers_are_ids_and_keep_their_bytes(raw: str) -> None:
    message = request("{}", raw)
    assert request_id(message) == raw.encode()
    assert b"".join(result_message(request_id(message), (b"{", b"}}"))).decode() == (
        f'{{"jsonrpc":"2.0","id":{raw},"result":{{}}}}'
    )


@pytest.mark.parametrize("raw", ["null", "1.5", "1e3", "true", "[]", "{}"])
def test_anything_else_is_no_id(raw: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        request_id(request("{}", raw))
    assert caught.value.number == INVALID_REQUEST


def test_params_are_read_and_unknown_ones_ignored() -> None:
    params = read_params(request('{"name":"x","arguments":{"b":[1]},"other":5}'))
    assert params.name == "x"
    assert json.loads(bytes(params.arguments)) == {"b": [1]}
    assert params.meta is msgspec.UNSET


def test_absent_params_are_empty() -> None:
    params = read_params(read_message(b'{"jsonrpc":"2.0","id":1,"method":"m"}'))
    assert params.name is msgspec.UNSET
    assert not params.arguments


@pytest.mark.parametrize("token", ["5", '"abc"'])
def test_a_progress_token_is_a_string_or_an_integer(token: str) -> None:
    meta = read_params(request(f'{{"_meta":{{"progressToken":{token}}}}}')).meta
    assert isinstance(meta, Meta)
    assert meta.progress_token == json.loads(token)


@pytest.mark.parametrize(
    "params",
    [
        "[]",
        '"x"',
        "5",
        '{"name":5}',
        '{"cursor":5}',
        '{"_meta":[]}',
        '{"_meta":{"progressToken":[]}}',
    ],
)
def test_params_of_the_wrong_type_are_invalid(params: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_params(request(params))
    assert caught.value.number == INVALID_PARAMS
    assert "Invalid params" in caught.value.message


def test_a_lone_surrogate_in_params_is_a_parse_error_or_text() -> None:
    with pytest.raises(ProtocolError) as caught:
        read_params(request('{"name":"\\ud800"}'))
    assert caught.value.number in (PARSE_ERROR, INVALID_PARAMS)


# -- batches -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b"[]", True), (b" \n\t[1]", True), (b"{}", False), (b"", False), (b'"["', False)],
)
def test_an_array_is_a_batch(body: bytes, expected: bool) -> None:
    assert is_batch(body) is expected


def test_a_batch_is_split_into_its_messages() -> None:
    entries = read_batch(b'[ {"jsonrpc":"2.0","id":1,"method":"m"} , 5, [] ]')
    assert [entry.strip() for entry in entries[1:]] == [b"5", b"[]"]
    assert read_entry(entries[0]).method == "m"


@pytest.mark.parametrize("count", [0, MAX_BATCH + 1])
def test_an_empty_or_too_long_batch_is_an_invalid_request(count: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_batch(b"[" + b",".join([b"{}"] * count) + b"]")
    assert caught.value.number == INVALID_REQUEST


def test_the_longest_batch_passes() -> None:
    assert len(read_batch(b"[" + b",".join([b"{}"] * MAX_BATCH) + b"]")) == MAX_BATCH


@pytest.mark.parametrize("body", [b"[", b"[1,]", b"[\xff]", nested(10_000), b'["\xff"]'])
def test_a_batch_that_is_no_json_is_a_parse_error(body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_batch(body)
    assert caught.value.number == PARSE_ERROR


# -- errors ------------------------------------------------------------------------------------


def test_a_protocol_error_has_its_number_and_data() -> None:
    error = ProtocolError(-32022, "No", data={"supported": ["a"]})
    assert json.loads(error_message(b'"x"', error, "req_1")) == {
        "jsonrpc": "2.0",
        "id": "x",
        "error": {"code": -32022, "message": "No", "data": {"supported": ["a"]}},
    }


def test_a_refusal_of_our_own_carries_its_word() -> None:
    error = RequestRefused("RATE_LIMITED", "Wait", http_status=429, retry_after=3)
    assert json.loads(error_message(None, error, "req_1")) == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {
            "code": -31000,
            "message": "Wait",
            "data": {
                "error": {
                    "code": "RATE_LIMITED",
                    "message": "Wait",
                    "request_id": "req_1",
                    "retry_after": 3,
                }
            },
        },
    }


def test_word_and_data_stand_side_by_side() -> None:
    error = ProtocolError(-32602, "No", code="TOOL_NOT_FOUND", data={"uri": "x"})
    data = json.loads(error_message(b"1", error, "req_1"))["error"]["data"]
    assert data["uri"] == "x"
    assert data["error"]["code"] == "TOOL_NOT_FOUND"


def test_an_error_object_has_details_only_when_there_are_some() -> None:
    bare = error_object(ToolError("X", "y"), "req_1")
    assert bare == {"code": "X", "message": "y", "request_id": "req_1"}
    details = ({"field": "a", "message": "b"},)
    assert error_object(ToolError("X", "y", details=details), "r")["details"] == list(details)


def test_a_message_is_cleaned_of_tokens_and_cut() -> None:
    error = ToolError("X", "sgk_" + "a" * 40 + "\x07" + "z" * 2_000)
    message = error_object(error, "req_1")["message"]
    assert "sgk_" not in message
    assert "\x07" not in message
    assert len(message) <= 500
