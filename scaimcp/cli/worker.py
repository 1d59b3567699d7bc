"""``scaimcp worker``."""

from __future__ import annotations

import argparse

from scaimcp.settings import load
from scaimcp.telemetry.logs import configure_logs
from scaimcp.worker import create_worker, run_worker


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no options."""
    parser.set_defaults(run=work)


def work(options: argparse.Namespace) -> int:
    """Run jobs until SIGTERM or SIGINT; return 1 when Redis stays away."""
    settings = load()
    configure_logs(settings.log_level, settings.log_format)
    return 0 if run_worker(create_worker(settings)) else 1
