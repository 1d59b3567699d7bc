"""Keep results within their caps: fewer rows, shorter text, or a clear refusal. Pure.

Spec: core-tools 6, "Size cap".
"""

from __future__ import annotations

from typing import Any

from scaimcp.catalog import rawjson
from scaimcp.errors import ToolError

_LONG_TEXT = ("content", "stdout", "stderr", "transcript", "text")
# Room for the "truncated" member itself.
_MARGIN = 400

Members = list[tuple[str, bytes]]


def fits(text: bytes, chars: int) -> bool:
    """Tell whether encoded JSON has at most `chars` characters."""
    return len(text) <= chars or len(text.decode("utf-8", "replace")) <= chars


def cap_members(members: Members, chars: int, long_text: tuple[str, ...], is_export: bool) -> bytes:
    """Return the object within `chars` characters.

    Args:
        members: encoded members of the result.
        chars: cap in characters of JSON text.
        long_text: names of members that may be cut, besides the usual ones.
        is_export: cut at the end of a line.

    Raises:
        ToolError: ``RESULT_TOO_LARGE`` when there is nothing to cut.
    """
    text = rawjson.to_object(members)
    if fits(text, chars):
        return text
    present = dict(members)
    candidates = [name for name in (*long_text, *_LONG_TEXT) if name in present]
    strings = [name for name in candidates if present[name].startswith(b'"')]
    if not strings:
        raise too_large(chars)
    name = max(strings, key=lambda field: len(present[field]))
    excess = len(text.decode("utf-8", "replace")) - chars + _MARGIN
    return _cut_text(members, name, excess, chars, is_export)


def _cut_text(members: Members, name: str, excess: int, chars: int, is_export: bool) -> bytes:
    full = str(rawjson.value(dict(members)[name]))
    # Escapes make encoded text longer than its characters, so cut by shares until it fits.
    keep = len(full) - excess
    while keep > 0:
        kept = full[:keep]
        if is_export and "\n" in kept:
            kept = kept[: kept.rindex("\n") + 1]
        note = {
            "field": name,
            "omitted_chars": len(full) - len(kept),
            "hint": f"{name} is cut to fit; narrow the request to get the rest.",
        }
        cut = [(key, rawjson.encode(kept) if key == name else item) for key, item in members]
        cut.append(("truncated", rawjson.encode(note)))
        text = rawjson.to_object(cut)
        if fits(text, chars):
            return text
        keep -= max(64, keep // 8)
    raise too_large(chars)


def cap_list(rows: list[bytes], rest: Members, chars: int) -> bytes:
    """Return ``{"items": rows, **rest}`` within `chars` characters, rows dropped from the end.

    Raises:
        ToolError: ``RESULT_TOO_LARGE`` when not even one row fits.
    """
    text = rawjson.to_object([("items", rawjson.to_array(rows)), *rest])
    if fits(text, chars):
        return text
    kept_rest = [pair for pair in rest if pair[0] not in ("has_more", "next_cursor", "truncated")]
    budget = chars - _MARGIN - len(rawjson.to_object(kept_rest))
    kept = 0
    for row in rows:
        budget -= len(row.decode("utf-8", "replace")) + 1
        if budget < 0:
            break
        kept += 1
    if kept == 0:
        raise too_large(chars)
    note: dict[str, Any] = {
        "omitted_items": len(rows) - kept,
        "hint": f"Call again with the same cursor and limit {kept} to get a page that fits.",
    }
    members = [("items", rawjson.to_array(rows[:kept])), ("has_more", b"true"), *kept_rest]
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
