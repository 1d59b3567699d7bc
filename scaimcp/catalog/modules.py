"""Which modules are enabled for a tenant: five sources in order. Spec: scaigrid 4."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from weakref import WeakValueDictionary

import msgspec

from scaimcp.auth.verifier import Verifier, key_of
from scaimcp.errors import GatewayError, PlatformFailure, ToolError
from scaimcp.scaigrid.client import PlatformClient, PlatformRequest, Trace
from scaimcp.scaigrid.envelope import AuthenticationLost
from scaimcp.telemetry.logs import get_logger
from scaimcp.types import Caller, ModuleView, RequestContext, Secret

CALL_SECONDS = 60.0
LIST_SECONDS = 5.0
_REREAD_SECONDS = 1.0
_AWAY_SECONDS = 5.0
_OUTAGE_SECONDS = 600.0
_DENIED_SECONDS = 30.0
_ENTRIES = 10_000
_MODULES = PlatformRequest("GET", "/v1/modules", timeout_seconds=5.0)
SELF = "scaimcp"
_log = get_logger("scaimcp.catalog")


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
    """What is known of one scope; ``state`` is None while no reading has succeeded."""

    __slots__ = ("is_stale", "not_before", "read_at", "state")

    def __init__(self, state: ModuleState | None, now: float) -> None:
        self.state = state
        self.read_at = now
        self.not_before = now + _REREAD_SECONDS
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
        # Who may not read the list, and until when that is believed.
        self._denied: dict[bytes, float] = {}
        # A lock lives as long as somebody holds it or waits for it.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # Rises when something is dropped: a reading that began before is not remembered.
        self._drops = 0

    def known(self, caller: Caller, max_age: float) -> ModuleState | None:
        """Return the remembered state if it is younger than `max_age` seconds.

        A stale mark counts for lists; a call that is about to be refused asks for no age at all.
        """
        entry = self._entries.get(scope_of(caller))
        if entry is None or entry.state is None:
            return None
        if entry.is_stale and max_age < CALL_SECONDS:
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
        scope = scope_of(caller)
        lock = self._locks.setdefault(scope, asyncio.Lock())
        async with lock:
            known = self.known(caller, max_age) or await self._read(context, scope)
        return known or self._fallback(caller, scope)

    def mark_stale(self, scope: str) -> None:
        """Let the next list or refused call read the modules of a scope again."""
        entry = self._entries.get(scope)
        if entry is not None:
            entry.is_stale = True

    def drop(self, scope: str) -> None:
        """Forget the modules of a scope (`scope_of`) at once: they have just been changed."""
        self._drops += 1
        self._entries.pop(scope, None)

    def drop_all(self) -> None:
        """Forget everything: a partner's change concerns tenants that nobody here can name."""
        self._drops += 1
        self._entries.clear()

    def _is_too_soon(self, scope: str) -> bool:
        entry = self._entries.get(scope)
        return entry is not None and self._monotonic() < entry.not_before

    async def _read(self, context: RequestContext, scope: str) -> ModuleState | None:
        """Ask with the caller's bearer, on 403 with the service token; None without an answer.

        At most once a second, unless the last answer was a refusal of one caller; less often
        while the platform is away, so that it does not delay every list.
        """
        if self._is_too_soon(scope):
            return None
        drops = self._drops
        caller = context.caller
        trace = Trace(context.request_id, context.traceparent)
        if not self._is_denied(caller.key):
            try:
                rows = await self._ask(context.bearer, trace)
                return self._store(scope, rows, "platform", drops)
            except AuthenticationLost:
                self._verifier.forget(caller.key)
                return None
            except ToolError as error:
                if not isinstance(error, PlatformFailure) or error.status != 403:
                    self._tried(scope, error)
                    return None
            self._deny(caller.key, _DENIED_SECONDS)
        return await self._read_by_service(context, scope, trace)

    def _tried(self, scope: str, error: ToolError) -> None:
        """Note a reading without an answer; a rate limit concerns one bearer, not the scope."""
        if error.code != "RATE_LIMITED":
            entry = self._entries.get(scope) or self._remember(scope, None)
            is_away = error.code in ("PLATFORM_UNAVAILABLE", "PLATFORM_TIMEOUT")
            pause = _AWAY_SECONDS if is_away else _REREAD_SECONDS
            entry.not_before = self._monotonic() + pause

    async def _read_by_service(
        self, context: RequestContext, scope: str, trace: Trace
    ) -> ModuleState | None:
        token = self._policy.service_token
        key, drops = scope.encode(), self._drops
        if token is None or not context.caller.tenant_id or self._is_denied(key):
            return None
        try:
            service = await self._verifier.verify(token.reveal(), trace)
            if service.tenant_id == context.caller.tenant_id:
                rows = await self._ask(token, trace)
                return self._store(scope, rows, "service_token", drops)
        except GatewayError as error:
            if isinstance(error, AuthenticationLost):
                self._verifier.forget(key_of(token.reveal()))
            _log.warning("service token of no use", code=error.code)
        self._deny(key, _REREAD_SECONDS)
        return None

    def _is_denied(self, key: bytes) -> bool:
        return self._denied.get(key, 0.0) > self._monotonic()

    def _deny(self, key: bytes, seconds: float) -> None:
        if len(self._denied) >= _ENTRIES:
            self._denied.clear()
        self._denied[key] = self._monotonic() + seconds

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

    def _store(self, scope: str, rows: list[ModuleRow], source: str, drops: int) -> ModuleState:
        """Remember a reading, unless something was dropped since it began at `drops`."""
        active = frozenset(row.module_id for row in rows if row.status == "active")
        is_off = any(row.module_id == SELF and row.status != "active" for row in rows)
        cached = ModuleState(ModuleView(active, "tenant_cache", is_off), tuple(rows))
        if drops == self._drops:
            self._remember(scope, cached)
        return msgspec.structs.replace(cached, view=ModuleView(active, source, is_off))

    def _remember(self, scope: str, state: ModuleState | None) -> _Entry:
        if len(self._entries) >= _ENTRIES:
            self._entries.clear()
        entry = self._entries[scope] = _Entry(state, self._monotonic())
        return entry

    def _fallback(self, caller: Caller, scope: str) -> ModuleState:
        """Last known set, then the operator's setting, then the caller's own permissions."""
        entry = self._entries.get(scope)
        if entry is not None and entry.state is not None:
            limit = CALL_SECONDS if self._is_denied(caller.key) else _OUTAGE_SECONDS
            if self._monotonic() - entry.read_at < limit:
                return entry.state
        if self._policy.assume_enabled:
            return ModuleState(ModuleView(self._policy.assume_enabled, "settings"))
        held = caller.grants.module or frozenset()
        named = frozenset(key.partition(":")[0] for key in held if key != "*" and ":" in key)
        return ModuleState(ModuleView(named, "permissions"))


class SwitchedModule:
    """What the platform says of one module that the gateway itself brings.

    Args:
        directory: knows the tenants' modules.
        module_id: of the module.
    """

    def __init__(self, directory: ModuleDirectory, module_id: str) -> None:
        self._directory = directory
        self._module_id = module_id

    def known(self, context: RequestContext, max_age: float) -> bool | None:
        """Return whether the platform lists it in another status than active; None: unasked."""
        state = self._directory.known(context.caller, max_age)
        return None if state is None else self._is_off(state)

    async def is_off(self, context: RequestContext, max_age: float) -> bool:
        """Return whether the platform lists it in another status than active."""
        return self._is_off(await self._directory.state(context, max_age))

    def _is_off(self, state: ModuleState) -> bool:
        return any(r.module_id == self._module_id and r.status != "active" for r in state.rows)


def scope_of(caller: Caller) -> str:
    """Return whose modules count: the tenant's, or the user's own without a tenant."""
    return caller.tenant_id or f"user:{caller.user_id}"
