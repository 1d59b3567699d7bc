"""Sandboxes: states, permissions and the pretended exec."""

from typing import Any

import pytest

from tests.platform.conftest import Starter, World
from tests.platform.helpers import actions, assert_needs, assert_walls, enable, grant, shift

ROOT = "/v1/modules/scaibunker/bunkers"
CREATE = "scaibunker:create"


@pytest.fixture
async def world(start: Starter) -> World:
    return await start(frozen_at=1_800_000_000)


async def made(world: World, **body: Any) -> dict[str, Any]:
    """Create a bunker that runs."""
    row = (await world.as_("tenant_admin").post(ROOT, {"image": "debian", **body})).data
    await shift(world, 1)
    return dict(row)


async def status(world: World, bunker: dict[str, Any]) -> str:
    return str((await world.as_("tenant_admin").get(f"{ROOT}/{bunker['id']}")).data["status"])


async def run(world: World, bunker: dict[str, Any], command: str, **body: Any) -> Any:
    path = f"{ROOT}/{bunker['id']}/exec"
    return await world.as_("tenant_admin").post(path, {"command": command, **body})


async def test_a_new_bunker_has_its_defaults(world: World) -> None:
    row = (await world.as_("tenant_admin").post(ROOT, {"image": "debian"})).data
    assert row["id"].startswith("bnk_")
    assert row["name"] == "bunker-3"
    assert (row["status"], row["lifecycle_mode"]) == ("pending", "ephemeral")
    assert (row["network_profile"], row["cpu_millicores"]) == ("isolated", 1000)
    assert (row["memory_mb"], row["disk_mb"], row["gpu_count"]) == (512, 1024, 0)
    assert row["created_at"] == "2027-01-15T08:00:00.000Z"
    assert row["expires_at"] == "2027-01-15T09:00:00.000Z"
    assert "env_vars" not in row


async def test_a_bunker_starts_by_the_clock(world: World) -> None:
    row = (await world.as_("tenant_admin").post(ROOT, {"image": "debian"})).data
    assert await status(world, row) == "pending"
    assert (await run(world, row, "pwd")).code == "CONFLICT"
    await shift(world, 0.2)
    assert await status(world, row) == "provisioning"
    assert await status(world, row) == "provisioning"
    await shift(world, 0.2)
    assert await status(world, row) == "running"


async def test_a_bunker_ends_with_its_lifetime_in_every_state(world: World) -> None:
    short = await made(world, max_lifetime_s=10)
    paused = await made(world, max_lifetime_s=10)
    await world.as_("tenant_admin").post(f"{ROOT}/{paused['id']}/pause")
    persistent = await made(world, lifecycle_mode="persistent")
    assert persistent["expires_at"] is None
    await shift(world, 10)
    assert await status(world, short) == "terminated"
    assert await status(world, paused) == "terminated"
    await shift(world, 10_000_000)
    assert await status(world, persistent) == "running"


async def test_a_bunker_without_commands_ends_when_idle(world: World) -> None:
    row = await made(world, idle_timeout_s=30)
    await shift(world, 20)
    assert (await run(world, row, "echo awake")).status == 200
    await shift(world, 20)
    assert await status(world, row) == "running"
    admin = world.as_("tenant_admin")
    await admin.post(f"{ROOT}/{row['id']}/pause")
    await shift(world, 100)
    assert (await admin.post(f"{ROOT}/{row['id']}/resume")).data["status"] == "running"
    await shift(world, 29)
    assert await status(world, row) == "running"
    await shift(world, 1)
    assert await status(world, row) == "terminated"


async def test_the_list_has_shape_b_and_filters(world: World) -> None:
    admin = world.as_("tenant_admin")
    await made(world)
    answer = await admin.get(f"{ROOT}?limit=2")
    assert set(answer.json) == {"data", "has_more", "next_cursor", "meta"}
    assert [row["name"] for row in answer.data] == ["build", "archive"]
    assert answer.json["has_more"] is True
    rest = await admin.get(f"{ROOT}?limit=2&cursor={answer.json['next_cursor']}")
    assert [row["name"] for row in rest.data] == ["bunker-3"]
    assert (rest.json["has_more"], rest.json["next_cursor"]) == (False, None)
    for query, names in (
        ("status=running", ["build", "bunker-3"]),
        ("lifecycle=ephemeral", ["bunker-3"]),
        ("status=paused&lifecycle=persistent", ["archive"]),
        ("status=unheard", []),
    ):
        assert [row["name"] for row in (await admin.get(f"{ROOT}?{query}")).data] == names
    assert (await admin.get(f"{ROOT}?lifecycle=x")).faults == {"lifecycle"}


