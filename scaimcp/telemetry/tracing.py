"""Spans by OpenTelemetry, exported over OTLP/HTTP from a thread of their own.

The libraries are imported only when tracing is on; they read their own ``OTEL_*`` names. Nothing
here is global: the provider belongs to whoever opened it. Spec: register, Settings (tracing).
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

from scaimcp.errors import SettingsError
from scaimcp.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

_FLUSH_SECONDS = 2.0
_API, _SDK = "opentelemetry.trace", "opentelemetry.sdk"
_EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_CONTEXT = "opentelemetry.trace.propagation.tracecontext"
_log = get_logger("scaimcp.tracing")

Kind = Literal["SERVER", "CLIENT", "INTERNAL"]
Attributes = Mapping[str, str | int]


class Span:
    """A running span; ``traceparent`` is what is sent with requests made under it."""

    __slots__ = ("_failure", "_span", "traceparent")

    def __init__(self, span: Any, failure: Any) -> None:
        context = span.get_span_context()
        self._span = span
        self._failure = failure
        self.traceparent = (
            f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
        )

    def end(
        self, attributes: Attributes, *, error: str | None = None, name: str | None = None
    ) -> None:
        """End the span.

        Args:
            attributes: what has become known since the start.
            error: stable code of a failure, which the span then has as ``error.type``.
            name: the span's name where the start could not know it.
        """
        if name is not None:
            self._span.update_name(name)
        self._span.set_attributes(attributes)
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(self._failure)
        self._span.end()


class Tracing:
    """Starts spans; made by `open_tracing`."""

    def __init__(self, provider: TracerProvider, scope: str, version: str) -> None:
        api = importlib.import_module(_API)
        self._tracer = provider.get_tracer(scope, version)
        self._kinds: Any = api.SpanKind
        self._failure = api.StatusCode.ERROR
        self._propagator: Any = importlib.import_module(_CONTEXT).TraceContextTextMapPropagator()
        # Not the ambient one: a span's parent is always named.
        self._root: Any = importlib.import_module("opentelemetry.context").Context()

    def start(self, name: str, kind: Kind, traceparent: str | None, attributes: Attributes) -> Span:
        """Start a span below the one that `traceparent` names; None starts a trace."""
        parent = self._root
        if traceparent is not None:
            parent = self._propagator.extract({"traceparent": traceparent}, context=self._root)
        started = self._tracer.start_span(
            name, context=parent, kind=self._kinds[kind], attributes=attributes
        )
        return Span(started, self._failure)


class _Reporting:
    """The exporter, with one warning for each outage of the collector instead of several a batch.

    Spans that cannot be exported are dropped: the collector is never waited for.
    """

    def __init__(self, exporter: Any, success: Any) -> None:
        self._exporter = exporter
        self._success = success
        self._is_failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> Any:
        result = self._exporter.export(spans)
        has_failed = result is not self._success
        if has_failed and not self._is_failing:
            _log.warning("spans cannot be exported", dropped=len(spans))
        self._is_failing = has_failed
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


@asynccontextmanager
async def open_tracing(is_on: bool, service: str, version: str) -> AsyncIterator[Tracing | None]:
    """Open tracing and flush it at the end, for at most two seconds; None when it is off.

    Args:
        is_on: whether spans are wanted (`Settings.is_traced`).
        service: ``service.name`` unless ``OTEL_SERVICE_NAME`` or the resource names another.
        version: version of the instrumentation and of the service.

    Raises:
        SettingsError: OpenTelemetry cannot start with its settings.
    """
    if not is_on:
        yield None
        return
    try:
        exporter, provider = _provider(service, version)
    except (ValueError, OSError) as error:
        # The reason may hold a value of the environment, and that a secret.
        raise SettingsError(
            f"tracing cannot start with these OTEL_ settings ({type(error).__name__})"
        ) from None
    _silence()
    try:
        yield Tracing(provider, "scaimcp", version)
    finally:
        await _close(provider, exporter)


def _provider(service: str, version: str) -> tuple[_Reporting, TracerProvider]:
    export = importlib.import_module(f"{_SDK}.trace.export")
    trace = importlib.import_module(f"{_SDK}.trace")
    inner = importlib.import_module(_EXPORTER).OTLPSpanExporter()
    exporter = _Reporting(inner, export.SpanExportResult.SUCCESS)
    provider: TracerProvider = trace.TracerProvider(
        resource=_resource(service, version), shutdown_on_exit=False
    )
    provider.add_span_processor(export.BatchSpanProcessor(exporter))
    return exporter, provider


def _resource(service: str, version: str) -> Any:
    """Return what describes this process; the environment's word counts before ours."""
    resources = importlib.import_module(f"{_SDK}.resources")
    found = resources.Resource.create()
    ours = {"service.name": service, "service.version": version}
    if not str(found.attributes["service.name"]).startswith("unknown_service"):
        ours["service.name"] = found.attributes["service.name"]
    return resources.Resource(ours | {k: v for k, v in found.attributes.items() if k not in ours})


def _silence() -> None:
    """Keep the library's several lines a batch out of the log: `_Reporting` says it once."""
    library = logging.getLogger("opentelemetry")
    library.propagate = False
    library.addHandler(logging.NullHandler())


async def _close(provider: TracerProvider, exporter: _Reporting) -> None:
    # A thread of our own: the loop's threads are joined at its end, however long that takes.
    closing = threading.Thread(target=provider.shutdown, name="tracing", daemon=True)
    closing.start()
    await asyncio.to_thread(closing.join, _FLUSH_SECONDS)
    if closing.is_alive():
        exporter.shutdown()
