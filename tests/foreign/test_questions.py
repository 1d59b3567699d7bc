"""Questions of a server reach the user, and the answers come back, in every pairing of eras."""

from __future__ import annotations

from typing import Any

import pytest

from tests.foreign.asking import ASKED
from tests.foreign.clients import Person
from tests.foreign.processes import MODERN
from tests.foreign.setup import LATEST, Case, Setup

pytestmark = pytest.mark.slow
JSON = dict[str, Any]
CASES = [
    Case("everything", LATEST, LATEST),
    Case("everything", LATEST, MODERN),
    Case("everything-sse", LATEST, LATEST),
    Case("everything-sse", LATEST, MODERN),
    Case("sdk", MODERN, MODERN),
    Case("sdk", MODERN, LATEST),
    Case("sdk-handshake", LATEST, LATEST),
    Case("sdk-handshake", LATEST, MODERN),
    Case("fastmcp", MODERN, MODERN),
    Case("fastmcp", MODERN, LATEST),
]


@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
async def test_the_user_is_asked_the_same_and_answers_alike(
    case: Case, action: str, setup: Setup
) -> None:
    name, arguments, content = ASKED[case.server].asking
    given = content if action == "accept" else None
    here, there = Person(action, given), Person(action, given)
    async with setup.pair(case, here, there) as pair:
        direct = await pair.direct.call(name, arguments)
        through = await pair.through.call(pair.prefix + name, arguments)
        pair.compare("asking", direct, through, name)
        pair.compare("asked", here.asked, there.asked, name)
    assert len(here.asked) == 1


@pytest.mark.parametrize("action", ["accept", "decline"])
@pytest.mark.parametrize("case", CASES[:4], ids=lambda case: case.label)
async def test_the_user_is_sent_to_the_same_page(case: Case, action: str, setup: Setup) -> None:
    arguments = {"url": "https://example.com/form?x=1", "elicitationId": "page-1"}
    here, there = Person(action), Person(action)
    async with setup.pair(case, here, there) as pair:
        direct = await pair.direct.call("trigger-url-elicitation", arguments)
        through = await pair.through.call(f"{pair.prefix}trigger-url-elicitation", arguments)
        pair.compare("asking", direct, through)
        pair.compare("asked", here.asked, there.asked)
    assert [one["mode"] for one in here.asked] == ["url"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
async def test_a_client_that_cannot_ask_is_told_so(case: Case, setup: Setup) -> None:
    name, arguments, _ = ASKED[case.server].asking
    async with setup.pair(case) as pair:
        through = await pair.through.call(pair.prefix + name, arguments)
        is_error = through.get("result", {}).get("isError")
        pair.compare("unasked", {"isError": True}, {"isError": is_error}, name)
