"""Skills."""

from typing import Any

import pytest

from tests.platform.conftest import World
from tests.platform.helpers import actions, assert_needs, enable

ROOT = "/v1/modules/scaiskills/mcp/skills"


async def test_skills_are_listed_page_by_page(world: World) -> None:
    viewer = world.as_("tenant_viewer")
    answer = await viewer.post(f"{ROOT}/list", {"limit": 2})
    first = answer.data
    assert [row["slug"] for row in first["items"]] == ["release-notes", "code-review"]
    assert set(first["items"][0]) == {"slug", "description", "visibility", "version"}
    assert (first["items"][0]["visibility"], first["items"][0]["version"]) == ("public", "2.0.0")
    assert first["has_more"] is True
    rest = (await viewer.post(f"{ROOT}/list", {"cursor": first["next_cursor"]})).data
    assert [row["slug"] for row in rest["items"]] == ["acme-tone"]
    assert (rest["has_more"], rest["next_cursor"]) == (False, None)
    assert len((await viewer.post(f"{ROOT}/list")).data["items"]) == 3


async def test_words_are_searched(world: World) -> None:
    viewer = world.as_("tenant_viewer")
    found = (await viewer.post(f"{ROOT}/search", {"query": "write release notes"})).data
    assert [(row["slug"], row["score"]) for row in found["items"]] == [
        ("release-notes", 1.0),
        ("acme-tone", 0.3333),
    ]
    assert found["has_more"] is False
    one = (await viewer.post(f"{ROOT}/search", {"query": "write", "limit": 1})).data
    assert (len(one["items"]), one["has_more"], one["next_cursor"]) == (1, True, None)
    for nothing in ("zebra", "?!"):
        assert (await viewer.post(f"{ROOT}/search", {"query": nothing})).data["items"] == []


async def test_a_skill_is_read_in_its_newest_version(world: World) -> None:
    viewer = world.as_("tenant_viewer")
    body: dict[str, Any] = {"slug": "release-notes"}
    newest = (await viewer.post(f"{ROOT}/view", body)).data
    assert (newest["version"], newest["path"]) == ("2.0.0", "SKILL.md")
    assert newest["files"] == ["SKILL.md", "example.md"]
    assert newest["content"].startswith("# Release notes\nGroup")
    old = (await viewer.post(f"{ROOT}/view", {**body, "version": "1.0.0", "path": ""})).data
    assert (old["version"], old["files"]) == ("1.0.0", ["SKILL.md"])
    example = (await viewer.post(f"{ROOT}/view", {**body, "path": "example.md"})).data
    assert example["content"].startswith("# 1.2.0")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"slug": "nothing"}, "SCAISKILLS_SKILL_NOT_FOUND"),
        ({"slug": "globex-tone"}, "SCAISKILLS_SKILL_NOT_FOUND"),
        ({"slug": "release-notes", "version": "9.0.0"}, "SCAISKILLS_VERSION_NOT_FOUND"),
        ({"slug": "release-notes", "path": "../x"}, "SCAISKILLS_FILE_NOT_FOUND"),
        ({"slug": "ab"}, "VALIDATION_ERROR"),
        ({}, "VALIDATION_ERROR"),
    ],
)
async def test_what_is_not_there_is_said(world: World, body: dict[str, str], code: str) -> None:
    assert (await world.as_("tenant_viewer").post(f"{ROOT}/view", body)).code == code


async def test_wrong_bodies_are_422(world: World) -> None:
    viewer = world.as_("tenant_viewer")
    assert (await viewer.post(f"{ROOT}/list", {"limit": 0, "x": 1})).faults == {"limit", "x"}
    assert (await viewer.post(f"{ROOT}/list", {"cursor": "!!"})).faults == {"cursor"}
    assert (await viewer.post(f"{ROOT}/search", {"limit": 51})).faults == {"query", "limit"}


async def test_a_tenant_sees_its_own_and_the_platforms(world: World) -> None:
    await enable(world, "scaiskills", "globex")
    items = (await world.as_("other_tenant_admin").post(f"{ROOT}/list")).data["items"]
    assert [row["slug"] for row in items] == ["release-notes", "code-review", "globex-tone"]
    everything = (await world.as_("super_admin").post(f"{ROOT}/list")).data["items"]
    assert len(everything) == 4


async def test_reading_needs_the_permission_and_is_not_audited(world: World) -> None:
    for name in ("list", "search", "view"):
        await assert_needs(world, "POST", f"{ROOT}/{name}", "scaiskills:view")
    assert actions(world) == []
