"""Runs stories: calls the tool, compares what reached the platform and what came back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import jsonschema

from tests.catalogue import row
from tests.integration.stories.step import Step, Story
from tests.world import Called, World

VARIABLE = re.compile(r"\$([a-z_]+)")
# What the gateway asks for its own sake: who calls, which modules are on, which tools they bring.
BACKGROUND = {
    "GET /v1/me",
    "GET /v1/modules",
    "GET /v1/modules/demo-notes/mcp/tools",
}


async def seeded(world: World) -> dict[str, str]:
    """Return ids of the platform's seed by name."""
    tables = {
        name: (await world.control("GET", f"/rows/{name}"))["rows"]
        for name in ("users", "tenants", "partners", "groups", "models", "backends", "providers")
    }
    users = {row["email"]: row["id"] for row in tables["users"]}
    models = {row["slug"]: row["id"] for row in tables["models"]}
    return {
        "root": users["root@platform.test"],
        "admin": users["admin@acme.test"],
        "user": users["user@acme.test"],
        "viewer": users["viewer@acme.test"],
        "nobody": users["nobody@acme.test"],
        "acme": next(row["id"] for row in tables["tenants"] if row["slug"] == "acme"),
        "globex": next(row["id"] for row in tables["tenants"] if row["slug"] == "globex"),
        "north": next(row["id"] for row in tables["partners"] if row["slug"] == "north"),
        "south": next(row["id"] for row in tables["partners"] if row["slug"] == "south"),
        "group": tables["groups"][0]["id"],
        "provider": tables["providers"][0]["id"],
        "echo": models["scailabs/echo-1"],
        "echo_backend": next(
            row["id"] for row in tables["backends"] if row["model_id"] == models["scailabs/echo-1"]
        ),
    }


async def run_story(world: World, story: Story, revision: str) -> None:
    """Run one story on a fresh platform."""
    await world.control("POST", "/reset")
    world.forget()
    variables = await seeded(world)
    for module_id in story.modules:
        await world.as_("tenant_admin").call("modules_enable", {"module_id": module_id})
    schemas: dict[str, Any] = {}
    for role in {story.role, *(step.role for step in story.steps if step.role)}:
        tools = await world.as_(role, revision).tools()
        schemas |= {tool["name"]: tool["outputSchema"] for tool in tools}
    for number, step in enumerate(story.steps):
        try:
            value = await _run_step(world, step, step.role or story.role, revision, variables)
            jsonschema.validate(value, schemas.get(step.tool, {}))
        except AssertionError as error:
            error.add_note(f"story {story.name}, step {number}: {step.tool} at {revision}")
            raise


async def _run_step(
    world: World, step: Step, role: str, revision: str, variables: dict[str, str]
) -> Any:
    """Call the tool and compare; return the result."""
    if step.shift:
        await world.control("POST", "/clock", {"seconds": step.shift})
    if step.is_cold:
        world.forget()
    await world.control("DELETE", "/calls")
    request_id = f"story-{step.tool}"
    arguments = fill(step.arguments, variables)
    client = world.as_(role, revision)
    called = await client.call(step.tool, arguments, headers={"x-request-id": request_id})
    value = called.value
    _check_requests(await world.calls(), step, client.token or "", request_id, variables)
    match(value, fill(step.result, variables), step.tool, is_whole=False)
    assert len(called.blocks) == len(step.blocks), called.blocks
    for block, expected in zip(called.blocks, step.blocks, strict=True):
        match(block, expected, "block", is_whole=True)
    _check_form(step.tool, called, value)
    assert called.reply.headers["x-request-id"] == request_id
    for name, path in step.keep.items():
        variables[name] = reach(value, path)
    return value


