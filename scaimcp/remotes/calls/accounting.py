"""What calls of remote servers leave behind: figures, an audit row, a line in the log.

All of it is on the way of every call, so figures are added up in plain objects, and what takes
time, such as hashing arguments, is left to the writer of the audit rows. Spec: remote-servers 10.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import msgspec

from scaimcp.audit.buffer import AuditBuffer, CallRow, open_buffer
from scaimcp.credentials.errors import CredentialFailure
from scaimcp.errors import GatewayError
from scaimcp.postgres import Database
from scaimcp.remotes.calls.offers import RemoteServer
from scaimcp.remotes.rules.canonical import CanonicalError, arguments_digest
from scaimcp.remotes.rules.consent_rules import read_arguments
from scaimcp.remotes.watching.opening import RemoteParts
from scaimcp.remotes.watching.recording import tell_refusal
from scaimcp.telemetry.logs import get_logger, is_debugging, working_for
from scaimcp.telemetry.metrics import (
    busy_sessions,
    idle_sessions,
    open_breakers,
    remote_call_outcome,
    remote_in_flight,
    trying_breakers,
)
from scaimcp.types import RequestContext
from scaimcp.upstream.errors import EndpointForbiddenError, UpstreamError
from scaimcp.upstream.request import Ask

KINDS = {
    "tools/call": "tool",
    "resources/read": "resource",
    "prompts/get": "prompt",
    "completion/complete": "completion",
}
_ACTIONS = {kind: f"remote_call.{kind}" for kind in ("tool", "resource", "prompt")}
_FINE = frozenset({"ok", "input_required"})
_ANSWERED = frozenset({"ok", "input_required", "tool_error"})
_NAME_CHARS = 512
# Beyond this, arguments that need the slow way would hold the interpreter for too long.
_SLOW_BYTES = 64 * 1024
_log = get_logger("scaimcp.remotes")


class Books:
    """Accounts for calls.

    Args:
        buffer: takes the audit rows; None writes none.
    """

    def __init__(self, buffer: AuditBuffer | None = None) -> None:
        self._buffer = buffer

    def call(
        self,
        server: RemoteServer,
        ask: Ask,
        context: RequestContext,
        era: Callable[[RemoteServer], str | None],
    ) -> Account:
        """Return the account of one call, for use as a block around it.

        Args:
            server: who is called.
            ask: what is sent; its parameters are hashed later.
            context: who calls.
            era: tells afterwards which era the server is of.
        """
        return Account(self, server, ask, context, era)

    def settle(self, account: Account, outcome: str, seconds: float) -> None:
        """Take in how a call has ended, after `seconds`."""
        kind = account.kind
        era = account.era(account.server) or "unknown"
        count, duration, overhead = remote_call_outcome(kind, outcome, era)
        count.inc()
        duration.observe(seconds)
        # Clocks of two kinds of waiting: their difference must not become less than nothing.
        overhead.observe(max(seconds - account.waited, 0.0))
        if self._buffer is not None and kind in _ACTIONS:
            self._write(self._buffer, account, outcome, seconds)
        if outcome not in _ANSWERED:
            _log.info("remote_call_failed", **_told(account, outcome, seconds))
        elif is_debugging():
            _log.debug("remote_call_finished", **_told(account, outcome, seconds))

    def _write(self, buffer: AuditBuffer, account: Account, outcome: str, seconds: float) -> None:
        context, row, ask = account.context, account.server.row, account.ask
        params = None if buffer.is_heavy else ask.params
        tier = row.consent_tier.value
        facts = _Facts(account.kind, ask.name or "", outcome, seconds, tier, params)
        buffer.add(
            CallRow(
                time.monotonic(),
                row.tenant_id,
                context.caller.user_id,
                context.caller.subject_type,
                _ACTIONS[account.kind],
                "remote_server",
                row.id,
                "SUCCESS" if outcome in _FINE else "FAILURE",
                context.request_id,
                context.client_ip,
                context.user_agent,
                facts.data,
                len(params) if params is not None else 0,
            )
        )


@asynccontextmanager
async def open_books(parts: RemoteParts, database: Database) -> AsyncIterator[Books]:
    """Open the accounts of a gateway, with the gauges of what it keeps open; the end writes all.

    Args:
        parts: what belongs to remote servers in this process.
        database: where the audit log is.
    """
    pool, breaker = parts.pool, parts.breaker
    async with open_buffer(database) as buffer:
        with (
            busy_sessions.shown(lambda: pool.busy),
            idle_sessions.shown(lambda: len(pool) - pool.busy),
            trying_breakers.shown(breaker.trying_servers),
            open_breakers.shown(lambda: breaker.open_servers() - breaker.trying_servers()),
        ):
            yield Books(buffer)


class Account:
    """One call, from being let through to its answer.

    ``result`` is the answer, to be set before the block ends; ``waited`` the seconds that others
    took: those before the call had a place, and the server's.
    """

    __slots__ = ("_books", "_started", "ask", "context", "era", "kind", "result", "server",
                 "waited")  # fmt: skip

    def __init__(
        self,
        books: Books,
        server: RemoteServer,
        ask: Ask,
        context: RequestContext,
        era: Callable[[RemoteServer], str | None],
    ) -> None:
        self._books = books
        self.server = server
        self.ask = ask
        self.context = context
        self.era = era
        self.kind = KINDS.get(ask.method, "other")
        self.result: msgspec.Raw | None = None
        self.waited = 0.0

    def away(self) -> _Away:
        """Return a block in which the call is in others' hands."""
        return _Away(self)

    def __enter__(self) -> Account:
        working_for("request_id", self.context.request_id, self.server.row.tenant_id)
        remote_in_flight.add(1)
        self._started = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        seconds = time.perf_counter() - self._started
        remote_in_flight.add(-1)
        outcome = _answered(self.result) if error is None else _failed(error)
        if isinstance(error, EndpointForbiddenError):
            told = {"reason": error.reason, "address": error.address}
            tell_refusal(self.server.row, told, request_id=self.context.request_id)
        self._books.settle(self, outcome, seconds)


