"""The methods of resources, prompts and completion. Spec: remote-servers 8; MCP."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

import msgspec
from msgspec import UNSET

from scaimcp.errors import InputNeeded, ProtocolError
from scaimcp.gateway.contents import Contents
from scaimcp.remotes.rules.naming import NameStyle
from scaimcp.server.call import Call, Cursors, stale_cursor
from scaimcp.server.dialogue import in_dialogue
from scaimcp.server.envelope import INVALID_PARAMS, RESOURCE_NOT_FOUND
from scaimcp.server.rendering import Page, Parts, Renderer, listed_array
from scaimcp.types import ContentKind, Listing, RequestContext

# Encoded pages kept: three kinds in a few revisions for the tenants of a busy moment.
_PAGES = 64
_REFERENCES = {"ref/prompt": "name", "ref/resource": "uri"}
_MCP_ERROR = "McpError"
# 2026-07-28 wants hints on whatever is read; sources that give none have not allowed any keeping.
_NOT_KEPT = {"ttlMs": msgspec.Raw(b"0"), "cacheScope": msgspec.Raw(b'"private"')}


class ContentMethods:
    """Answers what concerns resources and prompts.

    Args:
        contents: where they come from.
        renderer: encodes results.
        cursors: seals positions in lists.
        page_size: definitions a page.
    """

    def __init__(
        self, contents: Contents, renderer: Renderer, cursors: Cursors, page_size: int
    ) -> None:
        self._contents = contents
        self._renderer = renderer
        self._cursors = cursors
        self._page_size = page_size
        self._pages: OrderedDict[Any, Page] = OrderedDict()

    async def list(self, call: Call, kind: ContentKind) -> Parts:
        """Return one page of a list."""
        listing = await self._contents.listing(call.context, kind)
        style = call.style(self._renderer.name_style) if kind == "prompts" else "dotted"
        caller, cursor, start = call.context.caller, call.params.cursor, 0
        if isinstance(cursor, str):
            if not listing.items:
                raise stale_cursor()
            start = self._cursors.open(cursor, caller, _digest(kind, listing, style))
        page = self._page(call, listing, style, kind, start)
        if page.next_start is None:
            return page.result(call.context.request_id)
        digest = _digest(kind, listing, style)
        return page.result(
            call.context.request_id, self._cursors.seal(caller, digest, page.next_start)
        )

    def _page(
        self, call: Call, listing: Listing, style: NameStyle, kind: ContentKind, start: int
    ) -> Page:
        key = (listing.identity, kind, call.revision.name, style, start)
        page = self._pages.get(key)
        if page is None:
            end = start + self._page_size
            array = listed_array(listing.items[start:end], call.revision, style)
            following = end if end < len(listing.items) else None
            page = self._renderer.page(kind, array, call.revision, following, listing)
            self._pages[key] = page
            while len(self._pages) > _PAGES:
                self._pages.popitem(last=False)
        return page

    async def read(self, call: Call) -> Parts:
        """Read one resource."""
        uri = call.params.uri
        if uri is UNSET:
            raise ProtocolError(INVALID_PARAMS, "params.uri is required")
        not_found = INVALID_PARAMS if call.revision.is_modern else RESOURCE_NOT_FOUND
        try:
            result = await self._contents.read(_context(call), uri)
        except InputNeeded as needed:
            return self._renderer.input_required(needed, call.context.request_id)
        except ProtocolError as error:
            if error.number == INVALID_PARAMS and error.code == _MCP_ERROR:
                error.number = not_found
            raise
        if result is None:
            raise ProtocolError(not_found, "Resource not found", data={"uri": uri[:512]})
        if result.fields is not None:
            result = msgspec.structs.replace(result, fields={**_NOT_KEPT, **result.fields})
        return self._renderer.call_result(result, call.context.request_id, call.revision)

    async def prompt(self, call: Call) -> Parts:
        """Get one prompt."""
        if call.params.name is UNSET:
            raise ProtocolError(INVALID_PARAMS, "params.name is required")
        arguments = bytes(call.params.arguments)
        try:
            result = await self._contents.prompt(_context(call), call.params.name, arguments)
        except InputNeeded as needed:
            return self._renderer.input_required(needed, call.context.request_id)
        if result is None:
            raise ProtocolError(INVALID_PARAMS, "There is no such prompt.")
        return self._renderer.call_result(result, call.context.request_id, call.revision)

    async def complete(self, call: Call) -> Parts:
        """Complete an argument; what nobody can complete has no suggestions."""
        reference, argument = call.params.ref, call.params.argument
        if reference is UNSET or argument is UNSET:
            raise ProtocolError(INVALID_PARAMS, "params.ref and params.argument are required")
        if not isinstance(argument.get("name"), str) or not isinstance(argument.get("value"), str):
            raise ProtocolError(INVALID_PARAMS, "params.argument needs name and value")
        named = _REFERENCES.get(str(reference.get("type")))
        if named is None or not isinstance(reference.get(named), str):
            raise ProtocolError(INVALID_PARAMS, "params.ref names neither prompt nor resource")
        params = {"argument": msgspec.Raw(msgspec.json.encode(argument))}
        if call.params.context:
            params["context"] = call.params.context
        found = await self._contents.complete(call.context, reference, params)
        members = b'"completion":%b' % (b'{"values":[]}' if found is None else bytes(found))
        return self._renderer.result(members, call.context.request_id, call.revision)


def _context(call: Call) -> RequestContext:
    """Return who asks, and how a modern client's user can be asked."""
    return in_dialogue(call.context, call.params) if call.revision.is_modern else call.context


def _digest(kind: ContentKind, listing: Listing, style: NameStyle) -> bytes:
    """Return what a cursor's position depends on; equal in every process."""
    names = [item.name for item in listing.items]
    return hashlib.sha256(msgspec.msgpack.encode((kind, style, names))).digest()[:16]
