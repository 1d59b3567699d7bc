"""Errors in ScaiVault's own words. Spec: scaivault 7 (envelope), 8."""

from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

Row = TypeVar("Row")


class Refusal(Exception):
    """One refused request.

    Attributes:
        status: HTTP status.
        code: lower-case code.
        details: what `error.details` holds; None leaves it out.
        retry_after: seconds for the Retry-After header; None sends none.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details
        self.retry_after = retry_after

    def envelope(self, request_id: str) -> dict[str, Any]:
        """Return the body that says so."""
        error: dict[str, Any] = {"code": self.code, "message": str(self)}
        if self.details:
            error["details"] = dict(self.details)
        return {"error": {**error, "request_id": request_id}}


def refuse(status: int, code: str, message: str, **details: Any) -> NoReturn:
    """Refuse the request.

    Raises:
        Refusal: always.
    """
    raise Refusal(status, code, message, details)


def invalid(field: str, message: str) -> NoReturn:
    """Refuse one field: 422 `validation_error` with `details.fields`.

    Raises:
        Refusal: always.
    """
    faults = [{"field": field, "message": message}]
    refuse(422, "validation_error", "The request has invalid fields.", fields=faults)


def find(table: Mapping[str, Row], row_id: str, code: str) -> Row:
    """Return a row.

    Raises:
        Refusal: 404 with this code where there is none.
    """
    row = table.get(row_id)
    if row is None:
        refuse(404, code, f"There is no {code.removesuffix('_not_found').replace('_', ' ')} here.")
    return row
