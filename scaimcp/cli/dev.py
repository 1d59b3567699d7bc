"""``scaimcp dev``."""

from __future__ import annotations

import argparse

from scaimcp.dev import command


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the development set-up."""
    command.add_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run everything on this machine until Ctrl-C."""
    return command.main(command.options_from(options))
