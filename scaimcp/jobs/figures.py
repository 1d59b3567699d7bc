"""Measure what the database holds, for the metrics. Spec: remote-servers 10.

Every worker measures for itself and all the time: a job that one of several workers takes would
leave the others with old figures.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from scaimcp.jobs.figures_store import read_figures
from scaimcp.postgres import Database, DatabaseUnavailable
from scaimcp.remotes.enumerations import CapabilityState, Kind, Status
from scaimcp.telemetry.logs import get_logger
from scaimcp.telemetry.stored import (
    CAPABILITIES,
    CREDENTIAL_OLDEST,
    CREDENTIALS,
    DISCOVERY_OVERDUE,
    SERVERS,
    Counts,
)

INTERVAL_SECONDS = 60.0
_log = get_logger("scaimcp.jobs")


class Measurer:
    """Sets the gauges; every status, kind and state is shown from the start."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._servers = Counts(SERVERS, [(status.value,) for status in Status])
        pairs = itertools.product(Kind, CapabilityState)
        self._capabilities = Counts(
            CAPABILITIES, [(kind.value, state.value) for kind, state in pairs]
        )
        self._credentials = Counts(CREDENTIALS)

    async def measure(self) -> None:
        """Read the figures once and show them.

        Raises:
            DatabaseUnavailable: the gauges stay as they are.
        """
        async with self._database.transaction() as connection:
            figures = await read_figures(connection)
        self._servers.set(figures.servers)
        self._capabilities.set(figures.capabilities)
        self._credentials.set(figures.credentials)
        CREDENTIAL_OLDEST.set(figures.credential_oldest)
        DISCOVERY_OVERDUE.set(figures.discovery_overdue)

    async def run(self, seconds: float = INTERVAL_SECONDS) -> None:
        """Measure every so many seconds until cancelled."""
        while True:
            try:
                await self.measure()
            except DatabaseUnavailable as error:
                _log.warning("figures not measured", reason=error.message)
            await asyncio.sleep(seconds)


@asynccontextmanager
async def measuring(database: Database) -> AsyncIterator[None]:
    """Measure as long as the block runs."""
    work = Measurer(database).run()
    task = asyncio.get_running_loop().create_task(work, name="figures")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
