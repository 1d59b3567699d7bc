"""Run the stand-in platform from the command line: `python -m scaimcp.dev.platform`."""

import argparse
import sys
from collections.abc import Sequence

from scaimcp.dev.alone import Announcement, serve_alone
from scaimcp.dev.platform.config import PlatformConfig
from scaimcp.dev.platform.seed import SEED_LOGINS, api_key
from scaimcp.dev.platform.server import serve_platform

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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    config = PlatformConfig(
        seed=options.seed,
        database=options.db,
        rate_limits=options.rate_limits,
        inference_url=options.inference_url,
        inference_models=tuple(options.inference_model),
        webhook_posts=options.webhook_posts,
    )
    logins = [SEED_LOGINS[role] for role in ("tenant_admin", "tenant_user", "super_admin")]
    bearers = {login: api_key(login) for login in logins}
    served = serve_platform(config, options.host, options.port)
    announcement = Announcement(NOTICE, bearers, options.ready_file)
    serve_alone(served, announcement, f"{options.host}:{options.port}")


if __name__ == "__main__":
    main()
