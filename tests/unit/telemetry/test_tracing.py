"""Tracing without a collector: off by default, spans by hand, settings that do not work."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from scaimcp.errors import SettingsError
from scaimcp.telemetry.tracing import Kind, Tracing, open_tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-1] + "0"


class Kept:
    """Tracing whose spans stay in memory."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider, "scaimcp", "1")

    @property
    def spans(self) -> tuple[Any, ...]:
        return self._exporter.get_finished_spans()


@pytest.mark.slow
def test_without_tracing_no_library_is_loaded() -> None:
    code = (
        "import sys, scaimcp.app, scaimcp.worker\n"
        "names = ('opentelemetry', 'google.protobuf', 'requests', 'urllib3')\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


async def test_tracing_that_is_off_is_none() -> None:
    async with open_tracing(False, "scaimcp", "1") as tracing:
        assert tracing is None


@pytest.mark.parametrize("kind", ["SERVER", "CLIENT", "INTERNAL"])
def test_a_span_without_a_parent_starts_a_trace(kind: Kind) -> None:
    kept = Kept()
    span = kept.tracing.start("GET", kind, None, {"server.address": "grid"})
    span.end({"http.response.status_code": 200})
    (found,) = kept.spans
    assert (found.name, found.kind, found.parent) == ("GET", SpanKind[kind], None)
    assert found.attributes == {"server.address": "grid", "http.response.status_code": 200}
    assert found.status.status_code is StatusCode.UNSET
    context = found.get_span_context()
    assert span.traceparent[:53] == f"00-{context.trace_id:032x}-{context.span_id:016x}-"
    assert int(span.traceparent[53:], 16) & 1


def test_a_span_hangs_below_the_one_that_was_received() -> None:
    kept = Kept()
    outer = kept.tracing.start("mcp", "SERVER", PARENT, {})
    inner = kept.tracing.start("GET", "CLIENT", outer.traceparent, {})
    inner.end({})
    outer.end({}, name="mcp tools/list")
    below, above = kept.spans
    assert (above.name, f"{above.parent.span_id:016x}") == ("mcp tools/list", PARENT[36:52])
    assert below.parent.span_id == above.get_span_context().span_id
    for span in kept.spans:
        assert f"{span.get_span_context().trace_id:032x}" == PARENT[3:35]


def test_a_failed_span_names_its_stable_code() -> None:
    kept = Kept()
    kept.tracing.start("mcp", "SERVER", None, {}).end({}, error="TOOL_NOT_FOUND")
    (found,) = kept.spans
    assert found.attributes == {"error.type": "TOOL_NOT_FOUND"}
    assert found.status.status_code is StatusCode.ERROR


def test_what_the_client_does_not_sample_is_not_recorded_but_passed_on() -> None:
    kept = Kept()
    span = kept.tracing.start("mcp", "SERVER", UNSAMPLED, {})
    span.end({})
    assert kept.spans == ()
    assert span.traceparent.startswith(PARENT[:35])
    assert span.traceparent.endswith("-00")


def test_an_impossible_parent_starts_a_trace() -> None:
    kept = Kept()
    kept.tracing.start("mcp", "SERVER", f"00-{'0' * 32}-{'0' * 16}-01", {}).end({})
    assert kept.spans[0].parent is None


async def test_settings_that_do_not_work_stop_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")
    with pytest.raises(SettingsError) as error:
        async with open_tracing(True, "scaimcp", "1"):
            raise AssertionError
    assert error.value.message == "tracing cannot start with these OTEL_ settings (ValueError)"
