"""Calls of ScaiVault tools, in the one order of checks. Spec: scaivault 2.2.

Steps 1 to 5 send nothing; step 6 sends one cached question; a refusal in step 7 means that the
write was never sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from scaimcp.deadline import Deadline
from scaimcp.scaivault.answers import UpstreamFailure, timed_out
from scaimcp.scaivault.arguments import read_arguments
from scaimcp.scaivault.client import VaultClient
from scaimcp.scaivault.context_lock import ContextLock, Holder, Identity
from scaimcp.scaivault.cursors import Cursors, binding
from scaimcp.scaivault.echoes import hide_echoes
from scaimcp.scaivault.errors import VaultError, tenant_locked
from scaimcp.scaivault.guards import (
    Guards,
    check_arguments,
    check_stored,
    check_tool,
    leaves_tenant,
    needs_stored,
    window,
)
from scaimcp.scaivault.job import Job, Result, echoed
from scaimcp.scaivault.lists import MOST_TO_FILL
from scaimcp.scaivault.masking import sweep, sweep_faults
from scaimcp.scaivault.output import encode, next_limit, render, too_large
from scaimcp.scaivault.records import ToolRecord
from scaimcp.scaivault.requests import VaultRequest, request_of
from scaimcp.scaivault.session import Session
from scaimcp.scaivault.spans import has_span, with_span
from scaimcp.scaivault.special.registry import PROCEDURES
from scaimcp.types import ToolResult

MOST_RESULT_BYTES = 262_144
CALL_SECONDS = 60.0
_WAITING_EXTRA_SECONDS = 15.0
_TOO_LARGE = "RESULT_TOO_LARGE"
_MORE = ("has_more", "truncated")


class VaultTools:
    """Calls tools.

    Args:
        client: the way to ScaiVault.
        cursors: seals where listings go on.
        most_bytes: of an encoded result; characters of it with `counts_chars`.
        call_seconds: time for one whole call.
    """

    def __init__(
        self,
        client: VaultClient,
        cursors: Cursors,
        *,
        most_bytes: int = MOST_RESULT_BYTES,
        counts_chars: bool = False,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._client = client
        self._lock = ContextLock(client)
        self._cursors = cursors
        self._most_bytes = most_bytes
        self._counts_chars = counts_chars
        self._call_seconds = call_seconds

    async def call(
        self, record: ToolRecord, arguments: bytes, identity: Identity, guards: Guards
    ) -> ToolResult:
        """Return the result of a tool as compact JSON, guarded and masked.

        Args:
            record: the tool; it need not be one of the catalogue's.
            arguments: JSON as the client sent it.
            identity: who calls.
            guards: what holds for this call.

        Raises:
            VaultError: every refusal and failure; its details are masked where values are.
        """
        try:
            return ToolResult(await self._run(record, arguments, identity, guards))
        except VaultError as error:
            if guards.mask_values:
                mask_error(error)
                if isinstance(error, UpstreamFailure):
                    hide_echoes(error, record, arguments)
            raise

    async def check_lock(self, identity: Identity, guards: Guards) -> None:
        """Pass the context lock without a call, as resources and start-up checks do.

        Raises:
            VaultError: TENANT_LOCKED, or why ScaiVault did not say whose the token is.
        """
        await self._session(identity, guards, self._call_seconds).enter()

    async def holder(self, identity: Identity, guards: Guards) -> Holder:
        """Return whose the token is, behind the context lock.

        Raises:
            VaultError: as `check_lock`.
        """
        try:
            with Deadline(self._call_seconds):
                return await self._session(identity, guards, self._call_seconds).holder()
        except TimeoutError:
            raise timed_out("GET") from None
        except VaultError as error:
            if guards.mask_values:
                mask_error(error)
            raise

    def _session(self, identity: Identity, guards: Guards, seconds: float) -> Session:
        until = self._client.timing.monotonic() + seconds
        return Session(self._client, self._lock, identity, guards, until)

    async def _run(
        self, record: ToolRecord, arguments: bytes, identity: Identity, guards: Guards
    ) -> bytes:
        check_tool(record, guards)
        complete = read_arguments(record, arguments)
        check_arguments(record, complete, guards)
        seconds = self._seconds(complete)
        session = self._session(identity, guards, seconds)
        job = self._job(record, complete, guards, session, identity.tenant_id)
        if leaves_tenant(record, complete, guards):
            raise tenant_locked()
        try:
            with Deadline(seconds):
                await session.enter()
                if needs_stored(record, guards):
                    check_stored(record, await job.fetch(_stored_request(record, complete)), guards)
                return await self._result(job)
        except TimeoutError:
            raise timed_out("POST" if session.writes else "GET") from None

    def _seconds(self, arguments: Mapping[str, Any]) -> float:
        waiting = arguments.get("wait_seconds")
        return self._call_seconds if waiting is None else waiting + _WAITING_EXTRA_SECONDS

    def _job(
        self,
        record: ToolRecord,
        arguments: dict[str, Any],
        guards: Guards,
        session: Session,
        owner: str,
    ) -> Job:
        job = Job(
            record=record,
            arguments=arguments,
            guards=guards,
            session=session,
            timing=self._client.timing,
            cursors=self._cursors,
            limit=arguments.get("limit", 0),
        )
        prefix = next((check.where for check in record.checks if check.kind == "prefix"), None)
        if prefix is not None:
            job.window = window(arguments.get(prefix, ""), guards)
        if record.is_list:
            job.bound = binding(record, arguments, job.window, owner)
            job.position = self._cursors.open(arguments.get("cursor"), job.bound)
        if has_span(record):
            now = job.timing.now()
            job.arguments = with_span(arguments, job.position.begin, now)
            if "from" not in arguments:
                job.position = replace(job.position, begin=job.arguments["from"])
        return job

    async def _result(self, job: Job) -> bytes:
        """Return the encoded result; a page that is too long is asked for again with less."""
        special = job.record.special
        procedure = PROCEDURES[special] if special else _plain
        halvings = 0
        while True:
            try:
                result = await procedure(job)
                shown, encoded = render(job.record, result, job.guards, job.passed)
                return self._fitting(job, shown, encoded)
            except VaultError as error:
                smaller = next_limit(job.limit, halvings)
                if error.code != _TOO_LARGE or smaller is None:
                    raise
                job.limit = smaller
            halvings += 1

    def _fitting(self, job: Job, shown: Result, encoded: bytes) -> bytes:
        """Return a result as JSON that is not too long.

        Raises:
            VaultError: RESULT_TOO_LARGE.
        """
        while self._is_too_long(encoded):
            less = None if job.limit else _halved(shown)
            if less is None:
                raise too_large(shown)
            shown, encoded = less, encode(less)
        return encoded

    def _is_too_long(self, encoded: bytes) -> bool:
        if len(encoded) <= self._most_bytes:
            return False
        return not self._counts_chars or len(encoded.decode()) > self._most_bytes


def mask_error(error: VaultError) -> None:
    """Put markers into what an error tells of secrets. Spec: scaivault 2.5 (sweep)."""
    error.message = sweep(error.message)
    error.args = (error.message,)
    error.members = sweep(dict(error.members))
    # What is written here holds no value; ScaiVault may quote what it was given.
    swept = sweep_faults if isinstance(error, UpstreamFailure) else sweep
    error.details = tuple(swept(list(error.details)))


async def _plain(job: Job) -> Result:
    """Return what one request of the record gives."""
    record = job.record
    if record.is_list and job.limit:
        return await job.page()
    if record.is_list:
        rows, has_more = await job.reader().all(0, MOST_TO_FILL)
        return {"items": rows, "has_more": has_more}
    answer = await job.session.ask(record, request_of(record, job.arguments))
    if answer is None and record.route.method == "DELETE":
        answer = {}
    result = job.session.own(answer)
    if "path" in job.arguments:
        of_path = echoed(result, job.arguments["path"])
        result = of_path if "{path}" in record.route.path else result
    return result if record.route.method != "DELETE" else _deleted(job, result)


def _deleted(job: Job, result: Result) -> Result:
    """Return what a deletion has done; ScaiVault may say nothing at all."""
    last = job.record.route.path.rpartition("{")[2].removesuffix("}")
    named = {} if last == "path" else {"id": job.arguments[last]}
    told = {"permanent": job.arguments["permanent"]} if "permanent" in job.arguments else {}
    return {**named, "deleted": True, **told, **result}


def _stored_request(record: ToolRecord, arguments: Mapping[str, Any]) -> VaultRequest:
    """Return the request for the object that a tool is about to change."""
    first = record.arguments[0].name
    stored = record.route.path.partition(f"{{{first}}}")[0] + f"{{{first}}}"
    route = replace(record.route, method="GET", path=stored, query=(), body=None)
    return request_of(replace(record, route=route), arguments)


def _halved(shown: Result) -> Result | None:
    """Return a result with half of its rows, None where there are none to leave out."""
    for name, told in (("items", "has_more"), ("groups", "truncated")):
        rows = shown.get(name)
        if isinstance(rows, list) and len(rows) > 1 and told in shown:
            more = dict.fromkeys((flag for flag in _MORE if flag in shown), True)
            return {**shown, name: rows[: len(rows) // 2], **more}
    return None