async def test_a_bunker_is_paused_and_resumed(world: World) -> None:
    row, admin = await made(world), world.as_("tenant_admin")
    path = f"{ROOT}/{row['id']}"
    resumed = await admin.post(f"{path}/resume")
    assert (resumed.status, resumed.code) == (409, "CONFLICT")
    assert (await admin.post(f"{path}/pause")).data["status"] == "paused"
    assert (await admin.post(f"{path}/pause")).code == "CONFLICT"
    assert (await run(world, row, "pwd")).code == "CONFLICT"
    assert (await admin.post(f"{path}/snapshot")).status == 200
    assert (await admin.post(f"{path}/resume")).data["status"] == "running"
    assert (await run(world, row, "pwd")).status == 200


async def test_a_snapshot_is_kept(world: World) -> None:
    row, admin = await made(world, disk_mb=64, name="box"), world.as_("tenant_admin")
    data = (await admin.post(f"{ROOT}/{row['id']}/snapshot", {"name": "before"})).data
    assert set(data) == {"snapshot_id", "bunker_id", "size_bytes", "created_at"}
    assert (data["bunker_id"], data["size_bytes"]) == (row["id"], 64 * 1024 * 1024)
    await admin.post(f"{ROOT}/{row['id']}/snapshot")
    assert [kept["name"] for kept in world.rows("bunker_snapshots")] == ["before", "box snapshot"]


async def test_ending_a_bunker_is_final_and_can_be_repeated(world: World) -> None:
    row, admin = await made(world), world.as_("tenant_admin")
    path = f"{ROOT}/{row['id']}"
    assert (await admin.delete(f"{path}?snapshot=true")).data["status"] == "terminated"
    assert (await admin.delete(f"{path}?snapshot=true")).data["status"] == "terminated"
    assert len(world.rows("bunker_snapshots")) == 1
    for verb in ("pause", "resume", "snapshot"):
        assert (await admin.post(f"{path}/{verb}")).code == "CONFLICT"
    pending = (await admin.post(ROOT, {"image": "debian"})).data
    refused = await admin.delete(f"{ROOT}/{pending['id']}?snapshot=true")
    assert refused.code == "CONFLICT"
    assert (await admin.delete(f"{ROOT}/{pending['id']}")).data["status"] == "terminated"


async def test_a_command_is_answered_without_running(world: World) -> None:
    row = await made(world, env_vars={"A": "1", "B": 2})
    answer = await run(world, row, "env; cat; pwd", env_vars={"A": "3"}, stdin="in\n", workdir="/w")
    assert answer.data == {
        "exit_code": 0,
        "stdout": "A=3\nB=2\nin\n/w\n",
        "stderr": "",
        "duration_ms": 3,
        "timed_out": False,
        "output_truncated": False,
    }
    unknown = (await run(world, row, "python -V")).data
    assert (unknown["exit_code"], unknown["stderr"]) == (127, "sh: python: not found\n")


async def test_a_sleep_honours_the_timeout_without_waiting(world: World) -> None:
    row = await made(world)
    done = (await run(world, row, "sleep 59")).data
    assert (done["timed_out"], done["duration_ms"]) == (False, 59_001)
    late = (await run(world, row, "sleep 100", timeout_s=5)).data
    assert (late["timed_out"], late["exit_code"], late["duration_ms"]) == (True, 124, 5000)


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, {"image"}),
        ({"image": "a", "cpu_millicores": 99, "memory_mb": 1, "disk_mb": 0}, None),
        ({"image": "a", "lifecycle_mode": "x"}, {"lifecycle_mode"}),
        ({"image": "a", "network_profile": "x", "colour": 1}, {"network_profile", "colour"}),
        ({"image": "a", "max_lifetime_s": 9, "idle_timeout_s": 9}, None),
        ({"image": "a", "gpu_count": 9, "session_type": "x"}, None),
    ],
)
async def test_a_wrong_order_is_422(
    world: World, body: dict[str, Any], faults: set[str] | None
) -> None:
    answer = await world.as_("tenant_admin").post(ROOT, body)
    assert answer.faults == (faults or set(body) - {"image"})


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, {"command"}),
        ({"command": "x" * 16_385}, {"command"}),
        ({"command": "pwd", "timeout_s": 601, "stdin": ""}, {"timeout_s", "stdin"}),
        ({"command": "pwd", "env_vars": []}, {"env_vars"}),
    ],
)
async def test_a_wrong_command_is_422(world: World, body: Any, faults: set[str]) -> None:
    row = await made(world)
    answer = await world.as_("tenant_admin").post(f"{ROOT}/{row['id']}/exec", body)
    assert answer.faults == faults


