"""Keep calls from a server that cannot be reached. In memory, per process.

Five transport failures in a row within 30 s open the circuit for 10 s; then one trial call
decides. Deadlines do not count: one slow tool must not close the others. Spec: remote-servers 5.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

from scaimcp.telemetry.logs import get_logger
from scaimcp.upstream.errors import (
    CircuitOpenError,
    PoolExhaustedError,
    RemoteBusyError,
    UpstreamError,
    UpstreamTimeout,
)

FAILURES = 5
WINDOW_SECONDS = 30.0
OPEN_SECONDS = 10.0
# What says nothing about the server: the circuit stays as it is.
_NEUTRAL = (UpstreamTimeout, RemoteBusyError, PoolExhaustedError, CircuitOpenError)

_log = get_logger("scaimcp.upstream")


class _Circuit:
    __slots__ = ("failed_at", "is_trying", "open_until")

    def __init__(self) -> None:
        self.failed_at: deque[float] = deque(maxlen=FAILURES)
        self.open_until: float | None = None
        self.is_trying = False


class Breaker:
    """The circuits of all servers; one exists only where something failed lately.

    For use around one call: ``with breaker.guard(server_id): …``.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._circuits: dict[str, _Circuit] = {}

    def guard(self, server_id: str) -> _Guard:
        """Return a block that refuses the call while the circuit is open, and learns from it.

        Raises (on entering):
            CircuitOpenError: open, or the one trial call is still running.
        """
        return _Guard(self, server_id)

    def open_servers(self) -> int:
        """Count the circuits that are open, those of `trying_servers` included."""
        return sum([circuit.open_until is not None for circuit in self._circuits.values()])

    def trying_servers(self) -> int:
        """Count the open circuits that would let a trial call through, or wait for one."""
        now = self._monotonic()
        opens = [circuit.open_until for circuit in self._circuits.values()]
        return sum([at is not None and at <= now for at in opens])

    def forget(self, server_id: str) -> None:
        """Start afresh with a server, as after a change of its configuration."""
        self._circuits.pop(server_id, None)

    def admit(self, server_id: str) -> bool:
        """Let a call through; True for the trial call.

        Raises:
            CircuitOpenError: not now.
        """
        circuit = self._circuits.get(server_id)
        if circuit is None or circuit.open_until is None:
            return False
        left = circuit.open_until - self._monotonic()
        if left > 0 or circuit.is_trying:
            raise CircuitOpenError(
                "The server could not be reached lately; calls to it pause.",
                retry_after=max(1, math.ceil(left)),
            )
        circuit.is_trying = True
        return True

    def learn(self, server_id: str, error: BaseException | None, *, is_trial: bool) -> None:
        """Take in how a call ended; None is a success."""
        if error is None or (isinstance(error, UpstreamError) and _shows_life(error)):
            self._circuits.pop(server_id, None)
        elif isinstance(error, UpstreamError) and error.is_transport:
            circuit = self._circuits.setdefault(server_id, _Circuit())
            was_open = circuit.open_until is not None
            self._fail(circuit, is_trial=is_trial)
            if circuit.open_until is not None and (is_trial or not was_open):
                _log.warning("remote_breaker_opened", server_id=server_id, outcome=error.code)
        elif is_trial and (trying := self._circuits.get(server_id)) is not None:
            trying.is_trying = False

    def _fail(self, circuit: _Circuit, *, is_trial: bool) -> None:
        now = self._monotonic()
        circuit.failed_at.append(now)
        if is_trial:
            circuit.is_trying = False
            circuit.open_until = now + OPEN_SECONDS
        elif circuit.open_until is None:
            is_full = len(circuit.failed_at) == FAILURES
            if is_full and now - circuit.failed_at[0] <= WINDOW_SECONDS:
                circuit.open_until = now + OPEN_SECONDS


def _shows_life(error: UpstreamError) -> bool:
    return not error.is_transport and not isinstance(error, _NEUTRAL)


class _Guard:
    __slots__ = ("_breaker", "_is_trial", "_server_id")

    def __init__(self, breaker: Breaker, server_id: str) -> None:
        self._breaker = breaker
        self._server_id = server_id

    def __enter__(self) -> None:
        self._is_trial = self._breaker.admit(self._server_id)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._breaker.learn(self._server_id, error, is_trial=self._is_trial)
