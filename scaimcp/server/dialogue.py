"""How a client of 2026-07-28 can be asked, and what it answers. Pure.

Spec: MCP 2026-07-28, elicitation and multi round-trip requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from scaimcp.errors import ProtocolError
from scaimcp.server.envelope import INVALID_PARAMS, Meta, Params
from scaimcp.types import Dialogue, RequestContext

_MODES = frozenset({"form", "url"})
_FORM = frozenset({"form"})
_decode_state: Callable[[Raw], str | None] = msgspec.json.Decoder(str | None).decode
_decode_responses = msgspec.json.Decoder(dict[str, Raw] | None).decode


def in_dialogue(context: RequestContext, params: Params) -> RequestContext:
    """Return the context with the client's modes and answers; the same one if it has neither.

    Raises:
        ProtocolError: -32602 for answers or a state of a wrong type.
    """
    meta = params.meta
    declared = meta.capabilities if isinstance(meta, Meta) else UNSET
    elicitation = declared.get("elicitation") if isinstance(declared, dict) else None
    if elicitation is None and not params.request_state and not params.input_responses:
        return context
    modes = modes_of(elicitation)
    dialogue = Dialogue(modes, _state(params), _responses(params))
    return msgspec.structs.replace(context, dialogue=dialogue)


def modes_of(declared: Any) -> frozenset[str]:
    """Return the modes of a declared elicitation capability; an empty one means ``form``."""
    if not isinstance(declared, dict):
        return frozenset()
    return _MODES.intersection(declared) if declared else _FORM


def _state(params: Params) -> str | None:
    if not params.request_state:
        return None
    try:
        return _decode_state(params.request_state)
    except msgspec.DecodeError:
        raise ProtocolError(INVALID_PARAMS, "params.requestState must be a string") from None


def _responses(params: Params) -> dict[str, Raw]:
    if not params.input_responses:
        return {}
    try:
        return _decode_responses(params.input_responses) or {}
    except msgspec.DecodeError:
        raise ProtocolError(INVALID_PARAMS, "params.inputResponses must be an object") from None
