"""Failures of the platform and their HTTP status. Spec: scaigrid 7."""

from typing import NamedTuple, NoReturn

STATUS: dict[str, int] = {
    "AUTH_TOKEN_MISSING": 401,
    "AUTH_TOKEN_INVALID": 401,
    "AUTH_FLOW_INVALID": 401,
    "SESSION_EXPIRED": 401,
    "SERVICE_TOKEN_INVALID": 401,
    "AUTH_INSUFFICIENT_SCOPE": 403,
    "AUTHZ_PERMISSION_DENIED": 403,
    "MODEL_ACCESS_DENIED": 403,
    "MODULE_NOT_ENABLED": 403,
    "METHOD_NOT_ALLOWED": 405,
    "CONFLICT": 409,
    "SLUG_CONFLICT": 409,
    "MODEL_IN_USE": 409,
    "PROVIDER_HAS_BACKENDS": 409,
    "SESSION_CLOSED": 409,
    "PAYLOAD_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "VALIDATION_ERROR": 422,
    "RATE_LIMITED": 429,
    "BACKEND_RATE_LIMITED": 429,
    "QUOTA_EXCEEDED": 429,
    "BUDGET_EXCEEDED": 429,
    "INTERNAL_ERROR": 500,
    "BACKEND_ERROR": 502,
    "UPSTREAM_SHAPE_MISMATCH": 502,
    "PROVIDER_DISCOVERY_ERROR": 502,
    "MODEL_UNAVAILABLE": 503,
    "SERVICE_UNAVAILABLE": 503,
    "BACKEND_TIMEOUT": 504,
}


class Fault(NamedTuple):
    """One entry of `details`: the field, as `messages[0].role`, and what is wrong with it."""

    field: str
    message: str


class PlatformError(Exception):
    """An answer other than success, as the caller will read it.

    Attributes:
        status: HTTP status; None looks the code up (`*_NOT_FOUND` is 404).
        details: one entry per fault, for `VALIDATION_ERROR`.
        retry_after: seconds, sent in the body and as `Retry-After`.
        headers: further response headers.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        details: tuple[Fault, ...] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = STATUS.get(code, 404) if status is None else status
        self.details = details
        self.retry_after = retry_after
        self.headers: tuple[tuple[bytes, bytes], ...] = ()

    def body(self) -> dict[str, object]:
        """Return the `error` object of the envelope."""
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.retry_after is not None:
            error["retry_after"] = self.retry_after
        if self.details:
            error["details"] = [fault._asdict() for fault in self.details]
        return error


def not_found(noun: str) -> PlatformError:
    """Return the 404 for a row that is absent or another tenant's; `noun` as in `API_KEY`."""
    return PlatformError(f"{noun}_NOT_FOUND", f"{noun.replace('_', ' ').capitalize()} not found.")


def denied(permission: str) -> PlatformError:
    """Return the 403 for a missing permission."""
    return PlatformError("AUTHZ_PERMISSION_DENIED", f"Permission {permission} is required.")


def conflict(message: str, code: str = "CONFLICT") -> PlatformError:
    """Return a 409."""
    return PlatformError(code, message)


def invalid(*faults: tuple[str, str]) -> PlatformError:
    """Return the 422 for `(field, message)` faults found by a handler."""
    details = tuple(Fault(field, message) for field, message in faults)
    return PlatformError("VALIDATION_ERROR", "The request is not valid.", details=details)


def refuse(field: str, message: str) -> NoReturn:
    """Raise the 422 for one field."""
    raise invalid((field, message))