def _check_requests(
    calls: list[Any], step: Step, token: str, request_id: str, variables: dict[str, str]
) -> None:
    """The expected requests came in order, with the caller's own bearer and the request's id."""
    if step.request == "gateway":
        expected = []
    else:
        expected = [_split(fill(line, variables)) for line in (*step.before, step.request)]
    own = [
        call for call in calls if _split(_line(call)) in expected or _line(call) not in BACKGROUND
    ]
    lines = [_split(_line(call)) for call in own]
    if _line_without_query(step.request) in BACKGROUND:
        assert expected[-1] in lines
    else:
        assert lines == expected
    for call in own:
        digest = hashlib.sha256(token.encode()).hexdigest()
        assert call["headers"]["authorization"] == f"sha256:{digest}"
        assert call["headers"]["x-request-id"] == request_id
        assert call["headers"]["user-agent"].startswith("scaimcp/")
        assert not {"cookie", "origin"} & set(call["headers"])
        assert not [name for name in call["headers"] if name.startswith(("mcp-", "x-scaigrid-u"))]
        assert call["status"] < 300
    if own:
        match(own[-1]["body"], fill(step.body, variables), "request body", is_whole=True)
        assert all(call["body"] is None for call in own[:-1])


def _line(call: Any) -> str:
    return f"{call['method']} {call['path']}"


def _line_without_query(line: str) -> str:
    return line.partition("?")[0]


def _split(line: str) -> tuple[str, list[tuple[str, str]]]:
    """Return method and path as sent, and the query's pairs without their order."""
    path, _, query = line.partition("?")
    return path, sorted(parse_qsl(query, keep_blank_values=True))


def _check_form(tool: str, called: Called, value: Any) -> None:
    """The result has the fields that the catalogue's table names, and fits its output schema."""
    assert isinstance(value, dict)
    result = row(tool)["result"]
    if result.startswith("List of "):
        assert isinstance(value["items"], list)
        assert isinstance(value["has_more"], bool)
    elif result == "deleted":
        assert value["deleted"] is True
    elif result[0].islower():
        # "as other, more": the other tool's fields come first.
        other = re.match(r"as (\w+),?", result)
        fields = row(other[1])["result"] + result[other.end() :] if other else result
        names = {name.strip() for name in fields.split(",") if not name.strip().endswith("?")}
        missing = names - set(value) - NULLABLE.get(tool, set())
        assert not missing, f"{tool} lacks {sorted(missing)}"
    assert None not in value.values()
    assert called.reply.result["isError"] is False


# What may be null at the platform and is then left out.
NULLABLE: dict[str, set[str]] = {
    "me_get": {"tenant", "partner"},
    "backends_health": {"latency_ms"},
    "inference_synthesize": {"voice"},
    "webhooks_test": {"status_code", "duration_ms"},
}


def fill(value: Any, variables: dict[str, str]) -> Any:
    """Return `value` with every ``$name`` replaced; unknown names are an error."""
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: str(variables[found[1]]), value)
    if isinstance(value, dict):
        return {key: fill(item, variables) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill(item, variables) for item in value]
    return value


def reach(value: Any, path: str) -> Any:
    """Return the member at a dotted path; numbers index lists."""
    for part in path.split("."):
        value = value[int(part)] if part.isdigit() else value[part]
    return value


def match(found: Any, expected: Any, where: str, *, is_whole: bool) -> None:
    """Compare a value with an expectation: types, ``...`` and predicates match by themselves.

    Unless `is_whole`, objects may have members that the expectation does not name.
    """
    if expected is ...:
        return
    if isinstance(expected, type):
        assert isinstance(found, expected), f"{where}: {found!r}"
    elif isinstance(expected, Callable):  # type: ignore[arg-type]
        assert expected(found), f"{where}: {found!r}"
    elif isinstance(expected, dict):
        assert isinstance(found, dict), f"{where}: {found!r}"
        names = set(expected) - set(found)
        assert not names, f"{where} lacks {names}: {found!r}"
        if is_whole:
            assert set(found) == set(expected), f"{where}: {found!r}"
        for name, item in expected.items():
            match(found[name], item, f"{where}.{name}", is_whole=is_whole)
    elif isinstance(expected, list):
        assert isinstance(found, list), f"{where}: {found!r}"
        assert len(found) == len(expected), f"{where}: {found!r}"
        for index, item in enumerate(expected):
            match(found[index], item, f"{where}[{index}]", is_whole=is_whole)
    else:
        assert found == expected, f"{where}: {found!r}, not {expected!r}"
