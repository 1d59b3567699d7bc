"""One tool call under way: what its steps and the special procedures work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from scaimcp.scaivault.answers import shape_mismatch
from scaimcp.scaivault.cursors import Cursors, Position
from scaimcp.scaivault.guards import Guards
from scaimcp.scaivault.lists import Reader, Row
from scaimcp.scaivault.records import ToolRecord
from scaimcp.scaivault.requests import VaultRequest, request_of
from scaimcp.scaivault.session import Session
from scaimcp.scaivault.timing import Timing

Result = dict[str, Any]
Pairs = tuple[tuple[str, str], ...]


class Job(msgspec.Struct, kw_only=True):
    """One call.

    Args:
        record: the tool.
        arguments: complete ones.
        guards: what holds.
        session: the way to ScaiVault.
        timing: clocks and waiting.
        window: prefixes that a listing may ask for; ("",) without one.
        position: where a listing goes on.
        bound: what the cursors of this listing are bound to.
        cursors: seals them.
        limit: rows that a listing returns at most; less than asked for after a result that was
            too long.
        passed: rows of the page that was read last, all of which the guards let through.
    """

    record: ToolRecord
    arguments: dict[str, Any]
    guards: Guards
    session: Session
    timing: Timing
    cursors: Cursors
    window: tuple[str, ...] = ("",)
    position: Position = Position()
    bound: bytes = b""
    limit: int = 0
    passed: list[Row] | None = None

    def reader(self, further: Pairs = (), **replaced: Any) -> Reader:
        """Return the reader of this tool's list.

        Args:
            further: members of the query that are no arguments.
            replaced: arguments in place of the call's own.
        """

        async def ask(own: Mapping[str, Any], numbered: Pairs) -> Any:
            request = request_of(self.record, {**self.arguments, **replaced, **own})
            added = (*further, *numbered)
            cursor = own.get("cursor")
            if cursor and "cursor" not in self.record.route.query:
                added = (*added, ("cursor", cursor))
            request = msgspec.structs.replace(request, query=(*request.query, *added))
            answer = await self.session.ask(self.record, request)
            if isinstance(answer, dict) and "{path}" in self.record.route.path:
                return echoed(answer, self.arguments["path"])
            return answer

        return Reader(self.record, self.guards, self.window, ask)

    async def page(self, **replaced: Any) -> Result:
        """Return one page of this tool's list, with some arguments replaced."""
        rows, here = await self.reader(**replaced).fill(self.position, self.limit)
        self.passed = rows
        result: Result = {"items": rows, "has_more": here is not None}
        sealed = None if here is None else self.cursors.seal(here, self.bound)
        return result if sealed is None else {**result, "next_cursor": sealed}

    async def fetch(self, request: VaultRequest | None = None) -> Result:
        """Return the object that a request gives, by default this tool's own request."""
        return await self.session.ask_object(
            self.record, request or request_of(self.record, self.arguments)
        )

    async def text(self, request: VaultRequest) -> bytes:
        """Return the body of an answer that may be JSON or not."""
        return (await self.session.send(self.record, request)).body


Procedure = Callable[[Job], Awaitable[Result]]
"""Does what one plain request cannot; returns the result before guards and masking."""


def echoed(result: Row, path: str) -> Row:
    """Return an object that ScaiVault has sent for a path, with this path.

    Raises:
        UpstreamFailure: UPSTREAM_SHAPE_MISMATCH; it is the object of another path.
    """
    if result.get("path", path) != path:
        raise shape_mismatch()
    return {"path": path, **result}
