"""Answers on their way out, and what queued failures make of them."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from scaimcp.dev.vault.errors import Refusal
from scaimcp.dev.vault.faults import Fault

HTML = b"<!doctype html><title>Error</title><p>Something went wrong."
JSON = (b"content-type", b"application/json")
encode = msgspec.json.encode
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass
class Answer:
    """A whole answer; `drop` ends the connection in the middle of its body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    drop: bool = False


def instead(fault: Fault, request_id: str) -> Answer | None:
    """Return the answer a failure gives without running the request; None lets it run."""
    if fault.redirect is not None:
        return Answer(fault.status or 302, [(b"location", fault.redirect.encode())], b"")
    if fault.status is not None:
        if fault.code is None:
            answer = Answer(fault.status, [(b"content-type", b"text/plain")], b"failure")
        else:
            refusal = Refusal(fault.status, fault.code, fault.message, fault.details)
            answer = Answer(fault.status, [JSON], encode(refusal.envelope(request_id)))
        if fault.retry_after is not None:
            answer.headers.append((b"retry-after", fault.retry_after.encode()))
        return answer
    if fault.answer is not msgspec.UNSET:
        return Answer(200, [JSON], encode(fault.answer))
    return None


def altered(answer: Answer, fault: Fault) -> Answer:
    """Return an answer with what a failure adds to it or does to its body."""
    # PEM has no members that others could be put beside.
    if (fault.extra or fault.extra_rows) and answer.body[:1] in (b"{", b"["):
        answer = replace(answer, body=encode(_added(msgspec.json.decode(answer.body), fault)))
    match fault.body:
        case "html":
            return Answer(200, [(b"content-type", b"text/html")], HTML)
        case "empty":
            return replace(answer, body=b"")
        case "cut":
            return replace(answer, body=answer.body[: len(answer.body) // 2])
        case "drop":
            return replace(answer, drop=True)
    return answer


def _added(decoded: Any, fault: Fault) -> Any:
    if isinstance(decoded, list):
        return _rows(decoded, fault)
    listed = {
        name: _rows(value, fault) if isinstance(value, list) else value
        for name, value in decoded.items()
    }
    return {**listed, **(fault.extra or {})}


def _rows(rows: list[Any], fault: Fault) -> list[Any]:
    added = fault.extra_rows or {}
    return [{**row, **added} if isinstance(row, dict) else row for row in rows]


async def deliver(answer: Answer, send: Send) -> None:
    """Send an answer; a dropped one lacks its second half."""
    headers = [(n, v) for n, v in answer.headers if n.lower() != b"content-length"]
    if answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.drop:
        # Returning without the rest makes the server close the connection.
        half = answer.body[: len(answer.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
    else:
        await send({"type": "http.response.body", "body": answer.body})
