"""What servers ask users, and what passes of it.

A question passes as it came but for its ``_meta``, which is between the gateway and the server;
so does the answer. Spec: remote-servers 8 (elicitation).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from scaimcp.types import Asker
from scaimcp.upstream.errors import (
    ElicitationLostError,
    ProtocolError,
    ResponseTooLargeError,
    UpstreamError,
)
from scaimcp.upstream.request import QuestionRefused
from scaimcp.upstream.wire import joined

ELICITATION = "elicitation/create"
MOST_BYTES = 64 * 1024
LOST = "The server's question is not answered any more."
_INVALID = b'{"code":-32602,"message":"The question is malformed or too large"}'
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_mode = msgspec.json.Decoder(str).decode


class Question(msgspec.Struct, frozen=True):
    """A question that may be put to a user.

    Args:
        params: of ``elicitation/create``, encoded.
        mode: ``form``, ``url`` or what the server makes up.
    """

    params: bytes
    mode: str

    def request(self) -> bytes:
        """Return it as one of the ``inputRequests`` of 2026-07-28."""
        return b'{"method":"elicitation/create","params":%b}' % self.params


def question(params: bytes) -> Question:
    """Return a server's question as it may pass.

    Raises:
        ResponseTooLargeError: larger than 64 KiB.
        ProtocolError: no object, or a mode that is no text.
    """
    if len(params) > MOST_BYTES:
        raise ResponseTooLargeError("The server's question is too large.", was_sent=True)
    try:
        fields = _fields(params)
        mode = _mode(fields["mode"]) if "mode" in fields else "form"
    except msgspec.DecodeError:
        raise ProtocolError("The server asks in a form that is not MCP.", was_sent=True) from None
    if fields.pop("_meta", None) is not None:
        params = joined({name: bytes(value) for name, value in fields.items()})
    return Question(params, mode)


async def answered(asker: Asker, params: bytes) -> bytes | None:
    """Return the answer of a call's user to a question of its server.

    None refuses the question: the user's client does not show such ones.

    Raises:
        QuestionRefused: the question is malformed, or the client answers with an error.
        ElicitationLostError: nobody answers any more.
    """
    try:
        asked = question(params)
    except UpstreamError:
        raise QuestionRefused(_INVALID) from None
    if asked.mode not in asker.modes:
        return None
    reply = await asker.ask(asked.params)
    if reply is None:
        raise ElicitationLostError(LOST)
    if reply.error:
        raise QuestionRefused(reply.error)
    return reply.result


def named(questions: Mapping[str, Question]) -> bytes:
    """Return encoded ``inputRequests``."""
    return joined({name: one.request() for name, one in questions.items()})


def is_object(value: Any) -> bool:
    """Tell whether encoded JSON is an object."""
    return bytes(value).lstrip().startswith(b"{")
