"""Rank tools for a query, in memory. Pure. Spec: core-tools 8."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from scaimcp.types import Tool

_WORD = re.compile(r"[a-z0-9]+")
# A hit in the name says more than one in the text.
_WEIGHTS = (("name", 8.0), ("title", 4.0), ("arguments", 2.0), ("description", 1.0))
_PREFIX_SHARE = 0.5
_PREFIX_CHARS = 3
_DESCRIPTION_CHARS = 300


class Indexed(msgspec.Struct, frozen=True):
    """A tool with its words by place."""

    tool: Tool
    words: dict[str, frozenset[str]]


def index(tools: Iterable[Tool]) -> tuple[Indexed, ...]:
    """Split the tools' texts into words once."""
    return tuple(Indexed(tool, _words_of(tool)) for tool in tools)


def _words_of(tool: Tool) -> dict[str, frozenset[str]]:
    arguments = " ".join(tool.input_schema.get("properties", ()))
    texts = {
        "name": tool.name,
        "title": tool.title,
        "arguments": arguments,
        "description": tool.description,
    }
    return {place: frozenset(words(text)) for place, text in texts.items()}


def words(text: str) -> list[str]:
    """Return lower-case words; all but letters and digits divides."""
    return _WORD.findall(text.lower().replace("_", " "))


def canonical_name(tool: Tool) -> str:
    """Return a tool's own name."""
    return tool.name


def rank(
    query: str,
    entries: Sequence[Indexed],
    top_k: int,
    named: Callable[[Tool], str] = canonical_name,
) -> tuple[list[dict[str, Any]], int]:
    """Return the best items and how many tools matched at all.

    Equal scores keep the catalogue's order. A tool's exact name, in either form, comes first.

    Args:
        query: what is looked for.
        entries: the tools to look in.
        top_k: how many items at most.
        named: which of a tool's names its item shows.
    """
    wanted = list(dict.fromkeys(words(query)))
    exact = query.strip().lower()
    known = sorted(frozenset().union(*(place for e in entries for place in e.words.values())))
    alike = [(word, _alike(word, known)) for word in wanted]
    scored: list[tuple[float, int, Tool]] = []
    for position, entry in enumerate(entries):
        score = sum(_score(word, near, entry) for word, near in alike) / max(1, len(wanted))
        if exact in _names(entry.tool):
            score += 100.0
        if score > 0:
            scored.append((-score, position, entry.tool))
    scored.sort(key=lambda item: item[:2])
    items = [_item(named(tool), tool, -score) for score, _, tool in scored[:top_k]]
    return items, len(scored)


def _names(tool: Tool) -> tuple[str, ...]:
    name = tool.name.lower()
    return (name, tool.alias.lower()) if tool.alias else (name,)


def _alike(word: str, known: Sequence[str]) -> frozenset[str]:
    """Return the words of the sorted `known` that begin with `word` or that `word` begins with.

    Looked up once a query: comparing with every word of every tool takes the loop for too long.
    """
    if len(word) < _PREFIX_CHARS:
        return frozenset()
    first = bisect_left(known, word)
    last = first
    while last < len(known) and known[last].startswith(word):
        last += 1
    longer = known[first:last]
    starts = (word[:end] for end in range(_PREFIX_CHARS, len(word)))
    return frozenset([*longer, *(start for start in starts if _holds(known, start))])


def _holds(known: Sequence[str], word: str) -> bool:
    at = bisect_left(known, word)
    return at < len(known) and known[at] == word


def _score(word: str, near: frozenset[str], entry: Indexed) -> float:
    best = 0.0
    for place, weight in _WEIGHTS:
        present = entry.words[place]
        if word in present:
            best += weight
        elif near and not near.isdisjoint(present):
            best += weight * _PREFIX_SHARE
    return best


def _item(name: str, tool: Tool, score: float) -> dict[str, Any]:
    item: dict[str, Any] = {
        "name": name,
        "title": tool.title,
        "description": tool.description[:_DESCRIPTION_CHARS],
        "annotations": tool.annotations,
        "score": round(score, 3),
    }
    if tool.module_id is not None:
        item["module_id"] = tool.module_id
    return item


def similar(name: str, candidates: Sequence[str], most: int) -> list[str]:
    """Return up to `most` of `candidates` that look like `name`, nearest first."""
    wanted = _grams(name.lower())
    ranked: list[tuple[float, int, str]] = []
    for position, candidate in enumerate(candidates):
        grams = _grams(candidate)
        share = len(wanted & grams) / (len(wanted | grams) or 1)
        if share >= 0.3:
            ranked.append((-share, position, candidate))
    return [candidate for _, _, candidate in sorted(ranked)[:most]]


def _grams(text: str) -> frozenset[str]:
    padded = f"^{text[:64]}$"
    return frozenset(padded[i : i + 2] for i in range(len(padded) - 1))
