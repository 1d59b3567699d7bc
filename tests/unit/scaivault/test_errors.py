"""Refusals say what the contract says and repeat no argument. Spec: scaivault 2.6."""

from __future__ import annotations

import pytest

from scaimcp.errors import ToolError
from scaimcp.scaivault import errors
from scaimcp.scaivault.errors import VaultError

WORDED = [
    (
        errors.read_only("scaivault_write_secret"),
        "READ_ONLY",
        "scaivault_write_secret changes data and this server is read-only.",
    ),
    (
        errors.path_denied("path"),
        "PATH_DENIED",
        "Argument path is outside the paths this server may use.",
    ),
    (
        errors.invalid_path("path"),
        "INVALID_PATH",
        "Argument path is not a valid path: lower-case letters, digits, - and _ in at most 10 "
        "segments joined by /, 512 characters in all.",
    ),
    (
        errors.tenant_locked(),
        "TENANT_LOCKED",
        "This server is locked to one tenant or partner and the request does not fit it.",
    ),
    (
        errors.marker_refused(),
        "MASK_MARKER_REFUSED",
        "A value holds the mask marker. Masked output cannot be written back.",
    ),
]


@pytest.mark.parametrize(("error", "code", "message"), WORDED)
def test_a_refusal_is_worded_as_the_contract_says(
    error: VaultError, code: str, message: str
) -> None:
    assert (error.code, error.message) == (code, message)
    assert isinstance(error, ToolError)


def test_other_refusals_name_the_tool_or_the_fields() -> None:
    assert errors.tool_not_found().code == "TOOL_NOT_FOUND"
    assert "scaivault_list_leases" in errors.not_supported("scaivault_list_leases").message
    assert errors.not_supported("x").code == "NOT_SUPPORTED"
    refused = errors.invalid_arguments([("a", "is required"), ("b", "is not known"), ("a", "x")])
    assert refused.message == "These arguments do not fit: a, b."
    assert refused.details[1] == {"field": "b", "message": "is not known"}


def test_other_failures_carry_what_stands_beside_the_message() -> None:
    error = errors.failed("RESULT_TOO_LARGE", "Too large.", {"version": 3}, retry_after=5)
    assert (error.code, error.members, error.retry_after) == ("RESULT_TOO_LARGE", {"version": 3}, 5)
