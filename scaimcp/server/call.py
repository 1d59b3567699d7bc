"""One request on its way through a method, and the cursors of its lists."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache

import msgspec
from msgspec import UNSET

from scaimcp.errors import ProtocolError
from scaimcp.gateway.view import View
from scaimcp.remotes.rules.naming import NameStyle, style_for
from scaimcp.sealing import Sealer
from scaimcp.server.envelope import INVALID_PARAMS, Params
from scaimcp.server.revisions import Revision
from scaimcp.server.session import Session
from scaimcp.types import Caller, RequestContext

_CLIENT_NAME_CHARS = 128


class Call(msgspec.Struct):
    """One request on its way through a method; ``new_session`` is set by ``initialize``."""

    context: RequestContext
    revision: Revision
    params: Params
    view: View
    path: str
    headers: dict[bytes, bytes]
    new_session: str | None = None
    session: Session | None = None

    def client_name(self) -> str:
        """Return what the client calls itself, "" where it does not say: a hint, never a right."""
        if not self.revision.is_modern:
            return self.session.client_name if self.session is not None else ""
        info = self.params.meta.client if self.params.meta is not UNSET else None
        name = info.get("name") if isinstance(info, dict) else None
        return name[:_CLIENT_NAME_CHARS] if isinstance(name, str) else ""

    def style(self, setting: str) -> NameStyle:
        """Return which names of remote definitions this client is shown."""
        return _style(self.view.names, self.client_name(), setting)


@lru_cache(1_024)
def _style(option: str, client_name: str, setting: str) -> NameStyle:
    return style_for(option, client_name, setting)


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Content of a sealed cursor: whose it is, of which list, and where the next page begins."""

    tenant_id: str
    user_id: str
    digest: bytes
    start: int


_decode_position = msgspec.msgpack.Decoder(Position).decode


class Cursors:
    """Seals positions in lists; they count only for the same caller and the same list."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def seal(self, caller: Caller, digest: bytes, start: int) -> str:
        """Return the cursor of a position in the list that `digest` stands for."""
        position = Position(caller.tenant_id, caller.user_id, digest, start)
        return self._sealer.seal(msgspec.msgpack.encode(position))

    def open(self, cursor: str, caller: Caller, digest: bytes) -> int:
        """Return where a cursor points.

        Raises:
            ProtocolError: -32602, it is none of this caller and list.
        """
        plain = self._sealer.open(cursor)
        if plain is not None:
            with suppress(msgspec.DecodeError):
                given = _decode_position(plain)
                if given == Position(caller.tenant_id, caller.user_id, digest, given.start):
                    return given.start
        raise stale_cursor()


def stale_cursor() -> ProtocolError:
    """Return the refusal of a cursor that points nowhere."""
    return ProtocolError(INVALID_PARAMS, "The cursor is not valid any more; list again.")
