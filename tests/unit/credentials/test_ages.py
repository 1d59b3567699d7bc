"""How old a server's oldest credential is. Spec: remote-servers 4."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from scaimcp.credentials.envelope import Sealed
from scaimcp.credentials.store import ROTATION_DUE_DAYS, StoredField, oldest_days

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def stored(age: timedelta) -> StoredField:
    return StoredField("authorization", Sealed(b"", b"", "a"), 1, NOW - age, "usr_1")


def test_without_credentials_there_is_no_age() -> None:
    assert oldest_days((), NOW) is None


@pytest.mark.parametrize(
    ("ages", "days"),
    [
        ([timedelta(0)], 0),
        ([timedelta(hours=23, minutes=59)], 0),
        ([timedelta(days=12, hours=23)], 12),
        ([timedelta(days=3), timedelta(days=90), timedelta(days=7)], ROTATION_DUE_DAYS),
        # A database clock that runs ahead of ours.
        ([timedelta(seconds=-2)], 0),
    ],
)
def test_the_oldest_value_counts_in_whole_days(ages: list[timedelta], days: int) -> None:
    assert oldest_days([stored(age) for age in ages], NOW) == days
