"""What the stores of this package share: values into and out of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from scaimcp.remotes.models import Page, Position

Item = TypeVar("Item")
Word = TypeVar("Word", bound=StrEnum)
Fallback = TypeVar("Fallback", bound=StrEnum | None)


def sql(*parts: str) -> str:
    """Return one statement made of constant parts; values travel as parameters only."""
    return "\n".join(parts)


def known(words: type[Word], value: str, fallback: Fallback) -> Word | Fallback:
    """Return the word that `value` is, or `fallback`, which must mean less rights."""
    try:
        return words(value)
    except ValueError:
        return fallback


def storable(text: str) -> str:
    """Return `text`, or "" where no stored text can equal it: NUL or half a character.

    PostgreSQL refuses such a value, and a client's strange id must be a missing row instead.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return ""
    return "" if "\0" in text else text


def encoded(value: Any) -> str | None:
    """Return the JSON text of `value` for a column, None for None."""
    return None if value is None else msgspec.json.encode(value).decode()


def decoded(text: str | None) -> Any:
    """Return what a JSON column holds, None for NULL."""
    return None if text is None else msgspec.json.decode(text)


def raw(text: str) -> msgspec.Raw:
    """Return a JSON column's text as it stands, key order kept."""
    return msgspec.Raw(text.encode())


def columns(rows: Iterable[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Turn rows of `width` values into one array per column, for ``unnest``."""
    taken: list[list[Any]] = [[] for _ in range(width)]
    for row in rows:
        for column, value in zip(taken, row, strict=True):
            column.append(value)
    return taken


def affected(status: str) -> int:
    """Return the row count of a command's status such as ``DELETE 3``."""
    return int(status.rpartition(" ")[2])


def below(after: Position | None) -> tuple[datetime | None, str | None]:
    """Return the parameters of a list that begins below `after`; both None for its beginning."""
    return (None, None) if after is None else (after.at, after.id)


def page_of(records: Sequence[Any], limit: int, make: Callable[[Any], Item]) -> Page[Item]:
    """Return up to `limit` of `records`, which hold one more where others follow."""
    return Page(tuple(make(record) for record in records[:limit]), has_more=len(records) > limit)
