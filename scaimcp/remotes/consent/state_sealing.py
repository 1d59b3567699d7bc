"""Seals what a client brings back when it repeats a call with answers.

The text is in the client's hands, so it opens only for the principal and the method that it was
sealed for, and for ten minutes. Spec: remote-servers 9; register, Keys and sealed values.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from scaimcp.errors import ProtocolError
from scaimcp.ids import random_id
from scaimcp.remotes.rules.request_state import CallBinding, RequestState, Stage
from scaimcp.sealing import Sealer
from scaimcp.types import Caller

LABEL = "request-state"
MAX_UPSTREAM_BYTES = 32 * 1024
MAX_CHARS = 48 * 1024
_VERSION = "v1."
_INVALID_PARAMS = -32602


class RequestStates:
    """Seals and opens states.

    Args:
        sealer: of label `LABEL`.
        seconds: how long a client may take.
        wall: the wall clock.
    """

    def __init__(
        self, sealer: Sealer, seconds: float, *, wall: Callable[[], float] = time.time
    ) -> None:
        self._sealer = sealer
        self._seconds = seconds
        self._wall = wall
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(RequestState).decode

    def seal(
        self,
        caller: Caller,
        method: str,
        binding: CallBinding,
        stage: Stage,
        *,
        upstream_state: str | None = None,
        hold: str | None = None,
    ) -> str:
        """Return the state that lets `caller` go on with `method`."""
        state = RequestState(
            binding,
            stage,
            random_id("apr_"),
            self._wall() + self._seconds,
            upstream_state,
            hold,
        )
        return _VERSION + self._sealer.seal(self._encode(state), _bound(caller, method))

    def open(self, caller: Caller, method: str, text: str) -> RequestState:
        """Return what was sealed for this caller and method, expired or not.

        Raises:
            ProtocolError: -32602, in one text for every reason.
        """
        plain = None
        if len(text) <= MAX_CHARS and text.startswith(_VERSION):
            plain = self._sealer.open(text.removeprefix(_VERSION), _bound(caller, method))
        if plain is None:
            raise unusable_state()
        try:
            return self._decode(plain)
        except msgspec.DecodeError:
            raise unusable_state() from None

    def is_over(self, state: RequestState) -> bool:
        """Tell whether the time for an answer has run out."""
        return state.expires_at <= self._wall()


def unusable_state() -> ProtocolError:
    """The refusal of a state that is not this caller's, was altered or was used before."""
    return ProtocolError(
        _INVALID_PARAMS, "The request state does not serve here; call again without it."
    )


def _bound(caller: Caller, method: str) -> bytes:
    parts = (caller.tenant_id.encode(), caller.user_id.encode(), method.encode())
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)
