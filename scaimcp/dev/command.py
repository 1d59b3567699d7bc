"""`scaimcp dev`: the whole gateway on one machine, ready to be used by an MCP client.

Embedded PostgreSQL and Valkey, the stand-in platform and vault (or a real ScaiGrid), migrations,
gateway and worker start together, write their addresses into a ready file and stop together.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from scaimcp.dev.banner import banner
from scaimcp.dev.binaries import service_account
from scaimcp.dev.layout import data_directory, temporary_directory
from scaimcp.dev.locking import DirectoryLock
from scaimcp.dev.plan import (
    Address,
    DevOptions,
    default_data_dir,
    inherited_environment,
    plan_children,
    reserve_address,
    write_private,
)
from scaimcp.dev.processes import DevelopmentError
from scaimcp.dev.readiness import Facts
from scaimcp.dev.stack import start_stack
from scaimcp.dev.standin import VAULT_MODULE, run_standin, standin_tokens
from scaimcp.dev.supervisor import Child, Setup, Supervisor
from scaimcp.settings import environment

PACKAGE_ROOT = Path(__file__).parents[2]
MAX_PORT = 65_535

Planner = Callable[[DevOptions, Path, Address], Sequence[Child]]


class ReadyDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What the ready file holds.

    Attributes:
        rest_url: Origin of gateway, without path.
        vault_url: The stand-in ScaiVault; empty with a real platform.
        pids: By process: gateway, worker, platform and vault (not with a real platform), postgres,
            redis.
        tokens: Bearers by role; empty with a real platform.
    """

    mcp_url: str
    rest_url: str
    platform_url: str
    vault_url: str
    database_url: str
    redis_url: str
    metrics_url: str
    pids: dict[str, int]
    tokens: dict[str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `scaimcp dev` to a parser; read them with `options_from`."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=_port, default=8080, help="port; 0 takes a free one (%(default)s)"
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--data-dir", type=Path, help="where data stays (~/.local/share/scaimcp/dev)"
    )
    place.add_argument("--ephemeral", action="store_true", help="keep nothing when it ends")
    platform = parser.add_mutually_exclusive_group()
    platform.add_argument(
        "--platform-url", type=_url, metavar="URL", help="use a real ScaiGrid, not the stand-in"
    )
    platform.add_argument(
        "--platform-rate-limits", action="store_true", help="let the stand-in limit rates"
    )
    parser.add_argument(
        "--ready-file", type=Path, metavar="PATH", help="write addresses and tokens when ready"
    )
    commands = parser.add_subparsers(dest="dev_command", metavar="{platform,vault}")
    # No argument is an option to this parser: the stand-in reads them itself.
    for name in ("platform", "vault"):
        alone = commands.add_parser(
            name, add_help=False, prefix_chars="\0", help=f"run the stand-in {name} alone"
        )
        alone.add_argument(f"{name}_arguments", nargs="*")


def options_from(arguments: argparse.Namespace) -> DevOptions:
    """Return the options out of what a parser with `add_arguments` read."""
    platform = getattr(arguments, "platform_arguments", None)
    vault = getattr(arguments, "vault_arguments", None)
    return DevOptions(
        host=arguments.host.strip("[]"),
        port=arguments.port,
        data_dir=arguments.data_dir,
        ephemeral=arguments.ephemeral,
        platform_url=arguments.platform_url,
        platform_rate_limits=arguments.platform_rate_limits,
        ready_file=arguments.ready_file,
        platform_arguments=None if platform is None else tuple(platform),
        vault_arguments=None if vault is None else tuple(vault),
    )


def main(options: DevOptions) -> int:
    """Run `scaimcp dev` until Ctrl-C or SIGTERM. Returns the exit code: 0, or 1 after a failure."""
    if options.platform_arguments is not None:
        return run_standin(options.platform_arguments)
    if options.vault_arguments is not None:
        return run_standin(options.vault_arguments, VAULT_MODULE)
    return run(options, plan_children, standin_tokens())


def run(options: DevOptions, planner: Planner, tokens: Mapping[str, str]) -> int:
    """Run the set-up that `planner` describes.

    Args:
        options: The command line.
        planner: Returns the children for options, data directory and gateway address.
        tokens: The stand-in's bearers by role; not used with a real platform.
    """
    try:
        asyncio.run(_run(options, planner, {} if options.platform_url else tokens))
    except DevelopmentError as error:
        _log(f"scaimcp dev: {error}")
        return 1
    except KeyboardInterrupt:  # before the supervisor handles signals
        return 0
    return 0


async def _run(options: DevOptions, planner: Planner, tokens: Mapping[str, str]) -> None:
    account = service_account()
    if options.ephemeral:
        directory = temporary_directory(account)
    else:
        directory = options.data_dir or default_data_dir(environment())
        directory = data_directory(directory.expanduser(), account)
    with contextlib.ExitStack() as cleanup:
        lock = DirectoryLock(directory)
        cleanup.callback(lock.release)
        if options.ephemeral:  # the stack's guard does it too, should we be killed
            cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
        # After the lock: who starts twice shall read who holds the directory, not the port.
        address = reserve_address(options.host, options.port)
        announcement = _Announcement(options, address, directory, tokens)
        cleanup.callback(announcement.withdraw)
        announcement.withdraw()
        setup = Setup(
            start_stack=functools.partial(
                start_stack,
                directory,
                durable=not options.ephemeral,
                lock=lock,
                remove=options.ephemeral,
            ),
            children=planner(options, directory, address),
            environment=inherited_environment(environment()),
            directory=PACKAGE_ROOT,
            lock=lock,
            on_ready=announcement.publish,
            log=_log,
        )
        await Supervisor(setup).run()


@dataclass(frozen=True, slots=True)
class _Announcement:
    """The ready file and the text on the terminal."""

    options: DevOptions
    address: Address
    directory: Path
    tokens: Mapping[str, str]

    def publish(self, facts: Facts, pids: Mapping[str, int]) -> None:
        origin = self.address.origin
        document = ReadyDocument(
            mcp_url=f"{origin}/mcp",
            rest_url=origin,
            platform_url=self.options.platform_url or facts["platform_url"],
            vault_url=facts.get("vault_url", ""),
            database_url=facts["database_url"],
            redis_url=facts["redis_url"],
            metrics_url=f"{origin}/metrics",
            pids=dict(pids),
            tokens=dict(self.tokens),
        )
        kept = "nothing is kept" if self.options.ephemeral else f"data in {self.directory}"
        sys.stdout.write(
            banner(
                document.mcp_url,
                self.tokens,
                platform_url=document.platform_url,
                vault_url=document.vault_url,
                kept=kept,
                warn=not self.address.is_loopback,
            )
        )
        sys.stdout.flush()
        # Last: who waits for the file finds the lines printed as well.
        if self.options.ready_file is not None:
            write_private(self.options.ready_file, msgspec.json.encode(document))

    def withdraw(self) -> None:
        """Remove the ready file: of an earlier run, or of this one at its end."""
        if self.options.ready_file is not None:
            self.options.ready_file.unlink(missing_ok=True)


def _log(line: str) -> None:
    """Write one line to standard error, which may have lost its reader."""
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except BrokenPipeError:
        # What could not be written stays in the buffer and would fail once more at the very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 0 and {MAX_PORT}")
    return int(text)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise argparse.ArgumentTypeError("takes an http or https URL without credentials")
    return text.rstrip("/")
