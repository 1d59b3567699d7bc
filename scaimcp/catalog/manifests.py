"""Manifests that modules serve: fetched with the caller's bearer, kept per tenant and version.

Spec: core-tools 9, form B.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Callable

import msgspec

from scaimcp.catalog.contributed import Contribution, RuleBroken, read_manifest
from scaimcp.catalog.modules import ModuleState
from scaimcp.errors import PlatformFailure, ToolError
from scaimcp.scaigrid.client import PlatformClient, PlatformRequest, Trace
from scaimcp.telemetry.logs import get_logger
from scaimcp.types import RequestContext

KEEP_SECONDS = 900.0
FAILURE_SECONDS = 60.0
_TIMEOUT_SECONDS = 3.0
_ENTRIES = 10_000
_PATH = re.compile(r"/v1/modules/[A-Za-z0-9._-]+(/[A-Za-z0-9._~-]+)+\Z")
_EMPTY = Contribution()
_SERIALS = itertools.count(1)
_log = get_logger("scaimcp.catalog")


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
        self._kept: dict[tuple[str, str, str], _Kept] = {}

    async def contributions(
        self, context: RequestContext, state: ModuleState
    ) -> tuple[Contribution, ...]:
        """Return one contribution per enabled module with a manifest, by module id.

        Missing ones are fetched together. A failure leaves that module's tools out for a minute;
        a 401 or 403 concerns this caller alone and is not remembered.
        """
        wanted = self._wanted(state)
        if not wanted:
            return ()
        now = self._monotonic()
        tenant = context.caller.tenant_id or f"user:{context.caller.user_id}"
        found: dict[str, Contribution] = {}
        missing: list[tuple[tuple[str, str, str], str]] = []
        for module_id, (path, version) in sorted(wanted.items()):
            key = (tenant, module_id, version)
            kept = self._kept.get(key)
            if kept is not None and kept.until > now:
                found[module_id] = kept.contribution
            else:
                missing.append((key, path))
        if missing:
            fetched = await asyncio.gather(
                *(self._fetch(context, key, path) for key, path in missing)
            )
            found |= {key[1]: got for (key, _), got in zip(missing, fetched, strict=True)}
        return tuple(found[module_id] for module_id in sorted(found))

    def _wanted(self, state: ModuleState) -> dict[str, tuple[str, str]]:
        wanted: dict[str, tuple[str, str]] = {}
        for row in state.rows:
            if row.module_id not in state.view.active:
                continue
            if row.mcp_tools_path:
                wanted[row.module_id] = (row.mcp_tools_path, row.version)
            elif row.module_id in self._always_ask:
                wanted[row.module_id] = (f"/v1/modules/{row.module_id}/mcp/tools", row.version)
        return wanted

    async def _fetch(
        self, context: RequestContext, key: tuple[str, str, str], path: str
    ) -> Contribution:
        module_id = key[1]
        trace = Trace(context.request_id, context.traceparent)
        try:
            if not _PATH.match(path) or "/../" in path:
                raise RuleBroken("The manifest's path is not one of this platform.")
            request = PlatformRequest("GET", path, timeout_seconds=_TIMEOUT_SECONDS, is_raw=True)
            answer = await self._platform.request(request, context.bearer, trace)
            contribution = read_manifest(_unwrapped(answer.body), module_id)
        except RuleBroken as reason:
            contribution = Contribution((), {f"{module_id}/": str(reason)})
            return self._keep(key, contribution, FAILURE_SECONDS)
        except ToolError as error:
            _log.warning("manifest not read", module_id=module_id, code=error.code)
            if isinstance(error, PlatformFailure) and error.status in (401, 403):
                return _EMPTY
            reason_text = f"The manifest could not be fetched ({error.code})."
            contribution = Contribution((), {f"{module_id}/": reason_text})
            return self._keep(key, contribution, FAILURE_SECONDS)
        return self._keep(key, contribution, KEEP_SECONDS)

    def _keep(
        self, key: tuple[str, str, str], contribution: Contribution, seconds: float
    ) -> Contribution:
        if len(self._kept) >= _ENTRIES:
            self._kept.clear()
        contribution = msgspec.structs.replace(contribution, serial=next(_SERIALS))
        self._kept[key] = _Kept(contribution, self._monotonic() + seconds)
        return contribution


class _Wrapped(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw(b"")


def _unwrapped(body: bytes) -> bytes:
    """Return the manifest, which may or may not stand in the platform's envelope."""
    try:
        inner = bytes(msgspec.json.decode(body, type=_Wrapped).data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body
    return inner or body
