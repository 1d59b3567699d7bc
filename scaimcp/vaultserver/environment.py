"""The environment of ``scaivault-mcp``. Pure but for what `Loaders` read; fails closed.

A variable that is present but cannot be used ends the start. No message repeats a value.
Spec: scaivault 2.1, 4, 10 (B17-B20).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from scaimcp.errors import SettingsError
from scaimcp.scaivault.guard_settings import ReadGuards, parse_guards, read_boolean
from scaimcp.settings import LOOPBACK_HOSTS
from scaimcp.types import Secret

Transport = Literal["stdio", "sse", "streamable-http"]
TRANSPORTS: tuple[Transport, ...] = ("stdio", "sse", "streamable-http")
LEAST_AUTH_CHARS = 32
FILE_BYTES = 16_384
_LEVELS = ("debug", "info", "warning", "error")
_LEAST_CHARS = 8
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}", re.ASCII)
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,7}(\.[0-9]{1,3})?", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,7}", re.ASCII)
ReadFile = Callable[[str], bytes]
"""Reads at most `FILE_BYTES` + 1 bytes of a file; raises OSError."""


class TokenMissing(SettingsError):
    """There is no token for ScaiVault, or its file cannot be read; exit code 2."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the command reads at its start; nothing of it changes later.

    Args:
        url: ScaiVault's origin.
        token: bearer for ScaiVault, as the start has found it.
        token_file: file of the token, read again when it changes; "" without one.
        read: guards and warnings.
        timeout_seconds: one API call.
        connect_seconds: a new connection.
        ca_file: further trusted certificates; None for none.
        most_result_bytes: of one result.
        is_debug: whether debug lines and tracebacks are written.
        log_level: of the log.
        transport: how clients connect.
        host: address to listen on.
        port: port to listen on.
        auth_token: what HTTP clients must send; None where none is asked for.
        origins: browser origins that may call, in lower case.
    """

    url: str
    token: Secret
    read: ReadGuards
    token_file: str = ""
    timeout_seconds: float = 30.0
    connect_seconds: float = 5.0
    ca_file: str | None = None
    most_result_bytes: int = 262_144
    is_debug: bool = False
    log_level: str = "info"
    transport: Transport = "stdio"
    host: str = "127.0.0.1"
    port: int = 8765
    auth_token: Secret | None = None
    origins: frozenset[str] = frozenset()

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)


def read_config(environment: Mapping[str, str], read_file: ReadFile) -> Config:
    """Parse the environment, options of the command line already put into it.

    Args:
        environment: names and values.
        read_file: reads the files of tokens.

    Raises:
        TokenMissing: exit code 2.
        SettingsError: exit code 5; the message names a variable, never a value.
    """
    found: dict[str, Any] = {}
    for name, (field, reader) in _READERS.items():
        if name in environment:
            try:
                found[field] = reader(environment[name])
            except ValueError as error:
                raise SettingsError(f"{name} {error}") from None
    read = parse_guards(environment)
    auth_token = _auth_token(environment, read_file)
    token, token_file = _vault_token(environment, read_file)
    config = Config(
        **{"url": "https://scaivault.scailabs.ai", **found},
        token=token,
        token_file=token_file,
        read=read,
        auth_token=auth_token,
    )
    if not config.is_loopback and auth_token is None:
        raise SettingsError("MCP_HOST is not a loopback address, so MCP_AUTH_TOKEN is required")
    if auth_token is not None and auth_token == token:
        raise SettingsError("MCP_AUTH_TOKEN must differ from the ScaiVault token")
    return config


def is_loopback(host: str) -> bool:
    """Tell whether a host is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in LOOPBACK_HOSTS


# -- tokens --------------------------------------------------------------------------------------


def token_in(content: bytes, least: int = _LEAST_CHARS) -> Secret:
    """Return the token in the first line of a file.

    Args:
        content: of the file.
        least: characters that the token must have.

    Raises:
        TokenMissing: the file is too large, or its first line is empty.
        ValueError: the line is no token.
    """
    if len(content) > FILE_BYTES:
        raise TokenMissing("the token file is larger than 16 KiB")
    line = content.partition(b"\n")[0].removesuffix(b"\r").decode("latin-1")
    if not line:
        raise TokenMissing("the token file holds no token")
    return _token(line, least)


