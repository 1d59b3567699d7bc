"""Events for webhooks: one delivery row each, posted only with the switch on."""

import asyncio
import hashlib
import hmac
from collections import deque

import aiohttp
import msgspec

from scaimcp.dev.platform.store import Row, Store

POST_TIMEOUT = aiohttp.ClientTimeout(total=10)
SIGNATURE = "X-Scaigrid-Signature"


class Outbox:
    """Write deliveries and, with `posts`, send them.

    Without `posts` a delivery stays `pending` with no attempt, as nothing was sent.
    """

    def __init__(self, store: Store, *, posts: bool) -> None:
        self.posts = posts
        self._store = store
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._news = asyncio.Event()

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()

    def emit(self, tenant_id: str | None, event_type: str, payload: dict[str, object]) -> list[Row]:
        """Write one delivery for every active webhook of the tenant that wants the event.

        Returns:
            The delivery rows; a webhook wants an event named in `events` or any for `*`.
        """
        hooks = self._store["webhooks"].find(tenant_id=tenant_id, status="active")
        wanted = [hook for hook in hooks if {event_type, "*"} & set(hook["events"])]
        return [self.queue(hook, event_type, payload) for hook in wanted]

    def queue(self, hook: Row, event_type: str, payload: dict[str, object]) -> Row:
        """Write one delivery to one webhook, whatever its status, and have it posted."""
        delivery = self.record(hook, event_type, payload)
        if self.posts:
            body = {"id": delivery["id"], "type": event_type, "data": payload}
            self._waiting.append((delivery["id"], msgspec.json.encode(body)))
            self._news.set()
        return delivery

    def record(self, hook: Row, event_type: str, payload: dict[str, object]) -> Row:
        """Write one delivery to one webhook, for `post`."""
        return self._store["deliveries"].insert(
            {
                "webhook_id": hook["id"],
                "event_type": event_type,
                "payload": payload,
                "status": "pending",
                "status_code": None,
                "attempts": 0,
                "duration_ms": None,
                "error": None,
            }
        )

    async def run(self, http: aiohttp.ClientSession) -> None:
        """Post what waits until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                delivery_id, body = self._waiting.popleft()
                delivery = self._store["deliveries"].get(delivery_id)
                hook = delivery and self._store["webhooks"].get(delivery["webhook_id"])
                if delivery is not None and hook:
                    await self.post(http, hook, delivery, body)

    async def post(self, http: aiohttp.ClientSession, hook: Row, delivery: Row, body: bytes) -> Row:
        """Send one delivery now, with the retries of its webhook, and return its row."""
        loop = asyncio.get_running_loop()
        secret = str(hook.get("secret") or "").encode()
        headers = {"Content-Type": "application/json"}
        if secret:
            headers[SIGNATURE] = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
        outcome: Row = {}
        for attempt in range(1, hook["max_retries"] + 2):
            begun = loop.time()
            code, error = await _post(http, hook["url"], body, headers)
            good = code is not None and code < 300
            outcome = {
                "status": "success" if good else "failed",
                "status_code": code,
                "attempts": attempt,
                "duration_ms": round((loop.time() - begun) * 1000),
                "error": error,
            }
            if good:
                break
        if self._store["webhooks"].get(hook["id"]) is None:
            # Removed with its deliveries while the post was under way.
            return {**delivery, **outcome}
        failures = 0 if outcome["status"] == "success" else hook["consecutive_failures"] + 1
        self._store["webhooks"].update(hook["id"], {"consecutive_failures": failures})
        return self._store["deliveries"].update(delivery["id"], outcome)


async def _post(
    http: aiohttp.ClientSession, url: str, body: bytes, headers: dict[str, str]
) -> tuple[int | None, str | None]:
    try:
        async with http.post(
            url, data=body, headers=headers, timeout=POST_TIMEOUT, allow_redirects=False
        ) as answer:
            failed = answer.status >= 300
            return answer.status, f"HTTP {answer.status}" if failed else None
    except (aiohttp.ClientError, TimeoutError) as problem:
        return None, type(problem).__name__
