"""Values that every layer shares: secrets, callers, results."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, Protocol

import msgspec


class Secret:
    """A string that does not print, log, format, pickle or serialise.

    ``reveal()`` gives the plain value; call it only where the value is sent.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the plain value."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


class Grants(msgspec.Struct, frozen=True):
    """What a caller may do: the part of an identity that decides visibility.

    Two callers with equal grants in one tenant see the same platform tools, so grants are part
    of the key of every cached list.

    ``core`` and ``module`` are permission keys; ``module`` may hold ``*`` and ``<module>:*``.
    None means unresolved (scaigrid 2): the platform did not say, ``fallback_open`` decides.
    """

    core: frozenset[str] | None
    module: frozenset[str] | None
    roles: frozenset[str] = frozenset()
    source: str = "me"
    fallback_open: bool = False


class Caller(msgspec.Struct, frozen=True):
    """Tenant, user and grants behind a bearer. Never holds the bearer itself.

    ``key`` is the SHA-256 of the bearer. ``tenant_id`` is "" for callers without a tenant.
    ``confirmed_at`` is on the monotonic clock, in seconds. ``is_stale`` is true while the
    platform cannot be asked and an older confirmation serves (scaigrid 2).
    """

    key: bytes
    user_id: str
    tenant_id: str
    tenant_slug: str
    partner_id: str
    grants: Grants
    custom_role_ids: tuple[str, ...] = ()
    method: str = "jwt"
    subject_type: str = "user"
    confirmed_at: float = 0.0
    expires_at: float | None = None
    is_stale: bool = False
    profile: msgspec.Raw = msgspec.Raw(b"{}")


class ToolResult(msgspec.Struct, frozen=True):
    """A finished tool call.

    Args:
        text: the result as compact JSON, first text block and ``structuredContent`` alike;
            None where ``blocks`` and ``structured`` hold everything (fixtures, remote results).
        blocks: further content blocks, each one encoded as JSON.
        structured: encoded JSON of ``structuredContent`` where it differs from ``text``.
        is_error: the result is a failure; it then has no ``structuredContent``.
        meta: encoded JSON members for ``_meta`` without braces, or b"".
    """

    text: bytes | None
    blocks: tuple[bytes, ...] = ()
    structured: bytes | None = None
    is_error: bool = False
    meta: bytes = b""


JsonObject = dict[str, Any]


class Allowance(msgspec.Struct, frozen=True):
    """What the gateway's own limits leave a caller after one request. Spec: register, Headers.

    Args:
        policy: name and requests a minute of every limit that is set.
        nearest: the limit that has refused the request, or would be the first to refuse another.
        remaining: requests that `nearest` still admits at once.
        window_seconds: whole seconds until it admits one more.
        is_refused: the request was one too many.
    """

    policy: tuple[tuple[str, int], ...]
    nearest: str
    remaining: int
    window_seconds: int
    is_refused: bool = False


class Answer(Protocol):
    """An HTTP answer in the making, for what is known before it is written."""

    def limited(self, allowance: Allowance) -> None:
        """Tell the client what its nearest limit leaves."""
        ...

    def failed(self, code: str) -> None:
        """Note the stable code of the failure that the answer carries."""
        ...


class RequestContext(msgspec.Struct, frozen=True):
    """Who asks, under which id, and how the answer's stream can be told of progress.

    Args:
        request_id: id of this request, sent on to the platform.
        caller: confirmed identity.
        bearer: the caller's own token; goes to the platform only.
        traceparent: W3C trace context as received, or None.
        client_ip: address of the client behind trusted proxies, or None.
        progress: sends ``notifications/progress`` (value, total, message); None where the client
            sent no progress token.
        view: the endpoint URL's options (`scaimcp.gateway.view.View`), None for the defaults.
        answer: the answer that this request gets, None where nobody reads its headers.
    """

    request_id: str
    caller: Caller
    bearer: Secret
    traceparent: str | None = None
    client_ip: str | None = None
    progress: Callable[[float, float | None, str | None], Awaitable[None]] | None = None
    view: Any = None
    answer: Answer | None = None


class Tool(msgspec.Struct, frozen=True):
    """A tool as clients see it, whatever its source.

    ``annotations`` holds the four hints in wire spelling, ``meta`` the members of ``_meta``.
    ``output_schema`` is None for tools that publish none. ``permission``, ``roles`` and
    ``module_id`` are what admission looks at. ``domain`` names the toolset: a core domain, a
    module id, or ``remote``. ``record`` is the source's own record of the tool.
    """

    name: str
    title: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    annotations: dict[str, bool]
    meta: dict[str, Any]
    permission: str = ""
    roles: tuple[str, ...] = ()
    module_id: str | None = None
    domain: str = ""
    record: Any = None


class ModuleView(msgspec.Struct, frozen=True):
    """Which modules are enabled for a caller's tenant, and who said so (scaigrid 4).

    ``mcp_is_off`` is true when the tenant has switched ``scaimcp`` itself off.
    """

    active: frozenset[str]
    source: str
    mcp_is_off: bool = False


class Snapshot(msgspec.Struct, frozen=True):
    """What one source offers one caller at one moment; equal ``key`` = equal tools.

    ``tools`` are in published order and not yet filtered by permission; ``by_name`` finds them
    and every other name they are called by. ``dropped`` names tools that a rule kept out, with
    the reason.
    """

    key: Any
    tools: tuple[Tool, ...]
    by_name: dict[str, Tool]
    modules: ModuleView
    dropped: dict[str, str] = {}
