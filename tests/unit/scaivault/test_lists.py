"""Pages of ScaiVault's lists, read from data. Spec: scaivault 2.3, 8."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.scaivault.answers import UpstreamFailure
from scaimcp.scaivault.catalogue import BY_NAME
from scaimcp.scaivault.cursors import Position
from scaimcp.scaivault.guards import Guards, passes
from scaimcp.scaivault.lists import Page, Reader, fitting_page, read_page
from scaimcp.scaivault.paths import covers

SECRETS = BY_NAME["scaivault_list_secrets"]
ROW = {"path": "a"}


@pytest.mark.parametrize(
    ("answer", "page"),
    [
        ({"secrets": [ROW]}, Page([ROW])),
        ({"data": [ROW], "has_more": False, "cursor": "c"}, Page([ROW], False, "c")),
        ([ROW], Page([ROW])),
        ({"secrets": [], "data": [ROW]}, Page([])),
        ({"secrets": [ROW], "cursor": "c"}, Page([ROW], True, "c")),
        ({"secrets": [ROW], "next_cursor": "n", "has_more": True}, Page([ROW], True, "n")),
        ({"secrets": [ROW], "has_more": True}, Page([ROW], True)),
        ({"secrets": [ROW], "has_more": True, "cursor": 7}, Page([ROW], True)),
        ({"secrets": [ROW], "page": 2, "page_size": 1, "total": 3}, Page([ROW], True, "", 2, 1)),
        ({"secrets": [ROW], "page": 3, "page_size": 1, "total": 3}, Page([ROW], False, "", 3, 1)),
        ({"secrets": [], "page": 1, "page_size": 1, "total": 3}, Page([], False, "", 1, 1)),
        ({"secrets": [ROW], "page": 0, "page_size": 1, "total": 3}, Page([ROW])),
        ({"secrets": [ROW], "page": 1, "page_size": 0, "total": 3}, Page([ROW])),
        ({"secrets": [ROW], "page": True, "page_size": True, "total": 3}, Page([ROW])),
        # No cursor of ours could hold such a number.
        ({"secrets": [ROW], "page": 10**30, "page_size": 1, "total": 10**40}, Page([ROW])),
        ({"secrets": [ROW], "page": 1, "page_size": 10**30, "total": 10**40}, Page([ROW])),
    ],
)
def test_a_page_is_read_from_any_container(answer: Any, page: Page) -> None:
    assert read_page(SECRETS, answer) == page


@pytest.mark.parametrize("answer", [None, 7, "x", {}, {"items": []}, {"secrets": "x"}, [7], [[]]])
def test_what_holds_no_rows_is_a_mismatch(answer: Any) -> None:
    with pytest.raises(UpstreamFailure) as caught:
        read_page(SECRETS, answer)
    assert caught.value.code == "UPSTREAM_SHAPE_MISMATCH"


@given(st.integers(1, 50), st.integers(1, 200), st.integers(1, 200))
def test_numbered_pages_leave_no_gap(page: int, size: int, limit: int) -> None:
    number, new_size = fitting_page(Position(0, "", page, size), limit)
    assert (number - 1) * new_size == (page - 1) * size
    assert 1 <= new_size <= limit


# -- a vault made of data ----------------------------------------------------------------------


class Vault:
    """Answers by string prefix in pages, as ScaiVault does."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = sorted(paths)
        self.asked: list[str] = []

    async def ask(self, arguments: dict[str, Any], _: Any) -> Any:
        self.asked.append(arguments["prefix"])
        rows = [path for path in self.paths if path.startswith(arguments["prefix"])]
        start = int(arguments["cursor"] or 0)
        end = start + arguments["limit"]
        shown = [{"path": path} for path in rows[start:end]]
        return {"secrets": shown, "has_more": end < len(rows), "cursor": str(end)}


SEGMENT = st.sampled_from(["a", "b", "ab", "c"])
PATHS = st.lists(SEGMENT, min_size=1, max_size=3).map("/".join)


