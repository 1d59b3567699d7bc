"""What looks like a secret never leaves. Spec: core-tools 7."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.telemetry.redaction import MESSAGE_CHARS, clean_message, redact

URL_SAFE = string.ascii_letters + string.digits + "-_"
PART = st.text(URL_SAFE, min_size=8, max_size=40).map(lambda text: f"7{text}")
# Text that cannot grow together with what stands beside it.
AROUND = st.text(string.ascii_letters + ' ,;:"(){}', max_size=20).map(lambda text: f" {text} ")


@given(AROUND, PART, AROUND)
def test_an_api_key_is_replaced_wherever_it_stands(before: str, key: str, after: str) -> None:
    redacted = redact(f"{before}sgk_{key}{after}")
    assert key not in redacted
    assert "sgk_" not in redacted


@given(AROUND, PART, PART, PART)
def test_a_jwt_is_replaced_wherever_it_stands(before: str, a: str, b: str, c: str) -> None:
    redacted = redact(f"{before}eyJ{a}.{b}.{c} end")
    assert f"eyJ{a}" not in redacted
    assert f"{b}.{c}" not in redacted
    assert redacted.endswith(" end")


@given(st.sampled_from(["Bearer ", "bearer  ", "BEARER\t"]), PART)
def test_a_bearer_header_is_replaced(scheme: str, part: str) -> None:
    token = f"{part}x.{part}"
    assert redact(f"Authorization: {scheme}{token}") == "Authorization: [redacted]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://user:pa55word@db/x failed", "postgresql://[redacted]@db/x failed"),
        ("redis://:hunter2@cache:6379/0", "redis://[redacted]@cache:6379/0"),
        ("https://mcp.example:8443/mcp", "https://mcp.example:8443/mcp"),
        ("mail a@b.example", "mail a@b.example"),
        ('{"a":"eyJhbGciOiJub25lIn0.e30."}', '{"a":"[redacted]"}'),
        ("Bearer abcdefghijklmnop", "[redacted]"),
        ("bearer secret-token", "[redacted]"),
        ("Invalid bearer token", "Invalid bearer token"),
        ("The bearer is unknown.", "The bearer is unknown."),
        ("Send a bearer token.", "Send a bearer token."),
        ("sgk_", "sgk_"),
        ("Token skt_0123456789 has expired", "Token [redacted] has expired"),
        ('{"key":"scai_live_0123456789"}', '{"key":"[redacted]"}'),
        ("app/skt_rotation", "app/skt_rotation"),
        ("skt_", "skt_"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_examples(text: str, expected: str) -> None:
    assert redact(text) == expected


@given(st.text(max_size=200))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@given(st.text(st.characters(codec=None, categories=None), max_size=900))
def test_a_cleaned_message_is_one_short_printable_line(text: str) -> None:
    cleaned = clean_message(text)
    assert len(cleaned) <= MESSAGE_CHARS
    assert not set(cleaned) & {chr(code) for code in (*range(32), *range(127, 160))}
    assert cleaned.encode().decode() == cleaned
    assert len(cleaned.splitlines()) <= 1


def test_a_message_is_redacted_before_it_is_cut() -> None:
    text = "x" * (MESSAGE_CHARS - 8) + " sgk_0123456789abcdef"
    assert "sgk_" not in clean_message(text)
