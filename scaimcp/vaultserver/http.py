"""Streamable HTTP: ``POST /mcp``, where every request stands for itself. Spec: scaivault 4."""

from __future__ import annotations

from scaimcp.errors import ProtocolError
from scaimcp.gateway.view import DEFAULT_VIEW
from scaimcp.server.asgi import Receive, Scope
from scaimcp.server.dispatch import Inbound
from scaimcp.server.envelope import Message, is_batch, read_message
from scaimcp.server.exchange import Exchange
from scaimcp.server.headers import fold
from scaimcp.vaultserver.edge import Routes, body_of, busy
from scaimcp.vaultserver.places import BATCH, Places, is_call
from scaimcp.vaultserver.wiring import Parts, context_of

PATH = "/mcp"


class StreamableHttp:
    """Answers requests one by one."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._places = Places()
        self._is_ending = False

    def routes(self) -> Routes:
        """Return what is served where."""
        return {PATH: {"POST": self._post}}

    def drain(self) -> None:
        """Take no new calls, end long streams."""
        self._is_ending = True
        self._parts.subscriptions.close()

    async def _post(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        body = await body_of(scope, receive)
        if not is_call(_method(body)):
            await self._answer(exchange, scope, receive, body)
            return
        if self._is_ending or not await self._places.take():
            raise busy()
        try:
            await self._answer(exchange, scope, receive, body)
        finally:
            self._places.give_back()

    async def _answer(
        self, exchange: Exchange, scope: Scope, receive: Receive, body: bytes
    ) -> None:
        headers, repeated = fold(scope["headers"])
        request = Inbound(
            exchange, receive, headers, repeated, PATH, DEFAULT_VIEW, context_of(exchange)
        )
        await self._parts.dispatcher.handle(request, body)


def _method(body: bytes) -> str:
    """Return the method of a request, "" where it has none that could be read."""
    if is_batch(body):
        return BATCH
    try:
        message = read_message(body)
    except ProtocolError:
        message = Message()
    return message.method if isinstance(message.method, str) and message.id else ""
