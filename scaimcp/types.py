"""Values that every layer shares: secrets, callers, results."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, NoReturn, Protocol

import msgspec

from scaimcp.errors import GatewayError


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
        fields: members of a remote server's own result as they came, without ``_meta`` and
            ``resultType``; with them only ``meta`` counts of all the rest.
    """

    text: bytes | None
    blocks: tuple[bytes, ...] = ()
    structured: bytes | None = None
    is_error: bool = False
    meta: bytes = b""
    fields: dict[str, msgspec.Raw] | None = None


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


class Reply(msgspec.Struct, frozen=True):
    """What a client has answered to a question; one of both is b"".

    Args:
        result: encoded object, as it came.
        error: encoded JSON-RPC error of a client that does not answer.
    """

    result: bytes = b""
    error: bytes = b""


class Asker(Protocol):
    """Puts questions to a call's user while the call is running."""

    @property
    def modes(self) -> frozenset[str]:
        """Elicitation modes that the user's client can show: ``form``, ``url``."""
        ...

    async def ask(self, params: bytes) -> Reply | None:
        """Ask one question.

        Args:
            params: of ``elicitation/create``, an encoded object.

        Returns:
            The answer; None when nobody will give one any more.
        """
        ...


class Dialogue(msgspec.Struct, frozen=True):
    """What a client's user can be asked within a call, and what came back with its repetition.

    Only clients of 2026-07-28 and REST's ``invoke`` have one.

    Args:
        modes: elicitation modes that the client declares: ``form``, ``url``.
        state: the ``requestState`` that came with the call, None for a first one.
        responses: ``inputResponses`` by the name of the request, each one encoded.
    """

    modes: frozenset[str] = frozenset()
    state: str | None = None
    responses: dict[str, msgspec.Raw] = {}


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
        dialogue: how the user can be asked and what was answered; None where nothing can be
            asked and nothing came.
        asker: asks the user while the call runs; None where that cannot be. Clients of the
            handshake era have one instead of a dialogue.
        hops: gateways that the request has already passed.
        user_agent: what the client calls itself, at most 256 characters, None without.
    """

    request_id: str
    caller: Caller
    bearer: Secret
    traceparent: str | None = None
    client_ip: str | None = None
    progress: Callable[[float, float | None, str | None], Awaitable[None]] | None = None
    view: Any = None
    answer: Answer | None = None
    dialogue: Dialogue | None = None
    asker: Asker | None = None
    hops: int = 0
    user_agent: str | None = None


class Tool(msgspec.Struct, frozen=True):
    """A tool as clients see it, whatever its source.

    ``annotations`` holds the four hints in wire spelling, ``meta`` the members of ``_meta``.
    ``output_schema`` is None for tools that publish none. ``permission``, ``roles`` and
    ``module_id`` are what admission looks at. ``domain`` names the toolset: a core domain, a
    module id, or ``remote``. ``record`` is the source's own record of the tool. ``alias`` is its
    safe name, "" where ``name`` is safe. ``definition`` is a foreign tool's whole definition,
    listed as it is but for its name; None for tools of our own.
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
    alias: str = ""
    definition: dict[str, Any] | None = None


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
    the reason. ``withheld`` gives the refusal of a name that is not in service, None for names
    that are not there. ``note`` holds encoded members for the ``_meta`` of lists; ``is_failing``
    asks clients to list again sooner. ``remedies`` are for who asks why a tool is missing: what
    helps against a failed check or a refusal, by its name or code, where the usual does not.
    """

    key: Any
    tools: tuple[Tool, ...]
    by_name: dict[str, Tool]
    modules: ModuleView
    dropped: dict[str, str] = {}
    withheld: Callable[[str], GatewayError | None] | None = None
    note: bytes = b""
    is_failing: bool = False
    remedies: Mapping[str, str] = {}


ContentKind = Literal["resources", "resourceTemplates", "prompts"]
"""Lists beside that of the tools, by the name of their member."""


class Listed(msgspec.Struct, frozen=True):
    """A resource, template or prompt of a source.

    ``name`` is what it is asked for by: a name, or a URI or URI template in ``key``'s member of
    the definition. ``alias`` is the safe name of a prompt, "" where there is none.
    """

    key: str
    name: str
    definition: dict[str, Any]
    alias: str = ""


class Listing(msgspec.Struct, frozen=True):
    """What one source lists of one kind for one caller; equal ``identity`` = equal items.

    ``note`` and ``is_failing`` as in a `Snapshot`.
    """

    identity: Any
    items: tuple[Listed, ...] = ()
    note: bytes = b""
    is_failing: bool = False
