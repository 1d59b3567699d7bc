"""What a tool is: the record that drives listing, admission, translation and documentation."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, Literal

import msgspec

from scaimcp.catalog.notation import Argument, arg, object_schema

ResultKind = Literal[
    "object", "list", "deleted", "chat", "message", "embeddings", "images", "audio", "audio_json",
    "export", "manifest_text", "gateway",
]  # fmt: skip
BodyKind = Literal["json", "chat", "batch", "persona", "config", "multipart"]
# A place in a path that an argument fills.
PLACE = re.compile(r"\{([^{}]+)\}")

PAGE = (
    arg("limit:int(1–100)=25", "Number of rows to return, from 1 to 100; 25 when left out."),
    arg(
        "cursor:str(≤512)",
        "Position to continue from: next_cursor of the previous answer; leave out for the start.",
    ),
)


class Hints(msgspec.Struct, frozen=True):
    """The four MCP annotations, always sent. Spec: core-tools 3."""

    read_only: bool
    destructive: bool
    idempotent: bool
    open_world: bool

    @classmethod
    def of(cls, letters: str) -> Hints:
        """Read the catalogue's letters: R, D, I, O; a missing letter is false."""
        return cls("R" in letters, "D" in letters, "I" in letters, "O" in letters)


class RestRequest(msgspec.Struct, frozen=True):
    """How a call becomes one REST request.

    Args:
        method: GET, POST, PUT, PATCH or DELETE.
        path: absolute path (built-in tools) or relative to the module's root (module authors),
            with ``{argument}`` places.
        query: names of arguments that go to the query; with GET and DELETE all do that are not
            in the path.
        body: how the remaining arguments form the body.
        files: base64 argument → multipart field.
        timeout_seconds: deadline of the platform's answer.
        page: wire names of ``limit`` and ``cursor`` where they differ.
    """

    method: str
    path: str
    query: tuple[str, ...] = ()
    body: BodyKind = "json"
    files: tuple[tuple[str, str], ...] = ()
    timeout_seconds: float = 30.0
    page: tuple[str, str] | None = None


class Result(msgspec.Struct, frozen=True, dict=True):
    """What a tool answers with.

    ``fields`` are the published top-level names in their order, with descriptions; ``always`` are
    those the gateway itself always sets, the only ones a strict client may rely on. ``long_text``
    names the field that is cut when the result is over its cap. ``otherwise`` holds values of
    published fields that the platform leaves out where they go without saying.
    """

    kind: ResultKind
    fields: tuple[tuple[str, str], ...] = ()
    always: tuple[str, ...] = ()
    types: tuple[tuple[str, str], ...] = ()
    long_text: tuple[str, ...] = ()
    otherwise: tuple[tuple[str, str], ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Published field names in their order."""
        return tuple(name for name, _ in self.fields)


class Rule(msgspec.Struct, frozen=True):
    """A condition over several arguments that JSON Schema of section 4 does not express."""

    kind: Literal["exactly_one", "at_least_one"]
    arguments: tuple[str, ...]


class ToolDefinition(msgspec.Struct, frozen=True, dict=True):
    """One tool, whatever its origin. Spec: core-tools 1–3.

    ``permission`` is "" for any authenticated caller; ``roles`` is a further condition, any of
    them suffices, empty = none. ``module_id`` is None for core tools. ``origin`` orders
    collisions: core, gateway, module, entry_point, manifest. ``chars`` overrides the result cap.
    """

    name: str
    title: str
    description: str
    input_schema: dict[str, Any]
    hints: Hints
    permission: str
    result: Result
    output_schema: dict[str, Any]
    request: RestRequest | None = None
    roles: tuple[str, ...] = ()
    module_id: str | None = None
    origin: str = "core"
    rules: tuple[Rule, ...] = ()
    id_arguments: frozenset[str] = frozenset()
    sensitive: frozenset[str] = frozenset()
    resolves_model: bool = False
    chars: int | None = None

    @cached_property
    def about(self) -> tuple[str, ...]:
        """Published fields that the call itself knows: the model and the path's arguments."""
        path = self.request.path if self.request is not None else ""
        known = {"model", *PLACE.findall(path)}
        return tuple(name for name in self.result.names if name in known)


SENSITIVE_ARGUMENTS = frozenset(
    {
        "connection_config",
        "secret",
        "env_vars",
        "stdin",
        "config",
        "audio_base64",
        "content_base64",
    }
)


def tool(  # noqa: PLR0913 - one call is one row of the catalogue
    name: str,
    title: str,
    description: str,
    request: str,
    arguments: tuple[Argument, ...],
    *,
    permission: str,
    hints: str,
    result: Result,
    **more: Any,
) -> ToolDefinition:
    """Declare one built-in tool.

    Args:
        name: wire name.
        title: 2–5 words.
        description: one sentence for a language model: what, when, what it returns.
        request: ``"GET /v1/models/{model}"``, or ``"gateway"`` for the gateway's own tools.
        arguments: in published order, from `arg`.
        permission: required permission, "" for any authenticated caller.
        hints: letters R, D, I, O.
        result: from `scaimcp.catalog.results`.
        more: `RestRequest` options (``body``, ``files``, ``timeout_seconds``, ``page``,
            ``query``) and `ToolDefinition` fields (``roles``, ``module_id``, ``rules``,
            ``resolves_model``, ``chars``).
    """
    rest = None
    options = {key: more.pop(key) for key in RestRequest.__struct_fields__ if key in more}
    if request != "gateway":
        method, _, path = request.partition(" ")
        rest = RestRequest(method, path, **options)
    names = {argument.name for argument in arguments}
    return ToolDefinition(
        name=name,
        title=title,
        description=description,
        input_schema=object_schema(arguments),
        hints=Hints.of(hints),
        permission=permission,
        result=result,
        output_schema=output_schema(result),
        request=rest,
        id_arguments=frozenset(a.name for a in arguments if a.kind == "id"),
        sensitive=SENSITIVE_ARGUMENTS & names,
        origin=more.pop("origin", "module" if more.get("module_id") else "core"),
        **more,
    )


def output_schema(result: Result) -> dict[str, Any]:
    """Return the shallow output schema: descriptions, few types, ``required`` for `always`."""
    types = dict(result.types)
    properties: dict[str, Any] = {}
    for name, description in result.fields:
        entry: dict[str, Any] = {"description": description}
        if name in types:
            entry = {"type": types[name], **entry}
        properties[name] = entry
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if result.always:
        schema["required"] = list(result.always)
    schema["additionalProperties"] = True
    return schema
