"""One HTTP exchange: send a message, follow what may be followed, read the answer within limits.

Spec: remote-servers 5 (redirects, sizes), 7 (classes), 8 (expired sessions).
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from scaimcp.errors import EndpointForbidden
from scaimcp.upstream.errors import (
    MODERN_CODES,
    AuthenticationError,
    McpError,
    ProtocolError,
    RateLimitedError,
    RedirectError,
    RemoteClientError,
    RemoteServerError,
    SessionUnknown,
    UpstreamError,
    clean_text,
    retry_after_seconds,
    too_large,
    translated,
)
from scaimcp.upstream.events import EventReader
from scaimcp.upstream.request import Ask, Target, parsed, same_origin
from scaimcp.upstream.wire import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    UNSUPPORTED_VERSION,
    Message,
    RpcError,
    read_messages,
)

_JSON = "application/json"
_EVENTS = "text/event-stream"
_HEADER_BYTES = 64 * 1024
_REFUSAL_BYTES = 64 * 1024
_SMALL_BODY = 256 * 1024
_LARGE_BODY = 1024 * 1024
_FOLLOWED = (307, 308)
_CONTRADICTING = (400, 404, 405, 406, 415)
_Failure = (aiohttp.ClientError, EndpointForbidden, OSError)

Answerer = Callable[[Message], Awaitable[None]]
"""Answers a request of the server that came on the stream of ours."""


class Sent:
    """One message on its way, and its answer for as long as the block lasts.

    An answer that was not read whole is broken off: closing the stream is how a request of
    2026-07-28 is cancelled. A class, for a generator would cost twice as much on every call.
    """

    __slots__ = ("_body", "_headers", "_http", "_redirects", "_response", "_url", "_verb")

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: URL,
        verb: str,
        headers: dict[str, str],
        body: bytes | None,
    ) -> None:
        self._http = http
        self._url = url
        self._verb = verb
        self._headers = headers
        self._body = body
        self._redirects = 0
        self._response: aiohttp.ClientResponse | None = None

    def following(self, redirects: int) -> Sent:
        """Follow at most so many redirects within the origin."""
        self._redirects = redirects
        return self

    async def __aenter__(self) -> aiohttp.ClientResponse:
        """Send, and return the answer once its headers are there.

        Raises:
            UpstreamError: no answer, or a redirect that is not followed.
        """
        try:
            response = await self._sent(self._url)
            while 300 <= response.status < 400:
                url = _followed(response, self._url, self._redirects)
                self._redirects -= 1
                self._give_back()
                response = await self._sent(url)
        except _Failure as error:
            self._give_back()
            raise translated(error) from None
        except BaseException:
            self._give_back()
            raise
        return response

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the connection back, or break it off; connection failures get their names."""
        self._give_back()
        if isinstance(error, _Failure):
            raise translated(error) from None

    async def _sent(self, url: URL) -> aiohttp.ClientResponse:
        response = self._response = await self._http.request(
            self._verb,
            url,
            data=_streamed(self._body),
            headers=self._headers,
            allow_redirects=False,
        )
        _check_headers(response)
        return response

    def _give_back(self) -> None:
        """Give the connection back after a whole body, and close it after half a one."""
        response, self._response = self._response, None
        if response is not None:
            response.release() if response.content.at_eof() else response.close()


def sent(
    http: aiohttp.ClientSession,
    target: Target,
    headers: dict[str, str],
    body: bytes | None,
    *,
    verb: str = "POST",
    redirects: int = 0,
) -> Sent:
    """Send one message in an ``async with`` block, and give its answer there."""
    if body is not None:
        headers["Content-Type"] = _JSON
    return Sent(http, parsed(target.url), verb, headers, body).following(redirects)


def _streamed(body: bytes | None) -> bytes | io.BytesIO | None:
    """Return what aiohttp sends without a warning; it wants large bodies as files."""
    return body if body is None or len(body) <= _LARGE_BODY else io.BytesIO(body)


def _check_headers(response: aiohttp.ClientResponse) -> None:
    size = sum([len(name) + len(value) for name, value in response.raw_headers])
    if size > _HEADER_BYTES:
        raise too_large("headers")


def _followed(response: aiohttp.ClientResponse, origin: URL, redirects: int) -> URL:
    location = response.headers.get("Location")
    if response.status not in _FOLLOWED or not location:
        raise RedirectError(f"The server redirects with HTTP {response.status}.")
    try:
        url = response.url.join(URL(location))
        is_same = same_origin(url, origin)
    except ValueError:
        is_same = False
    if not is_same:
        raise RedirectError("The server redirects to another origin.")
    if redirects <= 0:
        raise RedirectError("The server redirects too often.")
    return url


