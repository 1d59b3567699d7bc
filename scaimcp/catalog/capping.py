"""Keep results within their caps: fewer rows, shorter text, or a clear refusal. Pure.

Spec: core-tools 6, "Size cap".
"""

from __future__ import annotations

import re
from typing import Any

from scaimcp.catalog import rawjson
from scaimcp.errors import ToolError

_LONG_TEXT = frozenset({"content", "stdout", "stderr", "transcript", "text"})
# Room for the "truncated" member itself.
_MARGIN = 400
_QUOTES = 2
# As much of an encoded string as ends with a whole character.
_WHOLE = re.compile(r"(?:[^\\]+|\\u[0-9a-fA-F]{4}|\\[^u])*")

Members = list[tuple[str, bytes]]


def fits(text: bytes, chars: int) -> bool:
    """Tell whether encoded JSON has at most `chars` characters."""
    return len(text) <= chars or len(text.decode()) <= chars


def cap_members(members: Members, chars: int, long_text: tuple[str, ...], is_export: bool) -> bytes:
    """Return the object within `chars` characters; the longest texts give way first.

    Args:
        members: encoded members of the result, compact UTF-8.
        chars: cap in characters of JSON text.
        long_text: names of members that may be cut, besides the usual ones.
        is_export: cut at the end of a line.

    Raises:
        ToolError: ``RESULT_TOO_LARGE`` when there is not enough to cut.
    """
    text = rawjson.to_object(members)
    if fits(text, chars):
        return text
    cuttable = _LONG_TEXT.union(long_text)
    strings = {
        name: item.decode() for name, item in members if name in cuttable and item.startswith(b'"')
    }
    sizes = [len(string) for string in strings.values()]
    share = _share(chars - _MARGIN - len(text.decode()) + sum(sizes), sizes)
    if not strings or share <= _QUOTES:
        raise too_large(chars)
    cut = {name: s for name, s in strings.items() if len(s) > share}
    kept = {name: _cut(string, share - _QUOTES, is_export) for name, string in cut.items()}
    names = ", ".join(cut)
    note = {
        "field": names,
        "omitted_chars": sum(len(rawjson.value(cut[n].encode())) - len(kept[n]) for n in cut),
        "hint": f"{names} cut to fit; narrow the request to get the rest.",
    }
    pairs = [(key, rawjson.encode(kept[key]) if key in kept else item) for key, item in members]
    return rawjson.to_object([*pairs, ("truncated", rawjson.encode(note))])


def _share(room: int, sizes: list[int]) -> int:
    """Return how long each text may be so that all of them fit into `room` together."""
    for index, size in enumerate(sorted(sizes)):
        count = len(sizes) - index
        if size * count > room:
            return room // count
        room -= size
    return room


def _cut(encoded: str, chars: int, is_export: bool) -> str:
    """Return the text of an encoded string whose own encoding has at most `chars` characters."""
    whole = _WHOLE.match(encoded, 1, 1 + chars)
    kept = str(rawjson.value(f'"{whole[0]}"'.encode())) if whole else ""
    return kept[: kept.rindex("\n") + 1] if is_export and "\n" in kept else kept


def cap_list(rows: list[bytes], rest: Members, chars: int, *, has_limit: bool = True) -> bytes:
    """Return ``{"items": rows, **rest}`` within `chars` characters, rows dropped from the end.

    Args:
        rows: encoded rows, compact UTF-8.
        rest: ``has_more`` and the other members behind ``items``.
        chars: cap in characters of JSON text.
        has_limit: whether the tool takes a ``limit`` that the hint can name.

    Raises:
        ToolError: ``RESULT_TOO_LARGE`` when not even one row fits.
    """
    text = rawjson.to_object([("items", rawjson.to_array(rows)), *rest])
    if fits(text, chars):
        return text
    # The whole of `rest` counts, so that the page which the hint names fits with its cursor too.
    room = chars - _MARGIN - len(rawjson.to_object(rest))
    kept = 0
    for row in rows:
        room -= len(row.decode()) + 1
        if room < 0:
            break
        kept += 1
    if kept == 0:
        raise too_large(chars)
    hint = f"Call again with the same cursor and limit {kept} to get a page that fits."
    if not has_limit:
        hint = "The list is cut to fit; narrow the request to get the rest."
    note: dict[str, Any] = {"omitted_items": len(rows) - kept, "hint": hint}
    others = [pair for pair in rest if pair[0] not in ("has_more", "next_cursor")]
    members = [("items", rawjson.to_array(rows[:kept])), ("has_more", b"true"), *others]
    return rawjson.to_object([*members, ("truncated", rawjson.encode(note))])


def too_large(chars: int) -> ToolError:
    """The result is over its cap and cannot be cut."""
    return ToolError(
        "RESULT_TOO_LARGE",
        f"The result is longer than {chars:,} characters; ask for less at a time, "
        "for example fewer inputs, fewer dimensions or a smaller limit.",
    )


def binary_too_large(limit: int) -> ToolError:
    """The binary content is over its cap."""
    return ToolError(
        "RESULT_TOO_LARGE",
        f"The binary result is larger than {limit:,} bytes; ask for a shorter or smaller one.",
    )
