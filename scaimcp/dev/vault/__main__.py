"""Run the stand-in vault from the command line: `python -m scaimcp.dev.vault`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from scaimcp.dev.alone import Announcement, serve_alone
from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.fixture import AGENT, PARTNER_ADMIN, READER, TOKENS
from scaimcp.dev.vault.server import serve_vault

NOTICE = "The ScaiMCP stand-in vault: NOT ScaiVault, for development and tests only."
HINT = f"Try it: SCAIVAULT_URL={{url}} SCAIVAULT_TOKEN={AGENT} scaivault-mcp --check"


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


def platform_keys(ready_file: str | None) -> str | None:
    """Return where the keys are of the stand-in platform that wrote a ready file."""
    if ready_file is None:
        return None
    ready = msgspec.json.decode(Path(ready_file).read_bytes(), type=dict[str, Any])
    return f"{ready['url']}/.well-known/jwks.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    config = VaultConfig(
        seed=options.seed,
        jwks_url=options.jwks_url or platform_keys(options.platform_ready_file),
        rate_scale=1.0 if options.rate_limits else None,
    )
    bearers = {TOKENS[token].id: token for token in (AGENT, READER, PARTNER_ADMIN)}
    served = serve_vault(config, options.port)
    announcement = Announcement(NOTICE, bearers, options.ready_file, HINT)
    serve_alone(served, announcement, f"port {options.port}")


if __name__ == "__main__":
    main()
