"""Sessions of the handshake era, kept open and shared within one user. In memory, per process.

Each session is opened and closed by one owning task. Servers of 2026-07-28 need no pool.
Spec: remote-servers 8 (session pool).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import msgspec

from scaimcp.errors import GatewayError
from scaimcp.telemetry.logs import get_logger
from scaimcp.telemetry.metrics import REMOTE_SESSION_RESTARTS
from scaimcp.upstream.client import CLOSE_SECONDS
from scaimcp.upstream.errors import (
    ConnectError,
    PoolExhaustedError,
    ProtocolError,
    SessionUnknown,
    timed_out,
)
from scaimcp.upstream.opening import Opening, open_session
from scaimcp.upstream.request import Ask, Session, Target

MOST_SESSIONS = 256
CALLS_PER_SESSION = 8
IDLE_SECONDS = 300.0
AGE_SECONDS = 3_600.0
WAIT_SECONDS = 2.0
DRAIN_SECONDS = 5.0
EVERYBODY = "-"
_log = get_logger("scaimcp.upstream")


class SessionKey(msgspec.Struct, frozen=True):
    """Whose session: nobody else's calls may use it.

    Args:
        server_id: the registered server.
        credential_version: raised by every change of a credential.
        config_version: raised by every change of the configuration.
        user: the caller's user id.
        is_per_user: the user's id is forwarded, so no session serves two users. Without it a
            session is shared as long as the server gives it no id.
        modes: elicitation modes that the session declares, sorted: it serves only calls whose
            users can be asked in just these.
    """

    server_id: str
    credential_version: int
    config_version: int
    user: str
    is_per_user: bool = False
    modes: tuple[str, ...] = ()

    def shared(self) -> SessionKey:
        """Return the key of a session that everybody may use."""
        return msgspec.structs.replace(self, user=EVERYBODY)


class _Entry:
    """One session from the decision to open it until its owner has ended."""

    def __init__(self, key: SessionKey, now: float) -> None:
        self.key = key
        self.calls = 1
        self.born = now
        self.used = now
        self.ready: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        self.is_closing = False
        self.is_retired = False
        self.changed = asyncio.Event()

    @property
    def is_live(self) -> bool:
        """Opening, or open and able to take a call."""
        if self.is_closing or self.is_retired:
            return False
        if not self.ready.done():
            return True
        return self.ready.exception() is None and self.ready.result().is_usable

    def end(self) -> None:
        """Take no more calls; the owner closes the session when those that run are done."""
        self.is_closing = True
        self.changed.set()

    def fail(self, error: GatewayError) -> None:
        """Tell those who wait for the session why there is none."""
        if not self.ready.done():
            self.ready.set_exception(error)
            # Read, so that a failure that nobody waits for any more is not reported.
            self.ready.exception()


class SessionPool:
    """Opens, shares and closes sessions.

    Args:
        http: the guarded client.
        most: sessions in this process.
        idle_seconds: a session without calls is closed after this.
        age_seconds: a session takes no calls after this.
        wait_seconds: how long a call waits for a session that has a place.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        *,
        most: int = MOST_SESSIONS,
        idle_seconds: float = IDLE_SECONDS,
        age_seconds: float = AGE_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._http = http
        self._most = most
        self._idle_seconds = idle_seconds
        self._age_seconds = age_seconds
        self._wait_seconds = wait_seconds
        self._entries: dict[SessionKey, list[_Entry]] = {}
        self._owners: dict[asyncio.Task[None], _Entry] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._owners)

    @property
    def busy(self) -> int:
        """Sessions with a call running, for the metric."""
        return sum([entry.calls > 0 for entry in self._owners.values()])

    async def request(
        self, key: SessionKey, opening: Opening, target: Target, ask: Ask
    ) -> msgspec.Raw:
        """Send `ask` on a session for `key`, opening one where needed.

        Once, after the server has said that the session is unknown, a new session is opened and
        the request sent again: nothing had been carried out. ``Ask.seconds`` covers all of it.

        Raises:
            PoolExhaustedError: no session within two seconds.
            ProtocolError: the new session is unknown as well.
            UpstreamError: any other failure.
        """
        ends = time.monotonic() + ask.seconds
        try:
            async with self.lease(key, opening, ask.seconds) as session:
                return await session.request(target, ask)
        except SessionUnknown:
            left = ends - time.monotonic()
        if left <= 0:
            raise timed_out(ask.seconds)
        again = msgspec.structs.replace(ask, seconds=left)
        outcome = "failed"
        try:
            async with self.lease(key, opening, left) as session:
                result = await session.request(target, again)
                outcome = "ok"
                return result
        except SessionUnknown:
            raise ProtocolError("The server forgets its sessions at once.") from None
        finally:
            REMOTE_SESSION_RESTARTS.labels(outcome).inc()
            _log.info("remote_session_restarted", server_id=key.server_id, outcome=outcome)

    @asynccontextmanager
    async def lease(
        self, key: SessionKey, opening: Opening, seconds: float
    ) -> AsyncIterator[Session]:
        """Give a session for the block, one of at most eight users of it.

        Args:
            key: whose session.
            opening: how to open one.
            seconds: how long to wait for the handshake.

        Raises:
            PoolExhaustedError: no session within two seconds.
            UpstreamError: it could not be opened.
        """
        entry = self._taken(key, opening) or await self._waited(key, opening)
        try:
            if not entry.ready.done():
                await asyncio.wait((entry.ready,), timeout=seconds)
                if not entry.ready.done():
                    raise timed_out(seconds)
            yield entry.ready.result()
        except SessionUnknown:
            entry.end()
            raise
        finally:
            entry.calls -= 1
            entry.used = time.monotonic()
            entry.changed.set()
            self._wake()

    async def close(self, server_id: str | None = None) -> None:
        """Close the sessions of one server, or all: after rotation, changes, disabling.

        Running calls have five seconds to end, the server two for the DELETE.
        """
        owners = [
            owner
            for owner, entry in self._owners.items()
            if server_id is None or entry.key.server_id == server_id
        ]
        for owner in owners:
            self._owners[owner].end()
        if owners:
            _, late = await asyncio.wait(owners, timeout=DRAIN_SECONDS + 2 * CLOSE_SECONDS)
            for owner in late:
                owner.cancel()
            if late:
                await asyncio.wait(late)

    async def aclose(self) -> None:
        """Close everything and open nothing more."""
        self._is_closed = True
        await self.close()

    def _taken(self, key: SessionKey, opening: Opening) -> _Entry | None:
        """Take a place in an open session, the user's own first, or start one."""
        if self._is_closed:
            raise PoolExhaustedError("The gateway is shutting down.")
        # Over HTTP+SSE a question does not say which call it belongs to.
        most = 1 if key.modes and opening.transport == "sse" else CALLS_PER_SESSION
        for one in (key,) if key.is_per_user else (key, key.shared()):
            for entry in self._entries.get(one, ()):
                if entry.is_live and entry.calls < most:
                    entry.calls += 1
                    return entry
        if len(self._owners) >= self._most:
            self._evict()
            return None
        return self._started(key, opening)

    async def _waited(self, key: SessionKey, opening: Opening) -> _Entry:
        """Wait for a place.

        Raises:
            PoolExhaustedError: none in time.
        """
        ends = time.monotonic() + self._wait_seconds
        while (left := ends - time.monotonic()) > 0:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(turn)
            try:
                await asyncio.wait((turn,), timeout=left)
            finally:
                self._waiting.discard(turn)
            entry = self._taken(key, opening)
            if entry is not None:
                return entry
        raise PoolExhaustedError("No session with this server is free.")

    def _started(self, key: SessionKey, opening: Opening) -> _Entry:
        entry = _Entry(key, time.monotonic())
        self._entries.setdefault(key, []).append(entry)
        owner = asyncio.get_running_loop().create_task(
            self._own(entry, opening), name="upstream-session"
        )
        self._owners[owner] = entry
        owner.add_done_callback(self._ended)
        return entry

    def _evict(self) -> None:
        """Close the session that has been idle longest, one for each call that waits."""
        closing = sum([entry.is_closing for entry in self._owners.values()])
        idle = [e for e in self._owners.values() if not e.calls and not e.is_closing]
        if idle and closing <= len(self._waiting):
            min(idle, key=lambda entry: entry.used).end()

    async def _own(self, entry: _Entry, opening: Opening) -> None:
        """Open a session, keep it until it has served its time, and close it: all in one task."""
        try:
            async with open_session(self._http, opening) as session:
                if session.handshake.session_id is None and not entry.key.is_per_user:
                    self._refile(entry)
                entry.ready.set_result(session)
                await self._until_over(entry)
                await self._drained(entry)
        except GatewayError as error:
            entry.fail(error)
        finally:
            entry.fail(ConnectError("The session could not be opened."))
            self._unfile(entry)

    async def _until_over(self, entry: _Entry) -> None:
        """Wait until the session is to be closed, or is without calls and past its time."""
        retires = entry.born + self._age_seconds
        while not entry.is_closing:
            now = time.monotonic()
            entry.is_retired = now >= retires
            if entry.calls:
                wait = None if entry.is_retired else retires - now
            else:
                wait = min(retires, entry.used + self._idle_seconds) - now
                if wait <= 0 or not entry.is_live:
                    break
            await _changed(entry, wait)
        entry.is_closing = True

    async def _drained(self, entry: _Entry) -> None:
        """Give the calls that still run a moment to end."""
        ends = time.monotonic() + DRAIN_SECONDS
        while entry.calls and (left := ends - time.monotonic()) > 0:
            await _changed(entry, left)

    def _ended(self, owner: asyncio.Task[None]) -> None:
        del self._owners[owner]
        self._wake()

    def _wake(self) -> None:
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(None)

    def _refile(self, entry: _Entry) -> None:
        self._unfile(entry)
        entry.key = entry.key.shared()
        self._entries.setdefault(entry.key, []).append(entry)

    def _unfile(self, entry: _Entry) -> None:
        rows = self._entries.get(entry.key, [])
        if entry in rows:
            rows.remove(entry)
        if not rows:
            self._entries.pop(entry.key, None)


async def _changed(entry: _Entry, seconds: float | None) -> None:
    """Wait until something happens to the session, at most this long; None waits for ever."""
    entry.changed.clear()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await entry.changed.wait()
