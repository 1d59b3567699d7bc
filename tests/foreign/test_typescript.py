"""The TypeScript clients at server-everything: through the gateway as without it."""

from __future__ import annotations

import msgspec
import pytest

from tests.clients.node import Answer, Call, Session, run_ts
from tests.foreign.asking import APART, ASKED
from tests.foreign.processes import MODERN
from tests.foreign.setup import LATEST, Case, Setup

pytestmark = pytest.mark.slow
SERVER = "everything"


async def answer(script: str, url: str, session: Session) -> Answer:
    found = (await run_ts(script, url, [session]))[session.label]
    assert found.error is None, found.error
    return found


@pytest.mark.parametrize(
    ("script", "era", "revision"),
    [("sdk_v1.mjs", "legacy", LATEST), ("client_v2.mjs", "auto", MODERN)],
)
async def test_a_typescript_client_sees_and_gets_the_same(
    script: str, era: str, revision: str, setup: Setup
) -> None:
    case = Case(SERVER, LATEST, revision)
    calls = [Call(name, arguments) for name, arguments in ASKED[SERVER].calls]
    async with setup.pair(case) as pair:
        ours = [Call(pair.prefix + call.name, call.arguments) for call in calls]
        theirs = Session("direct", "unused", "legacy", tuple(calls))
        direct = await answer(script, setup.foreign[SERVER].url, theirs)
        through = await answer(
            script, setup.registry.world.mcp_url, Session("through", setup.token, era, tuple(ours))
        )
        assert through.protocol_version == revision
        seen = {
            tool["name"].removeprefix(pair.prefix): tool
            for tool in through.tools
            if tool["name"].startswith(pair.prefix)
        }
        assert set(seen) - APART == {call.name for call in calls}
        for tool in direct.tools:
            if tool["name"] in seen:
                found = {**seen[tool["name"]], "name": tool["name"]}
                pair.compare("tools/list", {"tools": {tool["name"]: tool}},
                             {"tools": {tool["name"]: found}})  # fmt: skip
        for call, one, other in zip(calls, direct.results, through.results, strict=True):
            values = (msgspec.to_builtins(one), msgspec.to_builtins(other))
            pair.compare("tools/call", *values, f"{call.name} {call.arguments}")
