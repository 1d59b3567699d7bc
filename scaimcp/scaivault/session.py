"""One tool call's way to ScaiVault: its identity, its lock, the time it has left."""

from __future__ import annotations

from typing import Any

from scaimcp.scaivault.answers import Answer, UpstreamFailure, shape_mismatch
from scaimcp.scaivault.client import VaultClient
from scaimcp.scaivault.context_lock import ContextLock, Holder, Identity
from scaimcp.scaivault.errors import not_supported, tenant_locked
from scaimcp.scaivault.guards import Guards, names_other_tenant
from scaimcp.scaivault.records import ToolRecord
from scaimcp.scaivault.requests import VaultRequest


class Session:
    """Sends the requests of one call; for use in one task.

    Args:
        client: sends them.
        lock: is asked before the first one.
        identity: who calls.
        guards: the locks.
        until: when the call ends, on the monotonic clock.
    """

    def __init__(
        self,
        client: VaultClient,
        lock: ContextLock,
        identity: Identity,
        guards: Guards,
        until: float,
    ) -> None:
        self._client = client
        self._lock = lock
        self._identity = identity
        self._guards = guards
        self._headers: dict[str, str] = {}
        self.until = until
        self.writes = 0

    async def enter(self) -> None:
        """Pass the lock.

        Raises:
            VaultError: TENANT_LOCKED, or why ScaiVault did not say whose the token is.
        """
        try:
            await self._pass_lock()
        except UpstreamFailure as failure:
            if not self._renew(failure):
                raise
            await self._pass_lock()

    async def holder(self) -> Holder:
        """Return whose the token is, behind the lock.

        Raises:
            VaultError: as `enter`.
        """
        await self.enter()
        return await self._lock.holder(self._identity, self.until)

    async def _pass_lock(self) -> None:
        own = {"X-Request-ID": self._identity.request_id} if self._identity.request_id else {}
        locked = await self._lock.check(self._identity, self._guards, self.until)
        self._headers = {**own, **locked}

    async def send(self, record: ToolRecord, request: VaultRequest) -> Answer:
        """Return the successful answer to one request of a tool.

        A token that was refused and has changed since is tried once, behind the lock again.

        Raises:
            VaultError: NOT_SUPPORTED for a route that this ScaiVault does not have, and whatever
                `VaultClient.request` raises.
        """
        try:
            try:
                return await self._send(request)
            except UpstreamFailure as failure:
                if not self._renew(failure):
                    raise
                await self._pass_lock()
                return await self._send(request)
        except UpstreamFailure as failure:
            if record.is_partial and failure.status in (404, 405) and not failure.is_coded:
                raise not_supported(record.name) from None
            raise

    async def _send(self, request: VaultRequest) -> Answer:
        is_write = request.method != "GET"
        self.writes += is_write
        answer = await self._client.request(
            request, self._identity.token, self._headers, self.until
        )
        self.writes -= is_write
        return answer

    def _renew(self, failure: UpstreamFailure) -> bool:
        """Take a changed token after 401; tell whether there was one."""
        renewed = self._identity.renewed
        fresh = renewed() if failure.status == 401 and renewed is not None else None
        if fresh is None:
            return False
        self._identity = fresh
        return True

    async def ask(self, record: ToolRecord, request: VaultRequest) -> Any:
        """Return the JSON of an answer; None where there is no content."""
        return (await self.send(record, request)).decoded()

    async def ask_object(self, record: ToolRecord, request: VaultRequest) -> dict[str, Any]:
        """Return the JSON object of an answer.

        Raises:
            VaultError: as `own` and `send` raise.
        """
        return self.own(await self.ask(record, request))

    def own(self, answer: Any) -> dict[str, Any]:
        """Return an answer that is an object.

        Raises:
            VaultError: UPSTREAM_SHAPE_MISMATCH for anything else; TENANT_LOCKED for an object of
                another tenant than the calls are locked to.
        """
        if not isinstance(answer, dict):
            raise shape_mismatch()
        if names_other_tenant(answer, self._guards):
            raise tenant_locked()
        return answer
