"""An ASGI request without a server: what is received is scripted, what is sent is kept."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import msgspec

Message = MutableMapping[str, Any]
DISCONNECT: Message = {"type": "http.disconnect"}


class Channel:
    """`receive` gives the scripted messages and then waits until `leave` is called."""

    def __init__(self, *messages: Message) -> None:
        self.sent: list[Message] = []
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self._messages.put_nowait(message)

    async def receive(self) -> Message:
        return await self._messages.get()

    async def send(self, message: Message) -> None:
        await asyncio.sleep(0)
        self.sent.append(message)

    def leave(self) -> None:
        self._messages.put_nowait(DISCONNECT)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def events(self) -> list[Any]:
        """The messages of a stream, without comments."""
        lines = self.body.decode().split("\n")
        return [msgspec.json.decode(line[6:]) for line in lines if line.startswith("data: ")]

    @property
    def is_ended(self) -> bool:
        return not self.sent[-1].get("more_body", False)


def chunk(body: bytes, *, is_last: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": not is_last}