@pytest.mark.parametrize(
    ("body", "permission"),
    [
        ({"lifecycle_mode": "session"}, "scaibunker:create:session"),
        ({"lifecycle_mode": "persistent"}, "scaibunker:create:persistent"),
        ({"network_profile": "registry"}, "scaibunker:network:registry"),
        ({"network_profile": "allowlisted"}, "scaibunker:network:allowlisted"),
        ({"network_profile": "unrestricted"}, "scaibunker:network:unrestricted"),
        ({"network_profile": "transit"}, "scaibunker:network:transit"),
    ],
)
async def test_modes_and_networks_have_keys_of_their_own(
    world: World, body: dict[str, Any], permission: str
) -> None:
    caller = await grant(world, "tenant_user", CREATE)
    order = {"image": "debian", **body}
    refused = await caller.post(ROOT, order)
    assert (refused.code, permission in refused.json["error"]["message"]) == (
        "AUTHZ_PERMISSION_DENIED",
        True,
    )
    assert (await caller.post(ROOT, {"image": "debian"})).status == 200
    await grant(world, "tenant_user", CREATE, permission)
    assert (await caller.post(ROOT, order)).status == 200


async def test_every_call_needs_its_permission(world: World) -> None:
    row = await made(world)
    await assert_needs(world, "GET", ROOT, CREATE)
    await assert_needs(world, "GET", f"{ROOT}/{row['id']}", CREATE)
    await assert_needs(world, "POST", f"{ROOT}/{row['id']}/exec", "scaibunker:execute")
    only_exec = await grant(world, "tenant_user", "scaibunker:execute")
    assert (await only_exec.delete(f"{ROOT}/{row['id']}")).code == "AUTHZ_PERMISSION_DENIED"


async def test_walls_stand_between_tenants(world: World) -> None:
    off = await world.as_("other_tenant_admin").get(ROOT)
    assert (off.status, off.code) == (403, "MODULE_NOT_ENABLED")
    await assert_walls(world, "scaibunker", "bunkers", "/bunkers", "BUNKER_NOT_FOUND")
    row = await made(world)
    other = world.as_("other_tenant_admin")
    exec_path = f"{ROOT}/{row['id']}/exec"
    assert (await other.post(exec_path, {"command": "pwd"})).code == "BUNKER_NOT_FOUND"
    assert (await other.delete(f"{ROOT}/{row['id']}")).code == "BUNKER_NOT_FOUND"
    assert [bunker["name"] for bunker in (await other.get(ROOT)).data] == ["globex-build"]
    homeless = await world.as_("super_admin").post(ROOT, {"image": "debian"})
    assert homeless.code == "AUTHZ_PERMISSION_DENIED"


async def test_mutations_are_audited(world: World) -> None:
    await enable(world, "scaibunker", "acme")
    row, admin = await made(world), world.as_("tenant_admin")
    await run(world, row, "exit 3")
    for verb in ("snapshot", "pause", "resume", "resume"):
        await admin.post(f"{ROOT}/{row['id']}/{verb}")
    await admin.get(ROOT)
    await admin.delete(f"{ROOT}/{row['id']}")
    verbs = ["create", "exec", "snapshot", "pause", "resume", "resume", "terminate"]
    assert actions(world) == [f"scaibunker.bunker.{verb}" for verb in verbs]
    rows = [entry for entry in world.rows("audit") if entry["resource_type"] == "bunker"]
    assert {entry["resource_id"] for entry in rows} == {row["id"]}
    assert rows[1]["details"] == {"exit_code": 3}
    assert [entry["status"] for entry in rows].index("FAILURE") == 5
