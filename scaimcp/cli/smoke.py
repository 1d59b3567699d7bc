"""``scaimcp smoke``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scaimcp.errors import SettingsError
from scaimcp.smoke import ERAS, Step, Target, check, endpoint
from scaimcp.types import Secret


def configure(parser: argparse.ArgumentParser) -> None:
    """Add address, credential, era and patience."""
    parser.add_argument("url", metavar="URL", help="the gateway, with or without /mcp")
    token = parser.add_mutually_exclusive_group()
    token.add_argument("--token", metavar="T", help="bearer; others can see it in the process list")
    token.add_argument("--token-file", metavar="F", help="file with the bearer; - reads it here")
    parser.add_argument("--era", choices=ERAS, default="both", help="default: both")
    parser.add_argument(
        "--timeout", type=_seconds, default=10.0, metavar="S", help="seconds; default: 10"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print every step; return 0 when all went well, else 1."""
    target = Target(endpoint(options.url), _token(options), options.era, options.timeout)
    code = 0
    for step in check(target):
        show(step)
        code = code if step.is_ok else 1
    if target.token is None:
        print("no token: nothing else was checked; see --token-file")
    return code


def show(step: Step) -> None:
    """Print one step."""
    mark = "ok  " if step.is_ok else "FAIL"
    print(f"{mark} {step.milliseconds:>5} ms  {step.name}: {step.detail}", flush=True)


def _token(options: argparse.Namespace) -> Secret | None:
    text = options.token
    if options.token_file is not None:
        try:
            is_input = options.token_file == "-"  # noqa: S105 - the usual word for standard input
            text = sys.stdin.readline() if is_input else Path(options.token_file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"the token file cannot be read ({type(error).__name__})") from None
    if text is None:
        return None
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError("the token is empty or holds what no bearer holds")
    return Secret(token)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 600:
        raise argparse.ArgumentTypeError("takes seconds, above 0 and at most 600")
    return seconds
