"""``scaivault-mcp``: parse, start, say how it ended. Spec: scaivault 4.

Only what the parsing needs is imported here: ``--help`` loads no server, and over stdio no web
server is loaded either.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NoReturn

from scaimcp import __version__
from scaimcp.errors import SettingsError
from scaimcp.settings import environment
from scaimcp.vaultserver.environment import Config, TokenMissing, read_config
from scaimcp.vaultserver.signals import leave_at_once
from scaimcp.vaultserver.streams import safe_streams, write_all

NAME = "scaivault-mcp"
HELP = """\
usage: scaivault-mcp [--transport T] [--host ADDR] [--port N] [--check] [--version] [--help]

MCP server for ScaiVault: 67 tools, browsable resources and prompts.

  --transport T   stdio (default), sse or streamable-http      env MCP_TRANSPORT
  --host ADDR     address for sse and streamable-http           env MCP_HOST  (127.0.0.1)
  --port N        port for sse and streamable-http              env PORT      (8765)
  --check         test token, locks and guards, print a summary, exit
  --version       print the version, exit

Connection:  SCAIVAULT_URL  SCAIVAULT_TOKEN or SCAIVAULT_TOKEN_FILE  SCAIVAULT_CA_FILE
             SCAIVAULT_TIMEOUT  SCAIVAULT_CONNECT_TIMEOUT
Guards:      SCAIVAULT_READ_ONLY  SCAIVAULT_MASK_VALUES  SCAIVAULT_ALLOWED_PATHS
             SCAIVAULT_DENIED_PATHS  SCAIVAULT_TENANT_ID  SCAIVAULT_PARTNER_ID
             SCAIVAULT_TOOL_GROUPS
Remote use:  MCP_AUTH_TOKEN or MCP_AUTH_TOKEN_FILE  MCP_ALLOWED_ORIGINS

Guards and tokens have no command-line option. A safe start: read-only, masked, one allowed path.
Exit codes: 0 ok, 1 failure, 2 token missing or refused, 3 lock or access refused, 5 bad configuration.
"""  # noqa: E501 - these are the lines of the contract
_STDOUT = 1
EXIT_FAILURE, EXIT_TOKEN, EXIT_CONFIGURATION = 1, 2, 5
_OPTIONS = {"transport": "MCP_TRANSPORT", "host": "MCP_HOST", "port": "PORT"}
_IDENTITY = "scaimcp.vaultserver.identity"
_STDIO = "scaimcp.vaultserver.stdio"
_HTTP = "scaimcp.vaultserver.serving"
_CHECKING = "scaimcp.vaultserver.checking"
_LOGS = "scaimcp.telemetry.logs"


class _Parser(argparse.ArgumentParser):
    """Says everything in the contract's words."""

    def format_help(self) -> str:
        """Return the help text."""
        return HELP

    def error(self, message: str) -> NoReturn:
        """Refuse options without repeating them: one may be a token in the wrong place."""
        raise SettingsError("the options cannot be used; see --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    leave_at_once()
    with safe_streams():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    is_debug = False
    try:
        options = _parser().parse_args(arguments)
        config = _config(environment(), options)
        is_debug = config.is_debug
        return _run(config, is_check=options.check)
    except TokenMissing as error:
        return _failed(EXIT_TOKEN, error.message)
    except SettingsError as error:
        return _failed(EXIT_CONFIGURATION, error.message)
    except BrokenPipeError:
        return 0
    except BaseExceptionGroup as group:
        return _unexpected(group, is_debug=is_debug)
    except Exception as error:  # noqa: BLE001 - one line instead of a traceback
        return _unexpected(error, is_debug=is_debug)


def _parser() -> _Parser:
    parser = _Parser(prog=NAME, add_help=False, allow_abbrev=False)
    parser.add_argument("--help", "-h", action="help")
    parser.add_argument("--version", action="version", version=f"{NAME} {__version__}")
    parser.add_argument("--check", action="store_true")
    for option in _OPTIONS:
        parser.add_argument(f"--{option}")
    return parser


def _config(given: Mapping[str, str], options: argparse.Namespace) -> Config:
    """Return the configuration; an option wins over its variable."""
    named = {
        variable: value
        for option, variable in _OPTIONS.items()
        if (value := getattr(options, option)) is not None
    }
    return read_config({**given, **named}, import_module(_IDENTITY).read_file)


def _run(config: Config, *, is_check: bool) -> int:
    level = "debug" if config.is_debug else config.log_level
    logs = import_module(_LOGS)
    logs.configure_logs(level, "json", time_key="time")
    holder = import_module(_IDENTITY).TokenHolder(config.token, config.token_file)
    warnings = list(config.read.warnings)
    if holder.is_open_to_others():
        warnings.append("SCAIVAULT_TOKEN_FILE can be read by others than its owner")
    if is_check:
        for warning in warnings:
            _say(f"warning: {warning}")
        return _check(config)
    for warning in warnings:
        logs.get_logger("scaimcp.vaultserver").warning(warning)
    if config.transport == "stdio":
        asyncio.run(import_module(_STDIO).serve_stdio(config))
        return 0
    serving = import_module(_HTTP)
    try:
        asyncio.run(serving.serve_http(config))
    except serving.CannotListen as error:
        return _failed(EXIT_FAILURE, f"cannot listen on port {config.port}: {error}")
    return 0


def _check(config: Config) -> int:
    checking = import_module(_CHECKING)
    try:
        lines = asyncio.run(checking.check(config))
    except checking.CheckFailed as error:
        return _failed(error.exit_code, str(error))
    # Past the buffer, which the interpreter would empty once more at its end.
    write_all(_STDOUT, ("\n".join(lines) + "\n").encode())
    return 0


def _unexpected(error: BaseException, *, is_debug: bool) -> int:
    if is_debug:
        lines = traceback.format_exception(error)
        sys.stderr.write(import_module("scaimcp.telemetry.redaction").redact("".join(lines)))
    return _failed(EXIT_FAILURE, f"unexpected failure: {type(error).__name__}")


def _failed(code: int, message: str) -> int:
    _say(message)
    return code


def _say(line: str) -> None:
    sys.stderr.write(f"{NAME}: {line}\n")
