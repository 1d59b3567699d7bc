"""``scaimcp worker``."""

from __future__ import annotations

import argparse

from scaimcp.settings import load
from scaimcp.telemetry.logs import configure_logs
from scaimcp.worker import create_worker


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no options."""
    parser.set_defaults(run=work)


def work(options: argparse.Namespace) -> int:
    """Run jobs until SIGTERM or SIGINT."""
    settings = load()
    configure_logs(settings.log_level, settings.log_format)
    create_worker(settings).run()
    return 0
