"""The start rows of the modules."""

from pathlib import Path
from typing import Any

import pytest

from scaimcp.dev.platform import PlatformConfig, create_platform
from tests.platform.conftest import World
from tests.platform.helpers import enable

TABLES = (
    "bunkers",
    "collections",
    "documents",
    "chunks",
    "skills",
    "queue_scopes",
    "queues",
    "queue_messages",
    "personas",
    "voices",
    "training_jobs",
    "cores",
    "core_events",
    "bots",
)


def rows_of(**settings: Any) -> dict[str, list[dict[str, Any]]]:
    app = create_platform(PlatformConfig(frozen_at=1_800_000_000, **settings))
    try:
        return {name: app.platform.store[name].all() for name in TABLES}
    finally:
        app.platform.store.close()


def test_two_platforms_start_with_the_same_rows() -> None:
    rows = rows_of()
    assert rows == rows_of()
    assert all(rows.values())
    other = rows_of(seed="other")
    assert {row["id"] for row in rows["bots"]}.isdisjoint(row["id"] for row in other["bots"])


def test_rows_survive_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "platform.db")
    assert rows_of(database=path) == rows_of(database=path)


@pytest.mark.parametrize(
    ("module", "path"),
    [
        ("scaibunker", "bunkers"),
        ("scaimatrix", "collections"),
        ("scaiqueue", "queues"),
        ("scaipersona", "personas"),
        ("scaispeak", "voices"),
        ("scaimind", "jobs"),
        ("scaicore", "cores"),
        ("scaicore", "events"),
        ("scaibot", "bots"),
    ],
)
async def test_no_list_is_empty(world: World, module: str, path: str) -> None:
    for tenant, name in (("acme", "tenant_admin"), ("globex", "other_tenant_admin")):
        await enable(world, module, tenant)
        data = (await world.as_(name).get(f"/v1/modules/{module}/{path}")).data
        rows = data if isinstance(data, list) else data.get("items", data.get("jobs"))
        assert rows
        assert all("tenant_id" not in row and "_seq" not in row for row in rows)


async def test_a_reset_brings_the_rows_back(world: World) -> None:
    before = world.rows("personas")
    body = {"name": "x", "model_slug": "scailabs/echo-1"}
    await world.as_("tenant_admin").post("/v1/modules/scaipersona/personas", body)
    await world.control.post("/reset")
    after = world.rows("personas")
    assert [row["id"] for row in after] == [row["id"] for row in before]
