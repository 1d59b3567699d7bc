"""Spans of time that audit tools look at. Pure. Spec: scaivault 1 (AU1, AU2, AU4)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from scaimcp.scaivault.crossing import span_faults
from scaimcp.scaivault.errors import invalid_arguments
from scaimcp.scaivault.records import ToolRecord
from scaimcp.scaivault.values import moment_of

USUAL = timedelta(hours=24)


def has_span(record: ToolRecord) -> bool:
    """Tell whether a tool looks at a span of time."""
    return {"from", "to"} <= {member.name for member in record.arguments}


def with_span(arguments: Mapping[str, Any], begin: str, now: datetime) -> dict[str, Any]:
    """Return arguments with a begin: 24 hours before the end where none is given.

    An end that is not given stays so: ScaiVault knows best when it is now.

    Args:
        arguments: complete ones.
        begin: what the first page of the same listing has set; "" for a first page.
        now: time of day.

    Raises:
        VaultError: INVALID_ARGUMENTS for a begin that is not before now, or too long ago, and for
            an end that has no day before it.
    """
    if "from" in arguments:
        end = moment_of(arguments["to"]) if "to" in arguments else now
        faults = list(span_faults(moment_of(arguments["from"]), end))
        if faults:
            raise invalid_arguments(faults)
        return dict(arguments)
    return {**arguments, "from": begin or written(_day_before(arguments, now))}


def _day_before(arguments: Mapping[str, Any], now: datetime) -> datetime:
    end = moment_of(arguments["to"]) if "to" in arguments else now
    try:
        return end - USUAL
    except OverflowError:
        raise invalid_arguments([("to", "is too long ago")]) from None


def written(moment: datetime) -> str:
    """Return a moment in UTC, to the second."""
    # strftime leaves out the zeros of an early year.
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def read_moment(value: Any) -> datetime | None:
    """Return a moment that ScaiVault states, None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        return moment_of(value)
    except ValueError:
        return None
