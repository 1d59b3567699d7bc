"""One call to a server with everything that the server asks meanwhile, in any mixture of eras.

=========================  ==========================================  ==========================
Client                     Server of 2026-07-28                        Server of a handshake era
=========================  ==========================================  ==========================
2026-07-28                 its round passes, its state sealed in ours  the call is held
handshake, asks on stream  the answers go out in a further request     the question is relayed
=========================  ==========================================  ==========================

Spec: remote-servers 8 (bridging, elicitation).
"""

from __future__ import annotations

import asyncio
import time

from msgspec import Raw

from scaimcp.ids import random_id
from scaimcp.remotes.calls.bridging import (
    COMPLETE,
    INPUT_REQUIRED,
    InputRequiredError,
    UnsupportedResultType,
    Wanted,
    opened,
    wanted,
)
from scaimcp.remotes.calls.calling import RemoteCaller
from scaimcp.remotes.calls.holding import HeldCall, Holds, Put
from scaimcp.remotes.calls.offers import RemoteServer
from scaimcp.remotes.consent.checking import Consent, ConsentCall, Passed
from scaimcp.remotes.consent.questions import LOST, Question, is_object
from scaimcp.remotes.failures import failure
from scaimcp.types import Asker
from scaimcp.upstream.errors import ElicitationLostError, UpstreamError
from scaimcp.upstream.request import Ask, with_more
from scaimcp.upstream.wire import encode, joined

# Rounds of questions in one call, and questions in one round, for clients asked on a stream.
MOST_ROUNDS = 8
# A round without questions only wants time: seconds before the first and between later ones.
_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_NOBODY: frozenset[str] = frozenset()


class Rounds:
    """Sends calls whose users can be asked, or that bring answers back.

    Args:
        caller: sends requests.
        consent: seals what clients bring back.
        holds: calls that wait.
    """

    def __init__(self, caller: RemoteCaller, consent: Consent, holds: Holds) -> None:
        self._caller = caller
        self._consent = consent
        self._holds = holds

    async def send(
        self, asked: ConsentCall, agreed: Passed, server: RemoteServer, ask: Ask
    ) -> dict[str, Raw]:
        """Send a call, or go on with one, and return the members of its result.

        Args:
            asked: the call as it was checked.
            agreed: what the check gave.
            server: where it goes.
            ask: what is sent, without what the client has brought back.

        Raises:
            RemoteFailure: the call failed.
            InputNeeded: the client is to ask its user.
            ProtocolError: what the client brought back does not serve here.
        """
        context = asked.context
        try:
            if agreed.hold is not None:
                found = self._holds.resumed(agreed.hold, agreed.responses, context)
                raw = await self._outcome(asked, agreed, found)
            elif context.asker is not None:
                return await self._questioned(asked, context.asker, server, ask)
            else:
                raw = await self._first(asked, agreed, server, with_more(ask, brought(agreed)))
            kind, fields = opened(raw)
            if kind != INPUT_REQUIRED:
                return whole(kind, fields)
            needed = _wanted(fields, _modes(asked))
        except UpstreamError as error:
            raise failure(error) from None
        raise self._consent.further(asked, agreed, needed.requests, upstream_state=needed.state)

    async def _first(
        self, asked: ConsentCall, agreed: Passed, server: RemoteServer, ask: Ask
    ) -> Raw:
        """Send a call of a client of 2026-07-28, in a task of its own where it may be held."""
        modes = _modes(asked)
        if not modes or self._caller.is_modern(server):
            return await self._caller.send(server, ask, asked.context, modes)
        held = self._holds.start(
            asked.context, modes, lambda context: self._caller.send(server, ask, context, modes)
        )
        return await self._outcome(asked, agreed, held)

    async def _outcome(self, asked: ConsentCall, agreed: Passed, found: HeldCall | Put) -> Raw:
        """Wait for a call that may be held; ask the client where its server asks."""
        if isinstance(found, HeldCall):
            result = await found.outcome()
            if result is not None:
                return result
            found = self._holds.put(found)
        raise self._consent.further(asked, agreed, found.requests, hold=found.hold)

    async def _questioned(
        self, asked: ConsentCall, asker: Asker, server: RemoteServer, ask: Ask
    ) -> dict[str, Raw]:
        """Send a call of a handshake client, and again with its answers where the server asks."""
        spent, rounds, pause, more = 0.0, 0, _PAUSE, dict[str, bytes]()
        while True:
            began = time.monotonic()
            raw = await self._caller.send(
                server, with_more(ask, more), asked.context, asker.modes, spent
            )
            kind, fields = opened(raw)
            if kind != INPUT_REQUIRED:
                return whole(kind, fields)
            needed = _wanted(fields, asker.modes)
            more = {} if needed.state is None else {"requestState": encode(needed.state)}
            if needed.questions:
                spent += time.monotonic() - began
                rounds += 1
                if rounds > MOST_ROUNDS or len(needed.questions) > MOST_ROUNDS:
                    raise InputRequiredError("The server asks for too much in one call.")
                more["inputResponses"] = joined(await _answers(needed, asker))
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                spent += time.monotonic() - began


def brought(agreed: Passed) -> dict[str, bytes]:
    """Return what the client brings back for the upstream."""
    more: dict[str, bytes] = {}
    if agreed.responses:
        more["inputResponses"] = joined({k: bytes(v) for k, v in agreed.responses.items()})
    if agreed.upstream_state is not None:
        more["requestState"] = encode(agreed.upstream_state)
    return more


def whole(kind: str, fields: dict[str, Raw]) -> dict[str, Raw]:
    """Return the members of a result if it is one.

    Raises:
        InputRequiredError: the server asks where nobody can be asked.
        UnsupportedInputRequest: it asks for something else than input of a user.
        UnsupportedResultType: it is of a kind that does not pass.
    """
    if kind == COMPLETE:
        return fields
    if kind == INPUT_REQUIRED:
        _wanted(fields, _NOBODY)
        raise InputRequiredError("The server asks for input that cannot be given here.")
    raise UnsupportedResultType("The server answers with what cannot be passed on.")


def _modes(asked: ConsentCall) -> frozenset[str]:
    dialogue = asked.context.dialogue
    return dialogue.modes if dialogue is not None else _NOBODY


def _wanted(fields: dict[str, Raw], modes: frozenset[str]) -> Wanted:
    needed = wanted(fields)
    if not needed.modes <= modes:
        raise InputRequiredError("The server asks for input that this client cannot give.")
    return needed


async def _answers(needed: Wanted, asker: Asker) -> dict[str, bytes]:
    """Ask one question after the other."""
    answers: dict[str, bytes] = {}
    for name, question in needed.questions.items():
        reply = await asker.ask(_for_handshake(question))
        if reply is None:
            raise ElicitationLostError(LOST)
        if reply.error or not is_object(reply.result):
            raise InputRequiredError("The client does not answer the server's question.")
        answers[name] = reply.result
    return answers


def _for_handshake(question: Question) -> bytes:
    """Return a question's parameters; 2025-11-25 wants an id where a page is to be opened."""
    if question.mode != "url" or b'"elicitationId"' in question.params:
        return question.params
    return b'{"elicitationId":%b,%b' % (encode(random_id("elicit_")), question.params.lstrip()[1:])
