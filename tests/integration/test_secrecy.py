"""Secrets stay out of answers and logs, whatever goes wrong."""

import contextlib
import io
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
import structlog

from scaimcp.telemetry.logs import configure_logs
from tests.world import Reply, World, start_world

SECRET = "hunter2-very-secret-value"
MESSAGES = [{"role": "user", "content": SECRET}]


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged during the test."""
    before = structlog.get_config()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    written = io.StringIO()
    with contextlib.redirect_stderr(written):
        configure_logs("debug", "json")
    yield written
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest_asyncio.fixture(scope="module")
async def served(database_url: str, redis_url: str) -> AsyncIterator[World]:
    async with start_world(database_url, redis_url) as world:
        await world.as_("super_admin").names()
        yield world


@pytest.mark.parametrize(
    "rule",
    [
        {"http_status": 500, "code": "INTERNAL_ERROR"},
        {"http_status": 401, "code": "AUTH_TOKEN_INVALID"},
        {"drop": "before_headers"},
        {"body": "html"},
        {"body": "truncated"},
        {"redirect_to": "https://elsewhere.example/?token=abc"},
    ],
    ids=str,
)
async def test_a_failing_call_logs_and_tells_neither_bearer_nor_arguments(
    served: World, logged: io.StringIO, rule: dict[str, object]
) -> None:
    await served.fault({"path": "/v1/", **rule})
    client = served.as_("super_admin")
    replies: list[Reply] = []
    try:
        for tool, arguments in (
            ("inference_chat", {"model": "m", "messages": MESSAGES}),
            (
                "backends_create",
                {
                    "name": "n",
                    "provider_id": "p",
                    "upstream_model": "u",
                    "connection_config": {"api_key": SECRET},
                },
            ),
            ("webhooks_create", {"url": "https://a.example", "events": ["*"], "secret": SECRET}),
            ("modules_update_config", {"module_id": "scaimatrix", "config": {"k": SECRET}}),
        ):
            replies.append((await client.call(tool, arguments)).reply)
        replies.append(await client.get("/v1/modules/scaimcp/tools"))
    finally:
        await served.fault()
        served.forget()
    output = logged.getvalue()
    if "drop" in rule:
        assert '"code":"PLATFORM_UNAVAILABLE"' in output
    told = "".join(reply.content.decode() + str(reply.headers) for reply in replies)
    for secret in (SECRET, client.token or "", served.platform.url):
        assert secret not in told
    for secret in (SECRET, *served.tokens.values()):
        assert secret not in output


async def test_refused_arguments_are_named_but_never_quoted(
    served: World, logged: io.StringIO
) -> None:
    client = served.as_("super_admin")
    for tool, arguments in (
        ("webhooks_create", {"url": "https://a.example", "events": ["*"], "secret": [SECRET]}),
        ("models_get", {"model": "m", "extra": SECRET}),
        ("users_get", {"user_id": f"a/{SECRET}"}),
        ("inference_chat", {"model": "m", "messages": SECRET}),
        ("inference_image_generate", {"model": "m", "prompt": "p", "size": SECRET}),
    ):
        called = await client.call(tool, arguments)
        assert called.code == "INVALID_ARGUMENTS"
        assert SECRET not in called.reply.content.decode()
    output = logged.getvalue()
    assert SECRET not in output


async def test_a_bad_bearer_is_not_logged(served: World, logged: io.StringIO) -> None:
    token = "sgk_" + "9" * 40
    reply = await served.with_token(token).rpc("tools/list")
    assert reply.status == 401
    assert token not in reply.content.decode() + str(reply.headers)
    output = logged.getvalue()
    assert token not in output


async def test_a_new_key_is_told_once_and_kept_nowhere(served: World, logged: io.StringIO) -> None:
    client = served.as_("tenant_admin")
    made = (await client.call("api_keys_create", {"name": "laptop"})).value
    assert made["key"].startswith("sgk_")
    listed = await client.call("api_keys_list")
    assert made["key"] not in listed.reply.content.decode()
    output = logged.getvalue()
    assert made["key"] not in output
    assert (await served.with_token(made["key"]).call("me_get")).value["tenant"]["slug"] == "acme"


async def test_messages_of_the_platform_that_look_like_secrets_are_redacted(
    served: World,
) -> None:
    """The platform names an unknown model by the caller's words; a key in them does not return."""
    key = "sgk_" + "a" * 40
    called = await served.as_("tenant_user").call("models_get", {"model": key})
    assert called.code == "MODEL_NOT_FOUND"
    assert key not in called.reply.content.decode()
