"""Leases that end soon. Spec: scaivault 1 (DY10)."""

from __future__ import annotations

from scaimcp.scaivault.job import Job, Result
from scaimcp.scaivault.special.secrets import MOST_PAGES, PAGE_ROWS, expiring
from scaimcp.scaivault.values import seconds_of

_ACTIVE = (("status", "active"),)


async def check_expiring_leases(job: Job) -> Result:
    """Return the active leases that end within a time, soonest first."""
    reader = job.reader(further=_ACTIVE)
    rows, truncated = await reader.all(PAGE_ROWS, MOST_PAGES)
    found = expiring(rows, job.timing.now(), seconds_of(job.arguments["within"]))
    items = [{**row, "seconds_remaining": max(left, 0)} for left, row in found]
    return {"items": items, "has_more": truncated, "truncated": truncated}
