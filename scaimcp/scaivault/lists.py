"""Lists of ScaiVault: their containers, their styles of paging, pages filled after filtering.

Spec: scaivault 2.3 (prefix arguments, listings), 8 (lists).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeGuard

import msgspec

from scaimcp.scaivault.answers import shape_mismatch
from scaimcp.scaivault.cursors import Position
from scaimcp.scaivault.guards import Guards, passing_rows
from scaimcp.scaivault.paths import covers
from scaimcp.scaivault.records import ToolRecord
from scaimcp.telemetry.logs import get_logger

Row = dict[str, Any]
MOST_TO_FILL = 5
_ANY = ("data",)
# Of a page, and of its rows; what counts further counts nothing.
_MOST_NUMBER = 1_000_000
_log = get_logger("scaimcp.scaivault")


class Page(msgspec.Struct, frozen=True):
    """One page as ScaiVault sent it.

    Args:
        rows: its objects.
        has_more: whether it says that there are more.
        cursor: where it goes on; "" where it does not say.
        page: its number where pages are numbered, else 0.
        page_size: rows of a numbered page.
    """

    rows: list[Row]
    has_more: bool = False
    cursor: str = ""
    page: int = 0
    page_size: int = 0


def read_page(record: ToolRecord, answer: Any) -> Page:
    """Return the page in an answer; a bare array is one page.

    Raises:
        UpstreamFailure: UPSTREAM_SHAPE_MISMATCH.
    """
    if isinstance(answer, list):
        return Page(_rows(answer))
    if not isinstance(answer, dict):
        raise shape_mismatch()
    named = [name for name in (*record.container, *_ANY) if name in answer]
    if not named:
        raise shape_mismatch()
    rows = _rows(answer[named[0]])
    page, size = answer.get("page"), answer.get("page_size")
    total = answer.get("total")
    if _counts(page) and _counts(size) and isinstance(total, int):
        return Page(rows, page * size < total and bool(rows), "", page, size)
    cursor = answer.get("cursor") or answer.get("next_cursor")
    cursor = cursor if isinstance(cursor, str) else ""
    return Page(rows, bool(answer.get("has_more", cursor)), cursor)


def _counts(number: Any) -> TypeGuard[int]:
    is_number = isinstance(number, int) and not isinstance(number, bool)
    return is_number and 0 < number <= _MOST_NUMBER


def _rows(rows: Any) -> list[Row]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise shape_mismatch()
    return rows


def fitting_page(position: Position, limit: int) -> tuple[int, int]:
    """Return number and size of the page that goes on where `position` is.

    Args:
        position: in a list whose pages are numbered.
        limit: rows at most; 0 for as many as before.
    """
    if not limit:
        return position.page, position.page_size
    offset = (position.page - 1) * position.page_size
    size = next(size for size in range(limit, 0, -1) if offset % size == 0)
    return offset // size + 1, size


Ask = Callable[[dict[str, Any], tuple[tuple[str, str], ...]], Awaitable[Any]]
"""Sends a list request: arguments to put in place of the call's own, and further query members."""


class Reader:
    """Reads a list over the window of its prefix.

    Args:
        record: the tool.
        guards: what rows must pass.
        window: prefixes to ask for, in order; ("",) for a tool without a prefix.
        ask: sends one request.
    """

    def __init__(
        self, record: ToolRecord, guards: Guards, window: tuple[str, ...], ask: Ask
    ) -> None:
        self._record = record
        self._guards = guards
        self._window = window
        self._ask = ask
        self._prefix = _where(record, "prefix")
        self._path = _where(record, "rows")
        self._seen: set[tuple[int, str]] = set()

    async def fill(self, position: Position, limit: int) -> tuple[list[Row], Position | None]:
        """Return up to `limit` rows that pass, and where the list goes on; None at its end.

        Up to five of ScaiVault's pages are read; then the page may be short or empty.
        """
        found: list[Row] = []
        here: Position | None = position
        for _ in range(MOST_TO_FILL):
            if here is None or len(found) >= limit:
                break
            rows, here = await self._step(here, limit - len(found))
            found += rows
            if here is not None and here.page:
                # Numbered pages all have one size, so none can be asked for what is left.
                break
        return found, here

    async def all(self, limit: int, most_pages: int) -> tuple[list[Row], bool]:
        """Return the rows that pass of the first pages, and whether there are more pages."""
        found: list[Row] = []
        here: Position | None = Position()
        for _ in range(most_pages):
            if here is None:
                break
            rows, here = await self._step(here, limit)
            found += rows
        return found, here is not None

    async def _step(self, position: Position, limit: int) -> tuple[list[Row], Position | None]:
        prefix = self._window[position.entry]
        replaced: dict[str, Any] = {"limit": limit, "cursor": position.cursor}
        if self._prefix:
            replaced[self._prefix] = prefix
        further: tuple[tuple[str, str], ...] = ()
        number = 0
        if position.page:
            number, size = fitting_page(position, limit)
            replaced["limit"] = None
            further = (("page", str(number)), ("page_size", str(size)))
        page = read_page(self._record, await self._ask(replaced, further))
        rows = page.rows
        if prefix and self._prefix:
            rows = [row for row in rows if self._is_below(prefix, row)]
        rows = passing_rows(self._record, rows, self._guards)
        return rows, self._after(position, page, number)

    def _is_below(self, prefix: str, row: Row) -> bool:
        path = row.get(self._path)
        # ScaiVault compares characters; here a prefix ends where a segment ends.
        return isinstance(path, str) and covers(prefix, path)

    def _after(self, position: Position, page: Page, number: int) -> Position | None:
        """Return where the list goes on behind a page; `number` is the one asked for, or 0."""
        here = msgspec.structs.replace(position, cursor="", page=0, page_size=0)
        # A number that stands still would be read for ever.
        if page.has_more and page.page and page.page >= number:
            return msgspec.structs.replace(here, page=page.page + 1, page_size=page.page_size)
        if page.has_more and self._is_new(position, page.cursor):
            return msgspec.structs.replace(here, cursor=page.cursor)
        if page.has_more:
            _log.warning("list ended without a usable cursor", tool=self._record.name)
        if position.entry + 1 < len(self._window):
            return msgspec.structs.replace(here, entry=position.entry + 1)
        return None

    def _is_new(self, position: Position, cursor: str) -> bool:
        self._seen.add((position.entry, position.cursor))
        return bool(cursor) and (position.entry, cursor) not in self._seen


def _where(record: ToolRecord, kind: str) -> str:
    return next((check.where for check in record.checks if check.kind == kind), "")
