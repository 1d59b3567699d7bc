"""What calls of ScaiVault tools leave behind in the gateway: an audit row, never a value.

Spec: scaivault 3 (gateway audit).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec

from scaimcp.audit.buffer import AuditBuffer, CallRow
from scaimcp.errors import GatewayError
from scaimcp.scaivault.paths import read_path, read_prefix
from scaimcp.scaivault.records import ToolRecord
from scaimcp.types import JsonObject, RequestContext

ACTION = "scaivault_call.tool"
_PATHS = ("path", "prefix", "path_prefix")


class Books:
    """Keeps accounts of calls.

    Args:
        buffer: takes the audit rows.
    """

    def __init__(self, buffer: AuditBuffer) -> None:
        self._buffer = buffer

    @contextmanager
    def call(self, record: ToolRecord, arguments: bytes, context: RequestContext) -> Iterator[None]:
        """Return a block around one call; its end writes the row, however it ends.

        Args:
            record: the tool.
            arguments: JSON as the client sent it; only a path in good form is kept of it.
            context: who calls.
        """
        started = time.perf_counter()
        outcome = "failed"
        try:
            yield
            outcome = "ok"
        except GatewayError as error:
            outcome = error.code
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            path = path_in(arguments)
            facts = partial(_facts, record, outcome, path, time.perf_counter() - started)
            self._buffer.add(_row(record, outcome, context, facts))


def path_in(arguments: bytes) -> str | None:
    """Return the path or prefix among arguments; None for none that keeps to the grammar."""
    try:
        given = msgspec.json.decode(arguments or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(given, dict):
        return None
    for name in _PATHS:
        value = given.get(name)
        reader = read_path if name == "path" else read_prefix
        if isinstance(value, str) and value and reader(value) is not None:
            return value
    return None


def _facts(record: ToolRecord, outcome: str, path: str | None, seconds: float) -> JsonObject:
    return {
        "tool": record.name,
        "class": record.tool_class,
        "outcome": outcome,
        "path": path,
        "duration_ms": round(seconds * 1000),
    }


def _row(record: ToolRecord, outcome: str, context: RequestContext, describe: Any) -> CallRow:
    caller = context.caller
    return CallRow(
        time.monotonic(),
        caller.tenant_id,
        caller.user_id,
        caller.subject_type,
        ACTION,
        "scaivault_tool",
        record.name,
        "SUCCESS" if outcome == "ok" else "FAILURE",
        context.request_id,
        context.client_ip,
        context.user_agent,
        describe,
    )
