"""Audit: one secret's trail, refused access in groups. Spec: scaivault 1 (AU3, AU4)."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from scaimcp.scaivault.job import Job, Result, echoed
from scaimcp.scaivault.lists import Row
from scaimcp.scaivault.special.secrets import MOST_PAGES

_FAILED = (("success", "false"),)
_PAGE_ROWS = 1_000
_ROWS = ("items", "logs", "data", "entries", "events")
_LOGS = ("logs",)
_MOST_SOURCES = 100


async def secret_trail(job: Job) -> Result:
    """Return who touched a secret; the rows are ``items``, whatever ScaiVault calls them."""
    path = job.arguments["path"]
    result = echoed(await job.fetch(), path)
    name = next((name for name in _ROWS if isinstance(result.get(name), list)), None)
    rows = result.pop(name) if name is not None else []
    items = [row for row in rows if isinstance(row, dict) and row.get("secret_path", path) == path]
    return {**result, "items": items}


async def find_unauthorized_access(job: Job) -> Result:
    """Return refused access by who and which path, most failures first."""
    # Groups are what the tool returns; rows are only what it reads.
    logs = replace(job, record=replace(job.record, container=_LOGS))
    rows, truncated = await logs.reader(further=_FAILED).all(_PAGE_ROWS, MOST_PAGES)
    least = job.arguments["min_failures"]
    groups = [group for group in grouped(rows) if group["failures"] >= least]
    return {"groups": groups, "truncated": truncated}


def grouped(rows: list[Row]) -> list[Row]:
    """Return failed audit rows grouped by identity and path, most failures first."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.get("success") is not True:
            key = (_text(row.get("identity_id")), _text(row.get("secret_path")))
            groups.setdefault(key, []).append(row)
    summed = [_group(identity, path, found) for (identity, path), found in groups.items()]
    return sorted(summed, key=lambda group: -group["failures"])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _group(identity: str, path: str, rows: list[Row]) -> Row:
    times = sorted(filter(None, (_text(row.get("timestamp")) for row in rows)))
    sources = sorted({_text(row.get("source_ip")) for row in rows} - {""})
    return {
        "identity_id": identity or None,
        "secret_path": path or None,
        "actions": sorted({_text(row.get("action")) for row in rows} - {""}),
        "failures": len(rows),
        "first_at": times[0] if times else None,
        "last_at": times[-1] if times else None,
        "source_ips": sources[:_MOST_SOURCES],
    }
