"""The leak tests can fail: values are let out on purpose, and every one must be found.

Copies of the package are broken, never the package itself; a copy is first on the path of the
command that is started with it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog

from scaimcp.telemetry import metrics
from scaimcp.telemetry.tracing import open_tracing
from tests.integration.scaivault.channels import TELLTALES, Channels, logging_to, opened_channels
from tests.integration.scaivault.child import ROOT, Child
from tests.integration.scaivault.gateway import set_guards
from tests.integration.scaivault.markers import Markers
from tests.integration.scaivault.test_leaks import watching
from tests.integration.scaivault.test_leaks_gateway import said, watched
from tests.integration.scaivault.watch import Watch
from tests.world import Client

pytestmark = pytest.mark.slow

PLANTED = "leakplanted0123456789"


class Break(NamedTuple):
    """What is done to a copy.

    Attributes:
        module: file below the package.
        code: put at its end, where it replaces what stands before.
    """

    module: str
    code: str


NO_MASK = Break(
    "scaivault/output.py",
    "import msgspec.structs\n"
    "_guarded = render\n"
    "def render(record, result, guards, passed):\n"
    "    free = msgspec.structs.replace(guards, mask_values=False)\n"
    "    return _guarded(record, result, free, passed)\n",
)
NO_SWEEP = Break("scaivault/secret_names.py", "def names_secret(key):\n    return False\n")
NO_PEM = Break("scaivault/secret_names.py", "def holds_private_key(text):\n    return False\n")
NO_ERRORS = Break("scaivault/execution.py", "def mask_error(error):\n    pass\n")
NO_ECHOES = Break("scaivault/echoes.py", "def hide_echoes(*_):\n    pass\n")
BEARER = Break("scaivault/client.py", "def _without_bearer(body, _):\n    return body\n")
LOOKS = Break("telemetry/redaction.py", "def redact(text):\n    return text\n")
TELLING = Break(
    "scaivault/arguments.py",
    "_quiet = _form\n"
    "def _form(shape, value, at):\n"
    "    for field, words in _quiet(shape, value, at):\n"
    "        yield field, f'{words}, not {value}'\n"
    "_CHECKS[Form] = _form\n",
)
LOGGED = Break(
    "vaultserver/source.py",
    "def _logged(record, arguments):\n    return {'tool': record.name, 'given': str(arguments)}\n",
)


@asynccontextmanager
async def broken(
    place: Path, transport: str, *breaks: Break, **more: str
) -> AsyncIterator[tuple[Watch, Child]]:
    """Start a broken copy of the command."""
    copied = shutil.copytree(
        ROOT / "scaimcp", place / "scaimcp", ignore=shutil.ignore_patterns("__pycache__", "dev")
    )
    for module, code in breaks:
        for name in re.findall(r"^def (\w+)", code, re.MULTILINE):
            assert f"def {name}(" in (copied / module).read_text(), f"{module} has no {name}"
        with (copied / module).open("a") as file:
            file.write(f"\n\n{code}")
    # Without the second, the working directory would come first.
    path = {"PYTHONPATH": str(place), "PYTHONSAFEPATH": "1"}
    masked = {"SCAIVAULT_MASK_VALUES": "true", **path, **more}
    async with watching(transport, **masked) as (watch, child):
        yield watch, child


async def all_tools(watch: Watch) -> Any:
    await watch.every_tool()


async def strange_members(watch: Watch) -> Any:
    await watch.every_tool_with_strange_members()


async def failing(watch: Watch) -> Any:
    await watch.every_tool_failing()


async def contents(watch: Watch) -> Any:
    await watch.every_content()


async def arguments(watch: Watch) -> Any:
    await watch.every_secret_argument()


Do = Callable[[Watch], Awaitable[Any]]


@pytest.mark.parametrize(
    ("transport", "breaks", "do", "where"),
    [
        ("stdio", [NO_MASK], all_tools, {"read_secret", "list_secrets", "generate_credentials"}),
        ("streamable-http", [NO_MASK], all_tools, {"read_secret", "get_certificate"}),
        ("sse", [NO_MASK], all_tools, {"read_secret", "proxy_read"}),
        ("stdio", [NO_SWEEP], strange_members, {"query_audit", "list_secrets"}),
        ("stdio", [NO_PEM], strange_members, {"query_audit", "test_policy"}),
        ("stdio", [NO_ERRORS], failing, {"read_secret", "list_cas", "delete_secret"}),
        ("stdio", [BEARER, LOOKS], failing, {"read_secret", "list_cas", "delete_secret"}),
        ("stdio", [NO_MASK], contents, {"resources/read"}),
        ("stdio", [NO_ERRORS], contents, {"resources/read", "completion/complete"}),
        ("stdio", [NO_ECHOES], arguments, {"write_secret", "create_subscription"}),
    ],
)
async def test_a_broken_copy_is_found_out(
    tmp_path: Path, transport: str, breaks: list[Break], do: Do, where: set[str]
) -> None:
    async with broken(tmp_path, transport, *breaks) as (watch, _):
        await do(watch)
        assert where <= {label.split()[0] for label in watch.shown}


async def test_a_copy_that_repeats_arguments_is_found_out(tmp_path: Path) -> None:
    async with broken(tmp_path, "stdio", TELLING) as (watch, _):
        assert await watch.every_argument_wrong() != set()
        assert await watch.every_secret_argument() != set()


@pytest.mark.parametrize("transport", ["stdio", "streamable-http", "sse"])
async def test_a_copy_that_logs_arguments_is_found_out(tmp_path: Path, transport: str) -> None:
    async with broken(tmp_path, transport, LOGGED) as (watch, child):
        await watch.every_secret_argument()
        assert "written" in watch.markers.found_in(child.stderr.decode())


# -- the gateway's channels ----------------------------------------------------------------------


async def into_log(_: Channels, __: Client, value: str) -> None:
    structlog.get_logger().debug("leak", value=value)


async def into_metrics(_: Channels, __: Client, value: str) -> None:
    metrics.TOOL_CALLS.labels("none", value).inc()


async def into_database(_: Channels, client: Client, value: str) -> None:
    await set_guards(client, denied_paths=[value])


async def into_redis(channels: Channels, _: Client, value: str) -> None:
    await channels.redis.set(f"leak:{value[-8:]}", value)


async def into_redis_for_a_moment(channels: Channels, _: Client, value: str) -> None:
    await channels.redis.publish("leak", value)


async def into_spans(_: Channels, __: Client, value: str) -> None:
    async with open_tracing(True, "leak", "1") as tracing:
        assert tracing is not None
        tracing.start(value, "INTERNAL", None, {}).end({})


async def into_platform(_: Channels, client: Client, value: str) -> None:
    await client.call("models_get", {"model": value})


LEAKS = {
    "log": into_log,
    "metrics": into_metrics,
    "database": into_database,
    "redis": into_redis,
    "redis for a moment": into_redis_for_a_moment,
    "spans": into_spans,
    "platform": into_platform,
}


@pytest.mark.parametrize("form", ["json", "console"])
async def test_a_value_in_any_channel_is_found(
    database_url: str, redis_url: str, form: str
) -> None:
    """Also that channels that nothing has come through are no proof."""
    async with opened_channels(database_url, redis_url, form) as channels:
        admin, markers = channels.world.as_("tenant_admin"), Markers()
        with pytest.raises(AssertionError, match="|".join(TELLTALES)):
            await channels.found(markers)
        await set_guards(admin)
        await channels.settled(await channels.world.person("tenant_admin"))
        assert await channels.found(markers) == {}
        for name, leak in LEAKS.items():
            markers = Markers()
            value = f"leak-{form}-{name.replace(' ', '-')}-0123456789"
            markers.learn(name, value)
            await leak(channels, admin, value)
            assert await channels.found(markers) == {name.split()[0]: {name}}
        metrics.TOOL_CALLS.remove("none", f"leak-{form}-metrics-0123456789")
    assert {name.split()[0] for name in LEAKS} == set(TELLTALES)


async def test_a_value_in_a_body_or_a_header_is_found(database_url: str, redis_url: str) -> None:
    async with opened_channels(database_url, redis_url, "json") as channels:
        await set_guards(channels.world.as_("tenant_admin"))
        watch = await watched(channels)
        watch.markers.learn("planted", PLANTED)
        await watch.desk.secret("app/planted", {"value": PLANTED})
        await watch.call("read_secret", {"path": "app/planted"})
        client = channels.world.with_token(watch.desk.bearer)
        reply = await client.rpc("ping", headers={"x-request-id": PLANTED})
        assert PLANTED not in watch.search("ping", said(reply)).body
        assert watch.shown == {"read_secret": {"planted"}, "ping": {"planted"}}


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_variables(form: str) -> None:
    def fail(password: str) -> None:
        raise ValueError("no")

    with logging_to(form) as logged:
        try:
            fail(PLANTED)
        except ValueError as error:
            structlog.get_logger().error("failed", exc_info=error)
    assert "ValueError: no" in logged.getvalue()
    assert PLANTED not in logged.getvalue()
