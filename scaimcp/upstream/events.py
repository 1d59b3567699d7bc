"""Read ``text/event-stream`` piece by piece, with limits. Pure.

Spec: WHATWG HTML, Server-sent events; remote-servers 5 (sizes).
"""

from __future__ import annotations

from typing import NamedTuple

from scaimcp.upstream.errors import too_large

EVENT_BYTES = 8 * 1024 * 1024
STREAM_BYTES = 32 * 1024 * 1024
# Without it a stream of empty lines would cost minutes of CPU before it reaches its size.
STREAM_LINES = 200_000
_BOM = b"\xef\xbb\xbf"
_ENDS = (b"\n", b"\r")


class Event(NamedTuple):
    """One event: its type (``message`` by default) and its data."""

    kind: str
    data: bytes


class EventReader:
    """Turns chunks of a stream into events; what is unfinished at the end does not count.

    Args:
        event_bytes: most bytes of one event.
        stream_bytes: most bytes of the stream since `restart`.
    """

    __slots__ = (
        "_after_cr",
        "_data",
        "_event_bytes",
        "_held",
        "_is_first",
        "_kind",
        "_lines",
        "_seen",
        "_stream_bytes",
        "_tail",
    )

    def __init__(self, event_bytes: int = EVENT_BYTES, stream_bytes: int = STREAM_BYTES) -> None:
        self._event_bytes = event_bytes
        self._stream_bytes = stream_bytes
        self._seen = 0
        self._lines = 0
        self._held = 0
        self._kind = ""
        self._data: list[bytes] = []
        self._tail: list[bytes] = []
        self._after_cr = False
        self._is_first = True

    def restart(self) -> None:
        """Count the bytes of the stream from here: for streams that outlive one request."""
        self._seen = 0
        self._lines = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that `chunk` completes.

        Raises:
            ResponseTooLargeError: an event or the stream is over its limit.
        """
        if not chunk:
            return []
        self._seen += len(chunk)
        if self._seen > self._stream_bytes:
            raise too_large(f"more than {self._stream_bytes} bytes of events")
        if self._after_cr:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        events: list[Event] = []
        lines = chunk.splitlines(keepends=True)
        self._lines += len(lines)
        if self._lines > STREAM_LINES:
            raise too_large(f"more than {STREAM_LINES} lines of events")
        for line in lines:
            self._held += len(line)
            if self._held > self._event_bytes:
                raise too_large(f"an event of more than {self._event_bytes} bytes")
            if not line.endswith(_ENDS):
                self._tail.append(line)
            else:
                self._take(line, events)
        self._after_cr = chunk.endswith(b"\r")
        return events

    def _take(self, line: bytes, events: list[Event]) -> None:
        if self._tail:
            line = b"".join((*self._tail, line))
            self._tail.clear()
        line = line.rstrip(b"\r\n")
        if self._is_first:
            self._is_first = False
            line = line.removeprefix(_BOM)
        if not line:
            # An event without data says nothing; servers that can resume begin with one.
            if any(self._data):
                events.append(Event(self._kind or "message", b"\n".join(self._data)))
            self._data = []
            self._kind = ""
            self._held = 0
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._kind = value.decode(errors="replace")