async def read_body(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Read the whole body, decompressed.

    Raises:
        ResponseTooLargeError: more than `most` bytes.
    """
    length = response.content_length
    if length is not None:
        if length > most:
            raise too_large(f"more than {most} bytes")
        if length <= _SMALL_BODY and "Content-Encoding" not in response.headers:
            return await response.read()
    return b"".join([chunk async for chunk in _limited(response, most)])


async def _limited(response: aiohttp.ClientResponse, most: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > most:
            raise too_large(f"more than {most} bytes")
        yield chunk


async def read_result(
    response: aiohttp.ClientResponse, target: Target, ask: Ask, number: int, answer: Answerer
) -> msgspec.Raw:
    """Read the result of request `number` from a successful answer, JSON or a stream.

    Raises:
        McpError: the server answered with an error.
        UpstreamError: no usable answer.
    """
    kind = response.content_type
    if kind == _JSON:
        body = await read_body(response, ask.most_bytes)
        found = await _sift(body, ask, number, answer)
        if found is not None:
            return outcome(found, target)
        raise ProtocolError("The server's answer belongs to no request.", was_sent=True)
    if kind != _EVENTS:
        raise ProtocolError("The server's answer is neither JSON nor events.", was_sent=True)
    reader = EventReader(ask.most_bytes)
    async for chunk in response.content.iter_any():
        for event in reader.feed(chunk):
            if event.kind == "message":
                found = await _sift(event.data, ask, number, answer)
                if found is not None:
                    return outcome(found, target)
    raise ProtocolError("The server ended the stream without an answer.", was_sent=True)


async def _sift(body: bytes, ask: Ask, number: int, answer: Answerer) -> Message | None:
    """Return the answer to request `number` if it is there; pass on everything else."""
    found: Message | None = None
    for message in read_messages(body, ask.depth):
        if message.method is None:
            if is_answer(message, number):
                found = message
        elif message.id:
            await answer(message)
        elif ask.listener is not None:
            await ask.listener.notified(message.method, bytes(message.params))
    return found


def is_answer(message: Message, number: int) -> bool:
    """Tell whether a message answers request `number`; an error may come without an id."""
    found = bytes(message.id).strip()
    if found == b"%d" % number or found == b'"%d"' % number:
        return True
    return message.error is not None and found in (b"", b"null")


def outcome(message: Message, target: Target) -> msgspec.Raw:
    """Return the result of an answer.

    Raises:
        McpError: it is an error.
        ProtocolError: it is neither.
    """
    if message.error is not None:
        raise rpc_error(message.error, target)
    if not bytes(message.result).lstrip().startswith(b"{"):
        raise ProtocolError("The server's answer has no result.", was_sent=True)
    return message.result


def rpc_error(error: RpcError, target: Target, *, contradicts_era: bool = False) -> McpError:
    """Translate a JSON-RPC error; a missing code reads as 0."""
    text = error.message if isinstance(error.message, str) else ""
    return McpError(
        clean_text(text, target.secrets()) or "The server gave no reason.",
        jsonrpc_code=error.code if isinstance(error.code, int) else 0,
        data=bytes(error.data),
        contradicts_era=contradicts_era,
    )


async def refusal(
    response: aiohttp.ClientResponse, target: Target, *, is_modern: bool, session_id: str | None
) -> UpstreamError:
    """Return the error that an answer with a status of 400 or more stands for."""
    status = response.status
    error = await _refused_with(response)
    text = clean_text(_text(error), target.secrets())
    if status in (401, 403):
        challenge = response.headers.get("WWW-Authenticate")
        return AuthenticationError(
            text or f"The server refuses the credential (HTTP {status}).",
            status=status,
            challenge=None if challenge is None else clean_text(challenge, target.secrets()),
        )
    if status == 429:
        seconds = retry_after_seconds(response.headers.get("Retry-After"))
        return RateLimitedError(text or "The server asks to wait.", retry_after=seconds)
    if status >= 500:
        return RemoteServerError(text or f"The server failed with HTTP {status}.", status=status)
    if session_id is not None and _is_session_unknown(status, error):
        return SessionUnknown("The server no longer knows the session.")
    contradicts = _contradicts(status, error, is_modern=is_modern)
    if error is not None:
        return rpc_error(error, target, contradicts_era=contradicts)
    return RemoteClientError(
        f"The server refused the request with HTTP {status}.", contradicts_era=contradicts
    )


async def _refused_with(response: aiohttp.ClientResponse) -> RpcError | None:
    """Return the JSON-RPC error in the body of a refusal, None without one."""
    body = b""
    try:
        if response.content_type == _EVENTS:
            return None
        body = await read_body(response, _REFUSAL_BYTES)
        messages = read_messages(body)
    except (UpstreamError, *_Failure):
        return None
    return next((message.error for message in messages if message.error is not None), None)


def _text(error: RpcError | None) -> str:
    return error.message if error is not None and isinstance(error.message, str) else ""


def _is_session_unknown(status: int, error: RpcError | None) -> bool:
    code: Any = None if error is None else error.code
    if code in MODERN_CODES or code in (METHOD_NOT_FOUND, INVALID_PARAMS):
        return False
    return status == 404 or (status == 400 and "session" in _text(error).lower())


def _contradicts(status: int, error: RpcError | None, *, is_modern: bool) -> bool:
    code: Any = None if error is None else error.code
    if is_modern:
        known = (METHOD_NOT_FOUND, INVALID_PARAMS, *(MODERN_CODES - {UNSUPPORTED_VERSION}))
        return status in _CONTRADICTING and code not in known
    return code in MODERN_CODES or (status == 400 and code == INVALID_PARAMS)
