"""The stand-in vault as an ASGI application. Spec: scaivault 7."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.types import Message, Receive, Scope, Send

from scaimcp.dev.vault.areas import ROUTES
from scaimcp.dev.vault.auditing import write_row
from scaimcp.dev.vault.auth import KeySet, identify
from scaimcp.dev.vault.call import Call
from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.control import ROOT, control
from scaimcp.dev.vault.delivery import Answer, altered, deliver, encode, instead
from scaimcp.dev.vault.errors import Refusal, refuse
from scaimcp.dev.vault.fixture import TOKENS, seed_tenant
from scaimcp.dev.vault.routing import ANYONE, OPEN, Reply, Route
from scaimcp.dev.vault.state import Identity, Tenant, Vault

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
REQUEST_ID_KEY = "scaivault.request_id"
IDENTITY_ADMIN = "/v1/identity/service-accounts"


class VaultApp:
    """The ASGI application; `vault` is its whole state, for tests in the same process."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self._keys = KeySet(vault.config.jwks, vault.config.jwks_url)
        self._inner = Starlette(
            routes=[
                StarletteRoute(route.path, self._endpoint(route), methods=[route.method])
                for route in ROUTES
            ],
            exception_handlers={HTTPException: _no_code},
        )
        self._inner.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
        elif scope["path"].startswith(ROOT):
            name = scope["path"].removeprefix(ROOT)
            body = await _read_body(receive)
            await deliver(control(self.vault, scope["method"], name, body), send)
        else:
            await self._exchange(scope, receive, send)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request with what was queued for it, and log it."""
        headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in scope["headers"]}
        sent = headers.get("x-request-id", "")
        request_id = sent if REQUEST_ID.fullmatch(sent) else self.vault.new_id("req")
        scope[REQUEST_ID_KEY] = request_id
        raw_path = scope["raw_path"].decode("latin-1")
        query = scope["query_string"].decode("latin-1")
        body = await _read_body(receive)
        row = {
            "method": scope["method"],
            "path": f"{raw_path}?{query}" if query else raw_path,
            "headers": headers,
            "body": body.decode("utf-8", "replace"),
        }
        fault = self.vault.faults.take(scope["method"], raw_path)
        if fault is not None and fault.delay_ms:
            await asyncio.sleep(fault.delay_ms / 1000)
        answer = instead(fault, request_id) if fault else None
        if answer is None:
            answer = await self._buffered(scope, body)
        if fault is not None:
            answer = altered(answer, fault)
        answer.headers.append((b"x-request-id", request_id.encode()))
        self.vault.log_call({**row, "status": answer.status})
        await deliver(answer, send)

    async def _buffered(self, scope: Scope, body: bytes) -> Answer:
        """Return what the application answers."""
        answer = Answer(500, [], b"")

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status, answer.headers = message["status"], list(message["headers"])
            else:
                answer.body += message.get("body", b"")

        await self._inner(scope, receive, send)
        return answer

    def _endpoint(self, route: Route) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await self._run(route, request)

        return endpoint

    async def _run(self, route: Route, request: Request) -> Response:
        if route.path.startswith(IDENTITY_ADMIN) and not self.vault.identity_admin:
            raise HTTPException(404)
        call = await self._call(request)
        try:
            if route.scope != OPEN:
                await self._admit(call, route)
            result = route.handler(call)
        except Refusal as error:
            write_row(call, route.action, error)
            return _refused(error, call.request_id)
        write_row(call, route.action, None)
        reply = result if isinstance(result, Reply) else Reply(result)
        content = reply.data if isinstance(reply.data, str) else encode(reply.data)
        return Response(content, reply.status, media_type=reply.content_type)

    async def _call(self, request: Request) -> Call:
        params = {name: str(value) for name, value in request.path_params.items()}
        raw_path = request.scope["raw_path"].decode("latin-1")
        call = Call(self.vault, request.method, raw_path, params)
        call.query = dict(request.query_params)
        call.headers = request.headers
        call.content = await request.body()
        call.request_id = request.scope[REQUEST_ID_KEY]
        call.source_ip = request.client.host if request.client else ""
        return call

    async def _admit(self, call: Call, route: Route) -> None:
        """Check bearer, tenant, rate limit and scope, in this order."""
        call.identity = await identify(self.vault, self._keys, call.headers.get("authorization"))
        call.tenant = self._tenant(call.identity, call.headers.get("x-tenant-id"))
        call.known = True
        who = f"{call.identity.tenant_id} {call.identity.id}"
        self.vault.limits.take(who, route.category, call.now)
        scopes = call.identity.scopes
        if route.scope != ANYONE and route.scope not in scopes and "admin" not in scopes:
            refuse(403, "insufficient_scope", "The token lacks a scope.", required=route.scope)

    def _tenant(self, identity: Identity, wanted: str | None) -> Tenant:
        """Return the tenant a request is about; the header needs a partner admin's token."""
        if wanted is None or wanted == identity.tenant_id:
            return self.vault.tenant(identity.tenant_id, identity.partner_id)
        found = self.vault.tenants.get(wanted)
        if found is None or not identity.partner_admin or found.partner_id != identity.partner_id:
            refuse(403, "tenant_access_denied", "The token may not act in this tenant.")
        return found


async def _read_body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _refused(error: Refusal, request_id: str) -> Response:
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    content = encode(error.envelope(request_id))
    return Response(content, error.status, headers, media_type="application/json")


async def _no_code(request: Request, problem: Exception) -> Response:
    """Answer an unknown route or a wrong method: no ScaiVault error code."""
    found = cast(HTTPException, problem)
    content = encode({"detail": found.detail})
    return Response(content, found.status_code, found.headers, media_type="application/json")


def create_vault(config: VaultConfig | None = None) -> VaultApp:
    """Return a stand-in vault as an ASGI application, seeded with the fixture.

    Args:
        config: None takes every default.
    """
    return VaultApp(Vault(config or VaultConfig(), seed_tenant, TOKENS))
