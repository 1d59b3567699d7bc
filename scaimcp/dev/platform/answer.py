"""Build answers and send them, with the ordered fault applied on the way. Spec: scaigrid 5, 12."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

import msgspec

from scaimcp.dev.platform.endpoint import Endpoint, Raw, Reply
from scaimcp.dev.platform.errors import PlatformError
from scaimcp.dev.platform.faults import FaultRule
from scaimcp.dev.platform.limits import rate_headers

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

TRANSPORT = "standin.transport"
JSON = b"application/json"
HUGE_BYTES = 40 * 1024 * 1024
HTML = b"<!doctype html><html><body><h1>Bad gateway</h1><p>Not the platform.</p></body></html>"
encoder = msgspec.json.Encoder()


class Answer(NamedTuple):
    """One response, ready to be sent."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def success(endpoint: Endpoint, result: object, request_id: str) -> Answer:
    """Return the answer for what a handler returned."""
    if isinstance(result, Raw):
        return Answer(
            result.status, [(b"content-type", result.content_type.encode())], result.content
        )
    if result is None:
        return Answer(204, [], b"")
    reply = result if isinstance(result, Reply) else Reply(result)
    body: dict[str, object] = {} if endpoint.module else {"status": "ok"}
    body["data"] = reply.data
    body.update(reply.siblings)
    body["meta"] = {**reply.meta, "request_id": request_id}
    status = reply.status or endpoint.status
    return Answer(status, [(b"content-type", JSON)], encoder.encode(body))


def failure(endpoint: Endpoint | None, error: PlatformError, request_id: str) -> Answer:
    """Return the answer for an error; a path without endpoint is answered like a core one."""
    module = endpoint is not None and endpoint.module is not None
    body: dict[str, object] = {} if module else {"status": "error"}
    body["error"] = error.body()
    body["meta"] = {"request_id": request_id}
    headers = [(b"content-type", JSON), *error.headers]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    return Answer(error.status, headers, encoder.encode(body))


def instead(
    rule: FaultRule, endpoint: Endpoint | None, request_id: str, now: float
) -> Answer | None:
    """Return what a fault answers in place of the real endpoint; None where that is needed."""
    if rule.http_status is not None:
        refused = PlatformError(
            rule.code, "Ordered fault.", status=rule.http_status, retry_after=rule.retry_after
        )
        return failure(endpoint, refused, request_id)
    if rule.rate_limited:
        wait = 5 if rule.retry_after is None else rule.retry_after
        limited = PlatformError("RATE_LIMITED", "Too many requests.", retry_after=wait)
        limited.headers = rate_headers(60, 0, int(now) + wait)
        return failure(endpoint, limited, request_id)
    if rule.redirect_to is not None:
        return Answer(302, [(b"location", rule.redirect_to.encode())], b"")
    if rule.body == "html":
        return Answer(200, [(b"content-type", b"text/html; charset=utf-8")], HTML)
    if rule.body == "empty":
        return Answer(200, [(b"content-type", JSON)], b"")
    if rule.body == "huge":
        filler = b'{"status":"ok","data":"' + b"x" * HUGE_BYTES + b'"}'
        return Answer(200, [(b"content-type", JSON)], filler)
    return None


async def deliver(answer: Answer, rule: FaultRule | None, send: Send) -> bool:
    """Send an answer, spoilt as the rule says.

    Returns:
        False when the body was left unfinished, so that the connection has to be dropped.
    """
    body = answer.body
    if rule is not None and rule.body == "truncated":
        body = body[: len(body) // 2]
    headers = answer.headers
    if answer.status != 204:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if rule is not None and rule.drop == "mid_body":
        await send(
            {"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True}
        )
        return False
    if rule is not None and rule.slow_bytes_per_second is not None:
        # A tenth of a second's share at a time, so that the pace is even.
        step = max(1, rule.slow_bytes_per_second // 10)
        while len(body) > step:
            await send({"type": "http.response.body", "body": body[:step], "more_body": True})
            body = body[step:]
            await asyncio.sleep(step / rule.slow_bytes_per_second)
    await send({"type": "http.response.body", "body": body, "more_body": False})
    return True


async def drop(scope: Scope, receive: Receive) -> None:
    """Cut the connection and wait until the server has noticed.

    Raises:
        ConnectionAbortedError: under a server that gives no access to the transport.
    """
    transport = scope.get(TRANSPORT)
    if transport is None:
        raise ConnectionAbortedError("dropped by an ordered fault")
    # Lets what was already written leave first.
    await asyncio.sleep(0.01)
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
