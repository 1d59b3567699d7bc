"""Run the stand-in vault from the command line: `python -m scaimcp.dev.vault`."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.fixture import AGENT, PARTNER_ADMIN, READER
from scaimcp.dev.vault.server import Served, serve_vault

NOTICE = "The ScaiMCP stand-in vault: NOT ScaiVault, for development and tests only."


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; a mistake ends the process with status 2."""
    parser = argparse.ArgumentParser(prog="scaimcp.dev.vault", description=NOTICE)
    parser.add_argument("--port", type=int, default=8910, help="port of 127.0.0.1; 0: a free one")
    parser.add_argument("--seed", default="vault", help="source of ids")
    parser.add_argument("--jwks-url", help="where the keys are read that check JWTs")
    parser.add_argument(
        "--platform-ready-file", help="of a stand-in platform, whose keys check JWTs instead"
    )
    parser.add_argument("--rate-limits", action="store_true", help="count the documented limits")
    parser.add_argument("--ready-file", help="written as JSON {url, port} once requests are served")
    return parser.parse_args(arguments)


async def run(options: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    config = VaultConfig(
        seed=options.seed,
        jwks_url=options.jwks_url or platform_keys(options.platform_ready_file),
        rate_scale=1.0 if options.rate_limits else None,
    )
    async with serve_vault(config, options.port) as served:
        announce(served, options.ready_file)
        await stop.wait()


def platform_keys(ready_file: str | None) -> str | None:
    """Return where the keys are of the stand-in platform that wrote a ready file."""
    if ready_file is None:
        return None
    ready = msgspec.json.decode(Path(ready_file).read_bytes(), type=dict[str, Any])
    return f"{ready['url']}/.well-known/jwks.json"


def announce(served: Served, ready_file: str | None) -> None:
    """Say what runs where and with which tokens, and write the file others wait for."""
    print(NOTICE)
    print(f"Listening on {served.url}")
    for token in (AGENT, READER, PARTNER_ADMIN):
        print(f"  {served.vault.tokens[token].id:28} {token}")
    sys.stdout.flush()
    if ready_file:
        ready = msgspec.json.encode({"url": served.url, "port": served.port})
        Path(ready_file).write_bytes(ready)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(run(options))
        except OSError as problem:
            sys.exit(f"cannot listen on port {options.port}: {problem}")


if __name__ == "__main__":
    main()
