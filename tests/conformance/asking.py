"""Remote servers that ask their users, with the names that the suite's scenarios call.

The gateway's own tools never ask. These are what it relays: one server of 2026-07-28, which asks
with its results, and one of the handshake era, which asks with requests of its own.
"""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult

from tests.integration.upstream.support import without_modern

OPEN = TransportSecuritySettings(enable_dns_rebinding_protection=False)
Ctx = Context[Any, Any]
CONTACT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    },
    "required": ["username", "email"],
}
DEFAULTS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {
            "type": "string",
            "enum": ["active", "inactive", "pending"],
            "default": "active",
        },
        "verified": {"type": "boolean", "default": True},
    },
}
_OPTIONS = ["option1", "option2", "option3"]
_TITLED = [{"const": f"value{at}", "title": f"Choice {at}"} for at in (1, 2, 3)]
ENUMS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": _OPTIONS},
        "titledSingle": {"type": "string", "oneOf": _TITLED},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": _OPTIONS}},
        "titledMulti": {"type": "array", "items": {"anyOf": _TITLED}},
    },
}


async def _asked(ctx: Ctx, message: str, schema: dict[str, Any]) -> str:
    """Ask with a request of our own and say what came back."""
    found = await ctx.session.elicit_form(message, schema, ctx.request_id)
    return f"action={found.action}, content={found.content}"


async def test_elicitation(message: str, ctx: Ctx) -> str:
    """Ask for a contact."""
    return f"User response: {await _asked(ctx, message, CONTACT)}"


async def test_elicitation_sep1034_defaults(ctx: Ctx) -> str:
    """Ask with a default for every kind of field."""
    return f"Elicitation completed: {await _asked(ctx, 'Please check.', DEFAULTS)}"


async def test_elicitation_sep1330_enums(ctx: Ctx) -> str:
    """Ask with every kind of choice."""
    return f"Elicitation completed: {await _asked(ctx, 'Please choose.', ENUMS)}"


def _wants(key: str, message: str, field: str, kind: str, state: str = "") -> InputRequiredResult:
    """Return the result that asks for one field, under `key`."""
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    form = ElicitRequestFormParams(message=message, requested_schema=schema)
    return InputRequiredResult(
        input_requests={key: ElicitRequest(params=form)}, request_state=state or None
    )


def _given(ctx: Ctx, key: str, field: str) -> Any:
    """Return what was answered; None without an answer."""
    answer: Any = (ctx.input_responses or {}).get(key)
    return (answer.content or {}).get(field) if answer is not None else None


async def test_input_required_result_elicitation(ctx: Ctx) -> str | InputRequiredResult:
    """Ask for a name and greet."""
    name = _given(ctx, "user_name", "name")
    if name is None:
        return _wants("user_name", "What is your name?", "name", "string")
    return f"Hello, {name}!"


async def test_input_required_result_request_state(ctx: Ctx) -> str | InputRequiredResult:
    """Ask for a confirmation and look at the state that comes back."""
    if _given(ctx, "confirm", "ok") is None:
        return _wants("confirm", "Please confirm", "ok", "boolean", "theirs")
    return "state-ok" if ctx.request_state == "theirs" else "another state"


async def test_input_required_result_multi_round(ctx: Ctx) -> str | InputRequiredResult:
    """Ask twice."""
    if ctx.request_state is None:
        return _wants("step1", "Step 1: What is your name?", "name", "string", "one")
    if ctx.request_state == "one":
        return _wants("step2", "Step 2: What is your favorite color?", "color", "string", "two")
    return f"Done: {_given(ctx, 'step2', 'color')}"


async def test_input_required_result_tampered_state(ctx: Ctx) -> str | InputRequiredResult:
    """Ask for a confirmation with a state."""
    if _given(ctx, "confirm", "ok") is None:
        return _wants("confirm", "Please confirm", "ok", "boolean", "untouched")
    return "accepted"


async def test_input_required_result_prompt(ctx: Ctx) -> str | InputRequiredResult:
    """Ask what the prompt is about."""
    context = _given(ctx, "user_context", "context")
    if context is None:
        message = "What context should the prompt use?"
        return _wants("user_context", message, "context", "string")
    return f"Use this context: {context}"


HANDSHAKE = (
    test_elicitation,
    test_elicitation_sep1034_defaults,
    test_elicitation_sep1330_enums,
)
MODERN = (
    test_input_required_result_elicitation,
    test_input_required_result_request_state,
    test_input_required_result_multi_round,
    test_input_required_result_tampered_state,
)
PROMPTS = (test_input_required_result_prompt,)
HANDSHAKE_NAMES = tuple(tool.__name__ for tool in HANDSHAKE)
MODERN_NAMES = tuple(offer.__name__ for offer in (*MODERN, *PROMPTS))


def handshake_app() -> Any:
    """Return the application of the server that asks with requests of its own."""
    server: MCPServer[Any] = MCPServer("asks-on-stream", version="1", log_level="CRITICAL")
    for tool in HANDSHAKE:
        server.add_tool(tool)
    return without_modern(server.streamable_http_app(transport_security=OPEN))


def modern_app() -> Any:
    """Return the application of the server that asks with its results."""
    server: MCPServer[Any] = MCPServer("asks-in-results", version="1", log_level="CRITICAL")
    for tool in MODERN:
        server.add_tool(tool)
    for prompt in PROMPTS:
        server.prompt()(prompt)
    return server.streamable_http_app(transport_security=OPEN)
