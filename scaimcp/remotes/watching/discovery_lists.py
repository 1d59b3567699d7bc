"""Ask a server for its lists, and check what it gives. Spec: remote-servers 5, 6.

Nothing is stored here. A failure of the tools' list fails the whole; another list's failure is
noted and leaves that list as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import msgspec

from scaimcp.credentials.errors import CredentialFailure
from scaimcp.credentials.keys import KeyWrapper
from scaimcp.outbound import GuardedHttp
from scaimcp.remotes.enumerations import AuthType, Kind, Transport
from scaimcp.remotes.models import RegisteredServer
from scaimcp.remotes.rules import definitions
from scaimcp.remotes.rules.definitions import Prefix, Reading
from scaimcp.remotes.watching.recording import Lease
from scaimcp.remotes.watching.targets import CredentialMissing, opener
from scaimcp.upstream.errors import AuthenticationError, UpstreamError, clean_text, timed_out
from scaimcp.upstream.lists import Budget, Listed, read_list
from scaimcp.upstream.opening import Opening, open_session
from scaimcp.upstream.request import Handshake, Opener, Session

ERA_TRUSTED = timedelta(hours=24)
_MOST_DROPPED = 200
_MOST_BYTES = 16 * 1024
_MOST_NAMES = 32
_INFO_CHARACTERS = 200
_INFO_MEMBERS = ("name", "title", "version", "websiteUrl")


class Found(msgspec.Struct):
    """What a server said.

    Args:
        handshake: what it said about itself; None where nobody asked (``per_user``).
        lists: each list that was read whole.
        partial: class name of what went wrong with any other list.
        error: why there is no result at all, None for a success.
        asked_era: the remembered era that was tried first, None for none.
    """

    handshake: Handshake | None = None
    lists: dict[Kind, Listed] = msgspec.field(default_factory=dict)
    partial: dict[Kind, str] = msgspec.field(default_factory=dict)
    error: UpstreamError | CredentialFailure | None = None
    asked_era: str | None = None


async def ask(http: GuardedHttp, keys: KeyWrapper, lease: Lease, seconds: float) -> Found:
    """Read a server's lists within `seconds`; failures are in the answer, never raised."""
    found = Found(asked_era=remembered_era(lease.server))
    row = lease.server.row
    try:
        if row.transport is None or row.auth_type is None:
            raise CredentialMissing
        open_target = opener(keys, row, lease.fields)
        opening = opening_of(lease.server, open_target, seconds)
        async with asyncio.timeout(seconds), open_session(http.session, opening) as session:
            found.handshake = session.handshake
            if row.auth_type is AuthType.PER_USER:
                found.lists = _nothing()
            else:
                await _read_lists(session, open_target, found)
    except TimeoutError:
        _ran_out(found, seconds)
    except AuthenticationError as error:
        if row.auth_type is AuthType.PER_USER and error.asks_for_bearer:
            found.lists = _nothing()
        else:
            found.error = error
    except (UpstreamError, CredentialFailure) as error:
        found.error = error
    return found


def opening_of(
    server: RegisteredServer,
    open_target: Opener,
    seconds: float,
    told: Callable[[Handshake], None] | None = None,
) -> Opening:
    """Return how sessions with a server are opened; its transport is never switched."""
    return Opening(
        open_target,
        transport=(server.row.transport or Transport.STREAMABLE_HTTP).value,
        era=remembered_era(server),
        # Some servers offer tools only to clients that can ask; whoever calls them says if it can.
        elicitation=("form", "url"),
        seconds=seconds,
        told=told,
    )


def remembered_era(server: RegisteredServer) -> str | None:
    """Return the era to try first; a legacy one is forgotten after a day, to notice upgrades."""
    state = server.state
    if state.protocol_era != "legacy" or server.row.transport is Transport.SSE:
        return state.protocol_era
    checked = state.era_checked_at
    return "legacy" if checked and state.read_at - checked < ERA_TRUSTED else None


async def _read_lists(session: Session, open_target: Opener, found: Found) -> None:
    budget = Budget()
    for kind in Kind:
        try:
            found.lists[kind] = await read_list(session, open_target, kind.value, budget)
        except UpstreamError as error:
            if kind is Kind.TOOL:
                raise
            found.partial[kind] = error.health_name


def _ran_out(found: Found, seconds: float) -> None:
    """The deadline has passed: without the tools there is nothing, else the rest is missing."""
    late = timed_out(seconds)
    if Kind.TOOL not in found.lists:
        found.error = late
        return
    for kind in Kind:
        if kind not in found.lists:
            found.partial.setdefault(kind, late.health_name)


def _nothing() -> dict[Kind, Listed]:
    return {kind: Listed() for kind in Kind}


def read_definitions(
    found: Found, prefix: Prefix, taken_aliases: frozenset[str] = frozenset()
) -> dict[Kind, Reading]:
    """Check every definition of the lists; may take a second for the largest ones."""
    return {
        kind: definitions.read(kind, listed.items, prefix, taken_aliases)
        for kind, listed in found.lists.items()
    }


def list_notes(found: Found, readings: Mapping[Kind, Reading]) -> dict[str, Any]:
    """Return what managers are told about the lists; {} where all went well.

    ``truncated`` counts what was left out by kind (pages never read count as one), ``unfinished``
    how many pages were read of a list that had more, ``partial`` names the error by kind,
    ``dropped`` holds the first 200 definitions that failed a check; ``dropped_count`` tells how
    many there were, where there were more.
    """
    dropped = [one for reading in readings.values() for one in reading.dropped]
    truncated = {
        kind.value: count
        for kind, listed in found.lists.items()
        if (count := listed.surplus + readings[kind].truncated + listed.is_cut)
    }
    notes: dict[str, Any] = {}
    if truncated:
        notes["truncated"] = truncated
    unfinished = {kind.value: one.pages for kind, one in found.lists.items() if one.is_cut}
    if unfinished:
        notes["unfinished"] = unfinished
    if found.partial:
        notes["partial"] = {kind.value: name for kind, name in found.partial.items()}
    if dropped:
        notes["dropped"] = [
            {"kind": one.kind.value, "name": one.name, "reason": one.reason}
            for one in dropped[:_MOST_DROPPED]
        ]
        if len(dropped) > _MOST_DROPPED:
            notes["dropped_count"] = len(dropped)
    return notes


def told_info(handshake: Handshake) -> dict[str, Any] | None:
    """Return what a server calls itself, and its instructions, for display to managers only."""
    info = _read_object(handshake.server_info)
    shown = {
        name: clean_text(info[name])[:_INFO_CHARACTERS]
        for name in _INFO_MEMBERS
        if isinstance(info.get(name), str)
    }
    if handshake.instructions:
        shown["instructions"] = clean_text(handshake.instructions)
    return shown or None


def told_capabilities(handshake: Handshake) -> dict[str, Any] | None:
    """Return the capabilities a server declares; only some names where they are huge."""
    if handshake.capabilities is None:
        return None
    encoded = msgspec.json.encode(handshake.capabilities)
    if len(encoded) > _MOST_BYTES:
        names = list(handshake.capabilities)[:_MOST_NAMES]
        return {clean_text(name[:_INFO_CHARACTERS]): {} for name in names}
    return _read_object(encoded)


def _read_object(encoded: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(encoded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
