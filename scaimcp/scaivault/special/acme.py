"""A certificate from a public authority in one go. Spec: scaivault 1 (AC6)."""

from __future__ import annotations

from typing import Any

from scaimcp.scaivault.errors import VaultError
from scaimcp.scaivault.job import Job, Result
from scaimcp.scaivault.paths import SafeId
from scaimcp.scaivault.requests import VaultRequest, place
from scaimcp.scaivault.special.pki import CERTIFICATE, certificate_pem, stated_id

POLL_SECONDS = 2.0
_ORDER = "/v1/pki/acme/orders/{order_id}"
_COMPLETE = _ORDER + "/challenges/{challenge_id}/complete"
_SETTLED = ("valid", "invalid")
_WHOLE = ("certificate", "ca_chain", "not_after")


async def request_certificate(job: Job) -> Result:
    """Return the certificate, or the order as it stands when the wait ends."""
    ends = job.timing.monotonic() + job.arguments["wait_seconds"]
    order = await job.fetch()
    order_id = stated_id(order.get("id", order.get("order_id")))
    try:
        for challenge_id in open_challenges(order):
            path = place(_COMPLETE, order_id=order_id, challenge_id=challenge_id)
            order = await job.fetch(VaultRequest("POST", path))
        while order.get("status") not in _SETTLED:
            left = ends - job.timing.monotonic()
            if left <= 0:
                break
            await job.timing.sleep(min(POLL_SECONDS, left))
            order = await job.fetch(VaultRequest("GET", place(_ORDER, order_id=order_id)))
        return await _settled(job, order, order_id)
    except VaultError as error:
        # The order is there and can be gone on with by its id.
        details = error.members.get("details")
        told = details if isinstance(details, dict) else {}
        error.members = {**error.members, "details": {**told, "order_id": str(order_id)}}
        raise


def open_challenges(order: Result) -> list[SafeId]:
    """Return the ids of an order's challenges that are still to be completed."""
    challenges = order.get("challenges")
    rows = challenges if isinstance(challenges, list) else []
    return [
        stated_id(row.get("id"))
        for row in rows
        if isinstance(row, dict) and row.get("status", "pending") == "pending"
    ]


async def _settled(job: Job, order: Result, order_id: SafeId) -> Result:
    result: dict[str, Any] = {
        "order_id": str(order_id),
        "status": order.get("status"),
        "certificate_id": order.get("certificate_id"),
    }
    if result["certificate_id"] is None:
        return result
    whole = {name: order[name] for name in _WHOLE if order.get(name) is not None}
    if len(whole) < len(_WHOLE):
        whole = {**await _certificate(job, stated_id(result["certificate_id"])), **whole}
    return {**result, **whole}


async def _certificate(job: Job, certificate_id: SafeId) -> Result:
    path = place(CERTIFICATE, certificate_id=certificate_id)
    stored = await job.fetch(VaultRequest("GET", path))
    found = {name: stored[name] for name in _WHOLE if stored.get(name) is not None}
    return (
        found if "certificate" in found else {**found, **await certificate_pem(job, certificate_id)}
    )
