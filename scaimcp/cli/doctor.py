"""``scaimcp doctor``."""

from __future__ import annotations

import argparse
import asyncio

from scaimcp.cli.main import EXIT_SETTINGS
from scaimcp.doctor import Check, check_settings, examine
from scaimcp.errors import SettingsError
from scaimcp.settings import Settings, load
from scaimcp.telemetry.logs import configure_logs


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no options: everything comes from the settings."""
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print every check; return 0 when all is well, 1, or 5 for the settings."""
    # What fails is printed with a remedy; the log would only repeat it.
    configure_logs("error", "console")
    try:
        settings = load()
        show(check_settings(settings))
    except SettingsError as error:
        show(Check("settings", False, error.message, remedy="see the settings page"))
        return EXIT_SETTINGS
    return asyncio.run(_examine(settings))


async def _examine(settings: Settings) -> int:
    code = 0
    async for check in examine(settings):
        show(check)
        code = code if check.is_ok else 1
    return code


def show(check: Check) -> None:
    """Print one check, and behind a failing one what to do."""
    mark = "ok  " if check.is_ok else "FAIL"
    print(f"{mark} {check.milliseconds:>5} ms  {check.name}: {check.detail}")
    if check.remedy:
        print(f"                -> {check.remedy}")
