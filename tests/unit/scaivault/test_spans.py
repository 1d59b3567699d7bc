"""Spans of time with their usual begin. Spec: scaivault 1 (AU1, AU2, AU4)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from scaimcp.scaivault.catalogue import TOOLS
from scaimcp.scaivault.errors import VaultError
from scaimcp.scaivault.spans import has_span, read_moment, with_span, written

NOW = datetime(2026, 4, 24, 3, 6, 40, tzinfo=UTC)


def test_three_audit_tools_have_a_span() -> None:
    assert [record.code for record in TOOLS if has_span(record)] == ["AU1", "AU2", "AU4"]


@pytest.mark.parametrize(
    ("given", "begin", "expected"),
    [
        ({}, "", "2026-04-23T03:06:40Z"),
        ({}, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ({"to": "2026-03-02T02:00:00+02:00"}, "", "2026-03-01T00:00:00Z"),
        ({"from": "2026-04-01T00:00:00Z"}, "", "2026-04-01T00:00:00Z"),
        ({"from": "2020-04-01T00:00:00Z", "to": "2020-04-02T00:00:00Z"}, "",
         "2020-04-01T00:00:00Z"),
    ],
)  # fmt: skip
def test_a_span_begins_a_day_before_its_end(
    given: dict[str, Any], begin: str, expected: str
) -> None:
    result = with_span(given, begin, NOW)
    assert result["from"] == expected
    assert result.get("to") == given.get("to")


@pytest.mark.parametrize("begin", ["2026-04-24T03:06:40Z", "2025-04-01T00:00:00Z"])
def test_a_begin_that_does_not_fit_now_is_refused(begin: str) -> None:
    with pytest.raises(VaultError) as caught:
        with_span({"from": begin}, "", NOW)
    assert caught.value.code == "INVALID_ARGUMENTS"


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00Z", "0001-01-01T23:59:59Z"])
def test_an_end_without_a_day_before_it_is_refused(end: str) -> None:
    with pytest.raises(VaultError) as caught:
        with_span({"to": end}, "", NOW)
    assert caught.value.code == "INVALID_ARGUMENTS"


def test_an_early_year_keeps_its_zeros() -> None:
    assert with_span({"to": "0007-01-02T00:00:00Z"}, "", NOW)["from"] == "0007-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "",
        "yesterday",
        "2026-02-31T00:00:00Z",
        "2026-02-03",
        "0001-01-01T00:00:00+10:00",
        "9999-12-31T23:59:59-10:00",
    ],
)
def test_what_is_no_moment_is_none(value: Any) -> None:
    assert read_moment(value) is None


def test_a_moment_is_read_and_written() -> None:
    assert read_moment("2026-04-24T05:06:40.000+02:00") == NOW
    assert written(NOW) == "2026-04-24T03:06:40Z"