@given(
    paths=st.sets(PATHS, max_size=30),
    allowed=st.none() | st.sets(PATHS, min_size=1, max_size=3),
    denied=st.sets(PATHS, max_size=2),
    limit=st.integers(1, 6),
)
async def test_all_pages_together_hold_what_passes_and_nothing_else(
    paths: set[str], allowed: set[str] | None, denied: set[str], limit: int
) -> None:
    # Entries below others are taken out, as `window` does.
    tops = {e for e in allowed or () if not any(covers(o, e) for o in (allowed or set()) - {e})}
    entries = None if allowed is None else tuple(sorted(tops))
    guards = Guards(allowed=entries, denied=tuple(sorted(denied)))
    vault = Vault(sorted(paths))
    window = ("",) if entries is None else entries
    found: list[str] = []
    here: Position | None = Position()
    while here is not None:
        rows, here = await Reader(SECRETS, guards, window, vault.ask).fill(here, limit)
        assert len(rows) <= limit
        found += [row["path"] for row in rows]
    assert sorted(found) == sorted(path for path in paths if passes(path, guards))
    assert len(set(found)) == len(found)
    assert set(vault.asked) <= set(window)


async def test_a_cursor_that_comes_back_ends_the_list() -> None:
    cursors = ["c1", "c2", "c1"]

    async def ask(*_: Any) -> Any:
        return {"secrets": [ROW], "has_more": True, "cursor": cursors.pop(0)}

    rows, here = await Reader(SECRETS, Guards(), ("",), ask).fill(Position(), 9)
    assert (len(rows), here) == (3, None)


async def test_one_that_came_before_this_call_ends_it_too() -> None:
    async def ask(*_: Any) -> Any:
        return {"secrets": [ROW], "has_more": True, "cursor": "c1"}

    rows, here = await Reader(SECRETS, Guards(), ("",), ask).fill(Position(cursor="c1"), 9)
    assert (len(rows), here) == (1, None)


async def test_an_entry_that_ends_early_is_followed_by_the_next() -> None:
    async def ask(arguments: dict[str, Any], _: Any) -> Any:
        return {"secrets": [{"path": arguments["prefix"]}], "has_more": True}

    rows, here = await Reader(SECRETS, Guards(), ("a", "b"), ask).fill(Position(), 9)
    assert ([row["path"] for row in rows], here) == (["a", "b"], None)


async def test_numbered_pages_are_not_filled() -> None:
    async def ask(*_: Any) -> Any:
        return {"secrets": [ROW], "page": 1, "page_size": 1, "total": 5}

    rows, here = await Reader(SECRETS, Guards(), ("",), ask).fill(Position(begin="b"), 9)
    assert (rows, here) == ([ROW], Position(page=2, page_size=1, begin="b"))
    assert here is not None
    assert msgspec.structs.asdict(here)["cursor"] == ""


async def test_a_page_number_that_stands_still_ends_the_list() -> None:
    async def ask(*_: Any) -> Any:
        return {"secrets": [ROW], "page": 1, "page_size": 1, "total": 5}

    assert await Reader(SECRETS, Guards(), ("",), ask).all(9, 10) == ([ROW, ROW], False)


async def test_a_list_without_a_limit_goes_on_with_pages_as_large_as_the_first() -> None:
    asked: list[Any] = []

    async def ask(_: Any, further: Any) -> Any:
        asked.append(further)
        return {"secrets": [ROW], "page": len(asked), "page_size": 7, "total": 15}

    assert await Reader(SECRETS, Guards(), ("",), ask).all(0, 5) == ([ROW] * 3, False)
    assert asked == [(), (("page", "2"), ("page_size", "7")), (("page", "3"), ("page_size", "7"))]


async def test_nothing_is_truncated_at_the_end() -> None:
    async def ask(*_: Any) -> Any:
        return [ROW]

    assert await Reader(SECRETS, Guards(), ("",), ask).all(10, 3) == ([ROW], False)
