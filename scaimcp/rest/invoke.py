"""``POST …/remote-servers/{id}/tools/{tool}/invoke``: run one tool by hand.

Spec: remote-servers 1 (invoke), 9.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scaimcp.errors import RequestRefused, ToolError
from scaimcp.remotes.calls.invoking import Completed, Invocation, Invoker, Wanting
from scaimcp.remotes.refusals import registry_disabled
from scaimcp.rest.access import REFUSALS, Access, id_of
from scaimcp.rest.bodies import read_object
from scaimcp.rest.responses import error_value, success
from scaimcp.rest.routes import Parameter, RestRoute

PATH = "/v1/modules/scailink/remote-servers/{id}/tools/{tool:path}/invoke"
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_PARAMETERS = (
    Parameter("id", "path", "Id of the server.", is_required=True),
    Parameter("tool", "path", "The server's own name of the tool, or its alias.", is_required=True),
)


class InvokeBody(msgspec.Struct, frozen=True):
    """``definition_hash`` is the one that the server's capabilities show."""

    arguments: dict[str, Any]
    definition_hash: str
    input_responses: dict[str, Any] = {}
    request_state: str | None = None


class InvokeResource:
    """Runs tools for people.

    Args:
        access: who calls.
        invoker: the use case; None without a KEK: then every call is 503.
    """

    def __init__(self, access: Access, invoker: Invoker | None) -> None:
        self._access = access
        self._invoker = invoker

    def routes(self) -> tuple[RestRoute, ...]:
        """Return the one route of this resource."""
        return (
            RestRoute(
                "POST",
                PATH,
                "invokeTool",
                "Run one tool by hand; the only way to tools of a locked server.",
                self.invoke,
                (Completed, Wanting),
                parameters=_PARAMETERS,
                errors=(400, 404, 409, 413, 415, 422, *REFUSALS),
                body=InvokeBody,
            ),
        )

    async def invoke(self, request: Request) -> Response:
        """Run one tool; an upstream's failure is a result too."""
        context = await self._access.context(request)
        if self._invoker is None:
            raise registry_disabled()
        self._invoker.admit(context)
        names = request.path_params
        given = read_invocation(names["id"], names["tool"], await read_object(request))
        request_id = id_of(request)

        def failed(error: ToolError) -> bytes:
            value = {**error_value(error), "request_id": request_id, **error.members}
            return msgspec.json.encode({"error": value})

        return success(await self._invoker.invoke(context, given, failed), request_id)


def read_invocation(server_id: str, tool: str, body: dict[str, Any]) -> Invocation:
    """Check a body.

    Raises:
        RequestRefused: 422 with every fault.
    """
    faults = [
        (field[:64], "is not a known field")
        for field in body
        if field not in InvokeBody.__struct_fields__
    ]
    faults += [(field, words) for field, is_ok, words in _checks(body) if not is_ok]
    if faults:
        details = tuple({"field": field, "message": words} for field, words in faults)
        raise RequestRefused(
            "VALIDATION_ERROR", "The request is not valid.", http_status=422, details=details
        )
    responses = body.get("input_responses", {})
    return Invocation(
        server_id,
        tool,
        body["arguments"],
        bytes.fromhex(body["definition_hash"]),
        {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in responses.items()},
        body.get("request_state"),
    )


def _checks(body: dict[str, Any]) -> tuple[tuple[str, bool, str], ...]:
    found = body.get("definition_hash")
    is_hash = isinstance(found, str) and _HASH.match(found) is not None
    state = body.get("request_state", "")
    return (
        ("arguments", isinstance(body.get("arguments"), dict), "must be an object"),
        ("definition_hash", is_hash, "must be the 64 hexadecimal digits that were shown"),
        (
            "input_responses",
            isinstance(body.get("input_responses", {}), dict),
            "must be an object",
        ),
        ("request_state", isinstance(state, str), "must be a string"),
    )
