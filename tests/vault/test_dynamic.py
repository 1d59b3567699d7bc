"""Dynamic engines, credentials and leases, moved by the clock."""

from datetime import datetime
from typing import Any

import pytest

from scaimcp.dev.vault.fixture import READER
from tests.vault.conftest import START, World

ENGINES, LEASES = "/v1/dynamic/engines", "/v1/dynamic/leases"
HOUR = 3600
ROOT = "infra/postgres/root"
URL = "postgresql://{{username}}:{{password}}@db.internal:5432/main"
CONFIG = {"plugin": "postgresql", "connection_url": URL, "root_credentials_path": ROOT}


async def engine(world: World, **body: Any) -> Any:
    await world.agent.store(ROOT, {"username": "root", "password": "r"})
    known = {"name": "pg", "type": "database", "config": CONFIG}
    return await world.agent.post(ENGINES, {**known, **body})


async def role(world: World, **body: Any) -> Any:
    known = {"name": "readonly", "creation_statements": ["CREATE ROLE"]}
    return await world.agent.post(f"{ENGINES}/pg/roles", {**known, **body})


async def ready(world: World, **body: Any) -> None:
    """Create an engine and its role."""
    assert (await engine(world)).status == 201
    assert (await role(world, **body)).status == 201


async def lease(world: World, **body: Any) -> Any:
    return await world.agent.post(f"{ENGINES}/pg/creds/readonly", body)


async def leases(world: World, query: str = "") -> list[tuple[str, str]]:
    rows = (await world.agent.get(LEASES + query)).data["leases"]
    return [(row["lease_id"], row["status"]) for row in rows]


def seconds(row: Any) -> float:
    return datetime.fromisoformat(row["expires_at"]).timestamp() - START


async def test_an_engine_is_created_shown_and_listed(world: World) -> None:
    row = (await engine(world)).data
    assert (row["config"], row["default_ttl"], row["max_ttl"]) == (CONFIG, "1h", "24h")
    assert (await world.agent.get(f"{ENGINES}/pg")).data == row
    listed = (await world.agent.get(f"{ENGINES}?type=database")).data["engines"]
    assert [engine["name"] for engine in listed] == ["postgres-prod", "pg"]
    assert listed[1] == {name: value for name, value in row.items() if name != "config"}
    assert (await world.agent.get(f"{ENGINES}?type=aws")).data["engines"] == []


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"config": {**CONFIG, "root_credentials_path": "app/none"}}, (400, "invalid_config")),
        ({"config": {"root_credentials_path": ROOT}}, (400, "invalid_config")),
        ({"config": {}, "type": "custom"}, (400, "invalid_config")),
        ({"config": {"plugin": {"a": 1}}}, (422, "validation_error")),
        ({"default_ttl": "25h"}, (422, "validation_error")),
        ({"max_ttl": "a day"}, (400, "invalid_duration")),
        ({"type": "ldap"}, (422, "validation_error")),
    ],
)
async def test_an_engine_that_cannot_work_is_refused(
    world: World, body: dict[str, Any], refusal: tuple[int, str]
) -> None:
    assert (await engine(world, **body)).refusal == refusal


async def test_a_name_is_taken_once_and_unknown_ones_are_not_found(world: World) -> None:
    await ready(world)
    assert (await engine(world)).refusal == (409, "conflict")
    assert (await role(world)).refusal == (409, "conflict")
    assert (await world.agent.get(f"{ENGINES}/none")).refusal == (404, "engine_not_found")
    unknown = await world.agent.post(f"{ENGINES}/pg/creds/none")
    assert unknown.refusal == (404, "role_not_found")


async def test_a_role_takes_what_it_lacks_from_its_engine(world: World) -> None:
    await engine(world)
    row = (await role(world)).data
    assert (row["engine"], row["default_ttl"], row["max_ttl"]) == ("pg", "1h", "24h")
    short = (await role(world, name="short", max_ttl="30m")).data
    assert (short["default_ttl"], short["max_ttl"]) == ("30m", "30m")
    listed = (await world.agent.get(f"{ENGINES}/pg/roles")).data["roles"]
    assert listed == [row, short]


@pytest.mark.parametrize(
    "body",
    [
        {"max_ttl": "25h"},
        {"max_ttl": "1h", "default_ttl": "2h"},
        {"creation_statements": []},
    ],
)
async def test_a_role_that_asks_too_much_is_refused(world: World, body: dict[str, Any]) -> None:
    await engine(world)
    assert (await role(world, **body)).refusal == (422, "validation_error")


