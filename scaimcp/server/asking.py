"""Questions to the users of handshake clients, on the stream of the request that is running.

The question goes out as a request of ours; the client answers with a POST of its own, which finds
the question by caller, session and id in this process. An answer that finds none has no effect.
Spec: MCP 2025-06-18 and 2025-11-25, Elicitation; remote-servers 8 (elicitation).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec

from scaimcp.deadline import Deadline
from scaimcp.ids import random_id
from scaimcp.remotes.calls.holding import HOLD_SECONDS
from scaimcp.server.envelope import Message, encode
from scaimcp.server.exchange import Exchange
from scaimcp.types import Caller, Reply

_WITHDRAW_SECONDS = 1.0
_MALFORMED = Reply(error=b'{"code":-32603,"message":"The client\'s answer is malformed"}')
_decode_id = msgspec.json.Decoder(str).decode

Key = tuple[bytes, bytes, str]


class Questions:
    """The questions of this process that handshake clients have not answered yet.

    Args:
        seconds: how long one question waits for its answer.
    """

    def __init__(self, seconds: float = HOLD_SECONDS) -> None:
        self.seconds = seconds
        self._open: dict[Key, asyncio.Future[Reply | None]] = {}
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._open)

    def answered(self, caller: Caller, session: bytes | None, message: Message) -> None:
        """Take a client's answer; one that belongs to no question here has no effect."""
        if session is None or not message.id:
            return
        try:
            number = _decode_id(message.id)
        except msgspec.DecodeError:
            return
        waiting = self._open.get((caller.key, session, number))
        if waiting is not None and not waiting.done():
            waiting.set_result(_reply(message))

    def close(self) -> None:
        """Wait for no answer any more: the process takes no new connections."""
        self._is_closed = True
        for waiting in self._open.values():
            if not waiting.done():
                waiting.set_result(None)

    async def wait(self, exchange: Exchange, key: Key, params: bytes) -> Reply | None:
        """Send a question on the stream of `exchange` and wait for its answer.

        Returns:
            The answer; None when none came in time, or the gateway is shutting down.
        """
        if self._is_closed:
            return None
        number = encode(key[2])
        waiting: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        self._open[key] = waiting
        try:
            with Deadline(self.seconds):
                await exchange.event(
                    b'{"jsonrpc":"2.0","id":%b,"method":"elicitation/create","params":%b}'
                    % (number, params)
                )
                return await waiting
        except TimeoutError:
            await _withdraw(exchange, key[2])
            return None
        except asyncio.CancelledError:
            await _withdraw(exchange, key[2])
            raise
        finally:
            del self._open[key]


async def _withdraw(exchange: Exchange, number: str) -> None:
    """Tell the client that its user need not answer any more."""
    params = {"requestId": number, "reason": "No answer is needed any more."}
    with suppress(TimeoutError), Deadline(_WITHDRAW_SECONDS):
        await exchange.notify("notifications/cancelled", params)


class ClientAsker:
    """Asks the user of one running request.

    Args:
        questions: of this process.
        exchange: the request's answer, which becomes a stream.
        caller: who may answer.
        session: the sealed session, as the client sent it.
        modes: kinds of question that the client can show.
    """

    __slots__ = ("_caller", "_exchange", "_questions", "_session", "modes")

    def __init__(
        self,
        questions: Questions,
        exchange: Exchange,
        caller: Caller,
        session: bytes,
        modes: frozenset[str],
    ) -> None:
        self._questions = questions
        self._exchange = exchange
        self._caller = caller
        self._session = session
        self.modes = modes

    async def ask(self, params: bytes) -> Reply | None:
        """Ask one question; None when nobody answers it."""
        key = (self._caller.key, self._session, random_id("ask_"))
        return await self._questions.wait(self._exchange, key, params)


def _reply(message: Message) -> Reply:
    result, error = bytes(message.result).lstrip(), bytes(message.error).lstrip()
    if error.startswith(b"{"):
        return Reply(error=error)
    return Reply(result) if result.startswith(b"{") else _MALFORMED
