"""``notifications/progress`` of one request."""

from __future__ import annotations

from typing import Any

from scaimcp.server.exchange import Exchange


class Progress:
    """Sends progress on the answer's own stream; values only rise."""

    __slots__ = ("_exchange", "_has_own", "_last", "_token")

    def __init__(self, exchange: Exchange, token: int | str) -> None:
        self._exchange = exchange
        self._token = token
        self._last = 0.0
        self._has_own = False

    async def send(self, progress: float, total: float | None, message: str | None) -> None:
        """Pass on what the tool itself says."""
        self._has_own = True
        params: dict[str, Any] = {"progressToken": self._token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        await self._exchange.notify("notifications/progress", params)

    async def beat(self) -> None:
        """Tell a waiting client that the call still runs; the tool's own values come first."""
        if self._has_own:
            await self._exchange.keepalive()
            return
        self._last += 1
        params = {
            "progressToken": self._token,
            "progress": self._last,
            "message": "The platform is still working.",
        }
        await self._exchange.notify("notifications/progress", params)
