"""``scaimcp keys``: make, rotate and check the keys that seal stored credentials.

Exit codes beside the usual ones: 3 rows remain that the primary key does not wrap, 4 a key is
missing. Spec: remote-servers 4.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from scaimcp.audit import store as audit
from scaimcp.credentials.envelope import RowId
from scaimcp.credentials.keys import LocalKeys, new_key
from scaimcp.credentials.rotation import BATCH, Pace, Tally, check, rotate
from scaimcp.ids import new_id
from scaimcp.postgres import Database, DatabaseUnavailable, open_database
from scaimcp.settings import load, require
from scaimcp.telemetry.logs import configure_logs, working_for

EXIT_ROWS_REMAIN = 3
EXIT_KEY_MISSING = 4
_MOST = 10_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the three actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    generate = actions.add_parser("generate", help="print a new key; it is stored nowhere")
    generate.add_argument("--id", default="", metavar="ID", help="default: follows from the key")
    generate.set_defaults(run=_generate, parser=generate)
    rotating = actions.add_parser("rotate", help="wrap all credentials with the first key")
    rotating.add_argument("--dry-run", action="store_true", help="count, write nothing")
    rotating.add_argument("--batch", type=_count, default=BATCH, help=f"default: {BATCH} rows")
    rotating.add_argument("--max-per-second", type=_count, metavar="ROWS", help="default: no limit")
    rotating.set_defaults(run=_run)
    checking = actions.add_parser("check", help="open every credential, change nothing")
    checking.set_defaults(run=_run)


class AuditJournal:
    """Writes audit rows for what rotation and check did. Spec: remote-servers 10."""

    def __init__(self) -> None:
        self._request_id = new_id("req_")
        working_for("request_id", self._request_id)

    async def rotated(self, connection: Any, counts: Mapping[str, int]) -> None:
        """Write ``kek.rotate`` with the number of rows that left each key."""
        event = audit.AuditEvent("", "kek.rotate", "kek", "", data={"rows": dict(counts)})
        await audit.record_own(connection, event, self._request_id)

    async def corrupt(self, connection: Any, row: RowId, key_id: str) -> None:
        """Write ``remote_credential.corrupt`` for the row's tenant."""
        event = audit.AuditEvent(
            row.tenant_id,
            "remote_credential.corrupt",
            "remote_server",
            row.server_id,
            "FAILURE",
            {"field": row.field, "kek_id": key_id},
        )
        await audit.record_own(connection, event, self._request_id)


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= _MOST:
        raise argparse.ArgumentTypeError(f"takes a number from 1 to {_MOST}")
    return number


def _generate(options: argparse.Namespace) -> int:
    try:
        print(new_key(options.id))
    except ValueError as error:
        options.parser.error(f"--id {error}")
    return 0


def _run(options: argparse.Namespace) -> int:
    settings = load()
    configure_logs(settings.log_level, settings.log_format)
    require(settings, "database_url", "encryption_local_kek")
    url, ring = settings.database_url, settings.encryption_local_kek
    if url is None or ring is None:
        raise AssertionError("require() let a missing setting pass")

    async def work() -> int:
        async with open_database(url, 1) as database:
            keys = LocalKeys(ring)
            return await (_checked if options.action == "check" else _rotated)(
                database, keys, options
            )

    try:
        return asyncio.run(work())
    except DatabaseUnavailable as error:
        print(f"scaimcp: {error.message}", file=sys.stderr)
        return 1


async def _rotated(database: Database, keys: LocalKeys, options: argparse.Namespace) -> int:
    pace = Pace(options.batch, options.max_per_second, options.dry_run)
    tally = await rotate(database, keys, AuditJournal(), pace)
    _show(tally, "would rotate" if pace.is_dry else "rotated")
    return _code(tally)


async def _checked(database: Database, keys: LocalKeys, options: argparse.Namespace) -> int:
    tally = await check(database, keys, AuditJournal())
    _show(tally, "opened")
    # A damaged row needs no other key, but a check that met one has not passed.
    return _code(tally) or int(tally.corrupt.total() > 0)


def _code(tally: Tally) -> int:
    if tally.missing:
        return EXIT_KEY_MISSING
    return EXIT_ROWS_REMAIN if tally.remaining.total() else 0


def _show(tally: Tally, done: str) -> None:
    """Print counts per key id, and nothing that tells whose they are."""
    ids = sorted({*tally.done, *tally.missing, *tally.corrupt, *tally.remaining, tally.primary})
    print(f"{'KEY':32} {done.upper():>12} {'KEY MISSING':>12} {'CORRUPT':>12} {'REMAINING':>12}")
    for key_id in ids:
        columns = (tally.done, tally.missing, tally.corrupt, tally.remaining)
        counts = " ".join(f"{column[key_id]:>12}" for column in columns)
        print(f"{key_id:32} {counts}{'  primary' if key_id == tally.primary else ''}")
