"""The log of the last requests. Spec: scaigrid 12 (control surface)."""

import hashlib
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

KEPT = 10_000


class LoggedCall(NamedTuple):
    """One request as it came, and the status it got; 0 where the connection was dropped."""

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    status: int


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
