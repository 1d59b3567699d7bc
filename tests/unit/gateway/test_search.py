"""Ranking tools by words, and names that look alike. Spec: core-tools 7 and 8."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.catalog.builtin import CORE, MODULES
from scaimcp.catalog.registry import to_tool
from scaimcp.gateway.search import index, rank, similar, words
from scaimcp.types import Tool
from tests.unit.gateway.setup import tool

ALL = [to_tool(definition, 1) for definition in (*CORE, *MODULES)]
ENTRIES = index(ALL)
NAMES = [item.name for item in ALL]


def best(query: str, top_k: int = 5) -> list[str]:
    return [item["name"] for item in rank(query, ENTRIES, top_k)[0]]


def made(name: str, title: str = "T", description: str = "D.", *arguments: str) -> Tool:
    schema = {"type": "object", "properties": {argument: {} for argument in arguments}}
    return Tool(name, title, description, schema, None, {"readOnlyHint": True}, {})


def test_all_but_letters_and_digits_divides_words() -> None:
    assert words("List_My.Tools, v2—é") == ["list", "my", "tools", "v2"]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("models_list", "models_list"),
        ("MODELS_LIST ", "models_list"),
        ("transcribe a recording", "inference_transcribe"),
        ("run a shell command", "bunker_exec"),
        ("search documents in a collection", "matrix_search"),
        ("webhook deliveries", "webhooks_list_deliveries"),
        ("audit", "audit_list"),
        ("create budget", "accounting_create_budget"),
    ],
)
def test_what_is_meant_is_among_the_best(query: str, name: str) -> None:
    assert name in best(query)


def test_an_exact_name_comes_first() -> None:
    assert best("users_get")[0] == "users_get"
    assert best("users_list", 1) == ["users_list"]


def test_a_hit_in_the_name_weighs_more_than_title_arguments_and_description() -> None:
    tools = [
        made("d", "T", "about invoices"),
        made("a", "T", "D.", "invoices"),
        made("t", "Show invoices"),
        made("invoices"),
    ]
    items, total = rank("invoices", index(tools), 10)
    assert [item["name"] for item in items] == ["invoices", "t", "a", "d"]
    assert total == 4
    assert [item["score"] for item in items] == sorted((i["score"] for i in items), reverse=True)


def test_the_start_of_a_word_counts_half() -> None:
    tools = [made("model"), made("models")]
    items, _ = rank("models", index(tools), 10)
    assert [(item["name"], item["score"]) for item in items] == [("models", 108.0), ("model", 4.0)]
    assert rank("mo", index(tools), 10) == ([], 0)


def test_words_alike_at_their_start_are_found_both_ways() -> None:
    tools = [made("mod"), made("model"), made("modest"), made("mo"), made("remodel")]
    for query, found in (("mod", ["mod", "model", "modest"]), ("models", ["mod", "model"])):
        assert [item["name"] for item in rank(query, index(tools), 10)[0]] == found


def test_a_query_of_many_words_is_answered() -> None:
    many = " ".join(f"q{number:02}" for number in range(250))
    assert rank(many, ENTRIES, 10) == ([], 0)


def test_equal_scores_keep_the_order_of_the_catalogue() -> None:
    tools = [made("zebra_list"), made("apple_list"), made("mango_list")]
    items, _ = rank("list", index(tools), 10)
    assert [item["name"] for item in items] == ["zebra_list", "apple_list", "mango_list"]


def test_an_item_holds_what_the_contract_names() -> None:
    tools = [made("find_it", "Find it", "x" * 400), tool("acme_find", module_id="acme")]
    items, _ = rank("find", index(tools), 10)
    assert items[0] == {
        "name": "find_it",
        "title": "Find it",
        "description": "x" * 300,
        "annotations": {"readOnlyHint": True},
        "score": 12.0,
    }
    assert items[1]["module_id"] == "acme"


def test_only_the_best_are_returned_but_all_are_counted() -> None:
    items, total = rank("list", ENTRIES, 3)
    assert len(items) == 3
    assert total > 20


@pytest.mark.parametrize("query", ["", "   ", "…", "日本", "xyzzyx"])
def test_words_that_nothing_has_find_nothing(query: str) -> None:
    assert rank(query, ENTRIES, 10) == ([], 0)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("model_list", "models_list"),
        ("modelslist", "models_list"),
        ("list_models", "models_list"),
        ("bunker_execute", "bunker_exec"),
        ("inference_chats", "inference_chat"),
        ("Me_Get", "me_get"),
    ],
)
def test_a_misspelt_name_is_recognised(name: str, nearest: str) -> None:
    assert nearest in similar(name, NAMES, 3)


def test_nothing_alike_suggests_nothing() -> None:
    assert similar("qqqqqq", NAMES, 3) == []
    assert similar("", [], 3) == []


@given(st.text(max_size=300), st.integers(0, 5))
def test_suggestions_are_known_names_and_never_too_many(name: str, most: int) -> None:
    found = similar(name, NAMES, most)
    assert len(found) <= most
    assert set(found) <= set(NAMES)


def test_a_tool_is_found_by_either_name_and_shown_by_the_wanted_one() -> None:
    tools = [
        made("remote.u.s.other"),
        msgspec.structs.replace(made("remote.u.s.x"), alias="r_S__x"),
    ]
    entries = index(tools)
    for query in ("remote.u.s.x", "R_S__X"):
        items, _ = rank(query, entries, 1, lambda tool: tool.alias or tool.name)
        assert [(item["name"], item["score"] > 100) for item in items] == [("r_S__x", True)]
    # A blank query names nothing, not even what has no alias.
    assert rank(" ", entries, 10) == ([], 0)
