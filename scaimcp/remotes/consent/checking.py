"""The user's word on calls of remote tools. Spec: remote-servers 9.

Whoever calls a tool asks `Consent.check` first. A client of 2026-07-28 that can show forms is
asked within the call, and nothing is stored before it answers; every other one gets the address
of a page where its user decides, and repeats the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any

import msgspec

from scaimcp.audit import store as audit
from scaimcp.errors import InputNeeded, ToolError
from scaimcp.ids import random_id
from scaimcp.postgres import Database, DatabaseUnavailable
from scaimcp.remotes.approval_models import Approval, Binding, NewApproval
from scaimcp.remotes.consent.consent_events import FORM, PAGE, consent_event, count_consent
from scaimcp.remotes.consent.questions import LOST
from scaimcp.remotes.consent.shown_arguments import ShownArguments
from scaimcp.remotes.consent.state_sealing import MAX_UPSTREAM_BYTES, RequestStates, unusable_state
from scaimcp.remotes.enumerations import ConsentTier
from scaimcp.remotes.failures import failure
from scaimcp.remotes.models import ServerRow
from scaimcp.remotes.rules import consent_rules
from scaimcp.remotes.rules.canonical import CanonicalError, arguments_digest
from scaimcp.remotes.rules.consent_rules import Verdict, judge
from scaimcp.remotes.rules.request_state import CallBinding, RequestState, Stage
from scaimcp.remotes.stores import approval_store
from scaimcp.telemetry.logs import get_logger
from scaimcp.types import Dialogue, RequestContext
from scaimcp.upstream.errors import ElicitationLostError

_log = get_logger("scaimcp.remotes")
_NOTHING = Dialogue()
TOOLS_CALL = "tools/call"
INVOKE = "invoke"


class ConsentCall(msgspec.Struct, frozen=True):
    """A call that is about to go out.

    Args:
        context: who calls, and what came with the call.
        server: as it is configured now.
        tool: the upstream's own name of the tool.
        definition_hash: of the definition in service.
        arguments: as the client sent them, b"" for none.
        method: `TOOLS_CALL`, or `INVOKE` where the user runs the tool by hand: that is the
            consent, whatever the tier. Reads and prompts need none, and have their URI or name
            for a tool. A sealed state serves for no other method.
    """

    context: RequestContext
    server: ServerRow
    tool: str
    definition_hash: bytes
    arguments: bytes
    method: str = TOOLS_CALL


class Passed(msgspec.Struct, frozen=True):
    """The call may go out, with what its client has brought back for the upstream.

    Args:
        responses: answers to the upstream's own requests, encoded; empty in a first call.
        upstream_state: the upstream's ``requestState``, None without.
        hold: where a call of a handshake upstream waits, None without.
        is_consented: the user was asked; further rounds of this call do not ask again.
        arguments: what to send instead of the client's own text; None to send that.
    """

    responses: dict[str, msgspec.Raw] = {}
    upstream_state: str | None = None
    hold: str | None = None
    is_consented: bool = False
    arguments: bytes | None = None


class ConsentPolicy(msgspec.Struct, frozen=True):
    """How users are asked.

    Args:
        url_template: address of a question's page, ``{id}`` and ``{public_url}`` to be filled in.
        public_url: of this gateway.
        seconds: life of a question and of its answer.
    """

    url_template: str
    public_url: str
    seconds: float = 600.0

    def url(self, approval_id: str) -> str:
        """Return the address of a question's page."""
        filled = self.url_template.replace("{public_url}", self.public_url)
        return filled.replace("{id}", approval_id)