class _Away:
    __slots__ = ("_account", "_left")

    def __init__(self, account: Account) -> None:
        self._account = account

    def __enter__(self) -> None:
        self._left = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._account.waited = time.perf_counter() - self._left


class _Head(msgspec.Struct):
    """What tells good results from others."""

    is_error: bool = msgspec.field(default=False, name="isError")
    result_type: str = msgspec.field(default="complete", name="resultType")


_head = msgspec.json.Decoder(_Head).decode


def _answered(result: msgspec.Raw | None) -> str:
    """Return ``ok``, ``tool_error`` or ``input_required``; reads only results that may be others.

    The words are looked for first: reading a large result takes a hundred times as long.
    """
    if result is None:
        return "ok"
    text = bytes(result)
    if not _is_suspect(text):
        return "ok"
    try:
        head = _head(text)
    except msgspec.MsgspecError:
        return "ok"
    if head.is_error:
        return "tool_error"
    return "input_required" if head.result_type == "input_required" else "ok"


def _is_suspect(text: bytes) -> bool:
    at = text.find(b'"isError"')
    if at >= 0 and b"true" in text[at : at + 24]:
        return True
    return b'"input_required"' in text or text.count(b'"isError"') > 1


def _failed(error: BaseException) -> str:
    """Return a name out of a bounded set: the classes of remote-servers 7 and 8, and two more."""
    if isinstance(error, UpstreamError):
        return error.code
    if isinstance(error, CredentialFailure):
        return error.health_name
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "failed"


def _told(account: Account, outcome: str, seconds: float) -> dict[str, Any]:
    row = account.server.row
    return {
        "request_id": account.context.request_id,
        "tenant_id": row.tenant_id,
        "server_id": row.id,
        "kind": account.kind,
        "outcome": outcome,
        "duration_ms": round(seconds * 1000),
    }


class _Params(msgspec.Struct):
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


_params = msgspec.json.Decoder(_Params).decode


class _Facts:
    """What an audit row says of a call: names and hashes, no arguments and no results."""

    __slots__ = ("_kind", "_name", "_outcome", "_params", "_seconds", "_tier")

    def __init__(
        self, kind: str, name: str, outcome: str, seconds: float, tier: str, params: bytes | None
    ) -> None:
        self._kind = kind
        self._name = name
        self._outcome = outcome
        self._seconds = seconds
        self._tier = tier
        self._params = params

    def data(self) -> dict[str, Any]:
        """Return the row's ``data``; ``digest`` is null where there is none, or it costs much."""
        is_resource = self._kind == "resource"
        name = _without_query(self._name) if is_resource else self._name
        return {
            "name": name[:_NAME_CHARS],
            "outcome": self._outcome,
            "duration_ms": round(self._seconds * 1000),
            "digest": self._digest(is_resource=is_resource),
            "tier": self._tier,
        }

    def _digest(self, *, is_resource: bool) -> str | None:
        if self._params is None:
            return None
        if is_resource:
            return call_digest(msgspec.json.encode({"uri": self._name}))
        return call_digest(bytes(_params(self._params).arguments))


def _without_query(uri: str) -> str:
    """Return a URI without what may hold secrets."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri.partition("?")[0]
    return parts._replace(query="", fragment="", netloc=parts.netloc.rpartition("@")[2]).geturl()


def call_digest(arguments: bytes) -> str | None:
    """Return the hex SHA-256 of arguments, the same that a consent to them is bound to.

    None where no consent could be bound to them, and for more than 64 KiB of what the JSON
    library does not write in canonical form by itself (fractions, letters beyond ASCII).
    """
    quick = _quick_form(arguments)
    if quick is not None:
        return hashlib.sha256(quick).hexdigest()
    if len(arguments) > _SLOW_BYTES:
        return None
    try:
        return arguments_digest(read_arguments(arguments)).hex()
    except (GatewayError, CanonicalError):
        return None


class _Fraction(Exception):
    """A number that the JSON library would write in another way than the canonical form."""


def _refuse(text: str) -> float:
    raise _Fraction


_decode = msgspec.json.Decoder(dict[str, Any], float_hook=_refuse).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def _quick_form(arguments: bytes) -> bytes | None:
    """Return the canonical form where the JSON library writes just that, else None."""
    # Sorted alike by characters and by UTF-16 units, and no half of a surrogate pair.
    if not arguments.isascii() or b"\\u" in arguments:
        return None
    try:
        return _encode(_decode(arguments))
    except (_Fraction, msgspec.MsgspecError, OverflowError, RecursionError):
        return None
