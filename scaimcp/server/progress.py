"""``notifications/progress`` of one request."""

from __future__ import annotations

from typing import Any

from scaimcp.server.exchange import Exchange

# Heartbeats count in thousandths, so that a tool's own values come out above them.
_BEATS_TO_ONE = 1_000


class Progress:
    """Sends progress on the answer's own stream; values only rise."""

    __slots__ = ("_beats", "_exchange", "_has_own", "_last", "_token")

    def __init__(self, exchange: Exchange, token: int | str) -> None:
        self._exchange = exchange
        self._token = token
        self._has_own = False
        self._beats = 0
        self._last: float | None = None

    async def send(self, progress: float, total: float | None, message: str | None) -> None:
        """Pass on what the tool itself says, unless its value does not rise."""
        self._has_own = True
        await self._rise(progress, total, message)

    async def beat(self) -> None:
        """Tell a waiting client that the call still runs; after own values a comment suffices."""
        if self._has_own:
            await self._exchange.keepalive()
            return
        self._beats += 1
        await self._rise(self._beats / _BEATS_TO_ONE, None, "The call is still running.")

    async def _rise(self, progress: float, total: float | None, message: str | None) -> None:
        if self._last is not None and progress <= self._last:
            return
        self._last = progress
        params: dict[str, Any] = {"progressToken": self._token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        await self._exchange.notify("notifications/progress", params)
