"""Every module tool, called as the catalogue says and seen to arrive at the platform."""

import pytest

from tests.catalogue import table
from tests.integration.stories import Story
from tests.integration.stories.modules import STORIES
from tests.integration.stories.running import run_story
from tests.world import LATEST, MODERN, World


@pytest.mark.parametrize("revision", [LATEST, MODERN])
@pytest.mark.parametrize("story", STORIES, ids=str)
async def test_each_call_becomes_its_request_and_its_result(
    world: World, story: Story, revision: str
) -> None:
    await run_story(world, story, revision)


def test_the_stories_cover_every_module_tool() -> None:
    told = {step.tool for story in STORIES for step in story.steps}
    assert {row["name"] for row in table() if row["group"] == "module"} == told
