"""An OTLP/HTTP collector on a real socket, which keeps what it was sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.waiting import until


@dataclass(frozen=True)
class Received:
    """One span as it came over the wire; ids are lower-case hex, ``parent`` "" for none."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    has_failed: bool
    resource: dict[str, Any]


@dataclass
class Collector:
    """Everything that was exported."""

    url: str = ""
    spans: list[Received] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def receive(self, request: web.Request) -> web.Response:
        """Take one export."""
        body = await request.read()
        self.bodies.append(body)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _values(group.resource.attributes)
            self.spans += [
                _read(span, resource) for scope in group.scope_spans for span in scope.spans
            ]
        return web.Response(content_type="application/x-protobuf")

    def of(self, request_id: str) -> list[Received]:
        """Return the spans of one request."""
        return [s for s in self.spans if s.attributes.get("scaimcp.request_id") == request_id]

    async def request(self, request_id: str) -> tuple[Received, list[Received]]:
        """Wait for a request's server span; return it and what was asked of the platform."""

        def server() -> list[Received]:
            return [span for span in self.of(request_id) if span.kind == SERVER]

        await until(server)
        (found,) = server()
        return found, [span for span in self.of(request_id) if span.kind == CLIENT]


INTERNAL, SERVER, CLIENT = 1, 2, 3


def _read(span: Any, resource: dict[str, Any]) -> Received:
    return Received(
        span.name,
        span.kind,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _values(span.attributes),
        span.status.code == 2,
        resource,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@asynccontextmanager
async def start_collector() -> AsyncIterator[Collector]:
    """Serve a collector on a free port."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        collector.url = f"http://{host}:{port}"
        yield collector
    finally:
        await runner.cleanup()
