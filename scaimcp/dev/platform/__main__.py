"""Run the stand-in platform from the command line: `python -m scaimcp.dev.platform`."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from scaimcp.dev.platform.config import PlatformConfig
from scaimcp.dev.platform.seed import SEED_LOGINS, api_key
from scaimcp.dev.platform.server import Served, serve_platform

NOTICE = "The ScaiMCP stand-in platform: NOT ScaiGrid, for development and tests only."


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; a mistake ends the process with status 2."""
    parser = argparse.ArgumentParser(prog="scaimcp.dev.platform", description=NOTICE)
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (loopback)")
    parser.add_argument("--port", type=int, default=8900, help="port to bind; 0 picks a free one")
    parser.add_argument("--db", help="SQLite file; without it the state is lost at the end")
    parser.add_argument("--seed", default="standin", help="source of ids and random numbers")
    parser.add_argument("--rate-limits", action="store_true", help="count the four windows")
    parser.add_argument("--inference-url", help="OpenAI-compatible base URL, with its /v1")
    parser.add_argument(
        "--inference-model", action="append", default=[], help="slug or slug=modality; repeatable"
    )
    parser.add_argument("--webhook-posts", action="store_true", help="really post events")
    parser.add_argument("--ready-file", help="written as JSON {url, port} once requests are served")
    return parser.parse_args(arguments)


async def run(options: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    config = PlatformConfig(
        seed=options.seed,
        database=options.db,
        rate_limits=options.rate_limits,
        inference_url=options.inference_url,
        inference_models=tuple(options.inference_model),
        webhook_posts=options.webhook_posts,
    )
    async with serve_platform(config, options.host, options.port) as served:
        announce(served, options.ready_file)
        await stop.wait()


def announce(served: Served, ready_file: str | None) -> None:
    """Say what runs where and with which keys, and write the file others wait for."""
    print(NOTICE)
    print(f"Listening on {served.url}")
    for name in ("tenant_admin", "tenant_user", "super_admin"):
        print(f"  {SEED_LOGINS[name]:24} {api_key(SEED_LOGINS[name])}")
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
            sys.exit(f"cannot listen on {options.host}:{options.port}: {problem}")


if __name__ == "__main__":
    main()
