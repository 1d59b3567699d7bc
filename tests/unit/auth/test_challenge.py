"""Challenges of RFC 6750 and RFC 9728."""

from __future__ import annotations

import pytest

from scaimcp.auth.challenge import (
    bearer_challenge,
    invalid_token,
    metadata_url,
    missing_token,
)

METADATA = "https://mcp.example/.well-known/oauth-protected-resource/mcp"


def test_the_metadata_address_puts_the_well_known_part_before_the_path() -> None:
    assert metadata_url("https://mcp.example") == METADATA
    assert metadata_url("https://mcp.example", "/mcp/c/cfg_1") == f"{METADATA}/c/cfg_1"


def test_a_request_without_a_token_is_told_no_error() -> None:
    refusal = missing_token(METADATA)
    assert (refusal.http_status, refusal.code) == (401, "AUTH_TOKEN_MISSING")
    assert refusal.challenge == f'Bearer resource_metadata="{METADATA}"'


def test_a_token_that_is_not_accepted_is_told_so() -> None:
    refusal = invalid_token(METADATA)
    assert (refusal.http_status, refusal.code) == (401, "AUTH_TOKEN_INVALID")
    assert refusal.challenge == (
        'Bearer error="invalid_token", '
        'error_description="The token is not accepted; get a new one.", '
        f'resource_metadata="{METADATA}"'
    )


def test_the_platforms_own_word_is_kept_in_the_body_and_not_in_the_header() -> None:
    refusal = invalid_token(METADATA, "SESSION_EXPIRED")
    assert refusal.code == "SESSION_EXPIRED"
    assert "SESSION_EXPIRED" not in (refusal.challenge or "")


@pytest.mark.parametrize(
    ("error", "description", "expected"),
    [
        ("", "", 'Bearer resource_metadata="m"'),
        ("insufficient_scope", "", 'Bearer error="insufficient_scope", resource_metadata="m"'),
        ("", "why", 'Bearer error_description="why", resource_metadata="m"'),
    ],
)
def test_the_parts_of_a_challenge(error: str, description: str, expected: str) -> None:
    assert bearer_challenge("m", error, description) == expected
