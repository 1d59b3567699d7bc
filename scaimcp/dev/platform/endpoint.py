"""The record that declares one endpoint, and what handlers return."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from scaimcp.dev.platform.fields import NO_FIELDS, Fields, fields
from scaimcp.dev.platform.store import Row, TableSpec

if TYPE_CHECKING:
    from scaimcp.dev.platform.call import Call
    from scaimcp.dev.platform.state import Platform

Handler = Callable[["Call"], Any | Awaitable[Any]]
Check = Callable[[dict[str, Any]], Iterable[tuple[str, str]]]
MODULE_ROOT = "/v1/modules/"


@dataclass(frozen=True, slots=True)
class Body:
    """What an endpoint takes as its body.

    Attributes:
        kind: `json` object, multipart `form`, `urlencoded` form, or `map` for any JSON object;
            `json` without fields also takes an empty body.
        fields: the accepted fields.
        check: finds faults that concern several fields, as `(field, message)` pairs; called only
            when every single field is right.
    """

    kind: Literal["json", "form", "urlencoded", "map"]
    fields: Fields = NO_FIELDS
    check: Check | None = None


NO_BODY = Body("json")
MAP_BODY = Body("map")


def json_body(spec: str | Fields, check: Check | None = None) -> Body:
    """Return a JSON body, from the field notation or a derived field set."""
    return Body("json", fields(spec) if isinstance(spec, str) else spec, check)


def form_body(spec: str, check: Check | None = None) -> Body:
    """Return a multipart form; `file` fields arrive as `Part`."""
    return Body("form", fields(spec), check)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Declare one endpoint.

    Attributes:
        method: HTTP method.
        path: template from the root; for a module's endpoint, below `/v1/modules/{module}`.
        permission: full name; `""` admits every authenticated caller, None needs no bearer.
        handler: sync or async; returns `data` (a dict or list), a `Reply`, a `Raw`, or None (204).
        rule: a further demand, which raises `PlatformError`.
        query: accepted query fields.
        body: accepted body.
        module: id of the module it belongs to, checked for being enabled, with the module envelope;
            `{}` takes it from the first path value.
        audit: action of the audit row, as `model.create`; None writes no row.
        status: HTTP status of a success that names no other.
    """

    method: str
    path: str
    permission: str | None
    handler: Handler
    rule: Callable[["Call"], None] | None = field(default=None, kw_only=True)
    query: Fields = field(default=NO_FIELDS, kw_only=True)
    body: Body = field(default=NO_BODY, kw_only=True)
    module: str | None = field(default=None, kw_only=True)
    audit: str | None = field(default=None, kw_only=True)
    status: int = field(default=200, kw_only=True)

    @property
    def full_path(self) -> str:
        """The template from the root."""
        if self.module is None or self.path.startswith(MODULE_ROOT):
            return self.path
        return f"{MODULE_ROOT}{self.module}{self.path}"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the path values, in order."""
        return tuple(part[1:-1] for part in self.full_path.split("/") if part.startswith("{"))


@dataclass(frozen=True, slots=True)
class Reply:
    """An enveloped success.

    Attributes:
        data: the `data` member.
        status: HTTP status; None takes the endpoint's.
        siblings: members beside `data`, such as `pagination`.
        meta: members added to `meta`.
    """

    data: object
    status: int | None = None
    siblings: dict[str, object] = field(default_factory=dict)
    meta: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Raw:
    """A success without envelope."""

    content: bytes
    content_type: str
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One group of endpoints with the tables and start rows it needs.

    Attributes:
        endpoints: its records.
        tables: tables nobody else declares.
        seed: writes its start rows; called once per empty store, in the order of the families,
            after tenants, users, modules and models exist.
        models: finds models that are no rows of `models`, such as published personas; called with
            the call and the name, returns a model row or None.
    """

    endpoints: tuple[Endpoint, ...]
    tables: tuple[TableSpec, ...] = ()
    seed: Callable[["Platform"], None] | None = None
    models: Callable[["Call", str], Row | None] | None = None
