"""JSON-RPC behind the endpoint: which revision, which method, which kind of answer.

Spec: MCP of all served revisions; register, Errors (JSON-RPC numbers and their HTTP status).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import UNSET

from scaimcp.auth import admittance
from scaimcp.auth.challenge import invalid_token
from scaimcp.errors import GatewayError, ProtocolError, RequestRefused
from scaimcp.gateway.view import View
from scaimcp.scaigrid.envelope import AuthenticationLost
from scaimcp.server.asgi import Receive
from scaimcp.server.asking import ClientAsker, Questions
from scaimcp.server.attendant import PACE, Attendant, ClientGone, Pace
from scaimcp.server.call import Call
from scaimcp.server.envelope import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    UNSUPPORTED_VERSION,
    Message,
    Meta,
    Params,
    error_message,
    is_batch,
    read_batch,
    read_entry,
    read_message,
    read_params,
    request_id,
    result_message,
)
from scaimcp.server.exchange import Exchange, word
from scaimcp.server.headers import check_envelope
from scaimcp.server.methods import METHOD_NAMES, Methods
from scaimcp.server.progress import Progress
from scaimcp.server.revisions import ASSUMED, MODERN, SUPPORTED, Revision, of_header
from scaimcp.server.session import Session, Sessions
from scaimcp.server.subscriptions import Subscriptions
from scaimcp.telemetry.logs import get_logger
from scaimcp.types import RequestContext

# HTTP 400 in every revision; other errors ride on 200 before 2026-07-28.
_ALWAYS_400 = frozenset({PARSE_ERROR, INVALID_REQUEST, HEADER_MISMATCH, UNSUPPORTED_VERSION})
# What an upstream may take its time for.
_ATTENDED = frozenset({"tools/call", "resources/read", "prompts/get"})
_log = get_logger("scaimcp.server")


class Inbound(msgspec.Struct):
    """One request whose headers and bearer were checked.

    ``is_headless``: the transport has no headers; those here were read out of the body.
    """

    exchange: Exchange
    receive: Receive
    headers: dict[bytes, bytes]
    repeated: bytes | None
    path: str
    view: View
    context: RequestContext
    session: Session | None = None
    is_headless: bool = False

    @property
    def routing(self) -> dict[bytes, bytes] | None:
        """Headers that the body must agree with, None where there are none."""
        return None if self.is_headless else self.headers

    @property
    def version(self) -> str | None:
        """Value of ``MCP-Protocol-Version``, None when absent."""
        raw = self.headers.get(b"mcp-protocol-version")
        return raw.decode("latin-1") if raw is not None else None

    @property
    def is_modern(self) -> bool:
        """Whether errors follow the statuses of 2026-07-28."""
        return self.version in MODERN


class Dispatcher:
    """Runs JSON-RPC messages.

    Args:
        metadata: address of the protected-resource metadata, for challenges.
        pace: when slow calls are looked after.

    ``questions`` are those that handshake clients have not answered yet.
    """

    def __init__(
        self,
        methods: Methods,
        sessions: Sessions,
        subscriptions: Subscriptions,
        metadata: str,
        pace: Pace = PACE,
    ) -> None:
        self._methods = methods
        self._sessions = sessions
        self._subscriptions = subscriptions
        self._metadata = metadata
        self._pace = pace
        self.questions = Questions()
        self._cancellable: dict[tuple[bytes, bytes, bytes], Attendant] = {}

    def handle(self, request: Inbound, body: bytes) -> Awaitable[str]:
        """Return the answering of one body; awaiting it gives the method's name for the metrics.

        Raises:
            GatewayError: the body as a whole is refused.
            ClientGone: the client left.
        """
        if is_batch(body):
            return self._batch(request, body)
        return self._single(request, read_message(body))

    async def _single(self, request: Inbound, message: Message) -> str:
        exchange = request.exchange
        if message.method is UNSET or not message.id:
            revision = self._revision(request, message)
            if revision.is_modern and message.method is UNSET:
                raise ProtocolError(INVALID_REQUEST, "This revision takes no responses")
            self._notified(request, message)
            await exchange.empty(202)
            return _label(message)
        message_id = request_id(message)
        try:
            revision = self._revision(request, message)
            params = read_params(message)
            check_envelope(request.routing, request.repeated, message.method, params, revision)
            await self._dispatch(request, message.method, message_id, params, revision)
        except ClientGone:
            raise
        except AuthenticationLost as error:
            # The answer may have begun: then the stream can carry only the platform's code.
            refusal = invalid_token(self._metadata, error.code)
            await exchange.refuse(refusal, message_id)
        except GatewayError as error:
            await self._refuse(request, message_id, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours becomes -32603, unexplained
            _log.error("method failed", request_id=exchange.request_id, exc_info=error)
            await exchange.refuse(internal_error(), message_id)
        return _label(message)

    async def _refuse(self, request: Inbound, message_id: bytes, error: GatewayError) -> None:
        """Answer with a JSON-RPC error: HTTP 200 before 2026-07-28, the error's status there."""
        if isinstance(error, ProtocolError) and not request.is_modern:
            error.http_status = 400 if error.number in _ALWAYS_400 else 200
        await request.exchange.refuse(error, message_id)

    def _revision(self, request: Inbound, message: Message) -> Revision:
        """Read session and version; unknown versions are refused in either era.

        Raises:
            ProtocolError: -32022 with the versions served here.
            RequestRefused: 404 for a session id of somebody else.
        """
        header = request.version
        if message.method == "initialize" and header not in MODERN:
            return ASSUMED
        sealed = request.headers.get(b"mcp-session-id")
        if sealed is not None and request.session is None and header not in MODERN:
            request.session = self._sessions.read(
                sealed.decode("latin-1"), request.context.caller, request.path
            )
        settled = request.session.revision if request.session is not None else None
        revision = of_header(header, settled)
        if revision is None:
            raise ProtocolError(
                UNSUPPORTED_VERSION,
                "Unsupported protocol version",
                data={"supported": list(SUPPORTED), "requested": (header or "")[:64]},
            )
        return revision

    async def _dispatch(
        self, request: Inbound, method: str, message_id: bytes, params: Params, revision: Revision
    ) -> None:
        exchange = request.exchange
        if method == "subscriptions/listen" and revision.is_modern:
            await self._listen(request, message_id, params, revision)
            return
        progress = self._progress(request, params)
        context = _traced(request, params)
        if progress is not None:
            context = msgspec.structs.replace(context, progress=progress.send)
        if method in _ATTENDED and (asker := self._asker(request, revision)) is not None:
            context = msgspec.structs.replace(context, asker=asker)
        call = _call(request, context, params, revision)
        answer = self._methods.answer(method, call)
        if method not in _ATTENDED:
            result = await answer
        else:
            exchange.tool = params.name if method == "tools/call" else None
            beat = progress.beat if progress is not None else _silent_beat(request)
            attendant = Attendant(request.receive, beat, self._pace)
            key = self._register(request, message_id, revision, attendant)
            try:
                result = await attendant.run(answer)
            except ClientGone:
                await exchange.empty(202)
                raise
            finally:
                if key is not None and self._cancellable.get(key) is attendant:
                    del self._cancellable[key]
        if call.new_session is not None:
            exchange.extra = (*exchange.extra, (b"mcp-session-id", call.new_session.encode()))
        await exchange.send(200, result_message(message_id, result))

    def _register(
        self, request: Inbound, message_id: bytes, revision: Revision, attendant: Attendant
    ) -> tuple[bytes, bytes, bytes] | None:
        """Let a handshake client cancel a call by its id; only within a session is that safe."""
        session = request.headers.get(b"mcp-session-id")
        if session is None or revision.is_modern:
            return None
        key = (request.context.caller.key, session, message_id)
        self._cancellable[key] = attendant
        return key

    def _progress(self, request: Inbound, params: Params) -> Progress | None:
        meta = params.meta
        if not isinstance(meta, Meta) or meta.progress_token is UNSET:
            return None
        if not admittance.accepts_stream(request.headers.get(b"accept")):
            return None
        return Progress(request.exchange, meta.progress_token)

    def _asker(self, request: Inbound, revision: Revision) -> ClientAsker | None:
        """Return what asks the user of a handshake client; None where the client cannot."""
        session, sealed = request.session, request.headers.get(b"mcp-session-id")
        if session is None or sealed is None or not session.modes:
            return None
        modes = session.modes_in(revision)
        if not modes or not admittance.accepts_stream(request.headers.get(b"accept")):
            return None
        caller = request.context.caller
        return ClientAsker(self.questions, request.exchange, caller, sealed, modes)

    def _notified(self, request: Inbound, message: Message) -> None:
        """Act on what has no answer: a handshake client may answer or cancel in its session."""
        session = request.headers.get(b"mcp-session-id")
        if message.method is UNSET:
            self.questions.answered(request.context.caller, session, message)
            return
        if message.method != "notifications/cancelled" or session is None:
            return
        try:
            target = bytes(read_params(message).request_id).strip()
        except ProtocolError:
            return
        running = self._cancellable.get((request.context.caller.key, session, target))
        if running is not None:
            running.cancel()

    async def _listen(
        self, request: Inbound, message_id: bytes, params: Params, revision: Revision
    ) -> None:
        if not admittance.accepts_stream(request.headers.get(b"accept")):
            raise RequestRefused(
                "NOT_ACCEPTABLE", "Accept must name text/event-stream.", http_status=406
            )
        if params.notifications is UNSET:
            raise ProtocolError(INVALID_PARAMS, "params.notifications is required")
        stream = self._subscriptions.listen(
            request.exchange,
            message_id,
            request.context.caller,
            params.notifications,
            revision,
        )
        await Attendant(request.receive).run(stream)

    # -- batches (2025-03-26) --------------------------------------------------------------------

    async def _batch(self, request: Inbound, body: bytes) -> str:
        revision = self._revision(request, Message(method="batch"))
        entries = read_batch(body)
        if not revision.has_batches:
            raise ProtocolError(INVALID_REQUEST, "This revision takes no batches")
        messages = [_read_entry(entry) for entry in entries]
        ids = [bytes(m.id).strip() for m in messages if isinstance(m, Message) and m.id]
        if len(ids) != len(set(ids)):
            raise ProtocolError(INVALID_REQUEST, "Two messages of the batch have the same id")
        answers = await Attendant(request.receive).run(
            asyncio.gather(*(self._entry(request, message, revision) for message in messages))
        )
        bodies = [answer for answer in answers if answer is not None]
        if not bodies:
            await request.exchange.empty(202)
        else:
            await request.exchange.json(200, b"[" + b",".join(bodies) + b"]")
        return "batch"

    async def _entry(
        self, request: Inbound, message: Message | ProtocolError, revision: Revision
    ) -> bytes | None:
        """Answer one message of a batch; None for notifications and responses."""
        gateway_id = request.exchange.request_id
        if isinstance(message, ProtocolError):
            return error_message(None, message, gateway_id)
        if message.method is UNSET or not message.id:
            self._notified(request, message)
            return None
        message_id: bytes | None = None
        try:
            message_id = request_id(message)
            if message.method == "initialize":
                raise ProtocolError(INVALID_REQUEST, "initialize cannot be part of a batch")
            params = read_params(message)
            check_envelope(request.routing, request.repeated, message.method, params, revision)
            call = _call(request, request.context, params, revision)
            result = await self._methods.answer(message.method, call)
        except GatewayError as error:
            request.exchange.failed(word(error))
            return error_message(message_id, error, gateway_id)
        except Exception as error:  # noqa: BLE001 - one faulty message must not cost the others
            _log.error("method failed", request_id=gateway_id, exc_info=error)
            request.exchange.failed("INTERNAL_ERROR")
            return error_message(message_id, internal_error(), gateway_id)
        return b"".join(result_message(message_id, result))


