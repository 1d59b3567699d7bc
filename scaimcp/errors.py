"""The error tree: every refusal the gateway itself makes.

::

    GatewayError                code, http_status, retry_after, details
    ├── RequestRefused          refused before dispatch (401, 403, 413, 429, 503 …)
    ├── ToolError               a tool call failed: a result with ``isError`` (core-tools 7)
    ├── PlatformFailure         the platform did not give a usable answer
    ├── InputNeeded             no refusal: the call waits for an answer of the client's user
    ├── ProtocolError           a JSON-RPC error with an MCP number
    ├── EndpointInvalid         a remote server's URL is malformed
    ├── EndpointForbidden       a remote server's host, port or address is off limits
    ├── HeaderRefused           a credential's header name or value cannot be sent
    └── SettingsError           the process must not start (exit code 5)

``code`` is stable and documented; ``message`` is for people and never repeats a secret or an
argument's value. Spec: register, Errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class GatewayError(Exception):
    """A refusal with a stable code.

    Args:
        code: upper-case word of the register's table of errors.
        message: one sentence for people, free of secrets and argument values.
        http_status: status of the HTTP answer where the refusal is one.
        retry_after: whole seconds after which a repeat may help; None where it does not.
        details: up to 20 objects ``{"field", "message"}``.

    ``message_chars`` is how much of the message a caller gets, ``members`` what the ``error``
    object holds besides the members of every error.
    """

    http_status = 500
    message_chars = 500
    members: Mapping[str, Any] = {}
    retryable = False
    request_id = ""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        http_status: int | None = None,
        retry_after: int | None = None,
        details: tuple[dict[str, Any], ...] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        if http_status is not None:
            self.http_status = http_status
        self.retry_after = retry_after
        self.details = details[:20]


class RequestRefused(GatewayError):
    """The HTTP request is refused before any JSON-RPC method runs.

    ``challenge`` is the value of ``WWW-Authenticate`` or None.
    """

    challenge: str | None = None


class ToolError(GatewayError):
    """A tool call failed; the caller gets a result with ``isError``. Spec: core-tools 7.

    Args:
        members: what the ``error`` object holds besides the members of every error.
    """

    http_status = 200

    def __init__(
        self, code: str, message: str, *, members: Mapping[str, Any] | None = None, **more: Any
    ) -> None:
        super().__init__(code, message, **more)
        self.members = members or {}


class InputNeeded(GatewayError):
    """A call goes on when its client repeats it with answers: a result ``input_required``.

    Args:
        requests: the object ``inputRequests``, encoded; b"" where only time is needed.
        state: the sealed ``requestState`` that the repetition brings back.
    """

    http_status = 200

    def __init__(self, requests: bytes, state: str) -> None:
        super().__init__("INPUT_REQUIRED", "The call waits for its user.")
        self.requests = requests
        self.state = state


class PlatformFailure(ToolError):
    """The platform gave no usable answer, or an error of its own whose code passes unchanged.

    ``status`` is the platform's HTTP status, 0 when there was none. ``request_id`` is the
    platform's id of the request where it told one, else "". ``retryable`` says that the same
    GET may be sent once more at once. Spec: scaigrid 1 and 5.
    """

    def __init__(self, code: str, message: str, *, status: int = 0, **more: Any) -> None:
        super().__init__(code, message, **more)
        self.status = status


class ProtocolError(GatewayError):
    """A JSON-RPC error with a number that MCP defines, or -31000 for a refusal of our own.

    Args:
        number: the JSON-RPC ``error.code``.
        code: the word in ``data.error.code``, or "" where the number says it all.
        data: further members of ``error.data``.
        members: further members of ``error.data.error``.
    """

    http_status = 400

    def __init__(
        self,
        number: int,
        message: str,
        *,
        code: str = "",
        data: Any = None,
        members: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(code, message, **more)
        self.number = number
        self.data = data
        self.members = members or {}


class EndpointInvalid(GatewayError):
    """The URL of a remote server breaks a rule of form. Spec: remote-servers 1 and 5.

    Args:
        reason: short stable word for metrics and tests, such as ``scheme``.
        message: one sentence that repeats no part of the URL.
    """

    http_status = 422

    def __init__(self, reason: str, message: str = "The endpoint URL is malformed.") -> None:
        super().__init__("SCAILINK_ENDPOINT_INVALID", message)
        self.reason = reason


class EndpointForbidden(GatewayError):
    """The host, the port or a resolved address is none the gateway connects to.

    Args:
        reason: short stable word for metrics and tests, such as ``address``.
        message: one sentence that repeats neither host nor address.
        address: the address that was refused, for the log only; "" where a name was.
    """

    http_status = 422

    def __init__(
        self, reason: str, message: str = "The endpoint is not allowed.", *, address: str = ""
    ) -> None:
        super().__init__("SCAILINK_ENDPOINT_FORBIDDEN", message)
        self.reason = reason
        self.address = address


class HeaderRefused(GatewayError):
    """A credential's header name or value cannot be sent; the value is never repeated.

    Args:
        reason: short stable word for tests, such as ``reserved``.
        message: one sentence about the rule that was broken.
    """

    http_status = 422

    def __init__(self, reason: str, message: str) -> None:
        super().__init__("VALIDATION_ERROR", message)
        self.reason = reason


class SettingsError(GatewayError):
    """The configuration cannot be used; the process ends with exit code 5."""

    def __init__(self, message: str) -> None:
        super().__init__("SETTINGS_INVALID", message)
