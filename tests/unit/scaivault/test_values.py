"""Forms of strings. Spec: scaivault 1 (shorthands), 10 (B05-B09)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.scaivault.values import FORMS, moment_of, seconds_of

GOOD = {
    "duration": ["90d", "48h", "15m", "1s", "999999d"],
    "time": [
        "2026-04-22T14:30:00Z",
        "2026-04-22t14:30:00z",
        "2026-04-22 14:30:00+02:00",
        "2024-02-29T00:00:00.123456789Z",
    ],
    "dns": ["acme.example", "*.acme.example", "a", "_acme-challenge.x.y", "a" * 63 + ".example"],
    "ip": ["10.0.0.1", "::1", "2001:db8::1"],
    "cidr": ["10.0.0.0/8", "::/0", "192.0.2.1/32"],
    "email": ["ops@acme.example", "a.b+c@x.example"],
    "url": ["https://acme.example", "https://acme.example:8443/a?b=c", "https://[::1]/x"],
}
BAD = {
    "duration": ["0d", "1w", "1.5h", "-1h", "9999999d", "1", "d", "1d ", "1D", "١d", ""],
    "time": [
        "2026-04-22T14:30:00",
        "2026-02-31T00:00:00Z",
        "2026-04-22",
        "14:30:00Z",
        "2026-04-22T24:30:00Z",
        "2026-04-22T14:30Z",
        "2026-04-22T14:30:00+25:00",
        "now",
        "",
    ],
    "dns": [
        "https://acme.example",
        "acme.example:443",
        "acme.example/x",
        "acme example",
        "a" * 64 + ".example",
        "10.0.0.1",
        "::1",
        "acme..example",
        "-a.example",
        "a-.example",
        "*.*.example",
        "a.*.example",
        "*.",
        "a.1",
        "a." * 127,
        "",
        "acme.example.",
    ],
    "ip": ["10.0.0.256", "10.0.0.0/8", "fe80::1%eth0", "010.0.0.1", "localhost", ""],
    "cidr": ["10.0.0.1", "10.0.0.1/8", "10.0.0.0/33", "fe80::%1/64", ""],
    "email": ["acme.example", "a@localhost", "a@b@c.example", "a b@c.example", "@c.example", "a@-"],
    "url": [
        "http://acme.example",
        "https://user@acme.example",
        "https://u:p@acme.example",
        "https://",
        "acme.example",
        "https://acme.example/a b",
        "https://acme.example#x",
        "https://acme.example\\x",
        "https://acme.example:0/",
        "https://acme.example:99999/",
        "https://[::1",
        "https://acme.example/\u00e9",
        "javascript:alert(1)",
        "https://" + "a" * 2_048,
    ],
}
CASES = [(form, text, True) for form in GOOD for text in GOOD[form]] + [
    (form, text, False) for form in BAD for text in BAD[form]
]


@pytest.mark.parametrize(("form", "text", "is_good"), CASES)
def test_a_text_has_a_form_or_not(form: str, text: str, is_good: bool) -> None:
    assert FORMS[form].fits(text) is is_good


@given(st.sampled_from(sorted(FORMS)), st.text(max_size=60))
def test_no_text_breaks_a_form(form: str, text: str) -> None:
    assert FORMS[form].fits(text) in (True, False)


@given(st.sampled_from(sorted(FORMS)), st.data())
def test_what_fits_a_form_fits_its_published_pattern(form: str, data: st.DataObject) -> None:
    rule = FORMS[form]
    drawn = data.draw(st.from_regex(rule.pattern) if rule.pattern else st.sampled_from(GOOD[form]))
    if rule.fits(drawn):
        assert len(drawn) <= rule.most
        assert not rule.pattern or re.search(rule.pattern, drawn)


def test_a_duration_has_seconds() -> None:
    assert [seconds_of(text) for text in ("5s", "15m", "48h", "90d")] == [
        5, 900, 172_800, 7_776_000,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="not a duration"):
        seconds_of("1w")


def test_a_time_is_a_moment() -> None:
    assert moment_of("2026-04-22T16:30:00+02:00") == datetime(2026, 4, 22, 14, 30, tzinfo=UTC)
    assert moment_of("2026-04-22t14:30:00.5z").microsecond == 500_000
    with pytest.raises(ValueError, match="not a time"):
        moment_of("yesterday")
