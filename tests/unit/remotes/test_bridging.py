"""Results between eras, value by value."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from scaimcp.remotes.calls.bridging import (
    UnsupportedInputRequest,
    cached,
    for_era,
    header_paths,
    holds_resources,
    mirrored,
    opened,
    passed,
    wanted,
)
from scaimcp.upstream.errors import ProtocolError


def raw(**members: str) -> dict[str, Raw]:
    return {name: Raw(value.encode()) for name, value in members.items()}


def test_the_type_of_a_result_is_taken_off() -> None:
    assert opened(Raw(b'{"resultType":"task","a": 1}')) == ("task", {"a": Raw(b"1")})
    assert opened(Raw(b'{"a":1}'))[0] == "complete"


@pytest.mark.parametrize("result", ['{"resultType":7}', '{"resultType":null}', "[1]"])
def test_a_type_that_is_no_text_is_no_mcp(result: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        opened(Raw(result.encode()))
    assert caught.value.was_sent


def test_what_a_server_wants_is_read_with_its_modes() -> None:
    method = '"method":"elicitation/create"'
    asked = f'{{"a":{{{method},"params":{{"mode":"url"}}}},"b":{{{method},"params":{{}}}}}}'
    found = wanted(raw(inputRequests=asked, requestState='"s"'))
    assert (found.requests, found.state, found.modes) == (asked.encode(), "s", {"url", "form"})
    bare = '{"a":{"method":"elicitation/create"}}'
    assert wanted(raw(inputRequests=bare)).modes == {"form"}
    assert wanted(raw(requestState='"s"')).requests == b""


@pytest.mark.parametrize(
    "members",
    [
        {"inputRequests": "7"},
        {"inputRequests": '{"a":1}'},
        {"inputRequests": '{"a":{"method":"elicitation/create","params":{"mode":7}}}'},
        {"inputRequests": '{"a":{"method":"elicitation/create","params":[]}}'},
        {"requestState": "7"},
    ],
)
def test_questions_of_another_form_are_no_mcp(members: dict[str, str]) -> None:
    with pytest.raises(ProtocolError):
        wanted(raw(**members))


def test_nothing_but_questions_to_the_user_is_passed_on() -> None:
    with pytest.raises(UnsupportedInputRequest):
        wanted(raw(inputRequests='{"a":{"method":"roots/list"}}'))


def test_meta_keeps_what_is_the_servers_own() -> None:
    meta = '{"a/b":1,"ai.scailabs.scaimcp/x":2,"io.modelcontextprotocol/serverInfo":{}}'
    assert passed({"_meta": Raw(meta.encode())}, "p").meta == b'"a/b":1'
    assert passed(raw(contents="[]"), "p").meta.endswith(b'resource_prefix":"p"')


@pytest.mark.parametrize(
    ("members", "holds"),
    [
        ({"contents": "[]"}, True),
        ({"messages": '[{"role":"user","content":{"type":"resource_link"}}]'}, True),
        ({"messages": '[{"role":"user","content":{"type":"text","text":"\\"resource"}}]'}, False),
        ({"content": '[{"type":"resource"}]'}, True),
        ({"content": '{"type":"resource"}'}, False),
        ({}, False),
    ],
)
def test_resources_are_found_where_results_hold_them(members: Any, holds: bool) -> None:
    assert holds_resources(raw(**members)) is holds


def test_older_clients_get_objects_as_structure() -> None:
    fields = raw(structuredContent=" {}", ttlMs="1", cacheScope='"public"')
    assert for_era(fields, is_modern=True) == fields
    assert for_era(fields, is_modern=False) == raw(structuredContent=" {}")
    odd = for_era(raw(structuredContent="[1]", content='"text"'), is_modern=False)
    assert odd == raw(content='"text"')


@pytest.mark.parametrize("told", ["1", "1.9", "1e3", '"x"', "true", "nope", "-5", "9e9"])
def test_hints_for_caching_are_whole_and_bounded(told: str) -> None:
    found = cached(raw(ttlMs=told))
    assert found["cacheScope"] == Raw(b'"private"')
    assert 0 <= int(bytes(found["ttlMs"])) <= 300_000


def test_scalars_are_mirrored_and_nothing_else() -> None:
    schema = {
        "properties": {
            "a": {"x-mcp-header": "A"},
            "o": {"properties": {"b": {"x-mcp-header": "B-b"}, "odd": 7}},
            "c": {"x-mcp-header": 7},
        }
    }
    paths = header_paths(schema)
    assert paths == ((("a",), "mcp-param-a"), (("o", "b"), "mcp-param-b-b"))
    assert mirrored(paths, b'{"a":null,"o":{"b":12}}') == (("mcp-param-b-b", "12"),)
    assert mirrored(paths, b'{"a":"x","o":7}') == (("mcp-param-a", "x"),)
    assert mirrored((), b"not even JSON") == ()
