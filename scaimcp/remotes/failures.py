"""How failures of remote servers reach callers. Spec: remote-servers 8."""

from __future__ import annotations

from typing import Any

from scaimcp.errors import ToolError
from scaimcp.upstream.errors import TEXT_BYTES, McpError, UpstreamError


class RemoteFailure(ToolError):
    """A call to a remote server failed; ``code`` is the class name."""

    message_chars = TEXT_BYTES


def failure(error: UpstreamError) -> RemoteFailure:
    """Return an upstream's failure as callers get it."""
    members: dict[str, Any] = {}
    if isinstance(error, McpError):
        members["jsonrpc_code"] = error.jsonrpc_code
    return RemoteFailure(
        error.code, error.for_caller(), members=members, retry_after=error.retry_after
    )
