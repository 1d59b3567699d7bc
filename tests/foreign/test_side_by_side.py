"""What a server offers and answers is the same through the gateway as without it.

The same official client asks twice. `tests.foreign.differences` has what may differ, and why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.foreign.asking import APART, ASKED
from tests.foreign.clients import Person
from tests.foreign.processes import MODERN
from tests.foreign.setup import KEYS, LATEST, Case, Pair, Setup, cases, compare_lists

pytestmark = pytest.mark.slow
CURRENT = [case for case in cases() if case.through >= LATEST]
OLDER = [case for case in cases() if case.through < LATEST]
JSON = dict[str, Any]


async def test_every_server_is_registered_and_found_well(setup: Setup) -> None:
    failed = {name: one for name, one in setup.details.items() if one["status"] != "active"}
    assert {name: one["last_error_message"] for name, one in failed.items()} == {}
    for name, detail in setup.details.items():
        era = "modern" if MODERN in setup.foreign[name].kind.revisions else "legacy"
        assert detail["protocol_era"] == era
        assert detail["list_notes"] == {}
        counts = detail["capability_counts"]
        assert (counts["held"], counts["dropped"]) == (0, int(name.startswith("everything")))


async def lists(pair: Pair) -> None:
    for what in KEYS:
        assert await compare_lists(pair, what), what


async def tools(pair: Pair) -> None:
    asked = ASKED[pair.case.server]
    tools = await compare_lists(pair, "tools")
    offered = {name for name, tool in tools.items() if not needs_tasks(tool)}
    assert offered - APART == {name for name, _ in asked.calls}
    for name, arguments in asked.calls:
        direct = await pair.direct.call(name, arguments)
        through = await pair.through.call(pair.prefix + name, arguments)
        pair.compare("tools/call", direct, through, f"{name} {arguments}")


def needs_tasks(tool: JSON) -> bool:
    return bool(tool.get("execution", {}).get("taskSupport") == "required")


async def resources(pair: Pair) -> None:
    listed = await compare_lists(pair, "resources")
    for uri in (*listed, *ASKED[pair.case.server].uris):
        direct = await pair.direct.read(uri)
        through = await pair.through.read(pair.resources + uri)
        pair.compare("resources/read", direct, through, uri)


async def prompts(pair: Pair) -> None:
    asked = ASKED[pair.case.server]
    assert set(await compare_lists(pair, "prompts")) == {name for name, _ in asked.prompts}
    for name, arguments in asked.prompts:
        direct = await pair.direct.prompt(name, arguments)
        through = await pair.through.prompt(pair.prefix + name, arguments)
        pair.compare("prompts/get", direct, through, f"{name} {arguments}")


async def completions(pair: Pair) -> None:
    for ref, argument, context in ASKED[pair.case.server].completions:
        ours = {
            key: (pair.prefix if key == "name" else pair.resources) + value
            for key, value in ref.items()
        }
        direct = await pair.direct.complete(ref, argument, context)
        through = await pair.through.complete(ours, argument, context)
        assert "result" in direct, direct
        pair.compare("completion/complete", direct, through, f"{ref} {argument}")


async def mistakes(pair: Pair) -> None:
    asked = ASKED[pair.case.server]
    for name, arguments in (*asked.mistakes, ("no-such-tool", {})):
        direct = await pair.direct.call(name, arguments)
        through = await pair.through.call(pair.prefix + name, arguments)
        pair.compare(f"wrong {name}", direct, through, str(arguments))
    direct = await pair.direct.read("nothing://here")
    through = await pair.through.read(f"{pair.resources}nothing://here")
    pair.compare("wrong resource", direct, through)
    direct = await pair.direct.prompt("no-such-prompt")
    through = await pair.through.prompt(f"{pair.prefix}no-such-prompt")
    pair.compare("wrong prompt", direct, through)
    name = next(name for name, arguments in asked.prompts if arguments)
    direct = await pair.direct.prompt(name, {"unknown": "x"})
    through = await pair.through.prompt(pair.prefix + name, {"unknown": "x"})
    pair.compare("wrong arguments", direct, through, name)


TOPICS = (lists, tools, resources, prompts, completions, mistakes)


@pytest.mark.parametrize("case", CURRENT, ids=lambda case: case.label)
@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.__name__)
async def test_a_server_is_the_same_through_the_gateway(
    topic: Callable[[Pair], Awaitable[None]], case: Case, setup: Setup
) -> None:
    async with setup.pair(case) as pair:
        await topic(pair)


@pytest.mark.parametrize("case", OLDER, ids=lambda case: case.label)
async def test_a_server_is_the_same_in_older_revisions(case: Case, setup: Setup) -> None:
    async with setup.pair(case) as pair:
        for topic in TOPICS:
            await topic(pair)


@pytest.mark.parametrize("case", CURRENT, ids=lambda case: case.label)
async def test_a_client_that_can_ask_its_user_is_offered_the_same(case: Case, setup: Setup) -> None:
    async with setup.pair(case, Person(), Person()) as pair:
        await compare_lists(pair, "tools")


async def test_everything_was_compared_and_every_meant_difference_came_up(setup: Setup) -> None:
    if setup.pairs < len(CURRENT) * (len(TOPICS) + 1) + len(OLDER):
        pytest.skip("only a part of the comparisons ran")
    assert setup.blocks == {"text", "image", "audio", "resource", "resource_link"}
    assert setup.comparison.missing == []
