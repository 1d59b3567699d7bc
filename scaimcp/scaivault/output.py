"""What leaves a tool: guarded, masked, cut, and with invisible characters made visible. Pure.

`render` does all of it; nothing of a result is logged or shown before.
Spec: scaivault 2.3 (listings), 2.5, 9.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from scaimcp.scaivault.errors import MARKER, VaultError, failed
from scaimcp.scaivault.guards import ROW_LISTS, Guards, glob_passes, passing_rows
from scaimcp.scaivault.masking import LIST_MEMBERS, drop, masked_json
from scaimcp.scaivault.outline import outline_of
from scaimcp.scaivault.places import changed_at
from scaimcp.scaivault.records import ToolRecord

HIDDEN = "(hidden)"
MOST_TEXT = 2_000
_ELLIPSIS = "\u2026"
_MOST_HALVINGS = 3
_MOST_DEPTH = 64
_TOTALS = ("from", "to", "total_events", "successful_events", "failed_events")
_NOTES = "metadata"
_MARKER = msgspec.json.encode(MARKER)
_encode = msgspec.json.encode
# Controls, bidirectional marks, zero-width and filler characters, variation selectors, tags:
# whatever a reader does not see but a model reads.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def render(
    record: ToolRecord,
    result: dict[str, Any],
    guards: Guards,
    passed: list[dict[str, Any]] | None = None,
) -> tuple[dict[str, Any], bytes]:
    """Return a result as the guards let it be seen, and as JSON like `encode`.

    In this order: rows dropped, patterns hidden, totals only, fields dropped, values masked.

    Args:
        record: the tool.
        result: what ScaiVault said; of a list ``items``, ``has_more``, ``next_cursor`` and
            ``truncated``, with whatever else dropped.
        guards: what holds.
        passed: rows that are known to pass them; they are not looked at again where the result
            holds this very list.

    Raises:
        VaultError: UPSTREAM_SHAPE_MISMATCH for a result that is nested too deep.
    """
    shown = _rows_dropped(record, result, guards, passed)
    outline = outline_of(shown)
    if outline is None and _is_deep(shown):
        raise failed("UPSTREAM_SHAPE_MISMATCH", "The answer of ScaiVault is nested too deep.")
    left = _limited(record, shown, guards) if guards.is_limited else shown
    left = drop(record.mask, left, outline)
    if left is not shown:
        outline = outline_of(left)
    if guards.mask_values:
        shown, encoded = masked_json(record, left, outline)
    else:
        shown, encoded = left, _encode(left)
    cut = shown if len(encoded) <= MOST_TEXT else _cut(record, shown)
    return cut, _all_visible(encoded if cut is shown else _encode(cut))


def _limited(record: ToolRecord, shown: dict[str, Any], guards: Guards) -> dict[str, Any]:
    """Return what path guards leave of a result, rows aside."""
    shown = _patterns_hidden(record, shown, guards)
    if any(check.kind == "totals" for check in record.checks):
        return {name: shown[name] for name in _TOTALS if name in shown}
    return shown


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_MOST_DEPTH):
        level = [inner for holder in level for inner in _parts(holder)]
        if not level:
            return False
    return True


def _parts(holder: Any) -> Iterable[Any]:
    if isinstance(holder, dict):
        return holder.values()
    return holder if isinstance(holder, list) else ()


def _rows_dropped(
    record: ToolRecord,
    result: dict[str, Any],
    guards: Guards,
    passed: list[dict[str, Any]] | None,
) -> dict[str, Any]:
    kept = LIST_MEMBERS if record.is_list else tuple(result)
    shown = {name: value for name, value in result.items() if name in kept}
    for name in ROW_LISTS:
        rows = shown.get(name)
        if name in shown and (passed is None or rows is not passed):
            listed = rows if isinstance(rows, list) else [rows]
            shown[name] = passing_rows(record, listed, guards)
    return shown


def _patterns_hidden(record: ToolRecord, shown: dict[str, Any], guards: Guards) -> dict[str, Any]:
    def hide(value: Any) -> Any:
        return value if glob_passes(value, guards) else HIDDEN

    def hide_keys(value: Any) -> Any:
        if not isinstance(value, dict):
            return HIDDEN
        # All that is hidden is one member, so nobody learns how much there is; what it maps to
        # would tell as much as the pattern.
        return {hide(glob): v if glob_passes(glob, guards) else HIDDEN for glob, v in value.items()}

    for check in record.checks:
        if check.kind != "show":
            continue
        is_keys = check.where.endswith("{}")
        where = f"items[].{check.where}" if record.is_list else check.where
        shown = changed_at(where.removesuffix("{}"), shown, hide_keys if is_keys else hide)
    return shown


# -- strings -------------------------------------------------------------------------------------


def _cut(record: ToolRecord, shown: dict[str, Any]) -> dict[str, Any]:
    """Return a result with long texts of metadata and audit cut; secret values never are.

    What has none is returned as it is.
    """
    if record.group == "audit":
        return {n: _cut_text(v) for n, v in shown.items()} if _has_long(shown) else shown
    if record.is_list and isinstance(shown.get("items"), list):
        items = shown["items"]
        is_long = _has_long([row.get(_NOTES) for row in items if isinstance(row, dict)])
        return {**shown, "items": [_notes_cut(row) for row in items]} if is_long else shown
    return {**shown, **_notes_cut(shown)} if _has_long([shown.get(_NOTES)]) else shown


def _notes_cut(holder: Any) -> Any:
    if isinstance(holder, dict) and _NOTES in holder:
        return {**holder, _NOTES: _cut_text(holder[_NOTES])}
    return holder


def _has_long(holder: dict[str, Any] | list[Any]) -> bool:
    """Tell whether a text in there, at any depth, has to be cut."""
    for value in holder.values() if isinstance(holder, dict) else holder:
        if isinstance(value, str):
            if len(value) > MOST_TEXT:
                return True
        elif isinstance(value, dict | list) and _has_long(value):
            return True
    return False


def _cut_text(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= MOST_TEXT else value[:MOST_TEXT] + _ELLIPSIS
    if isinstance(value, list):
        return [_cut_text(item) for item in value]
    if isinstance(value, dict):
        return {key: _cut_text(inner) for key, inner in value.items()}
    return value


def visible(text: str) -> str:
    r"""Return a text with invisible characters written as ``\uXXXX``.

    Inside JSON strings that is the same text once more, so the data stays exact.
    """
    return _INVISIBLE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    # Beyond the first plane JSON takes two halves.
    units = found[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def encode(shown: Any) -> bytes:
    """Return a result as JSON in which every character can be seen."""
    return _all_visible(_encode(shown))


def _all_visible(encoded: bytes) -> bytes:
    # Quicker than a replacement by nothing.
    others = b"".join(encoded.split(_MARKER))
    if others.isascii() and b"\x7f" not in others:
        # JSON has written all other controls as escapes.
        return encoded
    return visible(encoded.decode()).encode()


# -- size ----------------------------------------------------------------------------------------


def next_limit(limit: int, halvings: int) -> int | None:
    """Return the limit to ask a list again with that was too long; None to give up.

    Args:
        limit: rows that were asked for.
        halvings: how often this was done for the same page before.
    """
    return limit // 2 if limit > 1 and halvings < _MOST_HALVINGS else None


def too_large(shown: dict[str, Any]) -> VaultError:
    """Return RESULT_TOO_LARGE for a shaped result, which names path and version and no more."""
    named: dict[str, Any] = {
        name: value
        for name, value in shown.items()
        if name in ("path", "version") and isinstance(value, str | int)
    }
    return failed("RESULT_TOO_LARGE", "The result is larger than this server returns.", named)
