"""``scaimcp catalog``."""

from __future__ import annotations

import argparse
import sys

from scaimcp.reference import FORMATS, render


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the output format."""
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the built-in tools."""
    sys.stdout.write(render(options.format))
    return 0
