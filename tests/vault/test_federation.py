"""Federation: proxied and synced backends."""

from typing import Any

import pytest

from tests.vault.conftest import Caller, World

BASE = "/v1/federation/backends"
PROXY = {
    "name": "hashicorp",
    "type": "hashicorp-vault",
    "config": {"endpoint": "https://vault.internal:8200", "auth_method": "approle"},
    "path_mapping": {"external/hashicorp/**": "secret/data/**"},
    "mode": "proxy",
}
SYNC = {
    "name": "aws",
    "type": "aws-secrets-manager",
    "config": {"region": "eu-west-1"},
    "path_mapping": {"external/aws/**": "prod/**", "external/db": "secret/data/app/db"},
    "mode": "sync",
}
DB = "external/hashicorp/app/db"


async def create(world: World, kind: dict[str, Any], **body: Any) -> Any:
    return (await world.agent.post(BASE, {**kind, **body})).data


async def paths(caller: Caller) -> list[str]:
    rows = (await caller.get("/v1/secrets/?prefix=external/")).data["secrets"]
    return [row["path"] for row in rows]


async def test_a_backend_is_created_shown_and_listed(world: World) -> None:
    row = await create(world, SYNC)
    assert (row["status"], row["sync_interval"]) == ("healthy", "15m")
    assert (await world.agent.get(f"{BASE}/{row['id']}")).data == row
    (listed,) = (await world.agent.get(BASE)).data["backends"]
    assert listed == {name: row[name] for name in row if name not in ("config", "created_at")}
    assert (await create(world, PROXY))["sync_interval"] is None


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"path_mapping": {"a**": "x"}}, (400, "invalid_glob")),
        ({"path_mapping": {}}, (422, "validation_error")),
        ({"mode": "copy"}, (422, "validation_error")),
        ({"sync_interval": "often"}, (400, "invalid_duration")),
        ({"name": "aws"}, (409, "conflict")),
    ],
)
async def test_a_backend_that_cannot_be_is_refused(
    world: World, body: dict[str, Any], refusal: tuple[int, str]
) -> None:
    await create(world, SYNC)
    assert (await world.agent.post(BASE, {**SYNC, "name": "new", **body})).refusal == refusal


async def test_the_status_tells_of_connection_and_sync(world: World) -> None:
    row = await create(world, SYNC)
    url = f"{BASE}/{row['id']}"
    before = (await world.agent.get(f"{url}/status")).data
    assert (before["reachable"], before["last_sync"]) == (True, None)
    assert before["last_sync_duration_ms"] is None
    started = (await world.agent.post(f"{url}/sync")).data
    after = (await world.agent.get(f"{url}/status")).data
    assert (after["last_sync"], after["secrets_synced"]) == (started["started_at"], 3)
    assert after["last_sync_duration_ms"] > 0
    assert after["connection"]["status"] == "connected"


async def test_an_unreachable_backend_says_so(world: World) -> None:
    config = {"endpoint": "https://down.vault.internal"}
    row = await create(world, SYNC, config=config)
    proxy = await create(world, PROXY, config=config)
    assert (row["status"], proxy["status"]) == ("unreachable", "unreachable")
    probe = (await world.agent.get(f"{BASE}/{row['id']}/status")).data
    assert (probe["reachable"], probe["connection"]["status"]) == (False, "failed")
    synced = await world.agent.post(f"{BASE}/{row['id']}/sync")
    assert synced.refusal == (503, "service_unavailable")
    read = await world.agent.get(f"/v1/secrets/{DB}")
    assert read.refusal == (503, "service_unavailable")


async def test_a_proxied_path_is_read_from_the_other_vault(world: World) -> None:
    await create(world, PROXY)
    row = (await world.agent.get(f"/v1/secrets/{DB}")).data
    assert (row["path"], row["data"]["password"]) == (DB, "remote-db-demo")
    missing = await world.agent.get("/v1/secrets/external/hashicorp/app/none")
    assert missing.refusal == (404, "secret_not_found")
    assert await paths(world.agent) == []


async def test_a_pair_without_wildcards_maps_one_path(world: World) -> None:
    await create(world, PROXY, path_mapping={"external/stripe": "prod/payments/stripe"})
    row = (await world.agent.get("/v1/secrets/external/stripe")).data
    assert row["data"] == {"key": "remote-stripe-demo"}
    below = await world.agent.get("/v1/secrets/external/stripe/x")
    assert below.refusal == (404, "secret_not_found")


async def test_a_proxied_path_needs_the_policy_for_it(world: World) -> None:
    await create(world, PROXY)
    stranger = await world.token("skt_stranger", scopes=["secrets:read"])
    assert (await stranger.get(f"/v1/secrets/{DB}")).refusal == (403, "access_denied")


@pytest.mark.parametrize("path", [DB, "external/hashicorp/app/none"])
async def test_a_proxied_path_is_never_written(world: World, path: str) -> None:
    await create(world, PROXY)
    assert (await world.agent.store(path)).refusal == (403, "forbidden")
    assert (await world.agent.delete(f"/v1/secrets/{path}")).refusal == (403, "forbidden")
    rotated = await world.agent.post(f"/v1/secrets/{path}/rotate")
    assert rotated.refusal == (403, "forbidden")


async def test_a_proxy_backend_is_not_synced(world: World) -> None:
    row = await create(world, PROXY)
    answer = await world.agent.post(f"{BASE}/{row['id']}/sync")
    assert answer.refusal == (400, "invalid_request")


async def test_a_sync_copies_what_is_mapped_and_again_only_what_changed(world: World) -> None:
    row = await create(world, SYNC)
    for _ in range(2):
        assert (await world.agent.post(f"{BASE}/{row['id']}/sync")).data["id"] == row["id"]
    copied = ["external/aws/payments/paypal", "external/aws/payments/stripe", "external/db"]
    assert await paths(world.agent) == copied
    secret = (await world.agent.get("/v1/secrets/external/aws/payments/stripe")).data
    assert (secret["data"], secret["version"]) == ({"key": "remote-stripe-demo"}, 1)
    assert (await world.agent.get(f"{BASE}/{row['id']}/conflicts")).data["conflicts"] == []


async def test_a_value_written_here_stays_as_a_conflict_until_it_agrees(world: World) -> None:
    row = await create(world, SYNC)
    url = f"{BASE}/{row['id']}"
    await world.agent.store("external/db", {"password": "ours"})
    await world.agent.post(f"{url}/sync")
    secret = (await world.agent.get("/v1/secrets/external/db")).data
    assert (secret["data"], secret["version"]) == ({"password": "ours"}, 1)
    (conflict,) = (await world.agent.get(f"{url}/conflicts")).data["conflicts"]
    assert (conflict["path"], conflict["local_version"]) == ("external/db", 1)
    agreed = {"username": "app", "password": "remote-db-demo"}
    await world.agent.store("external/db", agreed)
    await world.agent.post(f"{url}/sync")
    assert (await world.agent.get(f"{url}/conflicts")).data["conflicts"] == []


@pytest.mark.parametrize("path", ["", "/status", "/sync", "/conflicts"])
async def test_an_unknown_backend_is_not_found(world: World, path: str) -> None:
    method = "POST" if path == "/sync" else "GET"
    answer = await world.agent(method, f"{BASE}/fed_x{path}")
    assert answer.refusal == (404, "backend_not_found")
