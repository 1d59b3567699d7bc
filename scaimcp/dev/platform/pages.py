"""The four pagination shapes, with opaque cursors. Spec: scaigrid 6.

Each takes the call (its query holds `limit` and `cursor`, or `page_size` and `page_token`), all the
rows the caller may see, and the view that makes a row public.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from typing import NamedTuple

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Reply
from scaimcp.dev.platform.errors import refuse
from scaimcp.dev.platform.store import Row

View = Callable[[Row], object]
CURSOR = "c1."


class Page(NamedTuple):
    """One page of rows; `next` is the cursor of the following one, None at the end."""

    rows: list[Row]
    next: str | None
    total: int


def view(names: str) -> Callable[[Row], dict[str, object]]:
    """Return the view with these fields, named in one text; an absent field is null."""
    chosen = names.split()

    def show(row: Row) -> dict[str, object]:
        return {name: row.get(name) for name in chosen}

    return show


def cut(call: Call, rows: Iterable[Row], *, newest_first: bool = False) -> Page:
    """Return the page the query asks for; rows are ordered by creation."""
    cursor_name = "page_token" if "page_size" in call.query else "cursor"
    limit = call.query.get("page_size") or call.query.get("limit", 50)
    ordered = sorted(rows, key=lambda row: row["_seq"], reverse=newest_first)
    total = len(ordered)
    cursor = call.query.get(cursor_name)
    if cursor:
        after = _position(cursor, cursor_name)
        ordered = [r for r in ordered if (r["_seq"] < after if newest_first else r["_seq"] > after)]
    found = ordered[:limit]
    more = len(ordered) > limit
    return Page(found, _cursor(found[-1]["_seq"]) if more else None, total)


def shape_a(call: Call, rows: Iterable[Row], show: View, *, newest_first: bool = False) -> Reply:
    """Return `data.items` with `pagination` beside `data`."""
    page = cut(call, rows, newest_first=newest_first)
    pagination = {"has_more": page.next is not None, "next_cursor": page.next}
    return Reply({"items": [show(row) for row in page.rows]}, siblings={"pagination": pagination})


def shape_b(call: Call, rows: Iterable[Row], show: View) -> Reply:
    """Return `data[]` with `has_more` and `next_cursor` beside it."""
    page = cut(call, rows)
    siblings: dict[str, object] = {"has_more": page.next is not None, "next_cursor": page.next}
    return Reply([show(row) for row in page.rows], siblings=siblings)


def shape_c(call: Call, rows: Iterable[Row], show: View) -> Reply:
    """Return `data[]` with `has_more` and `next_cursor` in `meta`."""
    page = cut(call, rows)
    meta: dict[str, object] = {"has_more": page.next is not None, "next_cursor": page.next}
    return Reply([show(row) for row in page.rows], meta=meta)


def shape_d(call: Call, rows: Iterable[Row], show: View, name: str) -> Reply:
    """Return `data.<name>[]`, `data.next_page_token` (empty at the end) and `data.total_count`."""
    page = cut(call, rows)
    return Reply(
        {
            name: [show(row) for row in page.rows],
            "next_page_token": page.next or "",
            "total_count": page.total,
        }
    )


def _cursor(position: int) -> str:
    return urlsafe_b64encode(f"{CURSOR}{position}".encode()).decode().rstrip("=")


def _position(cursor: str, name: str) -> int:
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        return int(text.removeprefix(CURSOR) if text.startswith(CURSOR) else "")
    except ValueError:
        refuse(name, "is not a cursor of this list")
