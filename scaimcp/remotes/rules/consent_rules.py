"""When a call needs its user's word, how the question reads, what counts as a yes. Pure.

Spec: remote-servers 9.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import msgspec

from scaimcp.errors import ProtocolError, ToolError
from scaimcp.remotes.rules.request_state import CallBinding, RequestState, Stage

# The name of the gateway's own question among ``inputRequests``.
CONSENT = "consent"
SHOWN_CHARS = 1_000
_INVALID_PARAMS = -32602


class Verdict(Enum):
    """What becomes of a call."""

    START = "start"  # nothing is asked; what came with the call belongs to nothing
    RESUME = "resume"  # nothing is asked; the upstream gets its answers
    ASK = "ask"
    TAKE = "take"  # the user says yes: use it up, then start
    CONTINUE = "continue"  # consented before: use this round up, then resume
    DENY = "deny"


class _Answer(msgspec.Struct):
    action: str = ""
    content: Any = None


def judge(
    binding: CallBinding,
    state: RequestState | None,
    responses: Mapping[str, msgspec.Raw],
    *,
    is_asking: bool,
    is_over: bool = False,
) -> Verdict:
    """Decide what becomes of a call.

    Args:
        binding: the call as it is now.
        state: what came back with it, opened; None for nothing.
        responses: the answers that came with it.
        is_asking: whether the server's tier wants the user's word for this call.
        is_over: whether the state's time has run out.
    """
    fits = state is not None and state.binding == binding and not is_over
    if state is None or not fits:
        return Verdict.ASK if is_asking else Verdict.START
    if not is_asking:
        return Verdict.START if state.stage is Stage.ASKED else Verdict.RESUME
    if state.stage is Stage.CONSENTED:
        return Verdict.CONTINUE
    if state.stage is Stage.OPEN or CONSENT not in responses:
        return Verdict.ASK
    return Verdict.TAKE if says_yes(responses[CONSENT]) else Verdict.DENY


def says_yes(response: msgspec.Raw) -> bool:
    """Tell whether an answer to the question accepts and approves; nothing else counts."""
    try:
        answer = msgspec.json.decode(response, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    content = answer.content
    return (
        answer.action == "accept" and isinstance(content, dict) and content.get("approve") is True
    )


def read_arguments(arguments: bytes) -> dict[str, Any]:
    """Return the arguments of a call that somebody is to consent to.

    A name that stands twice could mean one thing to the user and another one to the upstream.

    Raises:
        ProtocolError: -32602, they are no JSON object.
        ToolError: ``INVALID_ARGUMENTS``, an object names a member twice.
    """
    try:
        value = json.loads(arguments or b"{}", object_pairs_hook=_unique, parse_constant=_refused)
    except _Repeated:
        raise ToolError(
            "INVALID_ARGUMENTS", "An object of the arguments names a member twice."
        ) from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ProtocolError(_INVALID_PARAMS, "params.arguments must be an object")
    return value


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


class _Repeated(Exception):
    """A member stands twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _Repeated
    return value


def host_of(endpoint_origin: str) -> str:
    """Return host and, unless it is the usual one, port of a server's origin."""
    parts = urlsplit(endpoint_origin)
    usual = {"https": ":443", "http": ":80"}.get(parts.scheme, "")
    return parts.netloc.removesuffix(usual)


def visible(text: str) -> str:
    """Return `text` with everything escaped that is not seen or moves what is seen."""
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    return json.dumps(letter)[1:-1] if ord(letter) > 0x7F else f"\\u{ord(letter):04x}"


def shown_arguments(arguments: Mapping[str, Any]) -> str:
    """Return arguments as one line of JSON in which nothing is hidden."""
    text = json.dumps(arguments, ensure_ascii=False, separators=(", ", ": "))
    return visible(text)


def question(
    server_name: str, host: str, tool: str, arguments: Mapping[str, Any], digest: bytes
) -> str:
    """Return the text that a user reads; only the tool's name comes from the upstream."""
    said = shown_arguments(arguments)
    if len(said) > SHOWN_CHARS:
        said = f"{said[:SHOWN_CHARS]}…\nSHA-256 of all arguments: {digest.hex()}"
    named = visible(json.dumps(tool, ensure_ascii=False))
    return (
        f"The server {visible(server_name)} ({visible(host)}) is to run the tool {named} once, "
        f"with these arguments:\n{said}"
    )


def form(message: str) -> bytes:
    """Return the encoded ``inputRequests`` with one required boolean, ``approve``."""
    schema = {
        "type": "object",
        "properties": {
            "approve": {
                "type": "boolean",
                "title": "Run this tool once",
                "description": "The call runs only if this is true.",
            }
        },
        "required": ["approve"],
    }
    params = {"mode": "form", "message": message, "requestedSchema": schema}
    return msgspec.json.encode({CONSENT: {"method": "elicitation/create", "params": params}})
