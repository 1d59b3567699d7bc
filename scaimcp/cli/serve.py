"""``scaimcp serve``."""

from __future__ import annotations

import argparse

from scaimcp.app import create_app
from scaimcp.serving.engines import choose, run
from scaimcp.serving.sockets import adopt, describe, open_sockets
from scaimcp.serving.workers import run_workers
from scaimcp.settings import load, require
from scaimcp.telemetry.logs import configure_logs, get_logger

_log = get_logger("scaimcp.serve")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options; those of worker processes stay hidden."""
    parser.add_argument("--sockets", help=argparse.SUPPRESS)
    parser.add_argument("--metrics-sockets", help=argparse.SUPPRESS)
    parser.add_argument("--metrics-folder", help=argparse.SUPPRESS)
    parser.set_defaults(run=serve)


def serve(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    settings = load()
    configure_logs(settings.log_level, settings.log_format)
    require(settings, "public_url", "database_url", "redis_url", "state_keys")
    if options.sockets is not None:
        listeners = adopt(map(int, options.sockets.split(",")))
        own = options.metrics_sockets
        metrics = adopt(map(int, own.split(","))) if own else []
        run(create_app(settings, multiprocess_dir=options.metrics_folder), listeners, metrics)
        return 0
    listeners = open_sockets(settings.server_bind)
    metrics = open_sockets([settings.metrics_bind] if settings.metrics_bind else [])
    scheme = "https" if settings.server_tls_cert_file else "http"
    _log.info(
        "listening",
        engine=choose(settings),
        addresses=[describe(listener, scheme) for listener in listeners],
        workers=settings.server_workers,
    )
    if settings.server_workers > 1:
        return run_workers(settings, listeners, metrics)
    run(create_app(settings), listeners, metrics)
    return 0
