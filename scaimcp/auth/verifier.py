"""Turn a bearer into a `Caller`: ask the platform, remember the answer briefly.

The cache lives in process memory only, keyed by SHA-256 of the bearer, which itself is never
stored. One question per key is under way at a time. Spec: scaigrid 2.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from scaimcp.auth import tokens
from scaimcp.auth.challenge import invalid_token, metadata_url
from scaimcp.auth.identity import read_profile
from scaimcp.errors import GatewayError, PlatformFailure, RequestRefused, ToolError
from scaimcp.scaigrid.client import PlatformClient, PlatformRequest, Trace
from scaimcp.scaigrid.envelope import AuthenticationLost
from scaimcp.telemetry.metrics import IDENTITY_CHECKS
from scaimcp.types import Caller, Secret

OUTAGE_SECONDS = 120.0
REFUSED_SECONDS = 10.0
_STALE_SECONDS = 2.0
_ENTRIES = 10_000
_UNREACHABLE = frozenset({"PLATFORM_UNAVAILABLE", "PLATFORM_TIMEOUT"})


class VerifierPolicy(msgspec.Struct, frozen=True):
    """How long and how far an identity is trusted.

    ``cache_seconds`` is the life of a confirmation; ``fallback_open`` says what unresolved
    permissions list; ``audiences`` are the accepted ``aud`` values, empty = not compared;
    ``timeout_seconds`` is the time for one question to the platform.
    """

    public_url: str
    cache_seconds: float = 30.0
    fallback_open: bool = True
    audiences: tuple[str, ...] = ()
    timeout_seconds: float = 10.0


class Verifier:
    """Confirms bearers at the platform, with a short positive and a shorter negative cache."""

    def __init__(
        self,
        platform: PlatformClient,
        policy: VerifierPolicy,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._platform = platform
        self._policy = policy
        self._me = PlatformRequest("GET", "/v1/me", timeout_seconds=policy.timeout_seconds)
        self._metadata = metadata_url(policy.public_url)
        self._monotonic = monotonic
        self._wall = wall
        self._callers: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()
        self._refused: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Caller]] = {}
        self._tasks: set[asyncio.Task[Caller]] = set()

    def remembered(self, token: str) -> Caller | None:
        """Return the caller of a freshly confirmed bearer without waiting, else None."""
        entry = self._callers.get(hashlib.sha256(token.encode()).digest())
        if entry is None or entry[1] <= self._monotonic():
            return None
        return entry[0]

    async def verify(self, token: str, trace: Trace) -> Caller:
        """Return the caller behind `token`; while the platform is away, as last confirmed.

        Args:
            token: the bearer, without ``Bearer``.
            trace: ids for the question to the platform.

        Raises:
            RequestRefused: 401 with a challenge, 403 for a suspended user or tenant, 429, 503
                while the platform cannot be asked, 502 for an answer without identity.
        """
        try:
            return await self.confirm(token, trace)
        except ToolError as error:
            return self._after_failure(key_of(token), error)

    async def confirm(self, token: str, trace: Trace, *, max_age: float | None = None) -> Caller:
        """Return the caller behind `token`, as `verify`, but without a way round an outage.

        Args:
            token: the bearer, without ``Bearer``.
            trace: ids for the question to the platform.
            max_age: seconds that a confirmation may be old here; None = the policy's.

        Raises:
            RequestRefused: 401 with a challenge, before the platform is asked.
            ToolError: the platform refuses the bearer, or cannot be asked.
        """
        key = key_of(token)
        now = self._monotonic()
        entry = self._callers.get(key)
        if entry is not None and entry[1] > now and _is_young(entry[0], now, max_age):
            return entry[0]
        self._refuse_known(key, now)
        claims = tokens.inspect(token, self._wall(), self._policy.audiences)
        if claims is None:
            raise invalid_token(self._metadata)
        return await self._ask_once(key, token, claims, trace)

    def forget(self, key: bytes) -> None:
        """Drop what is known of a bearer; the next request asks again."""
        self._callers.pop(key, None)
        # A question under way may be older than the reason to forget: its answer still goes to
        # those who wait for it, but is not remembered.
        self._asking.pop(key, None)

    async def aclose(self) -> None:
        """Cancel questions that are still under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _refuse_known(self, key: bytes, now: float) -> None:
        refused = self._refused.get(key)
        if refused is None:
            return
        if refused[0] > now:
            raise invalid_token(self._metadata, refused[1])
        del self._refused[key]

    async def _ask_once(
        self, key: bytes, token: str, claims: tokens.Claims, trace: Trace
    ) -> Caller:
        running = self._asking.get(key)
        if running is None:
            running = asyncio.get_running_loop().create_task(
                self._ask(key, token, claims, trace), name="identity"
            )
            self._asking[key] = running
            self._tasks.add(running)
            running.add_done_callback(lambda done: self._asked(key, done))
        # Shielded: others may wait for the same answer when this request goes away.
        return await asyncio.shield(running)

    def _asked(self, key: bytes, done: asyncio.Task[Caller]) -> None:
        self._tasks.discard(done)
        if self._asking.get(key) is done:
            del self._asking[key]
        if not done.cancelled():
            done.exception()

    async def _ask(self, key: bytes, token: str, claims: tokens.Claims, trace: Trace) -> Caller:
        outcome = "error"
        # The answer may be decided long before it arrives, so its age counts from the question.
        asked_at = self._monotonic()
        try:
            answer = await self._platform.request(self._me, Secret(token), trace)
            caller = read_profile(
                answer.data,
                key,
                token_role=claims.role,
                fallback_open=self._policy.fallback_open,
                confirmed_at=asked_at,
            )
            outcome = "ok"
        except GatewayError as error:
            outcome = self._noted(key, error)
            raise
        finally:
            IDENTITY_CHECKS.labels(outcome).inc()
        ends = [end for end in (claims.exp, caller.expires_at) if end is not None]
        caller = msgspec.structs.replace(caller, expires_at=min(ends, default=None))
        if self._asking.get(key) is asyncio.current_task():
            self._remember(key, caller)
        return caller

    def _noted(self, key: bytes, error: GatewayError) -> str:
        """Drop what was known where the platform has spoken against it; return the outcome."""
        status = error.status if isinstance(error, PlatformFailure) else error.http_status
        if isinstance(error, AuthenticationLost) or status == 401:
            self.forget(key)
            self._remember_refusal(key, error.code)
            return "refused"
        if status == 403:
            self.forget(key)
            return "refused"
        return "unavailable" if error.code in _UNREACHABLE else "error"

    def _remember(self, key: bytes, caller: Caller) -> None:
        until = caller.confirmed_at + self._policy.cache_seconds
        if caller.expires_at is not None:
            until = min(until, self._monotonic() + caller.expires_at - self._wall())
        self._callers[key] = (caller, until)
        self._callers.move_to_end(key)
        self._refused.pop(key, None)
        while len(self._callers) > _ENTRIES:
            self._callers.popitem(last=False)

    def _remember_refusal(self, key: bytes, code: str) -> None:
        self._refused[key] = (self._monotonic() + REFUSED_SECONDS, code)
        while len(self._refused) > _ENTRIES:
            self._refused.popitem(last=False)

    def _after_failure(self, key: bytes, error: ToolError) -> Caller:
        """Serve a recent confirmation while the platform is away, else refuse."""
        status = error.status if isinstance(error, PlatformFailure) else 0
        if isinstance(error, AuthenticationLost) or status == 401:
            raise invalid_token(self._metadata, error.code) from None
        if status == 403:
            raise _refused("AUTHZ_PERMISSION_DENIED", error.message, 403) from None
        is_limited = error.code == "RATE_LIMITED"
        if is_limited or status >= 500 or error.code in _UNREACHABLE:
            known = self._recent(key)
            if known is not None:
                return known
        if is_limited:
            raise _refused("RATE_LIMITED", error.message, 429, error.retry_after) from None
        if status >= 500 or error.code in _UNREACHABLE:
            message = "The platform cannot be asked about this token now."
            raise _refused("PLATFORM_UNAVAILABLE", message, 503, 5) from None
        message = "The platform's answer about this token cannot be read."
        raise _refused("PLATFORM_BAD_RESPONSE", message, 502) from None

    def _recent(self, key: bytes) -> Caller | None:
        """Return an identity that may still serve while the platform does not tell.

        It is kept for a moment, so that a platform that hangs delays one request, not each.
        """
        entry = self._callers.get(key)
        if entry is None:
            return None
        (caller, until), now = entry, self._monotonic()
        if until > now and not caller.is_stale:
            # Confirmed anew, by another question, while this one failed.
            return caller
        left = caller.confirmed_at + OUTAGE_SECONDS - now
        if caller.expires_at is not None:
            left = min(left, caller.expires_at - self._wall())
        if left <= 0:
            return None
        stale = msgspec.structs.replace(caller, is_stale=True)
        self._callers[key] = (stale, now + min(_STALE_SECONDS, left))
        return stale


def key_of(token: str) -> bytes:
    """Return the key under which a bearer is known: its SHA-256."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _is_young(caller: Caller, now: float, max_age: float | None) -> bool:
    return max_age is None or (now - caller.confirmed_at < max_age and not caller.is_stale)


def _refused(
    code: str, message: str, http_status: int, retry_after: int | None = None
) -> RequestRefused:
    return RequestRefused(code, message, http_status=http_status, retry_after=retry_after)
