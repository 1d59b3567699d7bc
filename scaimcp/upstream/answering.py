"""Answer what a server asks while it works on one request of ours.

Answers are worked out beside the reading of the server's stream, so that its progress, its result
and its end are noticed while somebody thinks. Made with a request's first question only.
Spec: MCP 2025-06-18 and 2025-11-25, Elicitation; remote-servers 8 (elicitation).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from scaimcp.deadline import Deadline
from scaimcp.errors import GatewayError
from scaimcp.upstream.request import Listener, QuestionRefused
from scaimcp.upstream.wire import Message, answer_bytes, error_bytes

ELICITATION = "elicitation/create"
# Questions of one request that are open at the same time.
MOST_OPEN = 8
_POST_SECONDS = 2.0
_TOO_MANY = b'{"code":-32603,"message":"Too many questions are open"}'

Post = Callable[[bytes], Awaitable[None]]
"""Sends an answer to the server."""
Failed = Callable[[GatewayError], None]
"""Gives the request up; called at most once, and not after `Answering.end` has begun."""


class Answering:
    """The open questions of one request.

    Args:
        listener: knows the answers.
        deadline: of the request; it stands still while a question is open.
        post: sends answers.
        failed: hears why there will be no answer.
    """

    __slots__ = ("_asking", "_deadline", "_failed", "_is_over", "_listener", "_post", "_tasks")

    def __init__(self, listener: Listener, deadline: Deadline, post: Post, failed: Failed) -> None:
        self._listener = listener
        self._deadline = deadline
        self._post = post
        self._failed = failed
        self._is_over = False
        self._asking: set[asyncio.Task[None] | None] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, message: Message) -> None:
        """Begin to answer a question; after the end there is nobody to answer it."""
        if self._is_over:
            return
        task = asyncio.get_running_loop().create_task(self._answer(message), name="question")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Stop answering: the request is over. What is being sent may still arrive."""
        self._is_over = True
        for task in self._asking:
            if task is not None:
                task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(tuple(self._tasks), timeout=_POST_SECONDS)
            for task in late:
                task.cancel()

    async def _answer(self, message: Message) -> None:
        try:
            await self._post(await self._worked_out(message))
        except GatewayError as error:
            if not self._is_over:
                self._is_over = True
                self._failed(error)

    async def _worked_out(self, message: Message) -> bytes:
        number = bytes(message.id)
        if len(self._asking) >= MOST_OPEN:
            return error_bytes(number, _TOO_MANY)
        if not self._asking:
            self._deadline.pause()
        task = asyncio.current_task()
        self._asking.add(task)
        try:
            result = await self._listener.asked(ELICITATION, bytes(message.params))
        except QuestionRefused as refused:
            return error_bytes(number, refused.error)
        finally:
            self._asking.discard(task)
            if not self._asking:
                self._deadline.resume()
        return answer_bytes(number, result)
