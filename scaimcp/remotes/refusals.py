"""Refusals of the registry, each with its code. Spec: remote-servers 1 (statuses)."""

from __future__ import annotations

from scaimcp.errors import RequestRefused


def server_not_found() -> RequestRefused:
    """Return the one answer for unknown, malformed and foreign ids (I7)."""
    return RequestRefused(
        "SCAILINK_SERVER_NOT_FOUND", "There is no such remote server.", http_status=404
    )


def credential_not_found() -> RequestRefused:
    """Return the answer for a field that the server does not have."""
    return RequestRefused(
        "SCAILINK_CREDENTIAL_NOT_FOUND", "The server has no such credential.", http_status=404
    )


def change_not_found() -> RequestRefused:
    """Return the answer for a change that the server does not have."""
    return RequestRefused(
        "SCAILINK_CHANGE_NOT_FOUND", "The server has no such change.", http_status=404
    )


def change_stale() -> RequestRefused:
    """Return the answer for a decision on something else than is pending."""
    return RequestRefused(
        "SCAILINK_CHANGE_STALE",
        "The change is decided, superseded, or another one than was shown.",
        http_status=409,
    )


def state_conflict(message: str) -> RequestRefused:
    """Return the answer for a deed that the server's status does not allow."""
    return RequestRefused("SCAILINK_STATE_CONFLICT", message, http_status=409)


def slug_taken(server_id: str) -> RequestRefused:
    """Return the answer for a name that a server of the same scope has."""
    detail = {"field": "name", "message": f"is the name of {server_id}", "id": server_id}
    return RequestRefused(
        "SLUG_CONFLICT",
        "A server of this scope has this name already.",
        http_status=409,
        details=(detail,),
    )


def quota_reached(of: str, limit: int) -> RequestRefused:
    """Return the answer for one server too many; `of` is ``tenant`` or ``user``."""
    detail = {"field": of, "message": f"has {limit} servers, as many as it may have"}
    return RequestRefused(
        "QUOTA_EXCEEDED",
        f"This {of} has as many remote servers as it may have.",
        http_status=409,
        details=(detail,),
    )


def precondition_failed() -> RequestRefused:
    """Return the answer for an ``If-Match`` that names another version."""
    return RequestRefused(
        "PRECONDITION_FAILED", "The server was changed meanwhile.", http_status=412
    )


def credentials_required() -> RequestRefused:
    """Return the answer for a change that would send stored secrets elsewhere."""
    return RequestRefused(
        "SCAILINK_CREDENTIALS_REQUIRED",
        "A new origin or auth_type needs the complete credentials in the same request.",
        http_status=422,
        details=({"field": "credentials", "message": "is required here"},),
    )


def registry_disabled() -> RequestRefused:
    """Return the answer to every call while no key seals credentials."""
    return RequestRefused(
        "SCAILINK_REGISTRY_DISABLED",
        "The registry of remote servers is off: no encryption key is configured.",
        http_status=503,
    )
