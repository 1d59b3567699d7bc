"""Manifests that modules serve: fetched with the caller's bearer, kept per tenant and version.

Spec: core-tools 9, form B.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Callable, Iterable

import msgspec

from scaimcp.catalog.contributed import Contribution, RuleBroken, read_manifest, whole_module
from scaimcp.catalog.modules import ModuleRow, ModuleState, scope_of
from scaimcp.errors import PlatformFailure, ToolError
from scaimcp.scaigrid.client import PlatformClient, PlatformRequest, Trace
from scaimcp.scaigrid.envelope import AuthenticationLost
from scaimcp.telemetry.logs import get_logger
from scaimcp.types import Caller, RequestContext

KEEP_SECONDS = 900.0
FAILURE_SECONDS = 60.0
_TIMEOUT_SECONDS = 3.0
_ENTRIES = 10_000
_PATH = re.compile(r"/v1/modules/[A-Za-z0-9._-]+(/[A-Za-z0-9._~-]+)+\Z")
_EMPTY = Contribution()
# Nothing as well, since the platform no longer accepts the bearer; told apart by identity.
_LOST = Contribution()
# Whose modules, which module, which version of it.
_Key = tuple[str, str, str]
_SERIALS = itertools.count(1)
_log = get_logger("scaimcp.catalog")


class _Wanted(msgspec.Struct, frozen=True):
    key: _Key
    path: str
    is_active: bool


class _Kept(msgspec.Struct, frozen=True):
    contribution: Contribution
    until: float


class Manifests:
    """The tools that enabled modules bring by manifest, per tenant."""

    def __init__(
        self,
        platform: PlatformClient,
        always_ask: frozenset[str],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._platform = platform
        self._always_ask = always_ask
        self._monotonic = monotonic
        self._kept: dict[_Key, _Kept] = {}
        self._locks: dict[_Key, asyncio.Lock] = {}
        self._wanted: dict[str, tuple[ModuleState, list[_Wanted]]] = {}

    def known(self, caller: Caller, state: ModuleState) -> tuple[Contribution, ...] | None:
        """Return what `contributions` would, or None when a manifest has to be fetched first."""
        found: list[Contribution] = []
        for wanted in self._modules(scope_of(caller), state):
            known = self._known(wanted.key)
            if known is not None:
                found.append(known)
            elif wanted.is_active:
                return None
        return tuple(found)

    async def contributions(
        self,
        context: RequestContext,
        state: ModuleState,
        forget: Callable[[bytes], None] | None = None,
    ) -> tuple[Contribution, ...]:
        """Return one contribution per module with a manifest, by module id.

        Those of enabled modules are fetched together where they are missing. A failure leaves
        that module's tools out for a minute; a 401 or 403 concerns this caller alone and is not
        remembered. What is still known of a module that is not enabled any more is returned as
        well: admission hides it, and explanations need it.

        Args:
            context: who asks.
            state: the modules of the caller's tenant.
            forget: is told the caller's key when the platform no longer accepts the bearer.
        """
        found: dict[str, Contribution] = {}
        missing: dict[_Key, str] = {}
        for wanted in self._modules(scope_of(context.caller), state):
            known = self._known(wanted.key)
            if known is not None:
                found[wanted.key[1]] = known
            elif wanted.is_active:
                missing[wanted.key] = wanted.path
        if missing:
            fetched = await asyncio.gather(
                *(self._fetch_once(context, key, path) for key, path in missing.items())
            )
            found |= {key[1]: got for key, got in zip(missing, fetched, strict=True)}
            if forget is not None and any(got is _LOST for got in fetched):
                forget(context.caller.key)
        return tuple(found[module_id] for module_id in sorted(found))

    def _modules(self, scope: str, state: ModuleState) -> list[_Wanted]:
        """Return the modules with a manifest, by id; worked out once per reading of the states."""
        kept = self._wanted.get(scope)
        if kept is not None and kept[0] is state:
            return kept[1]
        wanted = [
            _Wanted((scope, row.module_id, row.version), path, row.module_id in state.view.active)
            for row in sorted(_rows(state), key=lambda row: row.module_id)
            if (path := self._path(row)) is not None
        ]
        if len(self._wanted) >= _ENTRIES:
            self._wanted.clear()
        self._wanted[scope] = (state, wanted)
        return wanted

    def _known(self, key: _Key) -> Contribution | None:
        kept = self._kept.get(key)
        return kept.contribution if kept is not None and kept.until > self._monotonic() else None

    def _path(self, row: ModuleRow) -> str | None:
        if row.mcp_tools_path:
            return row.mcp_tools_path
        is_asked = row.module_id in self._always_ask
        return f"/v1/modules/{row.module_id}/mcp/tools" if is_asked else None

    async def _fetch_once(self, context: RequestContext, key: _Key, path: str) -> Contribution:
        """Fetch a manifest, or wait for who fetches it already."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            known = self._known(key)
            contribution = known if known is not None else await self._fetch(context, key, path)
        self._locks.pop(key, None)
        return contribution

    async def _fetch(self, context: RequestContext, key: _Key, path: str) -> Contribution:
        module_id = key[1]
        trace = Trace(context.request_id, context.traceparent)
        try:
            if not _PATH.match(path) or not {".", ".."}.isdisjoint(path.split("/")):
                raise RuleBroken("The manifest's path is not one of this platform.")
            request = PlatformRequest("GET", path, timeout_seconds=_TIMEOUT_SECONDS, is_raw=True)
            answer = await self._platform.request(request, context.bearer, trace)
            contribution = read_manifest(_unwrapped(answer.body), module_id)
        except RuleBroken as reason:
            return self._keep_failure(key, str(reason))
        except ToolError as error:
            _log.warning("manifest not read", module_id=module_id, code=error.code)
            if isinstance(error, AuthenticationLost):
                return _LOST
            if isinstance(error, PlatformFailure) and error.status in (401, 403):
                return _EMPTY
            return self._keep_failure(key, f"The manifest could not be fetched ({error.code}).")
        return self._keep(key, contribution, KEEP_SECONDS)

    def _keep_failure(self, key: _Key, reason: str) -> Contribution:
        return self._keep(key, Contribution((), {whole_module(key[1]): reason}), FAILURE_SECONDS)

    def _keep(self, key: _Key, contribution: Contribution, seconds: float) -> Contribution:
        for name, reason in contribution.dropped.items():
            _log.warning("tool dropped", tool=name, reason=reason)
        if len(self._kept) >= _ENTRIES:
            self._kept.clear()
        contribution = msgspec.structs.replace(contribution, serial=next(_SERIALS))
        self._kept[key] = _Kept(contribution, self._monotonic() + seconds)
        return contribution


def _rows(state: ModuleState) -> Iterable[ModuleRow]:
    """Return what is known of each module: the platform's rows, else the names alone."""
    return state.rows or [ModuleRow(module_id) for module_id in state.view.active]


class _Wrapped(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw(b"")


def _unwrapped(body: bytes) -> bytes:
    """Return the manifest, which may or may not stand in the platform's envelope."""
    try:
        inner = bytes(msgspec.json.decode(body, type=_Wrapped).data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    return inner or body
