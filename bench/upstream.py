"""A platform that costs next to nothing: it answers the paths of the bench from memory.

``python -m bench.upstream --ready-file F`` listens on a free loopback port and writes its URL
into the file. ``GET /counts``
tells how often each path was asked since the last time, so that the bench can show how many
requests one call costs the platform.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from bench.answers import BEARER, Prepared, guarded, public, refused
from bench.light import main

_HEAD = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nx-request-id: %b\r\ncontent-length: %d"
_OK, _UNAUTHORIZED, _NOT_FOUND = b"200 OK", b"401 Unauthorized", b"404 Not Found"
_NO_ID = b"req_00000000000000000000000000"
_COUNTS = b"/counts"


class Site:
    """What every connection shares: the answers and the counts."""

    def __init__(self, origin: str) -> None:
        self.counts: Counter[str] = Counter()
        self._public = public(origin)
        self._guarded = guarded()
        self._authorization = b"Bearer " + BEARER.encode()
        self._unauthorized = refused("AUTH_TOKEN_INVALID", "The token is not known.")
        self._not_found = refused("NOT_FOUND", "There is no such path.")

    def answer(self, path: bytes, authorization: bytes, request_id: bytes, _: bytes) -> bytes:
        """Return a whole HTTP answer; a query is ignored, and so is a body."""
        path = path.partition(b"?")[0]
        request_id = request_id or _NO_ID
        if path == _COUNTS:
            body = msgspec.json.encode(dict(self.counts))
            self.counts.clear()
            return response(_OK, body, request_id)
        self.counts[path.decode("latin-1")] += 1
        status, found = self._find(path, authorization)
        return response(status, found.body(request_id), request_id)

    def _find(self, path: bytes, authorization: bytes) -> tuple[bytes, Prepared]:
        found = self._public.get(path)
        if found is not None:
            return _OK, found
        if authorization != self._authorization:
            return _UNAUTHORIZED, self._unauthorized
        found = self._guarded.get(path)
        return (_OK, found) if found is not None else (_NOT_FOUND, self._not_found)


def response(status: bytes, body: bytes, request_id: bytes) -> bytes:
    """Join an HTTP answer."""
    return b"%b\r\n\r\n%b" % (_HEAD % (status, request_id, len(body)), body)


if __name__ == "__main__":
    main(Site, __doc__)
