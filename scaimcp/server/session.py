"""What a handshake client declared, sealed into ``Mcp-Session-Id``; nothing is stored.

The id gives no right: it is bound to tenant, user and endpoint, and lives 24 hours.
Spec: register, Keys and sealed values.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from scaimcp.errors import RequestRefused
from scaimcp.sealing import Sealer
from scaimcp.server.dialogue import modes_of
from scaimcp.server.revisions import HANDSHAKE, Revision
from scaimcp.types import Caller

LIFE_SECONDS = 24 * 3600
_NAME_CHARS = 128
_KNOWN_CAPABILITIES = ("elicitation", "sampling", "roots", "tasks")
_ID_BYTES = 4096


class Session(msgspec.Struct, frozen=True, array_like=True):
    """The sealed content.

    ``capabilities`` are the client's top-level words that matter here, ``modes`` the kinds of
    question that it can show.
    """

    tenant_id: str
    user_id: str
    path: str
    revision: str
    client_name: str
    capabilities: tuple[str, ...]
    made_at: int
    nonce: bytes
    modes: tuple[str, ...] = ()

    def modes_in(self, revision: Revision) -> frozenset[str]:
        """Return the kinds of question that a request of `revision` can carry to the client."""
        return revision.elicitation.intersection(self.modes)


class Sessions:
    """Makes and reads session ids."""

    def __init__(self, sealer: Sealer, *, wall: Callable[[], float] = time.time) -> None:
        self._sealer = sealer
        self._wall = wall
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Session).decode

    def issue(
        self,
        caller: Caller,
        path: str,
        revision: str,
        client: Mapping[str, Any],
        capabilities: Mapping[str, Any],
    ) -> str:
        """Return a session id for what ``initialize`` declared."""
        name = client.get("name")
        session = Session(
            caller.tenant_id,
            caller.user_id,
            path,
            revision,
            name[:_NAME_CHARS] if isinstance(name, str) else "",
            tuple(word for word in _KNOWN_CAPABILITIES if word in capabilities),
            int(self._wall()),
            os.urandom(16),
            tuple(sorted(_modes(revision, capabilities))),
        )
        return self._sealer.seal(self._encode(session))

    def read(self, text: str, caller: Caller, path: str) -> Session | None:
        """Return the session, or None when it has expired: then it counts as absent.

        Raises:
            RequestRefused: 404 for an id that was not issued to this caller here.
        """
        plain = self._sealer.open(text) if len(text) <= _ID_BYTES else None
        if plain is None:
            raise _unknown()
        try:
            session = self._decode(plain)
        except msgspec.DecodeError:
            raise _unknown() from None
        bound = (session.tenant_id, session.user_id, session.path)
        if bound != (caller.tenant_id, caller.user_id, path):
            raise _unknown()
        if session.made_at + LIFE_SECONDS < self._wall():
            return None
        return session


def _modes(revision: str, capabilities: Mapping[str, Any]) -> frozenset[str]:
    """Return the declared modes; before 2025-11-25 there is one, which nobody need name."""
    known = HANDSHAKE[revision].elicitation if revision in HANDSHAKE else frozenset[str]()
    declared = capabilities.get("elicitation")
    if len(known) > 1:
        return known & modes_of(declared)
    return known if isinstance(declared, dict) else frozenset()


def _unknown() -> RequestRefused:
    return RequestRefused(
        "NOT_FOUND", "The session is not known here; initialize again.", http_status=404
    )
