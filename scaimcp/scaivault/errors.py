"""Refusals of the ScaiVault tools. Spec: scaivault 2.6.

Codes of this program are upper case; ScaiVault's own pass through in lower case, so it is plain
who has refused. Messages never repeat an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scaimcp.errors import ToolError

MARKER = "\u2022" * 6


class VaultError(ToolError):
    """A call of a ScaiVault tool was refused, or failed."""


def tool_not_found() -> VaultError:
    """There is no such tool, or its group is switched off."""
    return VaultError("TOOL_NOT_FOUND", "There is no such tool.")


def read_only(tool: str) -> VaultError:
    """READ_ONLY refuses every class but ``read``."""
    return VaultError("READ_ONLY", f"{tool} changes data and this server is read-only.")


def path_denied(argument: str) -> VaultError:
    """Worded alike for what is denied and what is not allowed."""
    return VaultError(
        "PATH_DENIED", f"Argument {argument} is outside the paths this server may use."
    )


def invalid_path(argument: str) -> VaultError:
    """The path breaks the grammar."""
    return VaultError(
        "INVALID_PATH",
        f"Argument {argument} is not a valid path: lower-case letters, digits, - and _ in at most "
        "10 segments joined by /, 512 characters in all.",
    )


def tenant_locked() -> VaultError:
    """The request does not fit the tenant or partner that this server is locked to."""
    return VaultError(
        "TENANT_LOCKED",
        "This server is locked to one tenant or partner and the request does not fit it.",
    )


def marker_refused() -> VaultError:
    """A masked value is being written back."""
    return VaultError(
        "MASK_MARKER_REFUSED",
        "A value holds the mask marker. Masked output cannot be written back.",
    )


def invalid_arguments(faults: Iterable[tuple[str, str]]) -> VaultError:
    """Arguments do not fit; `faults` are fields and what is wrong with them."""
    details = tuple({"field": field, "message": message} for field, message in faults)
    named = ", ".join(dict.fromkeys(detail["field"] for detail in details[:5]))
    return VaultError("INVALID_ARGUMENTS", f"These arguments do not fit: {named}.", details=details)


def not_supported(tool: str) -> VaultError:
    """This ScaiVault does not have the route behind a tool."""
    return VaultError("NOT_SUPPORTED", f"This ScaiVault does not support {tool}.")


def guards_unavailable() -> VaultError:
    """The guards that hold cannot be loaded, so nothing may be called."""
    return VaultError(
        "GUARDS_UNAVAILABLE",
        "The guards of ScaiVault cannot be loaded; nothing was called.",
        retry_after=5,
    )


def failed(
    code: str, message: str, members: Mapping[str, Any] | None = None, **more: Any
) -> VaultError:
    """Any other failure; `members` stand beside code and message."""
    return VaultError(code, message, members=members, **more)