def _call(request: Inbound, context: RequestContext, params: Params, revision: Revision) -> Call:
    return Call(
        context,
        revision,
        params,
        request.view,
        request.path,
        request.headers,
        session=request.session,
    )


def _read_entry(entry: bytes) -> Message | ProtocolError:
    try:
        return read_entry(entry)
    except ProtocolError as error:
        return error


def _silent_beat(request: Inbound) -> Callable[[], Awaitable[None]] | None:
    """Return the heartbeat of a client that reads streams but asked for no progress."""
    accept = request.headers.get(b"accept", b"")
    return request.exchange.keepalive if b"text/event-stream" in accept.lower() else None


def _traced(request: Inbound, params: Params) -> RequestContext:
    """Return the context with the trace that the envelope names where the headers name none."""
    context, meta = request.context, params.meta
    if meta is UNSET or context.traceparent is not None or not isinstance(meta.traceparent, str):
        return context
    named = admittance.given_traceparent(meta.traceparent.encode())
    return msgspec.structs.replace(context, traceparent=named)


def _label(message: Message) -> str:
    if message.method is UNSET:
        return "response"
    return message.method if message.method in METHOD_NAMES else "other"


def internal_error() -> ProtocolError:
    """A fault of the gateway's own: fixed words, the cause is in the log."""
    return ProtocolError(
        INTERNAL_ERROR,
        "The gateway failed; the cause is in its log.",
        code="INTERNAL_ERROR",
        http_status=200,
    )