async def test_a_credential_is_new_each_time_and_fills_the_url(world: World) -> None:
    await ready(world)
    first, second = [(await lease(world)).data for _ in range(2)]
    user, password = (first["credentials"][name] for name in ("username", "password"))
    assert user.startswith("v_readonly_")
    assert len(password) == 32
    assert first["credentials"]["connection_url"] == (
        f"postgresql://{user}:{password}@db.internal:5432/main"
    )
    assert second["credentials"]["password"] != password
    assert (first["ttl"], seconds(first), first["renewable"]) == ("1h", HOUR, True)
    assert password not in str((await world.agent.get(LEASES)).data)


async def test_the_seeded_engine_makes_credentials_at_once(world: World) -> None:
    made = (await world.agent.post(f"{ENGINES}/postgres-prod/creds/readonly")).data
    assert made["credentials"]["connection_url"].endswith("@db.internal:5432/main")


async def test_an_engine_without_a_url_gives_user_and_password(world: World) -> None:
    await engine(world, type="custom", config={"root_credentials_path": ROOT})
    await role(world)
    assert (await lease(world)).data["credentials"].keys() == {"username", "password"}


async def test_a_lease_expires_by_the_clock(world: World) -> None:
    await ready(world)
    made = (await lease(world, ttl="2h")).data
    assert await leases(world, "?status=active") == [(made["lease_id"], "active")]
    await world.advance(2 * HOUR - 1)
    assert await leases(world, "?status=expired") == []
    await world.advance(1)
    assert await leases(world, "?status=expired") == [(made["lease_id"], "expired")]
    for action in ("renew", "revoke"):
        answer = await world.agent.post(f"{LEASES}/{made['lease_id']}/{action}")
        assert answer.refusal == (404, "lease_not_found")


async def test_a_lease_is_renewed_up_to_the_roles_longest_life(world: World) -> None:
    await ready(world, max_ttl="3h")
    made = (await lease(world)).data
    url = f"{LEASES}/{made['lease_id']}/renew"
    row = (await world.agent.post(url)).data
    assert (seconds(row), row["renewable"]) == (2 * HOUR, True)
    await world.advance(HOUR)
    row = (await world.agent.post(url, {"increment": "10h"})).data
    assert (seconds(row), row["renewable"]) == (3 * HOUR, False)
    again = (await world.agent.post(url)).data
    assert again == row
    assert (await world.agent.post(url, {"increment": "-1h"})).refusal == (
        400,
        "invalid_duration",
    )


async def test_a_lease_longer_than_the_role_allows_is_refused(world: World) -> None:
    await ready(world, max_ttl="2h")
    assert (await lease(world, ttl="3h")).refusal == (422, "validation_error")


async def test_a_revoked_lease_stays_revoked(world: World) -> None:
    await ready(world)
    made = (await lease(world)).data
    url = f"{LEASES}/{made['lease_id']}"
    first = (await world.agent.post(f"{url}/revoke")).data
    assert (first["status"], first["lease_id"]) == ("revoked", made["lease_id"])
    await world.advance(9 * HOUR)
    assert (await world.agent.post(f"{url}/revoke")).data == first
    assert (await world.agent.post(f"{url}/renew")).refusal == (404, "lease_not_found")
    assert await leases(world) == [(made["lease_id"], "revoked")]


async def test_leases_are_listed_by_engine_and_role(world: World) -> None:
    await ready(world)
    made = (await lease(world)).data
    for query, count in (("engine=pg&role=readonly", 1), ("engine=x", 0), ("role=x", 0)):
        assert len(await leases(world, f"?{query}")) == count
    (row,) = (await world.agent.get(LEASES)).data["leases"]
    assert (row["identity_id"], row["lease_id"]) == ("sa:agent", made["lease_id"])


async def test_without_its_root_credentials_an_engine_makes_nothing(world: World) -> None:
    await ready(world)
    await world.agent.delete(f"/v1/secrets/{ROOT}")
    assert (await lease(world)).refusal == (400, "invalid_config")


async def test_engines_need_a_scope(world: World) -> None:
    assert (await world.as_(READER).get(ENGINES)).refusal == (403, "insufficient_scope")
