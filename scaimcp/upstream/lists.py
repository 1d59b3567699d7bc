"""Read a server's lists page by page, within limits.

Spec: remote-servers 5 (sizes, deadlines), 6 (lists).
"""

from __future__ import annotations

import msgspec

from scaimcp.upstream.errors import (
    McpError,
    PaginationLoopError,
    ProtocolError,
    too_large,
)
from scaimcp.upstream.opening import once_more
from scaimcp.upstream.request import Ask, Opener, Session
from scaimcp.upstream.wire import METHOD_NOT_FOUND, PAGE_BYTES, PAGE_DEPTH, encode

PAGE_SECONDS = 10.0
DISCOVERY_BYTES = 16 * 1024 * 1024
MOST_PAGES = 50


class ListKind(msgspec.Struct, frozen=True):
    """One kind of definition: how it is listed and how many are kept."""

    method: str
    member: str
    capability: str
    most: int


KINDS = {
    "tool": ListKind("tools/list", "tools", "tools", 512),
    "resource": ListKind("resources/list", "resources", "resources", 2_000),
    "resource_template": ListKind(
        "resources/templates/list", "resourceTemplates", "resources", 200
    ),
    "prompt": ListKind("prompts/list", "prompts", "prompts", 256),
}


class Budget:
    """Bytes that all lists of one discovery may have together."""

    def __init__(self, most: int = DISCOVERY_BYTES) -> None:
        self.left = most

    def take(self, size: int) -> None:
        """Count one page.

        Raises:
            ResponseTooLargeError: nothing is left.
        """
        self.left -= size
        if self.left < 0:
            raise too_large("its lists together", was_sent=False)


class Listed(msgspec.Struct):
    """A list as the server gave it.

    Args:
        items: definitions, encoded, in the server's order.
        surplus: how many more there were beyond the limit of this kind.
        pages: pages read.
        is_cut: the server still had pages after the last one that was read.
    """

    items: list[msgspec.Raw] = msgspec.field(default_factory=list)
    surplus: int = 0
    pages: int = 0
    is_cut: bool = False

    @property
    def is_whole(self) -> bool:
        """False where definitions that count may stand on pages that were not read."""
        return not self.is_cut or self.surplus > 0


async def read_list(
    session: Session, opener: Opener, kind: str, budget: Budget | None = None
) -> Listed:
    """Read all pages of one list; empty where the server does not have it.

    Args:
        session: an open session.
        opener: where to go; asked once per page.
        kind: key of `KINDS`.
        budget: shared by the lists of one discovery.

    Raises:
        PaginationLoopError: a cursor came twice.
        UpstreamError: any other failure; nothing of the list counts.
    """
    rules = KINDS[kind]
    listed = Listed()
    if not session.handshake.has(rules.capability):
        return listed
    budget = budget or Budget()
    seen: set[str] = set()
    cursor = ""
    while listed.pages < MOST_PAGES:
        try:
            page = await _page(session, opener, rules, cursor)
        except McpError as error:
            if error.jsonrpc_code == METHOD_NOT_FOUND and not listed.pages:
                return listed
            raise
        budget.take(memoryview(page).nbytes)
        items, cursor = _read_page(page, rules.member)
        room = rules.most - len(listed.items)
        listed.items += items[:room]
        listed.surplus += len(items[room:])
        listed.pages += 1
        if not cursor:
            return listed
        if cursor in seen:
            raise PaginationLoopError("The server's list gives the same cursor twice.")
        seen.add(cursor)
    listed.is_cut = True
    return listed


async def _page(session: Session, opener: Opener, rules: ListKind, cursor: str) -> msgspec.Raw:
    params = b'{"cursor":%b}' % encode(cursor) if cursor else b"{}"
    ask = Ask(
        rules.method,
        params,
        seconds=PAGE_SECONDS,
        most_bytes=PAGE_BYTES,
        depth=PAGE_DEPTH,
        redirects=3,
    )

    async def request() -> msgspec.Raw:
        return await session.request(await opener(), ask)

    return await once_more(request)


def _read_page(page: msgspec.Raw, member: str) -> tuple[list[msgspec.Raw], str]:
    try:
        fields = _object(page)
        items = _array(fields.get(member, _NONE))
        cursor = _cursor(fields.get("nextCursor", _NULL))
    except msgspec.DecodeError:
        raise ProtocolError(f"The server's page of {member} is malformed.") from None
    return items, cursor or ""


_NONE = msgspec.Raw(b"[]")
_NULL = msgspec.Raw(b"null")
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_cursor = msgspec.json.Decoder(str | None).decode
