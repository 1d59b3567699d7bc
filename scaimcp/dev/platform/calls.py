"""The log of the last requests. Spec: scaigrid 12 (control surface).

Beyond the contract: the body, so that tests see what was sent; a long one is left out.
"""

import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

import msgspec

from scaimcp.dev.platform.errors import PlatformError
from scaimcp.dev.platform.forms import Part, parse_form

KEPT = 10_000
BODY_BYTES = 64 * 1024


class LoggedCall(NamedTuple):
    """One request as it came, and the status it got; 0 where the connection was dropped.

    ``body`` is b"" without one, and where it was longer than 64 KiB.
    """

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    status: int
    body: bytes = b""


class BodyRecorder:
    """Passes a request's messages on and keeps its body as it goes by."""

    def __init__(self, receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
        self._receive = receive
        self._body: bytes | None = b""

    async def __call__(self) -> MutableMapping[str, Any]:
        """Return the next message."""
        message = await self._receive()
        if self._body is not None:
            whole = self._body + message.get("body", b"")
            self._body = whole if len(whole) <= BODY_BYTES else None
        return message

    @property
    def body(self) -> bytes:
        """What was read of the body; b"" once it is too long to keep."""
        return self._body or b""


class CallLog:
    """The last 10,000 requests outside the control surface."""

    def __init__(self) -> None:
        self._calls: deque[LoggedCall] = deque(maxlen=KEPT)

    def add(self, call: LoggedCall) -> None:
        """Log one request."""
        self._calls.append(call)

    def clear(self) -> None:
        """Forget all of them."""
        self._calls.clear()

    def read(self, path_prefix: str = "", method: str = "") -> list[dict[str, object]]:
        """Return them, oldest first, with every bearer hashed."""
        return [
            {
                "method": call.method,
                "path": call.path,
                "headers": dict(_shown(call.headers)),
                "status": call.status,
                "body": _read_body(call),
            }
            for call in self._calls
            if call.path.startswith(path_prefix) and method in ("", call.method)
        ]


def _shown(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[str, str]]:
    for name, value in headers:
        text = value.decode("latin-1")
        if name == b"authorization":
            text = "sha256:" + hashlib.sha256(text.partition(" ")[2].strip().encode()).hexdigest()
        yield name.decode("latin-1"), text


def _read_body(call: LoggedCall) -> Any:
    """Return JSON decoded, a form by field (files as name, type, size), None without a body."""
    if not call.body:
        return None
    kind = dict(call.headers).get(b"content-type", b"").decode("latin-1")
    try:
        if kind.startswith("multipart/"):
            form = parse_form(kind, call.body)
            return {name: [_field(value) for value in values] for name, values in form.items()}
        return msgspec.json.decode(call.body)
    except (msgspec.DecodeError, PlatformError):
        return call.body.decode("latin-1")


def _field(value: str | Part) -> object:
    if isinstance(value, str):
        return value
    return {
        "filename": value.filename,
        "content_type": value.content_type,
        "size_bytes": len(value.content),
    }
