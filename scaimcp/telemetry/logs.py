"""Structured logs on standard error: one JSON object a line, secrets redacted."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Literal

import msgspec
import structlog

from scaimcp.telemetry.redaction import redact

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# Nothing is written through it: it holds the level of our own lines.
_OURS = logging.getLogger("scaimcp")


def is_debugging() -> bool:
    """Tell whether debug lines are written: even one that is dropped takes microseconds."""
    return _OURS.isEnabledFor(logging.DEBUG)


_IDS = ("request_id", "job_id")
_work: ContextVar[tuple[str, str, str]] = ContextVar("scaimcp-work", default=("", "", ""))


def working_for(kind: Literal["request_id", "job_id"], identity: str, tenant_id: str = "") -> None:
    """Put the id of a request or job on every line of this task, and of tasks it starts.

    Lines that name ids of their own keep them. `tenant_id` is "" where it is not known yet.
    """
    _work.set((kind, identity, tenant_id))


def configure_logs(level: str, form: str, *, time_key: str = "timestamp") -> None:
    """Set up structlog and route the standard library's loggers through it.

    Args:
        level: debug, info, warning or error.
        form: ``json`` or ``console``.
        time_key: name of the member that holds the time.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _with_id,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key=time_key),
        structlog.processors.format_exc_info,
    ]
    renderer = _redacted(
        structlog.processors.JSONRenderer(serializer=_to_json)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    _OURS.setLevel(_LEVELS[level])
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(_LEVELS[level], logging.WARNING))


def get_logger(name: str) -> Any:
    """Return a logger whose lines carry ``component=name``."""
    return structlog.get_logger(component=name)


def _with_id(_logger: Any, _name: str, event: Any) -> Any:
    kind, identity, tenant_id = _work.get()
    if identity and not any(event.get(name) for name in _IDS):
        event[kind] = identity
        if tenant_id:
            event.setdefault("tenant_id", tenant_id)
    return event


def _to_json(event: Any, **_: Any) -> str:
    try:
        return msgspec.json.encode(event, enc_hook=repr).decode()
    except (UnicodeEncodeError, OverflowError, TypeError):
        # Lone surrogates, very large numbers, odd keys: escaped rather than lost.
        return json.dumps({str(key): value for key, value in event.items()}, default=repr)


def _redacted(render: Any) -> Callable[[Any, str, Any], str]:
    """Redact whole lines: a secret may sit in a list, an object's repr or a traceback."""

    def run(logger: Any, name: str, event: Any) -> str:
        return redact(str(render(logger, name, event)))

    return run