class Consent:
    """Asks users, and uses their answers up.

    Args:
        database: where questions and used answers are kept.
        states: seals what clients bring back.
        shown: seals the arguments that a question's page shows.
        policy: how users are asked.
    """

    def __init__(
        self,
        database: Database,
        states: RequestStates,
        shown: ShownArguments,
        policy: ConsentPolicy,
    ) -> None:
        self._database = database
        self._states = states
        self._shown = shown
        self._policy = policy

    async def check(self, call: ConsentCall) -> Passed:
        """Let a call pass, once for each time that its user has consented.

        Raises:
            InputNeeded: the client is to ask its user.
            ToolError: ``CONSENT_REQUIRED`` with the address of the question, ``CONSENT_DENIED``,
                ``CONSENT_UNAVAILABLE``, ``TOOL_LOCKED``, ``INVALID_ARGUMENTS``,
                ``ElicitationLostError`` where the call that waits is another one than this.
            ProtocolError: -32602, a state that does not serve here or was used before.
        """
        tier = call.server.consent_tier
        dialogue = call.context.dialogue or _NOTHING
        is_by_hand = call.method == INVOKE
        if tier is ConsentTier.LOCKED and not is_by_hand:
            raise ToolError("TOOL_LOCKED", "This server's tools are run by hand only.")
        is_asking = tier is not ConsentTier.AUTO and call.method == TOOLS_CALL
        if not is_asking and dialogue.state is None:
            return _UNASKED
        arguments, binding = bound(call)
        state = self._opened(call, dialogue)
        verdict = judge(
            binding,
            state,
            dialogue.responses,
            is_asking=is_asking,
            is_over=state is not None and self._states.is_over(state),
        )
        if state is not None and state.hold is not None and verdict not in _GOING_ON:
            raise failure(ElicitationLostError(LOST))
        if state is not None and verdict in _USING_UP:
            await self._use_up(call, binding, state)
        elif verdict is Verdict.DENY:
            await self._denied(call, binding, state)
        elif verdict is Verdict.ASK and "form" in dialogue.modes:
            self._ask_by_form(call, binding, arguments)
        elif verdict is Verdict.ASK:
            await self._ask_by_page(call, binding, arguments)
        return self._passed(verdict, dialogue, state, arguments if is_asking else None)

    def further(
        self,
        call: ConsentCall,
        passed: Passed,
        requests: bytes,
        *,
        upstream_state: str | None = None,
        hold: str | None = None,
    ) -> InputNeeded:
        """Return what lets the client answer an upstream that asks for input.

        Args:
            call: as it was checked.
            passed: what the check gave.
            requests: the upstream's ``inputRequests``, encoded; b"" for none.
            upstream_state: the upstream's ``requestState``.
            hold: where the call waits meanwhile.

        Raises:
            ToolError: ``ResponseTooLargeError``, the upstream's state is too large.
        """
        if upstream_state is not None and len(upstream_state.encode()) > MAX_UPSTREAM_BYTES:
            raise ToolError("ResponseTooLargeError", "The server's request state is too large.")
        _, binding = bound(call)
        state = self._states.seal(
            call.context.caller,
            call.method,
            binding,
            Stage.CONSENTED if passed.is_consented else Stage.OPEN,
            upstream_state=upstream_state,
            hold=hold,
        )
        return InputNeeded(requests, state)

    def _opened(self, call: ConsentCall, dialogue: Dialogue) -> RequestState | None:
        if dialogue.state is None:
            return None
        return self._states.open(call.context.caller, call.method, dialogue.state)

    def _passed(
        self,
        verdict: Verdict,
        dialogue: Dialogue,
        state: RequestState | None,
        arguments: Mapping[str, Any] | None,
    ) -> Passed:
        # What was shown is what is sent: another reader may see another value in the same text.
        sent = msgspec.json.encode(arguments) if arguments is not None else None
        if state is None or verdict not in _GOING_ON:
            return Passed(is_consented=arguments is not None, arguments=sent)
        return Passed(
            dialogue.responses,
            state.upstream_state,
            state.hold,
            state.stage is Stage.CONSENTED,
            sent,
        )

    def _ask_by_form(
        self, call: ConsentCall, binding: CallBinding, arguments: Mapping[str, Any]
    ) -> None:
        server, context = call.server, call.context
        text = consent_rules.question(
            server.name,
            consent_rules.host_of(server.endpoint_origin),
            call.tool,
            arguments,
            binding.arguments_digest,
        )
        state = self._states.seal(context.caller, call.method, binding, Stage.ASKED)
        count_consent(FORM, "requested")
        raise InputNeeded(consent_rules.form(text), state)

    async def _use_up(self, call: ConsentCall, binding: CallBinding, state: RequestState) -> None:
        """Store the answer under the state's nonce; whoever comes second with it is refused."""
        owned = owned_binding(call, binding)
        new = NewApproval(state.nonce, owned, FORM, self._policy.seconds)
        event = consent_event("consume", state.nonce, owned, FORM)
        try:
            async with self._database.transaction() as connection:
                is_first = await approval_store.insert_consumed(connection, new)
                if is_first:
                    await audit.record(connection, event, call.context)
        except DatabaseUnavailable as error:
            raise _unavailable(FORM, error) from None
        count_consent(FORM, "consumed" if is_first else "replayed")
        if not is_first:
            raise unusable_state()

    async def _denied(
        self, call: ConsentCall, binding: CallBinding, state: RequestState | None
    ) -> None:
        nonce = state.nonce if state is not None else ""
        event = consent_event("deny", nonce, owned_binding(call, binding), FORM)
        try:
            async with self._database.transaction() as connection:
                await audit.record(connection, event, call.context)
        except DatabaseUnavailable as error:
            # The answer stands without its audit row: nothing is called.
            _log.warning("consent denial not recorded", reason=error.message)
        count_consent(FORM, "denied")
        raise _refused()

    async def _ask_by_page(
        self, call: ConsentCall, binding: CallBinding, arguments: Mapping[str, Any]
    ) -> None:
        """Return if an approval was there to be used up; ask or refuse otherwise."""
        owned = owned_binding(call, binding)
        try:
            asked = await self._used_or_asked(call, owned, arguments)
        except DatabaseUnavailable as error:
            raise _unavailable(PAGE, error) from None
        if asked is not None:
            raise self._required(asked)

    async def _used_or_asked(
        self, call: ConsentCall, binding: Binding, arguments: Mapping[str, Any]
    ) -> Approval | None:
        approval_id = random_id("apr_")
        new = NewApproval(
            approval_id,
            binding,
            PAGE,
            self._policy.seconds,
            self._shown.seal(binding.tenant_id, approval_id, arguments),
        )
        async with self._database.transaction() as connection:
            used = await approval_store.consume_approval(connection, binding)
            if used is not None:
                event = consent_event("consume", used, binding, PAGE)
                await audit.record(connection, event, call.context)
                count_consent(PAGE, "consumed")
                return None
            if await approval_store.is_denied(connection, binding):
                raise _refused()
            asked = await approval_store.ask(connection, new)
            if asked is None:
                raise ToolError("TOOL_NOT_FOUND", "There is no such tool.")
            if asked.id == approval_id:
                event = consent_event("request", asked.id, binding, PAGE)
                await audit.record(connection, event, call.context)
                count_consent(PAGE, "requested")
        return asked

    def _required(self, asked: Approval) -> ToolError:
        expires = asked.expires_at.astimezone(UTC).replace(microsecond=0, tzinfo=None)
        return ToolError(
            "CONSENT_REQUIRED",
            "This call needs your consent: open the address, decide, then repeat the same call.",
            members={
                "approval_id": asked.id,
                "approval_url": self._policy.url(asked.id),
                "expires_at": f"{expires.isoformat()}Z",
            },
        )


