"""Send one request to a remote server: credential, breaker, place, session, send.

Spec: remote-servers 5 (limits), 8 (ladder after admission, session pool).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Protocol

import msgspec

from scaimcp.credentials.errors import CredentialFailure
from scaimcp.credentials.keys import KeyWrapper
from scaimcp.outbound import GuardedHttp
from scaimcp.remotes.calls.accounting import Account, Books
from scaimcp.remotes.calls.offers import RemoteServer
from scaimcp.remotes.consent.questions import answered
from scaimcp.remotes.enumerations import Transport
from scaimcp.remotes.failures import RemoteFailure, failure
from scaimcp.remotes.watching.targets import open_target, opener
from scaimcp.types import RequestContext
from scaimcp.upstream.breaker import Breaker
from scaimcp.upstream.client import ModernSession
from scaimcp.upstream.errors import UpstreamError, timed_out
from scaimcp.upstream.opening import Opening
from scaimcp.upstream.pool import SessionKey, SessionPool
from scaimcp.upstream.request import Ask, Handshake, Target
from scaimcp.upstream.slots import Slots

_ERAS = 4_096
_PROGRESS_PAUSE = 0.1
_PROGRESS = "notifications/progress"
_LIST_CHANGED = frozenset(
    f"notifications/{surface}/list_changed" for surface in ("tools", "resources", "prompts")
)


class Outbound(msgspec.Struct, frozen=True):
    """What requests to remote servers go through, shared by all of them.

    Args:
        http: connects to allowed addresses only.
        keys: open the sealed credentials.
        pool: sessions of the handshake era.
        breaker: keeps calls from servers that cannot be reached.
        slots: how many calls run at once.
    """

    http: GuardedHttp
    keys: KeyWrapper
    pool: SessionPool
    breaker: Breaker
    slots: Slots


class CallRules(msgspec.Struct, frozen=True):
    """Limits of one call.

    Args:
        seconds: deadline where the server sets none.
        most_seconds: longest deadline that a server may set.
        argument_bytes: JSON of the arguments.
        result_bytes: result or event, decompressed.
    """

    seconds: float = 120.0
    most_seconds: float = 600.0
    argument_bytes: int = 1024 * 1024
    result_bytes: int = 8 * 1024 * 1024


class Watcher(Protocol):
    """Hears how live calls end and what servers say meanwhile; never waits, never raises."""

    def ended(self, server: RemoteServer, error: UpstreamError | None) -> None:
        """Take in the end of a call that went out, or that was to."""
        ...

    def lists_changed(self, server: RemoteServer) -> None:
        """Take in that a server has changed its lists."""
        ...


class RemoteCaller:
    """Sends requests to remote servers for callers that were let through.

    Args:
        outbound: what requests go through.
        rules: limits of a call.
        watcher: hears how calls end; None for nobody.
        books: accounts for calls.
        monotonic: clock, in seconds.
    """

    def __init__(
        self,
        outbound: Outbound,
        rules: CallRules,
        watcher: Watcher | None = None,
        *,
        books: Books | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._books = books or Books()
        self._outbound = outbound
        self._rules = rules
        self._watcher = watcher
        self._monotonic = monotonic
        # What servers turned out to speak other than their rows say; "" for not known any more.
        self._eras: dict[tuple[str, int, str | None], str] = {}

    @property
    def rules(self) -> CallRules:
        """The limits of a call."""
        return self._rules

    def is_modern(self, server: RemoteServer) -> bool:
        """Tell whether a server is known to speak 2026-07-28, in which it never asks by itself."""
        transport = server.row.transport or Transport.STREAMABLE_HTTP
        era = self._eras.get(_era_key(server), server.state.protocol_era)
        return era == "modern" and transport is Transport.STREAMABLE_HTTP

    async def send(
        self,
        server: RemoteServer,
        ask: Ask,
        context: RequestContext,
        modes: Collection[str] = (),
        spent: float = 0.0,
    ) -> msgspec.Raw:
        """Send `ask` and return the server's result as it came.

        Args:
            server: one that is in service.
            ask: what to send; deadline, sizes and listener are filled in here.
            context: who calls.
            modes: kinds of elicitation that the client can answer.
            spent: seconds of the deadline that earlier rounds of this call have taken.

        Raises:
            RemoteFailure: any failure.
        """
        seconds = min(server.row.timeout_seconds or self._rules.seconds, self._rules.most_seconds)
        if spent >= seconds:
            raise failure(timed_out(seconds))
        ask = msgspec.structs.replace(
            ask,
            seconds=seconds - spent,
            most_bytes=self._rules.result_bytes,
            elicitation=tuple(sorted(modes)),
            is_progress_wanted=context.progress is not None,
            listener=_Ear(server, context, self._watcher, self._outbound.breaker, self._monotonic),
        )
        try:
            with self._books.call(server, ask, context, self._era) as account:
                account.result = result = await self._guarded(server, ask, context, account)
        except CredentialFailure as error:
            raise RemoteFailure(error.health_name, error.message) from None
        except UpstreamError as error:
            if error.contradicts_era:
                self._remember(server, "")
            self._tell(server, error)
            raise failure(error) from None
        self._tell(server, None)
        return result

    async def _guarded(
        self, server: RemoteServer, ask: Ask, context: RequestContext, account: Account
    ) -> msgspec.Raw:
        through, row, user = self._outbound, server.row, context.caller.user_id
        target = await open_target(
            through.keys, row, server.fields, user_id=user, hops=context.hops + 1
        )
        with through.breaker.guard(row.id), account.away():
            async with through.slots.hold(row.id, user):
                return await self._sent(server, target, ask, context)

    async def _sent(
        self, server: RemoteServer, target: Target, ask: Ask, context: RequestContext
    ) -> msgspec.Raw:
        through, row, user = self._outbound, server.row, context.caller.user_id
        if self.is_modern(server):
            return await ModernSession(through.http.session).request(target, ask)
        modes = tuple(sorted(context.asker.modes)) if context.asker is not None else ()
        key = SessionKey(
            row.id, row.credential_version, row.config_version, user, row.forward_user_id, modes
        )

        def told(handshake: Handshake) -> None:
            self._remember(server, handshake.era)

        opening = Opening(
            opener(through.keys, row, server.fields, user_id=user, hops=context.hops + 1),
            (row.transport or Transport.STREAMABLE_HTTP).value,
            self._eras.get(_era_key(server), server.state.protocol_era) or None,
            elicitation=modes,
            told=told,
        )
        return await through.pool.request(key, opening, target, ask)

    def _era(self, server: RemoteServer) -> str | None:
        return self._eras.get(_era_key(server), server.state.protocol_era)

    def _remember(self, server: RemoteServer, era: str) -> None:
        if len(self._eras) >= _ERAS:
            self._eras.clear()
        self._eras[_era_key(server)] = era

    def _tell(self, server: RemoteServer, error: UpstreamError | None) -> None:
        if self._watcher is not None:
            self._watcher.ended(server, error)


def _era_key(server: RemoteServer) -> tuple[str, int, str | None]:
    return (server.row.id, server.row.config_version, server.state.protocol_era)


class _Ear:
    """Passes on what a server says while it works: questions, and progress ten times a second."""

    __slots__ = ("_breaker", "_context", "_last", "_monotonic", "_server", "_watcher")

    def __init__(
        self,
        server: RemoteServer,
        context: RequestContext,
        watcher: Watcher | None,
        breaker: Breaker,
        monotonic: Callable[[], float],
    ) -> None:
        self._breaker = breaker
        self._server = server
        self._context = context
        self._watcher = watcher
        self._monotonic = monotonic
        self._last = float("-inf")

    async def notified(self, method: str, params: bytes) -> None:
        if method == _PROGRESS:
            await self._progressed(params)
        elif method in _LIST_CHANGED and self._watcher is not None:
            self._watcher.lists_changed(self._server)

    async def _progressed(self, params: bytes) -> None:
        now = self._monotonic()
        if self._context.progress is None or now - self._last < _PROGRESS_PAUSE:
            return
        try:
            step = _step(params)
        except msgspec.DecodeError:
            return
        self._last = now
        await self._context.progress(step.progress, step.total, step.message)

    async def asked(self, method: str, params: bytes) -> bytes | None:
        asker = self._context.asker
        if asker is None:
            return None
        # It speaks: a trial call must not keep the others waiting for this one's user.
        self._breaker.forget(self._server.row.id)
        return await answered(asker, params)


class _Step(msgspec.Struct):
    progress: float
    total: float | None = None
    message: str | None = None


_step = msgspec.json.Decoder(_Step).decode
