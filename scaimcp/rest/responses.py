"""REST answers in the platform's envelope, encoded by msgspec. Spec: scaigrid 5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from scaimcp.errors import GatewayError, RequestRefused
from scaimcp.telemetry.redaction import clean_message

JSON = "application/json"


def success(data: Any, request_id: str) -> Response:
    """Return ``{"status":"ok","data":…,"meta":{"request_id"}}``."""
    body = {"status": "ok", "data": data, "meta": {"request_id": request_id}}
    return Response(
        msgspec.json.encode(body), media_type=JSON, headers={"x-request-id": request_id}
    )


def listing(items: Sequence[Any], next_cursor: str | None, request_id: str) -> Response:
    """Return a page of a list: ``data.items`` and ``pagination`` beside it."""
    body = {
        "status": "ok",
        "data": {"items": items},
        "pagination": {"has_more": next_cursor is not None, "next_cursor": next_cursor},
        "meta": {"request_id": request_id},
    }
    return Response(
        msgspec.json.encode(body), media_type=JSON, headers={"x-request-id": request_id}
    )


def failure(error: GatewayError, request_id: str) -> Response:
    """Return the error envelope in the status that the error asks for."""
    body = {"status": "error", "error": error_value(error), "meta": {"request_id": request_id}}
    headers = {"x-request-id": request_id}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if isinstance(error, RequestRefused) and error.challenge is not None:
        headers["www-authenticate"] = error.challenge
    return Response(
        msgspec.json.encode(body), status_code=error.http_status, media_type=JSON, headers=headers
    )


def error_value(error: GatewayError) -> dict[str, Any]:
    """Return the ``error`` object, without the request's id."""
    message = clean_message(error.message, error.message_chars)
    value: dict[str, Any] = {"code": error.code, "message": message}
    if error.retry_after is not None:
        value["retry_after"] = error.retry_after
    if error.details:
        value["details"] = list(error.details)
    return value


def plain(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a bare JSON document."""
    return Response(msgspec.json.encode(value), status, headers=headers, media_type=JSON)
