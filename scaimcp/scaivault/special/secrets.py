"""Secrets: one key of a secret, rotation, what expires soon. Spec: scaivault 1 (S1, S6, S7)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from scaimcp.scaivault.answers import shape_mismatch
from scaimcp.scaivault.errors import invalid_arguments
from scaimcp.scaivault.job import Job, Result, echoed
from scaimcp.scaivault.lists import Row
from scaimcp.scaivault.requests import VaultRequest, id_of, place
from scaimcp.scaivault.spans import read_moment

MOST_PAGES = 10
PAGE_ROWS = 200
_DAY = 86_400
_BY_POLICY = "/v1/rotation/policies/{policy_id}/rotate"
_NAMES = ("path", "secret_path")


async def read_secret(job: Job) -> Result:
    """Return a secret, with one key of its data where one is asked for."""
    result = echoed(await job.fetch(), job.arguments["path"])
    field = job.arguments.get("field")
    if field is None:
        return result
    data = result.get("data")
    if not isinstance(data, dict) or field not in data:
        raise invalid_arguments([("field", "is no key of this secret")])
    return {**result, "data": {field: data[field]}}


async def rotate_secret(job: Job) -> Result:
    """Return the versions before and after a rotation, by the policy that was named, if any."""
    path = job.arguments["path"]
    if "rotation_policy_id" not in job.arguments:
        return echoed(await job.fetch(), path)
    policy_id = id_of(job.arguments, "rotation_policy_id")
    body = msgspec.json.encode({"secret_paths": [path]})
    request = VaultRequest("POST", place(_BY_POLICY, policy_id=policy_id), body=body)
    return rotated(await job.session.ask(job.record, request), path)


def rotated(answer: Any, path: str) -> Result:
    """Return what a policy's rotation says of one secret.

    Args:
        answer: a row, an array of rows, or an object that holds such an array.
        path: the secret's.

    Raises:
        UpstreamFailure: UPSTREAM_SHAPE_MISMATCH; no row is about this secret.
    """
    rows = [answer]
    if isinstance(answer, list):
        rows = answer
    elif isinstance(answer, dict) and not any(name in answer for name in _NAMES):
        rows = next((value for value in answer.values() if isinstance(value, list)), rows)
    for row in rows:
        if isinstance(row, dict) and any(row.get(name) == path for name in _NAMES):
            return {"path": path, **{n: v for n, v in row.items() if n not in _NAMES}}
    raise shape_mismatch()


async def check_expiration(job: Job) -> Result:
    """Return the secrets that expire within some days, soonest first."""
    rows, truncated = await job.reader().all(PAGE_ROWS, MOST_PAGES)
    now = job.timing.now()
    found = expiring(rows, now, job.arguments["within_days"] * _DAY)
    items = [
        {**row, "days_remaining": left // _DAY, "expired": left <= 0}
        for left, row in found
        if left > 0 or job.arguments["include_expired"]
    ]
    return {"items": items, "has_more": truncated, "truncated": truncated}


def expiring(rows: list[Row], now: datetime, within_seconds: int) -> list[tuple[int, Row]]:
    """Return whole seconds left and row of what ends within a time, soonest first.

    What has ended already has no seconds left, or less than none. Rows without an end are left
    out.
    """
    found = []
    for row in rows:
        ends = read_moment(row.get("expires_at"))
        if ends is not None:
            left = int((ends - now).total_seconds())
            if left <= within_seconds:
                found.append((left, row))
    return sorted(found, key=lambda pair: pair[0])