def _vault_token(environment: Mapping[str, str], read_file: ReadFile) -> tuple[Secret, str]:
    has_both = "SCAIVAULT_TOKEN" in environment and "SCAIVAULT_TOKEN_FILE" in environment
    if has_both:
        raise SettingsError("SCAIVAULT_TOKEN and SCAIVAULT_TOKEN_FILE cannot both be set")
    value, path = environment.get("SCAIVAULT_TOKEN"), environment.get("SCAIVAULT_TOKEN_FILE")
    if not value and not path:
        raise TokenMissing("SCAIVAULT_TOKEN or SCAIVAULT_TOKEN_FILE must hold a token")
    try:
        if value:
            return _token(value), ""
        return token_in(read_file(path or "")), path or ""
    except OSError as error:
        reason = error.strerror or "unreadable"
        raise TokenMissing(f"SCAIVAULT_TOKEN_FILE cannot be read: {reason}") from None
    except TokenMissing as error:
        raise TokenMissing(f"SCAIVAULT_TOKEN_FILE cannot be used: {error.message}") from None
    except ValueError as error:
        name = "SCAIVAULT_TOKEN" if value else "SCAIVAULT_TOKEN_FILE"
        raise SettingsError(f"{name} {error}") from None


def _auth_token(environment: Mapping[str, str], read_file: ReadFile) -> Secret | None:
    given = [name for name in ("MCP_AUTH_TOKEN", "MCP_AUTH_TOKEN_FILE") if name in environment]
    if len(given) > 1:
        raise SettingsError("MCP_AUTH_TOKEN and MCP_AUTH_TOKEN_FILE cannot both be set")
    if not given:
        return None
    value = environment[given[0]]
    try:
        is_file = given[0].endswith("_FILE")
        least = LEAST_AUTH_CHARS
        token = token_in(read_file(value), least) if is_file else _token(value, least)
    except OSError as error:
        reason = error.strerror or "unreadable"
        raise SettingsError(f"MCP_AUTH_TOKEN_FILE cannot be read: {reason}") from None
    except SettingsError as error:
        raise SettingsError(f"MCP_AUTH_TOKEN_FILE cannot be used: {error.message}") from None
    except ValueError as error:
        raise SettingsError(f"{given[0]} {error}") from None
    return token


def _token(value: str, least: int = _LEAST_CHARS) -> Secret:
    if not _TOKEN.fullmatch(value) or len(value) < least:
        raise ValueError(f"must be {least} to 16384 visible ASCII characters")
    return Secret(value)


# -- values --------------------------------------------------------------------------------------


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    is_plain = value.isascii() and value.isprintable() and " " not in value
    if not host or not is_plain or any(char in value for char in "@?#\\"):
        raise ValueError("must be a URL without user, query and fragment")
    if parts.path not in ("", "/"):
        raise ValueError("must be a URL without a path")
    if parts.scheme not in ("http", "https"):
        raise ValueError("must be an https URL")
    if parts.scheme == "http" and host not in LOOPBACK_HOSTS:
        raise ValueError("may be an http URL for this machine only")
    return f"{parts.scheme}://{parts.netloc}"


def _seconds(least: float, most: float) -> Callable[[str], float]:
    def read(value: str) -> float:
        if not _NUMBER.fullmatch(value) or not least <= float(value) <= most:
            raise ValueError(f"must be a number of seconds from {least:g} to {most:g}")
        return float(value)

    return read


def _integer(least: int, most: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not _WHOLE.fullmatch(value) or not least <= int(value) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(value)

    return read


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return read


def _host(value: str) -> str:
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        if not _HOST_NAME.fullmatch(value):
            raise ValueError("is not an address") from None
        return value


def _file(value: str) -> str:
    if not value or "\x00" in value:
        raise ValueError("is not a file name")
    return value


def _origins(value: str) -> frozenset[str]:
    origins = [word.strip(" \t").lower().rstrip("/") for word in value.split(",")]
    for number, origin in enumerate(origins, 1):
        try:
            parts = urlsplit(origin)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        is_origin = bool(host) and origin == f"{parts.scheme}://{parts.netloc}"
        if not is_origin or "@" in origin:
            raise ValueError(f"entry {number} is not an origin")
    return frozenset(origins)


_READERS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "SCAIVAULT_URL": ("url", _url),
    "SCAIVAULT_TIMEOUT": ("timeout_seconds", _seconds(1, 300)),
    "SCAIVAULT_CONNECT_TIMEOUT": ("connect_seconds", _seconds(0.5, 60)),
    "SCAIVAULT_CA_FILE": ("ca_file", _file),
    "SCAIVAULT_MAX_RESULT_BYTES": ("most_result_bytes", _integer(4_096, 1_048_576)),
    "SCAIVAULT_DEBUG": ("is_debug", read_boolean),
    "LOG_LEVEL": ("log_level", _one_of(_LEVELS)),
    "MCP_TRANSPORT": ("transport", _one_of(TRANSPORTS)),
    "MCP_HOST": ("host", _host),
    "PORT": ("port", _integer(1, 65_535)),
    "MCP_ALLOWED_ORIGINS": ("origins", _origins),
}
