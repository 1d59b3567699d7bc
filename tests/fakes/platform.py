"""A platform without a network: answers requests from a table and remembers them.

Bodies go through the real envelope reader, so that failures are those of the real client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from scaimcp.errors import ToolError
from scaimcp.scaigrid.client import PlatformAnswer, PlatformClient, PlatformRequest, Trace
from scaimcp.scaigrid.envelope import failure, is_error, read_envelope, unavailable
from scaimcp.types import Secret


@dataclass(frozen=True)
class Reply:
    """One answer as it comes over the wire; `body` bytes as they are, else encoded."""

    status: int = 200
    body: Any = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def raw(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return b"" if self.body is None else msgspec.json.encode(self.body)


def data(value: Any, **beside: Any) -> Reply:
    """Return a success envelope around `value`."""
    return Reply(body={"status": "ok", "data": value, "meta": {"request_id": "req_p"}, **beside})


def refusal(status: int, code: str, message: str = "No.", **more: Any) -> Reply:
    """Return an error envelope."""
    return Reply(status, {"status": "error", "error": {"code": code, "message": message, **more}})


DOWN = unavailable("The connection to the platform failed.")
Scripted = Reply | ToolError


class FakePlatform(PlatformClient):
    """Answers by ``"GET /path"``; the last answer of a route is repeated.

    ``calls`` holds what arrived with the bearer it came with. `is_slow` lets others run before
    an answer.
    """

    def __init__(
        self, routes: Mapping[str, Scripted] | None = None, *, is_slow: bool = False
    ) -> None:
        self.is_slow = is_slow
        self._routes: dict[str, list[Scripted]] = {}
        self.calls: list[tuple[PlatformRequest, str]] = []
        for route, answer in (routes or {}).items():
            self.on(route, answer)

    def on(self, route: str, *answers: Scripted) -> None:
        """Set what a route answers from now on, one after the other."""
        self._routes[route] = list(answers)

    def seen(self, route: str) -> list[PlatformRequest]:
        """Return the requests that arrived at a route."""
        return [call for call, _ in self.calls if f"{call.method} {call.path}" == route]

    async def request(
        self, request: PlatformRequest, bearer: Secret | None, trace: Trace
    ) -> PlatformAnswer:
        self.calls.append((request, bearer.reveal() if bearer is not None else ""))
        script = self._routes.get(f"{request.method} {request.path}")
        if script is None:
            raise failure(404, None, {})
        answer = script.pop(0) if len(script) > 1 else script[0]
        if self.is_slow:
            await asyncio.sleep(0)
        if isinstance(answer, ToolError):
            raise answer
        return to_answer(answer, is_raw=request.is_raw)


def to_answer(reply: Reply, *, is_raw: bool = False) -> PlatformAnswer:
    """Read a reply as the client does."""
    raw = reply.raw
    if reply.status < 400 and (is_raw or not raw):
        return PlatformAnswer(reply.status, reply.content_type, raw)
    envelope = read_envelope(raw)
    if envelope is None or is_error(reply.status, envelope):
        raise failure(reply.status, envelope, reply.headers)
    return PlatformAnswer(reply.status, reply.content_type, raw, envelope)
