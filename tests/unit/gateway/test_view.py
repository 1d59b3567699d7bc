"""Options of the endpoint's URL. Spec: core-tools 4 and 8, remote-servers 3."""

from __future__ import annotations

import pytest

from scaimcp.gateway.view import DEFAULT_VIEW, UnknownOption, View, parse_view
from tests.unit.gateway.setup import tool


@pytest.mark.parametrize(
    ("query", "view"),
    [
        (b"", View()),
        (b"unknown=1&x", View()),
        (b"names=safe", View(names="safe")),
        (b"names=dotted", View(names="dotted")),
        (b"disclosure=list", View(disclosure="list")),
        (b"disclosure=search&dialect=gemini", View(disclosure="search", dialect="gemini")),
        (b"dialect=canonical", View(dialect="canonical")),
        (b"toolsets=models, scaimatrix,,", View(toolsets=frozenset({"models", "scaimatrix"}))),
        (b"toolsets=models%2Cremote", View(toolsets=frozenset({"models", "remote"}))),
        (b"toolsets=", View(toolsets=frozenset())),
        (b"toolsets=\xff", View(toolsets=frozenset({"ÿ"}))),
    ],
)
def test_options_are_read(query: bytes, view: View) -> None:
    assert parse_view(query) == view


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (b"names=short", "names takes safe or dotted"),
        (b"disclosure=", "disclosure takes list or search"),
        (b"disclosure=LIST", "disclosure takes list or search"),
        (b"dialect=openapi", "dialect takes canonical or gemini"),
    ],
)
def test_an_unknown_value_is_refused(query: bytes, message: str) -> None:
    with pytest.raises(UnknownOption, match=message):
        parse_view(query)


TOOLS = [
    tool("me_get", domain="me"),
    tool("models_list", domain="models"),
    tool("matrix_search", domain="scaimatrix", module_id="scaimatrix"),
    tool("remote.a.b.c", domain="remote"),
    tool("tools_explain", domain="tools"),
    tool("tools_search", domain="tools"),
    tool("tools_describe", domain="tools"),
    tool("tools_call", domain="tools"),
]
SEARCH = ["me_get", "tools_explain", "tools_search", "tools_describe", "tools_call"]


@pytest.mark.parametrize(
    ("view", "names"),
    [
        (
            DEFAULT_VIEW,
            ["me_get", "models_list", "matrix_search", "remote.a.b.c", "tools_explain"],
        ),
        (View(disclosure="search"), SEARCH),
        (View(disclosure="search", toolsets=frozenset({"models"})), SEARCH),
        (View(toolsets=frozenset({"models"})), ["me_get", "models_list", "tools_explain"]),
        (
            View(toolsets=frozenset({"scaimatrix", "remote"})),
            ["me_get", "matrix_search", "remote.a.b.c", "tools_explain"],
        ),
        (View(toolsets=frozenset()), ["me_get", "tools_explain"]),
        (View(toolsets=frozenset({"tools"})), ["me_get", "tools_explain"]),
        (View(dialect="gemini", toolsets=frozenset({"none"})), ["me_get", "tools_explain"]),
    ],
)
def test_a_view_narrows_the_list(view: View, names: list[str]) -> None:
    assert [item.name for item in TOOLS if view.lists(item)] == names
