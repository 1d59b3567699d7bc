"""The stand-in platform as a raw ASGI application. Spec: scaigrid 12."""

import asyncio
import inspect
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from scaimcp.dev.platform.accounting import write_audit
from scaimcp.dev.platform.answer import (
    Answer,
    Receive,
    Scope,
    Send,
    deliver,
    drop,
    failure,
    instead,
    success,
)
from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.calls import BodyRecorder, LoggedCall
from scaimcp.dev.platform.config import PlatformConfig
from scaimcp.dev.platform.control import ROOT, Control
from scaimcp.dev.platform.endpoint import Endpoint
from scaimcp.dev.platform.endpoints import FAMILIES
from scaimcp.dev.platform.errors import Fault, PlatformError, denied, invalid, not_found
from scaimcp.dev.platform.faults import FaultRule
from scaimcp.dev.platform.forms import parse_form
from scaimcp.dev.platform.router import Match, Router
from scaimcp.dev.platform.seed import write_seed
from scaimcp.dev.platform.state import Platform

URLENCODED = "application/x-www-form-urlencoded"
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Request(NamedTuple):
    """What came, before it is matched."""

    scope: Scope
    raw_path: str
    headers: Mapping[str, str]
    request_id: str


class PlatformApp:
    """The ASGI application; `platform` is its whole state, for tests in the same process."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self._router = Router(e for family in platform.families for e in family.endpoints)
        self._control = Control(platform)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection; only HTTP and the lifespan are known."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            if scope["raw_path"].startswith(ROOT):
                await deliver(await self._control_answer(scope, receive), None, send)
            else:
                await self._exchange(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.platform.start()
        async with asyncio.TaskGroup() as tasks:
            poster = tasks.create_task(self.platform.outbox.run(self.platform.http))
            await send({"type": "lifespan.startup.complete"})
            await receive()
            poster.cancel()
        await self.platform.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _control_answer(self, scope: Scope, receive: Receive) -> Answer:
        try:
            body = await read_body(receive, self.platform.config.max_body_bytes)
            return self._control.answer(scope, body)
        except PlatformError as error:
            return failure(None, error, "")

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, raw_path = scope["method"], scope["raw_path"].decode("latin-1")
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        request = Request(scope, raw_path, headers, self._request_id(headers))
        struck = self.platform.faults.strike(method, raw_path) if self.platform.faults else None
        rule = struck[0] if struck else None
        receive = recorder = BodyRecorder(receive)
        status, whole = 0, False
        try:
            if struck and struck[0].latency_ms is not None:
                await asyncio.sleep((struck[0].latency_ms + struck[1] * struck[0].jitter_ms) / 1000)
            if rule is None or rule.drop != "before_headers":
                answer = await self._respond(request, rule, receive, send)
                status = answer.status
                whole = await deliver(answer, rule, send)
        finally:
            path = f"{raw_path}?{scope['query_string'].decode('latin-1')}".rstrip("?")
            sent = tuple(scope["headers"])
            self.platform.calls.add(LoggedCall(method, path, sent, status, recorder.body))
        if not whole:
            await drop(scope, receive)

    async def _respond(
        self, request: Request, rule: FaultRule | None, receive: Receive, send: Send
    ) -> Answer:
        found = self._router.match(request.scope["method"], request.raw_path)
        endpoint = found.endpoint if isinstance(found, Match) else None
        now = self.platform.clock.now()
        answer = instead(rule, endpoint, request.request_id, now) if rule else None
        try:
            answer = answer or await self._answer(found, rule, request, receive)
        except Exception:
            # The caller is answered in form; the server then logs the mistake and disconnects.
            broken = PlatformError("INTERNAL_ERROR", "The platform failed.")
            await deliver(failure(endpoint, broken, request.request_id), None, send)
            raise
        answer.headers.append((b"x-request-id", request.request_id.encode()))
        return answer

    def _request_id(self, headers: Mapping[str, str]) -> str:
        sent = headers.get("x-request-id", "")
        return sent if REQUEST_ID.fullmatch(sent) else self.platform.store.token("req_")

    def _call(self, found: Match, request: Request) -> Call:
        scope, headers = request.scope, request.headers
        call = Call(self.platform, found.endpoint, found.values)
        call.headers = headers
        call.request_id = request.request_id
        origin = f"{scope['scheme']}://{headers.get('host', 'localhost')}"
        call.base_url = self.platform.config.public_url or origin
        call.client_ip = scope["client"][0] if scope.get("client") else ""
        return call

    async def _answer(
        self,
        found: Match | tuple[str, ...],
        rule: FaultRule | None,
        request: Request,
        receive: Receive,
    ) -> Answer:
        if not isinstance(found, Match):
            return failure(None, _no_endpoint(found), request.request_id)
        call = self._call(found, request)
        call.fault = rule
        try:
            answer = await self._run(call, request.scope, receive)
        except PlatformError as error:
            self._audit(call, error)
            answer = failure(call.endpoint, error, call.request_id)
        else:
            self._audit(call, None)
        answer.headers.extend(call.response_headers)
        return answer

    def _audit(self, call: Call, error: PlatformError | None) -> None:
        if call.endpoint.audit is not None and call.known:
            write_audit(call, call.endpoint.audit, error)

    async def _run(self, call: Call, scope: Scope, receive: Receive) -> Answer:
        endpoint = call.endpoint
        if endpoint.permission is not None:
            self._admit(call)
        body = await read_body(receive, self.platform.config.max_body_bytes)
        faults: list[Fault] = []
        call.query = endpoint.query.check_text(_pairs(scope["query_string"]), faults)
        call.body = _decode_body(endpoint, call.headers.get("content-type", ""), body, faults)
        if not faults and endpoint.body.check is not None:
            faults = [Fault(*found) for found in endpoint.body.check(call.body)]
        if faults:
            raise invalid(*faults)
        result = endpoint.handler(call)
        if inspect.isawaitable(result):
            result = await result
        return success(endpoint, result, call.request_id)

    def _admit(self, call: Call) -> None:
        """Identify the caller and check limits, module and permission, in this order."""
        endpoint = call.endpoint
        call.principal = principal = self.platform.auth.authenticate(
            call.headers.get("authorization")
        )
        call.response_headers = self.platform.limiter.take(principal)
        if endpoint.module is not None:
            self._check_module(call)
        if endpoint.permission and not principal.holds(endpoint.permission):
            raise denied(endpoint.permission)
        if endpoint.rule is not None:
            endpoint.rule(call)

    def _check_module(self, call: Call) -> None:
        module_id = call.endpoint.module
        if module_id == "{}":
            module_id = next(iter(call.params.values()))
            if self.platform.store["modules"].first(module_id=module_id) is None:
                raise not_found("MODULE")
        if not self.platform.module_active(str(module_id), call.principal.tenant):
            raise PlatformError("MODULE_NOT_ENABLED", f"The module {module_id} is not enabled.")


def _no_endpoint(methods: tuple[str, ...]) -> PlatformError:
    """Return the error for a path nobody has, or one that has other methods."""
    if not methods:
        return PlatformError("NOT_FOUND", "There is no such path.")
    allowed = ", ".join(methods)
    error = PlatformError("METHOD_NOT_ALLOWED", f"Allowed: {allowed}.")
    error.headers = ((b"allow", allowed.encode()),)
    return error


async def read_body(receive: Receive, limit: int) -> bytes:
    """Return the whole body.

    Raises:
        PlatformError: `PAYLOAD_TOO_LARGE` once more than `limit` bytes have come.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise PlatformError("PAYLOAD_TOO_LARGE", f"The body has more than {limit} bytes.")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _pairs(query: bytes) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    if query:
        try:
            for name, value in parse_qsl(query.decode(), keep_blank_values=True, errors="strict"):
                found.setdefault(name, []).append(value)
        except (UnicodeDecodeError, ValueError):
            raise invalid(("query", "is not well formed")) from None
    return found


