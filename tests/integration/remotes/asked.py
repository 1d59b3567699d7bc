"""Calls that need consent, on a real database."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from scaimcp.errors import InputNeeded, ProtocolError, ToolError
from scaimcp.ids import new_id
from scaimcp.postgres import Database
from scaimcp.remotes.consent.approvals import Approvals
from scaimcp.remotes.consent.checking import Consent, ConsentCall, ConsentPolicy, Passed
from scaimcp.remotes.consent.shown_arguments import ShownArguments
from scaimcp.remotes.consent.state_sealing import RequestStates
from scaimcp.remotes.enumerations import ConsentTier
from scaimcp.remotes.models import ServerRow
from scaimcp.sealing import Sealer
from scaimcp.settings import KeyRing
from scaimcp.types import Dialogue, RequestContext, Secret
from tests.fakes.callers import Clock, caller
from tests.integration.remotes.registry import digest, put, server

RING = KeyRing(("one",), (hashlib.sha256(b"one").digest(),))
ARGUMENTS = {"title": "Hi", "n": 1}
FORM = frozenset({"form"})
JWT = "e30.e30.c2ln"
KEY = "sgk_" + "k" * 40
YES = {"action": "accept", "content": {"approve": True}}
NO = {"action": "decline"}


class Asked:
    """Consent and approvals on one database, with a clock of their own."""

    def __init__(self, database: Database, ring: KeyRing = RING, **policy: Any) -> None:
        self.database = database
        self.clock = Clock(1_000_000.0)
        shown = ShownArguments(Sealer(ring, "short-lived"))
        states = RequestStates(Sealer(ring, "request-state"), 600.0, wall=self.clock)
        template = "{public_url}/approvals/{id}"
        rules = ConsentPolicy(template, "https://gw.example", **policy)
        self.consent = Consent(database, states, shown, rules)
        self.approvals = Approvals(database, shown)

    async def row(self, tenant: str, tier: ConsentTier = ConsentTier.CONFIRM) -> ServerRow:
        return await put(self.database, server(tenant, consent_tier=tier))

    async def passes(self, call: ConsentCall) -> Passed:
        return await self.consent.check(call)

    async def asks(self, call: ConsentCall) -> InputNeeded:
        with pytest.raises(InputNeeded) as caught:
            await self.consent.check(call)
        return caught.value

    async def fails(self, call: ConsentCall) -> ToolError:
        with pytest.raises(ToolError) as caught:
            await self.consent.check(call)
        return caught.value

    async def refuses(self, call: ConsentCall) -> None:
        """The state does not serve: one text for every reason."""
        with pytest.raises(ProtocolError) as caught:
            await self.consent.check(call)
        assert caught.value.number == -32602
        assert caught.value.message.startswith("The request state does not serve here")

    async def outcome(self, call: ConsentCall) -> str:
        """``passed``, the code of the failure, or the JSON-RPC number."""
        try:
            await self.consent.check(call)
        except InputNeeded:
            return "asked"
        except ToolError as error:
            return error.code
        except ProtocolError as error:
            return str(error.number)
        return "passed"

    async def audited(self, tenant: str) -> list[tuple[str, str, Any]]:
        """Action, id and data of a tenant's audit rows, oldest first."""
        async with self.database.transaction() as connection:
            found = await connection.fetch(
                "SELECT action, resource_id, data FROM audit_events WHERE tenant_id = $1"
                " ORDER BY id",
                tenant,
            )
        return [(r["action"], r["resource_id"], msgspec.json.decode(r["data"])) for r in found]

    async def actions(self, tenant: str) -> list[str]:
        return [action for action, _, _ in await self.audited(tenant)]


def context(
    tenant: str, dialogue: Dialogue | None = None, *, token: str = JWT, **who: Any
) -> RequestContext:
    return RequestContext(
        new_id("req_"), caller(tenant_id=tenant, **who), Secret(token), dialogue=dialogue
    )


def call(row: ServerRow, dialogue: Dialogue | None = None, **changed: Any) -> ConsentCall:
    """A call of the server's owner, whose client has no dialogue unless one is given."""
    base = ConsentCall(
        context(row.tenant_id, dialogue),
        row,
        "create_issue",
        digest("definition"),
        msgspec.json.encode(ARGUMENTS),
    )
    return msgspec.structs.replace(base, **changed)


def form(row: ServerRow, **changed: Any) -> ConsentCall:
    """The same of a client that shows forms."""
    return call(row, Dialogue(FORM), **changed)


def answered(given: ConsentCall, state: str, answer: Any = YES, **more: Any) -> ConsentCall:
    """`given` again, with the state and an answer of the user; None for no answer."""
    responses = {} if answer is None else {"consent": msgspec.Raw(msgspec.json.encode(answer))}
    for name, value in more.items():
        responses[name] = msgspec.Raw(msgspec.json.encode(value))
    dialogue = Dialogue(FORM, state, responses)
    renewed = msgspec.structs.replace(given.context, dialogue=dialogue)
    return msgspec.structs.replace(given, context=renewed)


def tampered(state: str) -> str:
    """`state` with one character changed."""
    at = len(state) // 2
    return state[:at] + ("A" if state[at] != "A" else "B") + state[at + 1 :]
