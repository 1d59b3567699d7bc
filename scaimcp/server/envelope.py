"""JSON-RPC in and out, on bytes. Pure.

Ids are echoed byte for byte; ``params`` stay raw until a method needs them.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from scaimcp.errors import GatewayError, ProtocolError
from scaimcp.jsontext import depth_exceeds
from scaimcp.telemetry.redaction import clean_message

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
RESOURCE_NOT_FOUND = -32002
HEADER_MISMATCH = -32020
UNSUPPORTED_VERSION = -32022
OWN_REFUSAL = -31000

PROTOCOL_VERSION = "io.modelcontextprotocol/protocolVersion"
CLIENT_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
CLIENT_INFO = "io.modelcontextprotocol/clientInfo"
SUBSCRIPTION_ID = "io.modelcontextprotocol/subscriptionId"
SERVER_INFO = "io.modelcontextprotocol/serverInfo"
REQUEST_ID = "ai.scailabs.scaimcp/request_id"

MAX_DEPTH = 64
MAX_BATCH = 50
_ABSENT = Raw(b"")
_INTEGER = re.compile(rb"-?\d+\Z")
_NOT_JSON = "The body is not JSON in UTF-8"


class Message(msgspec.Struct):
    """One JSON-RPC message; ``id`` is b"" when absent (a notification or a response)."""

    jsonrpc: str = ""
    method: str | UnsetType = UNSET
    id: Raw = _ABSENT
    params: Raw = _ABSENT
    result: Raw = _ABSENT
    error: Raw = _ABSENT


class Meta(msgspec.Struct):
    """The members of ``params._meta`` that the gateway reads."""

    version: Any = msgspec.field(default=UNSET, name=PROTOCOL_VERSION)
    capabilities: Any = msgspec.field(default=UNSET, name=CLIENT_CAPABILITIES)
    client: Any = msgspec.field(default=UNSET, name=CLIENT_INFO)
    progress_token: int | str | UnsetType = msgspec.field(default=UNSET, name="progressToken")
    traceparent: Any = None


class Params(msgspec.Struct):
    """Every parameter of the methods served here; unknown ones are ignored."""

    meta: Meta | UnsetType = msgspec.field(default=UNSET, name="_meta")
    name: str | UnsetType = UNSET
    arguments: Raw = _ABSENT
    cursor: str | UnsetType | None = UNSET
    uri: str | UnsetType = UNSET
    ref: dict[str, Any] | UnsetType = UNSET
    argument: dict[str, Any] | UnsetType = UNSET
    notifications: dict[str, Any] | UnsetType = UNSET
    protocol_version: str | UnsetType = msgspec.field(default=UNSET, name="protocolVersion")
    capabilities: dict[str, Any] | UnsetType = UNSET
    client_info: dict[str, Any] | UnsetType = msgspec.field(default=UNSET, name="clientInfo")
    request_id: Raw = msgspec.field(default=_ABSENT, name="requestId")
    context: Raw = _ABSENT
    input_responses: Raw = msgspec.field(default=_ABSENT, name="inputResponses")
    request_state: Raw = msgspec.field(default=_ABSENT, name="requestState")


encode = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(Message).decode
_decode_batch = msgspec.json.Decoder(list[Raw]).decode
_decode_params = msgspec.json.Decoder(Params).decode


def check_text(body: bytes) -> None:
    """Refuse what a decoder should not see; members that stay raw are not looked at again.

    Raises:
        ProtocolError: -32700 for bytes that are no UTF-8, and for JSON nested too deep.
    """
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            raise ProtocolError(PARSE_ERROR, _NOT_JSON) from None
    if depth_exceeds(body, MAX_DEPTH):
        raise ProtocolError(PARSE_ERROR, f"JSON is nested deeper than {MAX_DEPTH} levels")


def is_batch(body: bytes) -> bool:
    """Tell whether the body is a JSON array."""
    return body.lstrip()[:1] == b"["


def read_message(body: bytes) -> Message:
    """Decode one message.

    Raises:
        ProtocolError: -32700 for what is no JSON, -32600 for what is no JSON-RPC.
    """
    check_text(body)
    return read_entry(body)


def read_entry(entry: bytes) -> Message:
    """Decode one message of a body that `check_text` has passed.

    Raises:
        ProtocolError: as `read_message`.
    """
    try:
        message = _decode_message(entry)
    except msgspec.ValidationError:
        raise ProtocolError(INVALID_REQUEST, "The body is no JSON-RPC message") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ProtocolError(PARSE_ERROR, _NOT_JSON) from None
    if message.jsonrpc != "2.0":
        raise ProtocolError(INVALID_REQUEST, 'jsonrpc must be "2.0"')
    if message.method is UNSET and not message.result and not message.error:
        raise ProtocolError(INVALID_REQUEST, "The message has neither method nor result")
    return message


def read_batch(body: bytes) -> list[bytes]:
    """Split a batch into its messages, still encoded.

    Raises:
        ProtocolError: -32700, or -32600 for an empty or too long batch.
    """
    check_text(body)
    try:
        entries = [bytes(entry) for entry in _decode_batch(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ProtocolError(PARSE_ERROR, _NOT_JSON) from None
    if not 1 <= len(entries) <= MAX_BATCH:
        raise ProtocolError(INVALID_REQUEST, f"A batch holds 1 to {MAX_BATCH} messages")
    return entries


def request_id(message: Message) -> bytes:
    """Return the encoded id of a request.

    Raises:
        ProtocolError: -32600 for anything but a string or an integer.
    """
    raw = bytes(message.id).strip()
    if raw.startswith(b'"') or _INTEGER.match(raw):
        return raw
    raise ProtocolError(INVALID_REQUEST, "id must be a string or an integer")


def read_params(message: Message) -> Params:
    """Decode the parameters.

    Raises:
        ProtocolError: -32602 for wrong types.
    """
    if not message.params:
        return Params()
    try:
        return _decode_params(message.params)
    except msgspec.DecodeError as error:
        text = f"Invalid params: {clean_message(str(error))}"
        raise ProtocolError(INVALID_PARAMS, text) from None


def result_message(message_id: bytes, result: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return the pieces of an answer; those of the result close the message too."""
    return (b'{"jsonrpc":"2.0","id":', message_id, b',"result":', *result)


def error_object(error: GatewayError, gateway_request_id: str) -> dict[str, Any]:
    """Return the ``error`` object of tool failures and refusals. Spec: core-tools 7."""
    value: dict[str, Any] = {
        "code": error.code,
        "message": clean_message(error.message, error.message_chars),
        "request_id": error.request_id or gateway_request_id,
    }
    if error.retry_after is not None:
        value["retry_after"] = error.retry_after
    if error.details:
        value["details"] = list(error.details)
    if error.members:
        value |= error.members
    return value


def error_message(message_id: bytes | None, error: GatewayError, gateway_request_id: str) -> bytes:
    """Join a JSON-RPC error; without a usable id the member is null."""
    number = error.number if isinstance(error, ProtocolError) else OWN_REFUSAL
    body: dict[str, Any] = {"code": number, "message": clean_message(error.message)}
    data: dict[str, Any] = {}
    if isinstance(error, ProtocolError) and isinstance(error.data, dict):
        data |= error.data
    if error.code:
        data["error"] = error_object(error, gateway_request_id)
    if data:
        body["data"] = data
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (message_id or b"null", encode(body))
