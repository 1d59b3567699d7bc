"""Write arguments in the notation of the contract's table, to compare them with it."""

from __future__ import annotations

import re
from typing import Any

from scaimcp.scaivault.known import AUDIT_ACTIONS, EVENTS
from scaimcp.scaivault.shapes import (
    Boolean,
    Enum,
    Form,
    GlobMap,
    Integer,
    Many,
    Member,
    Numbers,
    Record,
    Shape,
    Text,
)

_NAMED = {AUDIT_ACTIONS: "ACTIONS", EVENTS: "EVENTS"}


def argument(member: Member) -> str:
    """Return ``name:type``, then ``=default`` or ``*``; lower ends of 0 and 1 characters alike."""
    return f"{member.name}:{_shape(member.shape)}{_end(member)}"


def _end(member: Member) -> str:
    if member.is_required:
        return "*"
    if member.default is None:
        return ""
    is_flag = isinstance(member.default, bool)
    return f"={str(member.default).lower() if is_flag else member.default}"


def _shape(shape: Shape) -> str:
    match shape:
        case Form(form=form):
            return "dur" if form == "duration" else form
        case Text(least=least, most=most):
            return f"str≤{most}" if least < 2 else f"str {least}–{most}"
        case Enum(values=values):
            return "{" + ",".join(values) + "}"
        case Numbers(values=numbers):
            return "{" + ",".join(map(str, numbers)) + "}"
        case Integer(least=least, most=None):
            return f"int≥{least}"
        case Integer(least=least, most=most):
            return f"int {least}–{most}"
        case Boolean():
            return "bool"
        case _:
            return _holder(shape)


def _holder(shape: Any) -> str:
    match shape:
        case Many(item=item, least=least, most=most):
            values = getattr(item, "values", None)
            inner = _NAMED.get(values) if isinstance(values, tuple) else None
            ends = f" {least}–{most}" if least else f"≤{most}"
            return f"[{inner or _shape(item)}]{ends}"
        case Record(members=members, takes_scalars=takes_scalars):
            parts = [argument(member) for member in members] + ["…"] * takes_scalars
            return "{" + ",".join(parts) + "}"
        case GlobMap(least=least, most=most, most_chars=most_chars):
            return f"{{glob:str≤{most_chars}}} {least}–{most}"
    kind = "scalars" if shape.takes_scalars_only else "object"
    keys = f" {shape.least}–{shape.most} keys" if shape.most is not None else ""
    return f"{kind}{keys} ≤{shape.most_bytes}"


def plain(cell: str) -> str:
    """Return an argument of the table in the spelling of `argument`."""
    return re.sub(r"str 1–", "str≤", cell)
