"""What the environment of ``scaivault-mcp`` may hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.errors import SettingsError
from scaimcp.vaultserver.environment import (
    Config,
    TokenMissing,
    is_loopback,
    read_config,
    token_in,
)

TOKEN = "skt_agent_token"
INBOUND = "i" * 32
FILES = {"/token": b"skt_from_file\r\nmore", "/inbound": INBOUND.encode(), "/empty": b"\nx"}


def read_file(path: str) -> bytes:
    if path not in FILES:
        raise FileNotFoundError(2, "No such file or directory", path)
    return FILES[path]


def config(**more: str) -> Config:
    return read_config({"SCAIVAULT_TOKEN": TOKEN, **more}, read_file)


def test_the_defaults_are_those_of_the_contract() -> None:
    found = config()
    assert found.url == "https://scaivault.scailabs.ai"
    assert found.token.reveal() == TOKEN
    assert (found.transport, found.host, found.port) == ("stdio", "127.0.0.1", 8765)
    assert (found.timeout_seconds, found.connect_seconds) == (30.0, 5.0)
    assert (found.most_result_bytes, found.log_level) == (262_144, "info")
    assert (found.auth_token, found.ca_file, found.origins) == (None, None, frozenset())
    assert not found.is_debug
    assert not found.read.guards.read_only


GOOD: list[tuple[str, str, str, Any]] = [
    ("SCAIVAULT_URL", "https://vault.example:8443/", "url", "https://vault.example:8443"),
    ("SCAIVAULT_URL", "http://localhost:1", "url", "http://localhost:1"),
    ("SCAIVAULT_URL", "http://[::1]:1", "url", "http://[::1]:1"),
    ("SCAIVAULT_TIMEOUT", "1", "timeout_seconds", 1.0),
    ("SCAIVAULT_TIMEOUT", "300", "timeout_seconds", 300.0),
    ("SCAIVAULT_CONNECT_TIMEOUT", "0.5", "connect_seconds", 0.5),
    ("SCAIVAULT_CA_FILE", "/ca.pem", "ca_file", "/ca.pem"),
    ("SCAIVAULT_MAX_RESULT_BYTES", "4096", "most_result_bytes", 4096),
    ("SCAIVAULT_DEBUG", "YES", "is_debug", True),
    ("SCAIVAULT_DEBUG", "off", "is_debug", False),
    ("LOG_LEVEL", "warning", "log_level", "warning"),
    ("MCP_TRANSPORT", "sse", "transport", "sse"),
    ("MCP_HOST", "localhost", "host", "localhost"),
    ("MCP_HOST", "[::1]", "host", "::1"),
    ("MCP_HOST", "127.0.0.2", "host", "127.0.0.2"),
    ("PORT", "65535", "port", 65_535),
    (
        "MCP_ALLOWED_ORIGINS",
        "https://A.example, http://localhost:3000/",
        "origins",
        frozenset({"https://a.example", "http://localhost:3000"}),
    ),
]


@pytest.mark.parametrize(("name", "value", "field", "expected"), GOOD)
def test_a_good_value_is_read(name: str, value: str, field: str, expected: Any) -> None:
    assert getattr(config(**{name: value}), field) == expected


BAD = [
    ("SCAIVAULT_URL", ""),
    ("SCAIVAULT_URL", "vault.example"),
    ("SCAIVAULT_URL", "http://vault.example"),
    ("SCAIVAULT_URL", "http://localhost.example"),
    ("SCAIVAULT_URL", "ftp://vault.example"),
    ("SCAIVAULT_URL", "https://user@vault.example"),
    ("SCAIVAULT_URL", "https://vault.example?"),
    ("SCAIVAULT_URL", "https://vault.example#x"),
    ("SCAIVAULT_URL", "https://vault.example/v1"),
    ("SCAIVAULT_URL", "https://vault.example:99999"),
    ("SCAIVAULT_URL", "https://[::1"),
    ("SCAIVAULT_URL", "https://vault example"),
    ("SCAIVAULT_URL", "https://v\u00e4ult.example"),
    ("SCAIVAULT_TIMEOUT", "0"),
    ("SCAIVAULT_TIMEOUT", "301"),
    ("SCAIVAULT_TIMEOUT", "1e2"),
    ("SCAIVAULT_TIMEOUT", "nan"),
    ("SCAIVAULT_CONNECT_TIMEOUT", "0.4"),
    ("SCAIVAULT_CONNECT_TIMEOUT", "61"),
    ("SCAIVAULT_CA_FILE", ""),
    ("SCAIVAULT_MAX_RESULT_BYTES", "4095"),
    ("SCAIVAULT_MAX_RESULT_BYTES", "1048577"),
    ("SCAIVAULT_MAX_RESULT_BYTES", "\u0664\u0660\u0669\u0666"),
    ("SCAIVAULT_DEBUG", ""),
    ("SCAIVAULT_DEBUG", "maybe"),
    ("LOG_LEVEL", "INFO"),
    ("MCP_TRANSPORT", "http"),
    ("MCP_HOST", ""),
    ("MCP_HOST", "a b"),
    ("MCP_HOST", "-x"),
    ("PORT", ""),
    ("PORT", "0"),
    ("PORT", "70000"),
    ("PORT", "+80"),
    ("PORT", "80.0"),
    ("MCP_ALLOWED_ORIGINS", ""),
    ("MCP_ALLOWED_ORIGINS", "*"),
    ("MCP_ALLOWED_ORIGINS", "https://a.example/path"),
    ("MCP_ALLOWED_ORIGINS", "https://user@a.example"),
    ("MCP_ALLOWED_ORIGINS", "https://[::1"),
    ("MCP_ALLOWED_ORIGINS", "https://a.example,"),
    ("MCP_AUTH_TOKEN", ""),
    ("MCP_AUTH_TOKEN", "short-one-"),
    ("MCP_AUTH_TOKEN", "x" * 31),
    ("MCP_AUTH_TOKEN", "x" * 40 + " y"),
    ("MCP_AUTH_TOKEN_FILE", "/absent"),
    ("MCP_AUTH_TOKEN_FILE", "/token"),
    ("MCP_AUTH_TOKEN_FILE", "/empty"),
    ("SCAIVAULT_READ_ONLY", ""),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_ends_the_start_and_is_not_repeated(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        config(**{name: value})
    assert refused.type is SettingsError
    assert name in refused.value.message
    assert len(value) < 5 or value not in refused.value.message


@given(st.text(max_size=40), st.sampled_from(["SCAIVAULT_URL", "PORT", "MCP_HOST"]))
def test_any_text_is_read_or_refused(value: str, name: str) -> None:
    try:
        found = config(**{name: value, "MCP_AUTH_TOKEN": INBOUND})
    except SettingsError:
        return
    assert found.url.startswith(("https://", "http://"))


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("", TokenMissing),
        ("short", SettingsError),
        ("with a blank", SettingsError),
        ("with-a\nnewline", SettingsError),
        ("with-\u00fcmlaut", SettingsError),
        ("x" * 16_385, SettingsError),
    ],
)
def test_a_bad_token_is_refused(token: str, expected: type[Exception]) -> None:
    with pytest.raises(SettingsError) as refused:
        config(SCAIVAULT_TOKEN=token)
    assert refused.type is expected
    assert not token or token not in refused.value.message


def test_a_token_is_read_from_the_first_line_of_a_file() -> None:
    found = read_config({"SCAIVAULT_TOKEN_FILE": "/token"}, read_file)
    assert (found.token.reveal(), found.token_file) == ("skt_from_file", "/token")


@pytest.mark.parametrize("path", ["", "/absent", "/empty"])
def test_a_file_without_a_token_counts_as_none(path: str) -> None:
    with pytest.raises(TokenMissing):
        read_config({"SCAIVAULT_TOKEN_FILE": path}, read_file)


def test_a_file_with_something_else_is_a_bad_configuration() -> None:
    with pytest.raises(SettingsError) as refused:
        read_config({"SCAIVAULT_TOKEN_FILE": "/t"}, lambda path: b"two words")
    assert refused.type is SettingsError


@pytest.mark.parametrize("token", [TOKEN, ""])
def test_two_tokens_are_one_too_many(token: str) -> None:
    with pytest.raises(SettingsError, match="cannot both be set"):
        config(SCAIVAULT_TOKEN=token, SCAIVAULT_TOKEN_FILE="/token")
    with pytest.raises(SettingsError, match="cannot both be set"):
        config(MCP_AUTH_TOKEN=INBOUND, MCP_AUTH_TOKEN_FILE="/inbound")


def test_a_file_of_more_than_sixteen_kibibytes_is_refused() -> None:
    assert token_in(b"x" * 16_384).reveal() == "x" * 16_384
    with pytest.raises(TokenMissing):
        token_in(b"skt_token\n" + b"x" * 16_384)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "vault-tools.example"])
def test_whoever_listens_beyond_this_machine_needs_a_bearer(host: str) -> None:
    with pytest.raises(SettingsError, match="MCP_AUTH_TOKEN is required"):
        config(MCP_HOST=host)
    found = config(MCP_HOST=host, MCP_AUTH_TOKEN_FILE="/inbound")
    assert found.auth_token is not None
    assert not found.is_loopback


def test_the_inbound_token_is_another_one_than_the_vaults() -> None:
    with pytest.raises(SettingsError, match="must differ"):
        config(SCAIVAULT_TOKEN=INBOUND, MCP_AUTH_TOKEN=INBOUND)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_loopback_is_known(host: str, *, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_tokens_do_not_print() -> None:
    found = config(MCP_AUTH_TOKEN=INBOUND)
    assert TOKEN not in repr(found)
    assert INBOUND not in repr(found)
