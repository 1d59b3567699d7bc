"""What a client brings back when it repeats a call with answers: the content. Pure.

It says by itself which call it belongs to. Spec: remote-servers 9.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Stage(StrEnum):
    """Where a call stands while its client is asked."""

    ASKED = "asked"  # the gateway asks for consent
    OPEN = "open"  # the upstream asks; no consent was needed
    CONSENTED = "consented"  # the upstream asks; consent was given and used up


class CallBinding(msgspec.Struct, frozen=True):
    """What a state and a consent are good for, besides the caller.

    ``config_version`` is the server's: who has agreed to a host has not agreed to the next one.
    """

    server_id: str
    tool: str
    arguments_digest: bytes
    definition_hash: bytes
    config_version: int = 1


class RequestState(msgspec.Struct, frozen=True, array_like=True):
    """The sealed content.

    Args:
        binding: the call that is waiting.
        stage: who asks, and whether the user has consented.
        nonce: used once as the id of the consent that the answer gives.
        expires_at: seconds of the wall clock.
        upstream_state: the ``requestState`` of the upstream, None without.
        hold: where a call of a handshake upstream waits, None without.
    """

    binding: CallBinding
    stage: Stage
    nonce: str
    expires_at: float
    upstream_state: str | None = None
    hold: str | None = None