_UNASKED = Passed()
_USING_UP = (Verdict.TAKE, Verdict.CONTINUE)
_GOING_ON = (Verdict.RESUME, Verdict.CONTINUE)


def bound(call: ConsentCall) -> tuple[dict[str, Any], CallBinding]:
    """Return a call's arguments and what a consent to it is bound to.

    Raises:
        ProtocolError: -32602, the arguments are no object.
        ToolError: ``INVALID_ARGUMENTS``, they can be read in two ways.
    """
    arguments = consent_rules.read_arguments(call.arguments)
    try:
        digest = arguments_digest(arguments)
    except CanonicalError as error:
        raise ToolError("INVALID_ARGUMENTS", f"The arguments: {error}.") from None
    server = call.server
    binding = CallBinding(server.id, call.tool, digest, call.definition_hash, server.config_version)
    return arguments, binding


def owned_binding(call: ConsentCall, binding: CallBinding) -> Binding:
    """Return a call's binding with whom it belongs to, as it is stored."""
    caller = call.context.caller
    return Binding(
        call.server.tenant_id,
        caller.user_id,
        binding.server_id,
        binding.tool,
        binding.arguments_digest,
        binding.definition_hash,
    )


def _refused() -> ToolError:
    return ToolError("CONSENT_DENIED", "The user does not consent to this call.")


def _unavailable(mode: str, error: DatabaseUnavailable) -> ToolError:
    count_consent(mode, "unavailable")
    return ToolError(
        "CONSENT_UNAVAILABLE",
        "Consent cannot be recorded now; nothing was called.",
        retry_after=error.retry_after,
    )
