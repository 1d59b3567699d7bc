"""The gateway's own tools as the gateway needs them. Spec: core-tools 1 and 8."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scaimcp.catalog.builtin import GATEWAY
from scaimcp.catalog.own import own_tools, read_own
from scaimcp.errors import ProtocolError, ToolError

TOOLS = {tool.name: tool for tool in own_tools(GATEWAY, 9_000)}


def test_there_are_four_in_their_order() -> None:
    assert list(TOOLS) == ["tools_explain", "tools_search", "tools_describe", "tools_call"]
    assert {tool.meta["anthropic/maxResultSizeChars"] for tool in TOOLS.values()} == {9_000}


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("tools_explain", {"tool": "x"}, {"tool": "x"}),
        ("tools_search", {"query": "x"}, {"query": "x", "top_k": 10}),
        ("tools_search", {"query": "x", "top_k": 3.0}, {"query": "x", "top_k": 3}),
        ("tools_describe", {"names": ["a"]}, {"names": ["a"]}),
        ("tools_call", {"name": "a", "arguments": '{"b":1}'}, {"name": "a", "arguments": {"b": 1}}),
        ("tools_call", {"name": "a", "arguments": None}, {"name": "a"}),
    ],
)
def test_arguments_are_checked_and_completed(
    name: str, arguments: dict[str, Any], expected: dict[str, Any]
) -> None:
    for _ in range(2):
        assert read_own(TOOLS[name], msgspec.json.encode(arguments)) == expected


@pytest.mark.parametrize(
    ("name", "arguments", "field"),
    [
        ("tools_explain", {}, "tool"),
        ("tools_explain", {"tool": "x" * 257}, "tool"),
        ("tools_search", {"query": ""}, "query"),
        ("tools_search", {"query": "x" * 1001}, "query"),
        ("tools_search", {"query": "x", "top_k": 51}, "top_k"),
        ("tools_describe", {"names": []}, "names"),
        ("tools_describe", {"names": ["x"] * 21}, "names"),
        ("tools_call", {"name": "a", "arguments": [1]}, "arguments"),
        ("tools_call", {"name": "a", "other": 1}, "other"),
    ],
)
def test_faults_are_named(name: str, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(ToolError) as error:
        read_own(TOOLS[name], msgspec.json.encode(arguments))
    assert error.value.code == "INVALID_ARGUMENTS"
    assert [detail["field"] for detail in error.value.details] == [field]


def test_arguments_that_are_no_object_are_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        read_own(TOOLS["tools_explain"], b"[]")
