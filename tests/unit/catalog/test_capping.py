"""The size caps of results. Spec: core-tools 6, "Size cap"."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.catalog import rawjson
from scaimcp.catalog.capping import binary_too_large, cap_list, cap_members, fits
from scaimcp.errors import ToolError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=3000)


def members(**fields: Any) -> list[tuple[str, bytes]]:
    return [(name, rawjson.encode(value)) for name, value in fields.items()]


def cap(
    chars: int, long_text: tuple[str, ...] = (), is_export: bool = False, **fields: Any
) -> dict[str, Any]:
    text = cap_members(members(**fields), chars, long_text, is_export)
    assert len(text.decode()) <= chars
    decoded: dict[str, Any] = json.loads(text)
    return decoded


def page(rows: list[Any], chars: int, *, has_limit: bool = True, **rest: Any) -> dict[str, Any]:
    encoded = [rawjson.encode(row) for row in rows]
    text = cap_list(encoded, members(has_more=False, **rest), chars, has_limit=has_limit)
    assert len(text.decode()) <= chars
    decoded: dict[str, Any] = json.loads(text)
    return decoded


def test_a_cap_counts_characters_and_not_bytes() -> None:
    assert fits('"ééé"'.encode(), 5)
    assert not fits('"ééé"'.encode(), 4)


def test_what_fits_is_not_touched() -> None:
    assert cap(100, id="x", content="short") == {"id": "x", "content": "short"}


@pytest.mark.parametrize("name", ["content", "stdout", "stderr", "transcript", "text"])
def test_the_usual_long_texts_are_cut_at_the_end(name: str) -> None:
    text = "".join(chr(97 + i % 26) for i in range(5000))
    result = cap(1000, (), False, id="x", **{name: text})
    assert text.startswith(result[name])
    assert len(result[name]) > 500
    assert result["truncated"] == {
        "field": name,
        "omitted_chars": 5000 - len(result[name]),
        "hint": f"{name} cut to fit; narrow the request to get the rest.",
    }
    assert list(result) == ["id", name, "truncated"]


def test_a_tool_may_name_further_long_texts() -> None:
    assert cap(1000, ("report",), report="x" * 5000)["truncated"]["field"] == "report"


@pytest.mark.parametrize(
    "fields",
    [
        {"embeddings": [[0.1] * 500]},
        {"key": "sgk_" + "x" * 2000},
        {"content": ["x"] * 1000},
        {"content": "", "rows": ["x"] * 1000},
        {"content": "x" * 5000, "rows": "y" * 995},
    ],
)
def test_without_enough_to_cut_the_result_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ToolError) as error:
        cap(1000, **fields)
    assert error.value.code == "RESULT_TOO_LARGE"
    assert "1,000 characters" in error.value.message


def test_the_longer_of_two_texts_gives_way_first() -> None:
    result = cap(2000, stdout="o" * 9000, stderr="e" * 200)
    assert result["stderr"] == "e" * 200
    assert result["truncated"]["field"] == "stdout"


def test_two_long_texts_share_the_room() -> None:
    result = cap(2000, exit_code=1, stdout="o" * 9000, stderr="e" * 7000)
    assert abs(len(result["stdout"]) - len(result["stderr"])) <= 1
    assert result["truncated"]["field"] == "stdout, stderr"
    omitted = 16_000 - len(result["stdout"]) - len(result["stderr"])
    assert result["truncated"]["omitted_chars"] == omitted


def test_an_export_is_cut_at_a_line_end() -> None:
    lines = "".join(f"row {number},1.50\n" for number in range(1000))
    result = cap(2000, is_export=True, format="csv", content=lines)
    assert result["content"].endswith("\n")
    assert re.fullmatch(r"(row \d+,1.50\n)+", result["content"])
    assert result["truncated"]["omitted_chars"] == len(lines) - len(result["content"])


def test_an_export_of_one_line_is_cut_within_it() -> None:
    assert len(cap(1000, is_export=True, content="x" * 5000)["content"]) > 500


@pytest.mark.parametrize("mark", ["\n", '"', "\\", "\x01", "é", "😀", "\u2028"])
def test_escapes_are_never_cut_in_two(mark: str) -> None:
    for chars in range(995, 1005):
        content = cap(chars, content=mark * 3000)["content"]
        assert content == mark * len(content)


@given(st.integers(401, 3000), TEXTS, TEXTS, st.booleans())
def test_a_capped_result_fits_or_is_refused(
    chars: int, first: str, second: str, is_export: bool
) -> None:
    with suppress(ToolError):
        check_cut(cap(chars, (), is_export, id="x", content=first, stderr=second), first, second)


def check_cut(result: dict[str, Any], first: str, second: str) -> None:
    assert first.startswith(result["content"])
    assert second.startswith(result["stderr"])
    omitted = len(first) + len(second) - len(result["content"]) - len(result["stderr"])
    assert result.get("truncated", {"omitted_chars": 0})["omitted_chars"] == omitted


def test_a_list_that_fits_keeps_its_cursor() -> None:
    result = page([1, 2], 100, next_cursor="c", total_count=2)
    expected = {"items": [1, 2], "has_more": False, "next_cursor": "c", "total_count": 2}
    assert result == expected


def test_rows_are_dropped_from_the_end_with_a_hint() -> None:
    rows = [{"id": f"row_{number:04}", "text": "x" * 50} for number in range(100)]
    result = page(rows, 3000, next_cursor="c", total_count=100)
    kept = len(result["items"])
    assert result["items"] == rows[:kept]
    assert 0 < kept < 100
    assert result["truncated"] == {
        "omitted_items": 100 - kept,
        "hint": f"Call again with the same cursor and limit {kept} to get a page that fits.",
    }
    assert result["has_more"] is True
    assert result["total_count"] == 100
    assert list(result) == ["items", "has_more", "total_count", "truncated"]


def test_the_limit_of_the_hint_gives_a_page_that_fits() -> None:
    rows = [{"text": "x" * 90} for _ in range(100)]
    kept = len(page(rows, 3000, next_cursor="c" * 500)["items"])
    assert "truncated" not in page(rows[:kept], 3000, next_cursor="d" * 500)


def test_a_long_cursor_alone_never_drops_nothing() -> None:
    result = page(["x" * 50] * 40, 2600, next_cursor="c" * 512)
    assert result["truncated"]["omitted_items"] > 0


def test_a_tool_without_a_limit_gets_another_hint() -> None:
    assert "limit" not in page(["x" * 50] * 100, 1000, has_limit=False)["truncated"]["hint"]


def test_a_page_without_rows_over_the_cap_is_refused() -> None:
    with pytest.raises(ToolError) as error:
        page([], 450, next_cursor="c" * 512)
    assert error.value.code == "RESULT_TOO_LARGE"


def test_a_first_row_over_the_cap_is_refused() -> None:
    with pytest.raises(ToolError) as error:
        page(["x" * 2000, "y"], 1000)
    assert error.value.code == "RESULT_TOO_LARGE"


@given(st.lists(TEXTS, max_size=12), st.integers(401, 4000), st.text("abc", max_size=512))
def test_a_capped_list_fits_or_is_refused(rows: list[str], chars: int, cursor: str) -> None:
    with suppress(ToolError):
        check_page(page(rows, chars, next_cursor=cursor), rows)


def check_page(result: dict[str, Any], rows: list[str]) -> None:
    assert result["items"] == rows[: len(result["items"])]
    omitted = result.get("truncated", {"omitted_items": 0})["omitted_items"]
    assert len(result["items"]) + omitted == len(rows)
    assert ("next_cursor" in result) == (omitted == 0)


def test_binary_over_its_cap_names_the_limit() -> None:
    error = binary_too_large(8_388_608)
    assert error.code == "RESULT_TOO_LARGE"
    assert "8,388,608 bytes" in error.message
