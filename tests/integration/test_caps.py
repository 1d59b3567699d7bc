"""Results over their caps: fewer rows, shorter text, or a clear refusal."""

import base64
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from tests.world import LATEST, MODERN, World, start_world

CHARS = 3_000
REVISIONS = pytest.mark.parametrize("revision", [LATEST, MODERN])


@pytest_asyncio.fixture(scope="module")
async def small(database_url: str, redis_url: str) -> AsyncIterator[World]:
    """A gateway with small caps."""
    async with start_world(
        database_url,
        redis_url,
        LIMITS_RESULT_CHARS=str(CHARS),
        LIMITS_RESULT_BINARY_BYTES="2000",
    ) as world:
        await world.as_("super_admin").names()
        yield world


@REVISIONS
async def test_rows_are_dropped_from_the_end_with_a_hint(small: World, revision: str) -> None:
    client = small.as_("super_admin", revision)
    whole = (await client.call("users_list", {"limit": 2})).value
    called = await client.call("users_list", {"limit": 100})
    value = called.value
    assert len(called.reply.result["content"][0]["text"]) <= CHARS
    assert value["has_more"] is True
    assert "next_cursor" not in value
    kept = len(value["items"])
    assert value["truncated"]["omitted_items"] > 0
    assert f"limit {kept}" in value["truncated"]["hint"]
    assert value["items"][:2] == whole["items"]
    again = (await client.call("users_list", {"limit": kept})).value
    assert again["items"] == value["items"]
    assert "truncated" not in again


@REVISIONS
async def test_long_text_is_cut_at_its_end_with_a_note(small: World, revision: str) -> None:
    client = small.as_("tenant_user", revision)
    text = "äöü€" * 2_000
    value = (
        await client.call("inference_generate", {"model": "scailabs/echo-1", "prompt": text})
    ).value
    note = value["truncated"]
    assert note["field"] == "content"
    assert value["content"] + text[-note["omitted_chars"] :] == f"echo: {text}"
    assert len(msgspec.json.encode(value).decode()) <= CHARS
    assert value["usage"]["total_tokens"] > 0


async def test_an_export_is_cut_at_the_end_of_a_line(small: World) -> None:
    admin = small.as_("tenant_admin")
    for _ in range(20):
        await admin.call("inference_generate", {"model": "scailabs/echo-1", "prompt": "count"})
    span = {"start": "2020-01-01T00:00:00Z", "end": "2035-01-01T00:00:00Z", "format": "ndjson"}
    value = (await admin.call("accounting_export", span)).value
    assert value["truncated"]["field"] == "content"
    assert value["content"].endswith("\n")
    assert all(msgspec.json.decode(line) for line in value["content"].splitlines())
    assert value["size_bytes"] > len(value["content"])


async def test_vectors_are_never_cut(small: World) -> None:
    called = await small.as_("tenant_user").call(
        "inference_embed",
        {"model": "scailabs/embed-det-1", "input": ["a"], "dimensions": 4096},
    )
    assert called.code == "RESULT_TOO_LARGE"
    assert "dimensions" in called.error["message"]


@pytest.mark.parametrize("return_as", ["content", "base64"])
async def test_sound_over_the_binary_cap_is_refused(small: World, return_as: str) -> None:
    called = await small.as_("tenant_user").call(
        "inference_synthesize",
        {"model": "scailabs/tone-1", "input": "many words " * 20, "return_as": return_as},
    )
    assert called.code == "RESULT_TOO_LARGE"
    assert "2,000" in called.error["message"]


async def test_pictures_over_the_binary_cap_are_refused_together(small: World) -> None:
    client = small.as_("tenant_user")
    arguments = {"model": "scailabs/pixel-1", "prompt": "a", "response_format": "b64_json"}
    called = await client.call("inference_image_generate", {**arguments, "n": 4})
    if not called.is_error:
        size = sum(len(base64.b64decode(block["data"])) for block in called.blocks)
        assert size <= 2_000
    else:
        assert called.code == "RESULT_TOO_LARGE"


async def test_the_published_cap_is_the_one_in_force(small: World) -> None:
    tools = await small.as_("tenant_user").tools()
    caps = {tool["_meta"]["anthropic/maxResultSizeChars"] for tool in tools}
    assert CHARS in caps


async def test_too_many_descriptions_at_once_are_refused(small: World) -> None:
    client = small.as_("super_admin")
    names = (await client.names())[:20]
    assert (await client.call("tools_describe", {"names": names})).code == "RESULT_TOO_LARGE"
    assert (await client.call("tools_describe", {"names": names[:1]})).value["items"]


async def test_2024_11_05_knows_no_sound_and_gets_an_embedded_resource(world: World) -> None:
    arguments = {"model": "scailabs/tone-1", "input": "hi"}
    newer = await world.as_("tenant_user").call("inference_synthesize", arguments)
    older = await world.as_("tenant_user", "2024-11-05").call("inference_synthesize", arguments)
    assert older.value == newer.value
    assert "structuredContent" not in older.reply.result
    (block,) = older.blocks
    assert block["type"] == "resource"
    assert block["resource"]["mimeType"] == "audio/wav"
    assert block["resource"]["blob"] == newer.blocks[0]["data"]
