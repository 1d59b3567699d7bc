"""What the user who is asked sees and decides. Spec: remote-servers 1 (approvals), 9.

A question is there for nobody but the user whose call it is, and only a person may decide it: a
program that holds the same key could otherwise approve of its own calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from scaimcp.audit import store as audit
from scaimcp.errors import RequestRefused
from scaimcp.postgres import Database
from scaimcp.remotes.approval_models import Approval, ApprovalDecision, AskedServer
from scaimcp.remotes.consent.consent_events import consent_event, count_consent
from scaimcp.remotes.consent.shown_arguments import ShownArguments
from scaimcp.remotes.enumerations import ApprovalState
from scaimcp.remotes.models import Page, Position
from scaimcp.remotes.refusals import state_conflict
from scaimcp.remotes.rules.consent_rules import host_of
from scaimcp.remotes.stores import approval_store
from scaimcp.types import Caller, RequestContext

_KEY_PREFIX = "sgk_"
_DECIDED = {True: ApprovalState.APPROVED, False: ApprovalState.DENIED}
_VERBS = {True: "approve", False: "deny"}


class ServerView(msgspec.Struct, frozen=True):
    """The server that is to be called."""

    id: str
    name: str
    host: str


class ApprovalView(msgspec.Struct, frozen=True):
    """A question as its user sees it.

    ``arguments`` is an object; a string, the beginning of its JSON, where it is too long; null
    once the question is decided or over.
    """

    id: str
    server: ServerView
    tool: str
    arguments: msgspec.Raw | str | None
    arguments_digest: str
    state: ApprovalState
    created_at: datetime
    expires_at: datetime


class Approvals:
    """Shows questions and takes decisions.

    Args:
        database: where the questions are.
        shown: opens the arguments that a question shows.
        allow_api_keys: whether API keys may decide.
    """

    def __init__(
        self, database: Database, shown: ShownArguments, *, allow_api_keys: bool = False
    ) -> None:
        self._database = database
        self._shown = shown
        self._allow_api_keys = allow_api_keys

    async def list(
        self, caller: Caller, state: ApprovalState | None, after: Position | None, limit: int
    ) -> Page[ApprovalView]:
        """Return a page of the caller's questions, newest first, from below `after`."""
        async with self._database.transaction() as connection:
            page = await approval_store.list_approvals(
                connection, caller.tenant_id, caller.user_id, state, after=after, limit=limit
            )
            views = await self._views(connection, page.items)
        return Page(views, page.has_more)

    async def get(self, caller: Caller, approval_id: str) -> ApprovalView:
        """Return one of the caller's questions.

        Raises:
            RequestRefused: 404.
        """
        async with self._database.transaction() as connection:
            found = await self._found(connection, caller, approval_id)
            return (await self._views(connection, (found,)))[0]

    async def tenant_of(self, user_id: str, approval_id: str) -> str | None:
        """Return the tenant of a question to this user, None if there is none.

        For who has signed in at the platform, which names no tenant then.
        """
        async with self._database.transaction() as connection:
            return await approval_store.tenant_of_question(connection, user_id, approval_id)

    def demand_person(self, context: RequestContext) -> None:
        """Refuse whoever is no person behind an interactive token.

        Raises:
            RequestRefused: 403 ``INTERACTIVE_LOGIN_REQUIRED``.
        """
        caller = context.caller
        is_key = caller.method != "jwt" or context.bearer.reveal().startswith(_KEY_PREFIX)
        if caller.subject_type != "user" or (is_key and not self._allow_api_keys):
            raise RequestRefused(
                "INTERACTIVE_LOGIN_REQUIRED",
                "A person must do this: sign in and use that token.",
                http_status=403,
            )

    async def decide(
        self, context: RequestContext, approval_id: str, digest: bytes, *, is_approved: bool
    ) -> ApprovalView:
        """Take the user's word on the arguments with this digest; the same word twice is fine.

        Raises:
            RequestRefused: 404; 403 as `demand_person`; 409 once it is decided otherwise, over,
                or about other arguments.
        """
        self.demand_person(context)
        caller = context.caller
        async with self._database.transaction() as connection:
            found = await self._found(connection, caller, approval_id)
            if digest != found.binding.arguments_digest:
                raise state_conflict("The question is about other arguments.")
            if found.state is not _DECIDED[is_approved]:
                found = await self._decided(connection, context, found, is_approved)
            return (await self._views(connection, (found,)))[0]

    async def _decided(
        self, connection: Any, context: RequestContext, found: Approval, is_approved: bool
    ) -> Approval:
        if is_approved and found.state is ApprovalState.PENDING and self._text(found) is None:
            raise state_conflict(
                "The arguments cannot be shown any more; let the call be repeated."
            )
        bound = found.binding
        word = ApprovalDecision(found.id, bound.arguments_digest, is_approved)
        decided = await approval_store.decide_approval(
            connection, bound.tenant_id, bound.caller_user_id, word
        )
        if decided is None:
            raise state_conflict("The question is decided or its time is over.")
        verb = _VERBS[is_approved]
        await audit.record(connection, consent_event(verb, found.id, bound, found.mode), context)
        count_consent(found.mode, decided.state)
        return decided

    async def _found(self, connection: Any, caller: Caller, approval_id: str) -> Approval:
        found = await approval_store.get_approval(
            connection, caller.tenant_id, caller.user_id, approval_id
        )
        if found is None:
            raise RequestRefused(
                "SCAILINK_APPROVAL_NOT_FOUND", "There is no such approval.", http_status=404
            )
        return found

    async def _views(self, connection: Any, found: Sequence[Approval]) -> tuple[ApprovalView, ...]:
        if not found:
            return ()
        tenant_id = found[0].binding.tenant_id
        ids = sorted({approval.binding.server_id for approval in found})
        servers = await approval_store.asked_servers(connection, tenant_id, ids)
        return tuple(self._view(each, servers.get(each.binding.server_id)) for each in found)

    def _view(self, approval: Approval, server: AskedServer | None) -> ApprovalView:
        # It may have been deleted between two statements.
        server = server or AskedServer(approval.binding.server_id, "", "")
        return ApprovalView(
            approval.id,
            ServerView(server.id, server.name, host_of(server.endpoint_origin)),
            approval.binding.tool,
            self._text(approval),
            approval.binding.arguments_digest.hex(),
            approval.state,
            approval.created_at,
            approval.expires_at,
        )

    def _text(self, approval: Approval) -> msgspec.Raw | str | None:
        opened = self._shown.open(
            approval.binding.tenant_id, approval.id, approval.arguments_sealed
        )
        if opened is None:
            return None
        return msgspec.Raw(opened.text.encode()) if opened.is_complete else opened.text
