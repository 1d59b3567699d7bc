"""Tables that ScaiVault has no route for, and previews. Spec: scaivault 1 (SP4, SP5, SU5)."""

from __future__ import annotations

from scaimcp.scaivault.job import Job, Result
from scaimcp.scaivault.known import CHARSETS, EVENT_FIELDS, GENERATORS, POLICY_TYPES


async def policy_types(_: Job) -> Result:
    """Return types of secret policies, generators and sets of characters."""
    return {
        "types": [
            {"policy_type": name, "fields": list(fields)} for name, fields in POLICY_TYPES.items()
        ],
        "generators": [
            {"generator": name, "config": list(config)} for name, config in GENERATORS.items()
        ],
        "charsets": list(CHARSETS),
    }


async def event_types(_: Job) -> Result:
    """Return the events that one can subscribe to, with what they tell."""
    items = [
        {"event_type": name, "data_fields": list(fields)} for name, fields in EVENT_FIELDS.items()
    ]
    return {"items": items, "has_more": False}


async def preview(job: Job) -> Result:
    """Return example values; ScaiVault keeps none of them."""
    return {"policy_id": job.arguments["policy_id"], **await job.fetch(), "stored": False}
