"""``scaimcp serve``."""

from __future__ import annotations

import argparse
import socket

from scaimcp.remotes.config import remote_policy
from scaimcp.scaivault.config import vault_policy
from scaimcp.serving.engines import Listeners, choose, run
from scaimcp.serving.sockets import adopt, describe, listening
from scaimcp.serving.stage import tls_context
from scaimcp.serving.workers import run_workers
from scaimcp.settings import load, require
from scaimcp.telemetry.logs import configure_logs, get_logger

_log = get_logger("scaimcp.serve")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options, which only worker processes get."""
    parser.add_argument("--sockets", help=argparse.SUPPRESS)
    parser.add_argument("--metrics-sockets", default="", help=argparse.SUPPRESS)
    parser.add_argument("--metrics-folder", help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    parser.set_defaults(run=serve)


def serve(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    settings = load()
    configure_logs(settings.log_level, settings.log_format)
    require(settings, "public_url", "database_url", "redis_url", "state_keys")
    if options.sockets is not None:
        adopted = Listeners(adopt(options.sockets), adopt(options.metrics_sockets))
        parent = socket.socket(fileno=options.parent)
        run(settings, adopted, metrics_folder=options.metrics_folder, parent=parent)
        return 0
    # What cannot be read is told before anything starts: no client meets a gateway that ends.
    remote_policy(settings)
    vault_policy(settings)
    scheme = "http" if tls_context(settings) is None else "https"
    own = [settings.metrics_bind] if settings.metrics_bind else []
    with listening(settings.server_bind) as main, listening(own) as metrics:
        _log.info(
            "listening",
            engine=choose(settings),
            addresses=[describe(listener, scheme) for listener in main],
            metrics=[describe(listener, "http") for listener in metrics],
            workers=settings.server_workers,
        )
        if settings.server_workers > 1:
            return run_workers(settings, Listeners(main, metrics))
        run(settings, Listeners(main, metrics))
    return 0
