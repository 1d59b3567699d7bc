"""Rows as a file: CSV, a JSON array, or one JSON object per line. Spec: scaigrid 5, 10."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence

import msgspec

from scaimcp.dev.platform.endpoint import Raw
from scaimcp.dev.platform.store import Row

FORMAT = "format:enum(csv,json,ndjson)=csv"
_encoder = msgspec.json.Encoder()


def _csv(rows: Sequence[Row], columns: Sequence[str]) -> Raw:
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in columns])
    return Raw(target.getvalue().encode(), "text/csv; charset=utf-8")


def _cell(value: object) -> object:
    return _encoder.encode(value).decode() if isinstance(value, dict | list) else value


def _json(rows: Sequence[Row], columns: Sequence[str]) -> Raw:
    return Raw(_encoder.encode(_named(rows, columns)), "application/json")


def _ndjson(rows: Sequence[Row], columns: Sequence[str]) -> Raw:
    return Raw(_encoder.encode_lines(_named(rows, columns)), "application/x-ndjson")


def _named(rows: Iterable[Row], columns: Sequence[str]) -> list[Row]:
    return [{name: row.get(name) for name in columns} for row in rows]


FORMATS: dict[str, Callable[[Sequence[Row], Sequence[str]], Raw]] = {
    "csv": _csv,
    "json": _json,
    "ndjson": _ndjson,
}


def export(rows: Sequence[Row], columns: Sequence[str], form: str) -> Raw:
    """Return rows as a file without envelope.

    Args:
        rows: in the order of the file.
        columns: the fields of each row; an absent one is empty or null.
        form: `csv` (with a header line; maps as JSON text), `json` or `ndjson`.
    """
    return FORMATS[form](rows, columns)
