"""Classes of changes, their diffs, and characters that hide. Spec: remote-servers 6."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.remotes.rules.canonical import rfc8785
from scaimcp.remotes.rules.changes import Change, Difference, Finding, compare, scan, shown, texts

OLD: dict[str, Any] = {
    "name": "search",
    "title": "Search",
    "description": "Search  pages.\nFast.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "q": {"type": "string", "description": "What to find.", "x-mcp-header": "Query"},
            "password": {"type": "string", "default": {"title": "a b"}},
            "n": {"enum": ["a b", "c"], "type": "string", "maximum": 5},
        },
        "required": ["q"],
    },
    "annotations": {"readOnlyHint": True, "destructiveHint": False, "openWorldHint": False},
}
PROMPT: dict[str, Any] = {"name": "ask", "arguments": [{"name": "topic", "description": "A b"}]}


def edited(path: str, value: Any, old: dict[str, Any] = OLD) -> dict[str, Any]:
    """Return a copy of `old` with one member set, or removed where `value` is Ellipsis."""
    new = copy.deepcopy(old)
    node: Any = new
    *above, last = path.split("/")
    for name in above:
        node = node[int(name) if isinstance(node, list) else name]
    key: Any = int(last) if isinstance(node, list) else last
    if value is ...:
        del node[key]
    else:
        node[key] = value
    return new


Q = "inputSchema/properties/q"
N = "inputSchema/properties/n"


@pytest.mark.row(49)
@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("description", "Search pages. Fast.", "cosmetic"),
        ("description", " Search\tpages.\u00a0Fast. ", "cosmetic"),
        ("title", " Search", "cosmetic"),
        (f"{Q}/description", "What  to find.", "cosmetic"),
        ("description", "Search pages.Fast.", "breaking"),
        ("description", "Find pages.", "breaking"),
        ("description", ..., "breaking"),
        ("title", ..., "breaking"),
        ("title", "search", "breaking"),
        ("name", "search ", "breaking"),
        (f"{N}/enum/0", "a  b", "breaking"),
        ("inputSchema/properties/password/default/title", "a  b", "breaking"),
        (f"{N}/enum", ["a b"], "breaking"),
        (f"{N}/enum", ["a b", "c", "d"], "breaking"),
        (f"{N}/maximum", 6, "breaking"),
        (f"{N}/type", "integer", "breaking"),
        (N, ..., "breaking"),
        (N, True, "breaking"),
        ("inputSchema/properties/extra", {"type": "string"}, "breaking"),
        ("inputSchema/properties/author", {"type": "string"}, "breaking"),
        ("inputSchema/properties/keyword", {"type": "string"}, "breaking"),
        ("inputSchema/properties/max_tokens", {"type": "integer"}, "breaking"),
        ("inputSchema/required", [], "breaking"),
        ("outputSchema", {"type": "object"}, "breaking"),
        ("annotations/idempotentHint", True, "breaking"),
        ("annotations/readOnlyHint", False, "risk"),
        ("annotations/readOnlyHint", ..., "risk"),
        ("annotations/destructiveHint", True, "risk"),
        ("annotations/destructiveHint", ..., "risk"),
        ("annotations/openWorldHint", True, "risk"),
        ("annotations/openWorldHint", ..., "risk"),
        ("annotations", ..., "risk"),
        *((f"inputSchema/properties/{name}", {"type": "string"}, "risk")
          for name in ("api_key", "apiKey", "APIKEY", "userPassword", "passwd", "access_token",
                       "accessToken", "token", "client-secret", "credentials", "auth", "user_pin",
                       "sessionToken", "privateKey", "Authorization")),
        (f"{N}/properties", {"secret": {}}, "risk"),
        ("inputSchema/$defs", {"x": {"properties": {"password": {}}}}, "risk"),
        (f"{N}/x-mcp-header", "N", "risk"),
        (f"{Q}/x-mcp-header", "Other", "risk"),
        (f"{Q}/x-mcp-header", "QUERY", "breaking"),
        (f"{Q}/x-mcp-header", ..., "breaking"),
    ],
)  # fmt: skip
def test_a_change_has_its_class(path: str, value: Any, expected: str) -> None:
    new = edited(path, value)
    change = compare("tool", OLD, new)
    assert change.cls == expected
    assert all(item.pointer.startswith(f"/{path.split('/')[0]}") for item in change.diff)
    assert change.diff


def test_hints_that_get_better_are_no_risk() -> None:
    bare = edited("annotations", ...)
    assert compare("tool", bare, OLD).cls == "breaking"
    assert (
        compare("tool", bare, {**bare, "annotations": {"destructiveHint": True}}).cls == "breaking"
    )


def test_a_new_definition_is_added() -> None:
    assert compare("tool", None, OLD) == Change("added")


def test_the_highest_class_wins() -> None:
    new = edited("annotations/readOnlyHint", False, edited("title", " Search"))
    change = compare("tool", OLD, new)
    assert change.cls == "risk"
    assert [item.pointer for item in change.diff] == ["/title", "/annotations/readOnlyHint"]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("arguments/0/description", "A  b", "cosmetic"),
        ("arguments/0/required", True, "breaking"),
        ("arguments", [*PROMPT["arguments"], {"name": "style"}], "breaking"),
        ("arguments", [*PROMPT["arguments"], {"name": "password"}], "risk"),
        ("arguments", ..., "breaking"),
    ],
)
def test_a_change_of_a_prompt_has_its_class(path: str, value: Any, expected: str) -> None:
    assert compare("prompt", PROMPT, edited(path, value, PROMPT)).cls == expected


def test_what_the_hash_leaves_out_is_no_change() -> None:
    new = {**OLD, "_meta": {"stamp": 2}, "icons": [], "outputSchema": None}
    assert compare("tool", OLD, new) == Change("cosmetic")


def test_a_new_high_finding_is_a_risk_and_an_old_one_is_not() -> None:
    hidden = edited("description", "Search pages.\u202e")
    assert compare("tool", OLD, hidden, scan("tool", hidden)).cls == "risk"
    again = edited("title", "Find", hidden)
    assert compare("tool", hidden, again, scan("tool", again)).cls == "breaking"
    medium = edited("description", "Search\u200b pages.")
    assert compare("tool", OLD, medium, scan("tool", medium)).cls == "breaking"


def test_a_diff_names_every_place_with_both_values() -> None:
    old = {"name": "a", "inputSchema": {"a/b": [1, {"~": 2}], "gone": 1, "same": [1]}}
    new = {"name": "a", "inputSchema": {"a/b": [1, {"~": True}, 3], "new": None, "same": [1]}}
    diff = compare("tool", old, new).diff
    assert msgspec.to_builtins(diff) == (
        {"pointer": "/inputSchema/a~1b/1/~0", "op": "replace", "from": 2, "to": True},
        {"pointer": "/inputSchema/a~1b/2", "op": "add", "to": 3},
        {"pointer": "/inputSchema/gone", "op": "remove", "from": 1},
        {"pointer": "/inputSchema/new", "op": "add", "to": None},
    )
    assert compare("tool", new, old).diff[1] == Difference(
        "/inputSchema/a~1b/2", "remove", before=3
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab~/", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab~/", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


def applied(value: Any, diff: tuple[Difference, ...]) -> Any:
    """Apply a diff the simple way; removals from lists come last."""
    value = copy.deepcopy(value)
    for item in sorted(diff, key=lambda item: (item.op == "remove", -len(item.pointer))):
        *above, last = [
            part.replace("~1", "/").replace("~0", "~") for part in item.pointer.split("/")[1:]
        ]
        node = value
        for name in above:
            node = node[int(name) if isinstance(node, list) else name]
        if item.op == "remove" and isinstance(node, list):
            node.pop()
        elif item.op == "remove":
            del node[last]
        elif isinstance(node, list) and int(last) >= len(node):
            node += [None] * (int(last) + 1 - len(node))
            node[int(last)] = item.after
        else:
            node[int(last) if isinstance(node, list) else last] = item.after
    return value


@given(JSON, JSON)
def test_a_diff_applied_to_the_old_gives_the_new(old: Any, new: Any) -> None:
    before, after = {"name": "a", "title": [old]}, {"name": "a", "title": [new]}
    diff = compare("resource", before, after).diff
    assert rfc8785(applied(before, diff)) == rfc8785(after)
    assert bool(diff) == (rfc8785(before) != rfc8785(after))


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("Plain ASCII.", None),
        ("Grüße, 検索, ünï", None),
        ("👩\u200d🔬 and ❤\ufe0f\u200d🔥", None),
        ("a\U000e0041b", "high"),
        ("🏴\U000e0067\U000e007f", "high"),
        ("a\u202eb", "high"),
        ("a\u2066b", "high"),
        ("a\u200fb", "high"),
        ("a\u061cb", "high"),
        ("a\u200bb", "medium"),
        ("a\u200db", "medium"),
        ("👩\u200dx", "medium"),
        ("a\ufeff", "medium"),
        ("a\u2060b", "medium"),
        ("a\U000e0100b", "medium"),
        ("a\u200bb\u202e", "high"),
    ],
)
def test_a_hidden_character_is_found(text: str, severity: str | None) -> None:
    found = scan("tool", {"name": "a", "description": text})
    assert [item.severity for item in found] == ([severity] if severity else [])
    assert all(item.rule == "hidden_characters" for item in found)
    assert all(item.pointer == "/description" for item in found)


def test_names_of_properties_and_strings_in_schemas_are_scanned() -> None:
    schema = {"properties": {"a\u200b": {"enum": ["x", "y\u202e"]}}}
    found = scan("tool", {"name": "a\u200b", "inputSchema": schema, "_meta": {"x": "\u202e"}})
    below = "/inputSchema/properties/a<U+200B>"
    assert {item.pointer for item in found} == {f"{below}/enum/1", below, "/name"}
    assert found[0].severity == "high"


def test_an_excerpt_is_short_and_shows_what_cannot_be_seen() -> None:
    (found,) = scan("tool", {"name": "a", "title": "x" * 500 + "\u202e" + "y" * 500})
    assert found == Finding("hidden_characters", "high", "/title", "x" * 20 + "<U+202E>" + "y" * 92)
    assert shown("\U000e0041" * 200).startswith("<U+E0041>")
    assert len(shown("\U000e0041" * 200)) == 120


def test_findings_are_few_and_the_high_ones_are_among_them() -> None:
    names = [f"{number}\u200b" for number in range(80)]
    found = scan("tool", {"name": "a", "inputSchema": {"enum": [*names, "\u202e"]}})
    assert len(found) == 50
    assert found[0].severity == "high"


@given(JSON)
def test_every_string_is_walked_once(value: Any) -> None:
    def count(node: Any) -> int:
        if isinstance(node, dict):
            return len(node) + sum(map(count, node.values()))
        return sum(map(count, node)) if isinstance(node, list) else isinstance(node, str)

    assert len(list(texts(value))) == count(value)
