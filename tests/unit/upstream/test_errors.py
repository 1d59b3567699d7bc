"""Names, texts and translations of upstream errors."""

from __future__ import annotations

from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp.http_exceptions import ContentEncodingError, LineTooLong

from scaimcp.errors import EndpointForbidden, ToolError
from scaimcp.upstream import errors
from scaimcp.upstream.errors import clean_text, retry_after_seconds, translated

NAMES = {
    "TimeoutError",
    "ConnectError",
    "DNSError",
    "TLSError",
    "RemoteClientError",
    "RemoteServerError",
    "AuthenticationError",
    "RedirectError",
    "ProtocolError",
    "UnsupportedProtocolVersionError",
    "ResponseTooLargeError",
    "PaginationLoopError",
    "EndpointForbiddenError",
    "RateLimitedError",
    "RemoteBusyError",
    "CircuitOpenError",
    "PoolExhaustedError",
    "ElicitationLostError",
    "McpError",
}


def test_every_class_of_the_contract_exists_under_its_name() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = {kind.name for kind in kinds if issubclass(kind, errors.UpstreamError)}
    assert ours - {"UpstreamError"} == NAMES
    assert issubclass(errors.UpstreamError, ToolError)


def test_the_code_of_an_error_is_its_class_name() -> None:
    assert errors.timed_out(1.5).code == "TimeoutError"
    assert errors.timed_out(1.5).health_name == "TimeoutError"
    assert errors.SessionUnknown("x").code == "ProtocolError"


def test_a_json_rpc_error_is_a_client_error_to_health() -> None:
    error = errors.McpError("no", jsonrpc_code=-32601)
    assert (error.code, error.health_name, error.jsonrpc_code) == (
        "McpError",
        "RemoteClientError",
        -32601,
    )
    assert not error.is_modern
    assert errors.McpError("no", jsonrpc_code=-32022).is_modern


def test_only_what_was_sent_may_have_been_carried_out() -> None:
    assert errors.ConnectError("Lost.").for_caller() == "Lost."
    sent = errors.ConnectError("Lost.", was_sent=True).for_caller()
    assert sent == "Lost. The call may have been carried out."


def test_a_bearer_challenge_on_401_is_told_from_other_refusals() -> None:
    def refusal(status: int, challenge: str | None) -> bool:
        error = errors.AuthenticationError("x", status=status, challenge=challenge)
        return error.asks_for_bearer

    assert refusal(401, 'Bearer resource_metadata="x"')
    assert not refusal(403, "Bearer")
    assert not refusal(401, "Basic")
    assert not refusal(401, None)


@pytest.mark.parametrize(("status", "is_transport"), [(500, False), (502, True), (503, True)])
def test_only_gateway_statuses_speak_for_the_whole_server(status: int, is_transport: bool) -> None:
    assert errors.RemoteServerError("x", status=status).is_transport is is_transport


def test_text_loses_credentials_and_control_characters() -> None:
    text = "bad\x00 token\r\nntn_exa\x07mple in Bearer ntn_example\u2028!"
    assert clean_text(text, ("Bearer ntn_example",)) == "bad token [redacted] in [redacted]!"


def test_a_credential_without_a_scheme_is_redacted_too() -> None:
    assert clean_text("key=abc123", ("abc123", "")) == "key=[redacted]"
    assert clean_text("Basic dTpw dTpw", ("Basic dTpw",)) == "[redacted] [redacted]"


@pytest.mark.parametrize("letter", ["x", "é", "😀"])
def test_text_is_cut_at_eight_kibibytes(letter: str) -> None:
    cut = clean_text(letter * 20_000)
    assert 8_192 - 4 < len(cut.encode()) <= 8_192
    assert set(cut) == {letter}


def test_lone_surrogates_do_not_reach_a_caller() -> None:
    assert clean_text("a\ud800b") == "ab"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("12", 12),
        (" 7 ", 7),
        ("86400", 86_400),
        ("99999999999", 86_400),
        ("soon", None),
        ("Sat, 21 Nov 2026 07:00:30 GMT", 30),
        ("Sat, 21 Nov 2026 06:00:00 GMT", 0),
        ("Sat, 21 Nov 2026 07:01:00 -0000", 60),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str | None, seconds: int | None) -> None:
    now = datetime(2026, 11, 21, 7, 0, 0, tzinfo=UTC)
    assert retry_after_seconds(value, now) == seconds


def caused(error: aiohttp.ClientError, cause: Exception) -> aiohttp.ClientError:
    error.__cause__ = cause
    return error


def response_error(message: str) -> aiohttp.ClientResponseError:
    return aiohttp.ClientResponseError(None, (), status=400, message=message)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "name", "was_sent"),
    [
        (aiohttp.ConnectionTimeoutError(), "ConnectError", False),
        (aiohttp.InvalidURL("x"), "EndpointForbiddenError", False),
        (aiohttp.ServerDisconnectedError(), "ConnectError", True),
        (ConnectionResetError(), "ConnectError", True),
        (caused(aiohttp.ClientPayloadError(), ContentEncodingError("x")), "ProtocolError", True),
        (aiohttp.ClientPayloadError(), "ConnectError", True),
        (response_error("Bad status line"), "ProtocolError", True),
        (caused(response_error("x"), LineTooLong(b"x")), "ResponseTooLargeError", True),
        (response_error("Too many headers received"), "ResponseTooLargeError", True),
        (EndpointForbidden("address", address="10.0.0.5"), "EndpointForbiddenError", False),
    ],
)
def test_failures_of_the_client_get_their_class(
    error: aiohttp.ClientError, name: str, was_sent: bool
) -> None:
    ours = translated(error)
    assert (ours.code, ours.was_sent) == (name, was_sent)
    assert "10.0.0.5" not in ours.message
