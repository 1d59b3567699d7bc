"""Which modules are enabled for a tenant: five sources in order. Spec: scaigrid 4."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from scaimcp.auth.verifier import Verifier
from scaimcp.errors import GatewayError, PlatformFailure, ToolError
from scaimcp.scaigrid.client import PlatformClient, PlatformRequest, Trace
from scaimcp.types import Caller, ModuleView, RequestContext, Secret

CALL_SECONDS = 60.0
LIST_SECONDS = 5.0
_REREAD_SECONDS = 1.0
_OUTAGE_SECONDS = 600.0
_DENIED_SECONDS = 30.0
_ENTRIES = 10_000
_MODULES = PlatformRequest("GET", "/v1/modules", timeout_seconds=5.0)
SELF = "scaimcp"


class ModuleRow(msgspec.Struct):
    """One row of ``GET /v1/modules``, as far as the gateway reads it."""

    module_id: str = ""
    status: str = ""
    version: str = ""
    mcp_tools_path: str | None = None


class _Page(msgspec.Struct):
    items: list[ModuleRow]


class ModuleState(msgspec.Struct, frozen=True):
    """What is known of a tenant's modules. ``rows`` is empty unless the platform listed them."""

    view: ModuleView
    rows: tuple[ModuleRow, ...] = ()


class _Entry:
    __slots__ = ("is_stale", "read_at", "state", "tried_at")

    def __init__(self, state: ModuleState | None, now: float) -> None:
        self.state = state
        self.read_at = now
        self.tried_at = now
        self.is_stale = False


class ModulePolicy(msgspec.Struct, frozen=True):
    """Operator's word on modules: the service token and what to assume without the platform."""

    service_token: Secret | None = None
    assume_enabled: frozenset[str] = frozenset()


class ModuleDirectory:
    """Remembers each tenant's modules; one read per tenant at a time."""

    def __init__(
        self,
        platform: PlatformClient,
        verifier: Verifier,
        policy: ModulePolicy,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._platform = platform
        self._verifier = verifier
        self._policy = policy
        self._monotonic = monotonic
        self._entries: dict[str, _Entry] = {}
        self._denied: dict[bytes, float] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def known(self, caller: Caller, max_age: float) -> ModuleState | None:
        """Return the remembered state if it is younger than `max_age` seconds."""
        entry = self._entries.get(_scope(caller))
        if entry is None or entry.state is None or entry.is_stale:
            return None
        return entry.state if self._monotonic() - entry.read_at < max_age else None

    async def state(self, context: RequestContext, max_age: float) -> ModuleState:
        """Return the enabled modules, read anew when the known state is older than `max_age`.

        Never raises: without the platform the other sources answer.
        """
        caller = context.caller
        known = self.known(caller, max_age)
        if known is not None:
            return known
        scope = _scope(caller)
        lock = self._locks.setdefault(scope, asyncio.Lock())
        async with lock:
            known = self.known(caller, max_age)
            if known is None and not self._read_just_now(scope):
                known = await self._read(context, scope)
        if not lock.locked():
            self._locks.pop(scope, None)
        return known or self._fallback(caller, scope)

    def mark_stale(self, tenant_id: str) -> None:
        """Let the next list or refused call read the tenant's modules again."""
        entry = self._entries.get(tenant_id)
        if entry is not None:
            entry.is_stale = True

    def drop(self, tenant_id: str) -> None:
        """Forget the tenant's modules at once: they have just been changed."""
        self._entries.pop(tenant_id, None)

    def _read_just_now(self, scope: str) -> bool:
        entry = self._entries.get(scope)
        if entry is None or entry.state is None:
            return False
        return self._monotonic() - entry.tried_at < _REREAD_SECONDS

    async def _read(self, context: RequestContext, scope: str) -> ModuleState | None:
        now = self._monotonic()
        entry = self._entries.get(scope)
        if entry is not None:
            entry.tried_at = now
        trace = Trace(context.request_id, context.traceparent)
        if self._denied.get(context.caller.key, 0.0) > now:
            return await self._read_by_service(context, scope, trace)
        try:
            return self._store(scope, await self._ask(context.bearer, trace), "platform")
        except PlatformFailure as error:
            if error.status != 403:
                return None
        except ToolError:
            return None
        if len(self._denied) >= _ENTRIES:
            self._denied.clear()
        self._denied[context.caller.key] = now + _DENIED_SECONDS
        return await self._read_by_service(context, scope, trace)

    async def _read_by_service(
        self, context: RequestContext, scope: str, trace: Trace
    ) -> ModuleState | None:
        token = self._policy.service_token
        if token is None or not context.caller.tenant_id:
            return None
        try:
            service = await self._verifier.verify(token.reveal(), trace)
            if service.tenant_id != context.caller.tenant_id:
                return None
            return self._store(scope, await self._ask(token, trace), "service_token")
        except GatewayError:
            return None

    async def _ask(self, bearer: Secret, trace: Trace) -> list[ModuleRow]:
        answer = await self._platform.request(_MODULES, bearer, trace)
        try:
            if answer.data.lstrip().startswith(b"["):
                return msgspec.json.decode(answer.data, type=list[ModuleRow])
            return msgspec.json.decode(answer.data, type=_Page).items
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise PlatformFailure(
                "PLATFORM_BAD_RESPONSE", "The module list is unreadable"
            ) from None

    def _store(self, scope: str, rows: list[ModuleRow], source: str) -> ModuleState:
        active = frozenset(row.module_id for row in rows if row.status == "active")
        is_off = any(row.module_id == SELF and row.status != "active" for row in rows)
        cached = ModuleState(ModuleView(active, "tenant_cache", is_off), tuple(rows))
        if len(self._entries) >= _ENTRIES:
            self._entries.clear()
        self._entries[scope] = _Entry(cached, self._monotonic())
        return msgspec.structs.replace(cached, view=ModuleView(active, source, is_off))

    def _fallback(self, caller: Caller, scope: str) -> ModuleState:
        """Last known set, then the operator's setting, then the caller's own permissions."""
        entry = self._entries.get(scope)
        if entry is not None and entry.state is not None:
            denied = self._denied.get(caller.key, 0.0) > self._monotonic()
            limit = CALL_SECONDS if denied else _OUTAGE_SECONDS
            if self._monotonic() - entry.read_at < limit:
                return entry.state
        if self._policy.assume_enabled:
            return ModuleState(ModuleView(self._policy.assume_enabled, "settings"))
        held = caller.grants.module or frozenset()
        named = frozenset(key.partition(":")[0] for key in held if key != "*" and ":" in key)
        return ModuleState(ModuleView(named, "permissions"))


def _scope(caller: Caller) -> str:
    return caller.tenant_id or f"user:{caller.user_id}"
