"""``scaimcp migrate``."""

from __future__ import annotations

import argparse
import sys

from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from scaimcp.migrating import migrate
from scaimcp.settings import load, require
from scaimcp.telemetry.logs import configure_logs


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the target revision."""
    parser.add_argument("--to", default="head", metavar="REVISION", help="default: head")
    parser.add_argument("--down", action="store_true", help="go back to REVISION")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Bring the schema to a revision."""
    settings = load()
    configure_logs(settings.log_level, settings.log_format)
    require(settings, "database_url")
    if settings.database_url is None:
        raise AssertionError("require() let a missing setting pass")
    try:
        migrate(settings.database_url, options.to, down=options.down)
    except CommandError:
        print(f"scaimcp: there is no way to revision {options.to}", file=sys.stderr)
        return 1
    except (SQLAlchemyError, OSError) as error:
        print(f"scaimcp: migration failed ({_reason(error)})", file=sys.stderr)
        return 1
    print(f"schema is at {options.to}")
    return 0


def _reason(error: Exception) -> str:
    """Name an error without its text, which may quote rows or the address.

    The SQLSTATE says what a database refused: 55P03 a lock not had in time, 57014 too slow.
    """
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return type(error).__name__ if state is None else f"{type(error).__name__}, SQLSTATE {state}"
