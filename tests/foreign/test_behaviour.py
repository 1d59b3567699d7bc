"""What a server does while it works is the same through the gateway as without it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.foreign.asking import ASKED
from tests.foreign.clients import Side
from tests.foreign.setup import LATEST, Case, Pair, Setup, cases

pytestmark = pytest.mark.slow
CASES = [one for one in cases() if one.through >= LATEST]
EACH = pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
CANCELLABLE = pytest.mark.parametrize(
    "case", [one for one in CASES if not one.server.startswith("everything")],
    ids=lambda case: case.label,
)  # fmt: skip
JSON = dict[str, Any]
PREFIX = "ai.scailabs.scaimcp/resource_prefix"


async def heard(progress: float, total: float | None, message: str | None) -> None:
    """Want progress; the wire shows it."""


async def test_slow_progress_comes_step_by_step(setup: Setup) -> None:
    usable = [case for case in CASES if setup.details[case.server]["status"] == "active"]
    await asyncio.gather(*(slow_progress(case, setup) for case in usable))


async def slow_progress(case: Case, setup: Setup) -> None:
    name, arguments, steps = ASKED[case.server].slow
    async with setup.pair(case) as pair:
        direct, through = await asyncio.gather(
            pair.direct.call(name, arguments, progress_callback=heard),
            pair.through.call(pair.prefix + name, arguments, progress_callback=heard),
        )
        pair.compare("tools/call", direct, through)
        assert len(pair.direct.progress) == steps
        assert pair.through.progress == pair.direct.progress


@EACH
async def test_fast_progress_is_thinned_and_keeps_its_order(case: Case, setup: Setup) -> None:
    name, arguments, steps = ASKED[case.server].counting
    async with setup.pair(case) as pair:
        direct = await pair.direct.call(name, arguments, progress_callback=heard)
        through = await pair.through.call(pair.prefix + name, arguments, progress_callback=heard)
        pair.compare("tools/call", direct, through)
        told = pair.direct.progress
        assert len(told) == steps
        kept = pair.through.progress
        assert kept[0] == told[0]
        assert len(kept) < steps
        assert [step for step in told if step in kept] == kept


@EACH
async def test_nobody_hears_progress_that_was_not_wanted(case: Case, setup: Setup) -> None:
    name, arguments, _ = ASKED[case.server].counting
    async with setup.pair(case) as pair:
        direct = await pair.direct.call(name, arguments)
        through = await pair.through.call(pair.prefix + name, arguments)
        pair.compare("tools/call", direct, through)
        assert pair.direct.progress == pair.through.progress == []


async def until_more(pair: Pair, what: str, before: JSON) -> None:
    """Wait until the server has counted one more."""
    async with asyncio.timeout(15):
        while (await runs(pair))[what] <= before[what]:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


async def runs(pair: Pair) -> JSON:
    """Return how often the server began and cancelled what lingers."""
    return dict((await pair.direct.call("ran"))["result"]["structuredContent"])


@CANCELLABLE
async def test_a_cancelled_call_ends_at_the_server(case: Case, setup: Setup) -> None:
    async with setup.pair(case) as pair:
        for side, name in ((pair.direct, "lingers"), (pair.through, f"{pair.prefix}lingers")):
            before = await runs(pair)
            task = asyncio.get_running_loop().create_task(side.call(name))
            await until_more(pair, "started", before)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await until_more(pair, "cancelled", before)
            again = await side.call(name.replace("lingers", "ran"))
            assert "result" in again


@EACH
async def test_what_a_result_links_to_can_be_read_back(case: Case, setup: Setup) -> None:
    calls = [call for call in ASKED[case.server].calls if call[0] not in ("breaks", "fails")]
    linked = 0
    async with setup.pair(case) as pair:
        for name, arguments in calls:
            through = await pair.through.call(pair.prefix + name, arguments)
            result = through.get("result", {})
            for block in result.get("content", ()):
                if block["type"] != "resource_link" or block["uri"] == "note://two":
                    continue
                prefix = result["_meta"][PREFIX]
                assert prefix == pair.resources
                assert "result" in await pair.through.read(prefix + block["uri"]), block
                linked += 1
    assert linked or not case.server.startswith(("everything", "fastmcp"))


@EACH
async def test_calls_at_the_same_time_do_not_mix(case: Case, setup: Setup) -> None:
    tool, key = ("trip", "city") if case.server == "fastmcp" else ("echo", "message")
    texts = [f"text {number}" for number in range(12)]

    async def said(side: Side, name: str, text: str) -> str:
        block: Any = (await side.client.call_tool(name, {key: text})).content[0]
        return str(block.text)

    async with setup.pair(case) as pair:
        direct = await asyncio.gather(*(said(pair.direct, tool, text) for text in texts))
        name = pair.prefix + tool
        through = await asyncio.gather(*(said(pair.through, name, text) for text in texts))
        assert direct == through
        assert all(text in answer for text, answer in zip(texts, through, strict=True))


async def test_a_list_of_pages_is_listed_whole(setup: Setup) -> None:
    for case in (one for one in CASES if one.server == "fastmcp"):
        async with setup.pair(case) as pair:
            assert len(await pair.direct.listed("tools")) == 4
            assert len(await pair.through.listed("tools")) > 1