def _decode_body(
    endpoint: Endpoint, content_type: str, body: bytes, faults: list[Fault]
) -> dict[str, Any]:
    spec = endpoint.body
    if spec.kind == "form":
        return spec.fields.check_text(parse_form(content_type, body), faults)
    kind = content_type.partition(";")[0].strip().lower()
    if spec.kind == "urlencoded":
        if kind != URLENCODED:
            raise PlatformError("UNSUPPORTED_MEDIA_TYPE", f"The body must be {URLENCODED}.")
        return spec.fields.check_text(_pairs(body), faults)
    decoded: Any = {}
    if body:
        if kind not in ("", "application/json"):
            raise PlatformError("UNSUPPORTED_MEDIA_TYPE", "The body must be application/json.")
        try:
            decoded = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError):
            raise invalid(("body", "is not valid JSON")) from None
    if not isinstance(decoded, dict):
        raise invalid(("body", "must be a JSON object"))
    return decoded if spec.kind == "map" else spec.fields.check(decoded, faults)


def create_platform(config: PlatformConfig | None = None) -> PlatformApp:
    """Return a stand-in platform as an ASGI application, seeded or loaded from its file.

    Args:
        config: None takes every default.
    """
    return PlatformApp(Platform(config or PlatformConfig(), FAMILIES, write_seed))
