"""Training jobs."""

from typing import Any

import pytest

from tests.platform.conftest import Starter, World
from tests.platform.helpers import actions, assert_needs, assert_walls, enable, shift

ROOT = "/v1/modules/scaimind/jobs"
JOB: dict[str, Any] = {
    "name": "Test",
    "training_config": {"epochs": 3},
    "data_config": {},
    "resource_config": {},
}


@pytest.fixture
async def world(start: Starter) -> World:
    """A platform on which acme has the module, which the seed leaves off."""
    world = await start(frozen_at=1_800_000_000)
    off = await world.as_("tenant_admin").get(ROOT)
    assert (off.status, off.code) == (403, "MODULE_NOT_ENABLED")
    await enable(world, "scaimind", "acme")
    return world


async def create(world: World, **body: Any) -> Any:
    return await world.as_("tenant_admin").post(ROOT, {**JOB, **body})


async def test_a_job_advances_by_the_clock(world: World) -> None:
    answer = await create(world, labels={"a": 1})
    assert answer.status == 201
    row = answer.data
    assert row["id"].startswith("job_")
    assert row == {
        "id": row["id"],
        "name": "Test",
        "status": "queued",
        "progress": 0.0,
        "labels": {"a": 1},
        "created_at": "2027-01-15T08:00:00.000Z",
        "started_at": None,
        "finished_at": None,
        "error": None,
    }
    seen = []
    for seconds in (5, 30, 30):
        await shift(world, seconds)
        now = (await world.as_("tenant_viewer").get(f"{ROOT}/{row['id']}")).data
        seen.append((now["status"], now["progress"], now["started_at"], now["finished_at"]))
    begun, ended = "2027-01-15T08:00:05.000Z", "2027-01-15T08:01:05.000Z"
    assert seen == [
        ("running", 0.0, begun, None),
        ("running", 0.5, begun, None),
        ("succeeded", 1.0, begun, ended),
    ]


async def test_the_list_has_shape_d(world: World) -> None:
    viewer = world.as_("tenant_viewer")
    await create(world)
    answer = await viewer.get(f"{ROOT}?page_size=2")
    assert set(answer.json) == {"data", "meta"}
    assert set(answer.data) == {"jobs", "next_page_token", "total_count"}
    assert [row["name"] for row in answer.data["jobs"]] == ["Support classifier", "Price forecast"]
    assert answer.data["total_count"] == 3
    token = answer.data["next_page_token"]
    rest = (await viewer.get(f"{ROOT}?page_size=2&page_token={token}")).data
    assert [row["name"] for row in rest["jobs"]] == ["Test"]
    assert (rest["next_page_token"], rest["total_count"]) == ("", 3)


async def test_jobs_are_filtered_and_ordered(world: World) -> None:
    viewer = world.as_("tenant_viewer")
    await create(world)
    for query, statuses in (
        ("", ["succeeded", "failed", "queued"]),
        ("status=failed", ["failed"]),
        ("status=failed&status=queued", ["failed", "queued"]),
        ("status=unheard", []),
        ("order_by=created_at%20desc", ["queued", "failed", "succeeded"]),
        ("order_by=created_at+asc", ["succeeded", "failed", "queued"]),
    ):
        rows = (await viewer.get(f"{ROOT}?{query}")).data["jobs"]
        assert [row["status"] for row in rows] == statuses
    failed = (await viewer.get(f"{ROOT}?status=failed")).data["jobs"][0]
    assert (failed["error"], failed["progress"]) == ("The data set has no rows.", 0.4)


async def test_a_reversed_list_has_pages_too(world: World) -> None:
    path = f"{ROOT}?page_size=1&order_by=created_at%20desc"
    first = (await world.as_("tenant_viewer").get(path)).data
    second = await world.as_("tenant_viewer").get(f"{path}&page_token={first['next_page_token']}")
    names = [first["jobs"][0]["name"], second.data["jobs"][0]["name"]]
    assert names == ["Price forecast", "Support classifier"]


@pytest.mark.parametrize(
    ("query", "faults"),
    [
        ("page_size=101", {"page_size"}),
        ("limit=1&cursor=x", {"limit", "cursor"}),
        ("page_token=!!", {"page_token"}),
        ("order_by=name", {"order_by"}),
        ("status=", {"status"}),
    ],
)
async def test_a_wrong_query_is_422(world: World, query: str, faults: set[str]) -> None:
    answer = await world.as_("tenant_viewer").get(f"{ROOT}?{query}")
    assert {fault.partition("[")[0] for fault in answer.faults} == faults


async def test_a_wrong_job_is_422(world: World) -> None:
    admin = world.as_("tenant_admin")
    assert (await admin.post(ROOT, {})).faults == set(JOB)
    assert (await create(world, labels=[], colour=1)).faults == {"labels", "colour"}


async def test_every_call_needs_its_permission(world: World) -> None:
    await assert_needs(world, "GET", ROOT, "scaimind:view")
    await assert_needs(world, "GET", f"{ROOT}/x", "scaimind:view")
    await assert_needs(world, "POST", ROOT, "scaimind:manage")


async def test_walls_stand_between_tenants(world: World) -> None:
    await assert_walls(world, "scaimind", "training_jobs", "/jobs", "JOB_NOT_FOUND")
    assert (await world.as_("other_tenant_admin").get(ROOT)).data["total_count"] == 1
    homeless = await world.as_("super_admin").post(ROOT, JOB)
    assert homeless.code == "AUTHZ_PERMISSION_DENIED"


async def test_creating_is_audited(world: World) -> None:
    row = (await create(world)).data
    assert actions(world) == ["scaimind.job.create"]
    assert world.rows("audit")[-1]["resource_id"] == row["id"]
