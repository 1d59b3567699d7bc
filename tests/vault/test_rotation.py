"""Rotation policies: assignment, what is due, rotating, history."""

from datetime import datetime
from typing import Any

import pytest

from tests.vault.conftest import START, World

BASE = "/v1/rotation/policies"
HOUR, DAY = 3600, 86400
PATH = "reports/mailer"


async def create(world: World, **body: Any) -> Any:
    return (await world.agent.post(BASE, {"name": "monthly", "interval": "30d", **body})).data


async def assigned(world: World, path: str = PATH, **body: Any) -> Any:
    """Return a policy that has one secret."""
    policy = await create(world, **body)
    answer = await world.agent.post(f"{BASE}/{policy['id']}/secrets", {"secret_path": path})
    assert answer.status == 201
    assert answer.data == {"policy_id": policy["id"], "secret_path": path}
    return policy


async def due(world: World, query: str = "") -> list[tuple[str, bool]]:
    rows = (await world.agent.get(f"/v1/rotation/due{query}")).data["data"]
    return [(row["secret_path"], row["overdue"]) for row in rows]


async def test_a_created_policy_has_the_documented_defaults(world: World) -> None:
    policy = await create(world, warn_before="7d,1d", webhook_ids=["wh_1"])
    assert policy["interval_seconds"] == 30 * DAY
    assert (policy["grace_period"], policy["auto_generate"]) == ("48h", False)
    assert (policy["is_active"], policy["secrets_count"]) == (True, 0)
    assert (policy["warn_before"], policy["webhook_ids"]) == ("7d,1d", ["wh_1"])
    assert (await world.agent.get(f"{BASE}/{policy['id']}")).data == policy


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"interval": "1w"}, (400, "invalid_duration")),
        ({"warn_before": "7d,soon"}, (400, "invalid_duration")),
        ({"interval": "48h"}, (422, "validation_error")),
        ({"secret_policy_id": "sp_none"}, (404, "secret_policy_not_found")),
        ({"colour": "red"}, (422, "validation_error")),
    ],
)
async def test_a_policy_that_cannot_work_is_refused(
    world: World, body: dict[str, Any], refusal: tuple[int, str]
) -> None:
    answer = await world.agent.post(BASE, {"name": "x", "interval": "30d", **body})
    assert answer.refusal == refusal


async def test_a_name_is_taken_once_and_unknown_policies_are_not_found(world: World) -> None:
    await create(world)
    again = await world.agent.post(BASE, {"name": "monthly", "interval": "30d"})
    assert again.refusal == (409, "conflict")
    unknown = await world.agent.get(f"{BASE}/rot_none")
    assert unknown.refusal == (404, "rotation_policy_not_found")


async def test_the_list_counts_secrets_and_leaves_out_inactive_ones_on_demand(
    world: World,
) -> None:
    policy = await assigned(world)
    other = await create(world, name="other")
    disabled = await world.agent.post(f"{BASE}/{other['id']}/disable")
    assert disabled.data["is_active"] is False
    rows = (await world.agent.get(BASE)).data["data"]
    assert [(row["name"], row["secrets_count"]) for row in rows] == [("monthly", 1), ("other", 0)]
    active = (await world.agent.get(f"{BASE}?active_only=true")).data["data"]
    assert [row["id"] for row in active] == [policy["id"]]
    assert (await world.agent.post(f"{BASE}/{other['id']}/enable")).data["is_active"] is True


async def test_a_secret_is_due_as_time_passes(world: World) -> None:
    policy = await assigned(world)
    assert await due(world) == []
    await world.advance(30 * DAY - 12 * HOUR)
    assert await due(world) == [(PATH, False)]
    assert await due(world, "?within_hours=6") == []
    await world.advance(DAY)
    assert await due(world) == [(PATH, True)]
    assert await due(world, "?include_overdue=false") == []
    assert await due(world, "?policy_id=rot_none") == []
    assert await due(world, f"?policy_id={policy['id']}") == [(PATH, True)]


async def test_a_new_version_starts_the_interval_again(world: World) -> None:
    await assigned(world)
    await world.advance(31 * DAY)
    await world.agent.store(PATH, {"password": "new"})
    assert await due(world) == []


async def test_a_disabled_policy_makes_nothing_due(world: World) -> None:
    policy = await assigned(world)
    await world.advance(31 * DAY)
    await world.agent.post(f"{BASE}/{policy['id']}/disable")
    assert await due(world) == []


async def test_due_shows_only_what_the_caller_may_list(world: World) -> None:
    await assigned(world)
    await world.advance(31 * DAY)
    stranger = await world.token("skt_stranger", scopes=["secrets:rotate"])
    assert (await stranger.get("/v1/rotation/due")).data["data"] == []


async def test_rotating_writes_a_generated_value_and_the_old_one_ends_with_the_grace(
    world: World,
) -> None:
    await world.agent.store("app/login", {"password": "old", "pin": "1"})
    policy = await assigned(world, "app/login", auto_generate=True, grace_period="24h")
    url = f"{BASE}/{policy['id']}/rotate"
    (item,) = (await world.agent.post(url, {"secret_paths": ["app/login"]})).data
    assert (item["status"], item["old_version"], item["new_version"]) == ("success", 1, 2)
    ends = datetime.fromisoformat(item["grace_period_ends"]).timestamp()
    assert (ends, item["auto_generated"]) == (START + DAY, True)
    new = (await world.agent.get("/v1/secrets/app/login")).data
    assert new["data"].keys() == {"password", "pin"}
    assert new["data"]["password"] != "old"
    old = "/v1/secrets/app/login?version=1"
    assert (await world.agent.get(old)).data["data"]["password"] == "old"
    await world.advance(DAY)
    assert (await world.agent.get(old)).refusal == (404, "version_not_found")


async def test_rotating_by_a_secret_policy_uses_its_generators(world: World) -> None:
    fields = [{"name": "pin", "generator": "random", "config": {"length": 6, "charset": "numeric"}}]
    body = {"name": "pins", "policy_type": "custom", "fields": fields}
    recipe = (await world.agent.post("/v1/secret-policies", body)).data
    policy = await assigned(world, auto_generate=True, secret_policy_id=recipe["id"])
    await world.agent.post(f"{BASE}/{policy['id']}/rotate")
    value = (await world.agent.get(f"/v1/secrets/{PATH}")).data["data"]
    assert value.keys() == {"pin"}
    assert value["pin"].isdigit()


async def test_without_auto_generate_rotating_only_asks_for_it(world: World) -> None:
    policy = await assigned(world)
    (item,) = (await world.agent.post(f"{BASE}/{policy['id']}/rotate")).data
    assert (item["status"], item["new_version"]) == ("pending", None)
    assert (await world.agent.get(f"/v1/secrets/{PATH}")).data["version"] == 1
    event = world.served.vault.tenants["tnt_a"].events[-2]
    assert (event["event_type"], event["data"]["due_now"]) == ("rotation.due", True)


async def test_the_history_is_newest_first_and_filtered_by_status(world: World) -> None:
    policy = await assigned(world, auto_generate=True)
    await world.agent.post(f"{BASE}/{policy['id']}/secrets", {"secret_path": "app/none"})
    for _ in range(2):
        await world.agent.post(f"{BASE}/{policy['id']}/rotate")
    url = f"{BASE}/{policy['id']}/history"
    rows = (await world.agent.get(url)).data["data"]
    assert [row["new_version"] for row in rows] == [3, 2]
    assert (await world.agent.get(f"{url}?status=failed")).data["data"] == []


async def test_only_the_policys_own_secrets_are_rotated(world: World) -> None:
    policy = await assigned(world)
    url = f"{BASE}/{policy['id']}"
    body = {"secret_paths": ["integrations/stripe/api-key"]}
    assert (await world.agent.post(f"{url}/rotate", body)).refusal == (422, "validation_error")
    gone = await world.agent.delete(f"{url}/secrets/{PATH}")
    assert gone.data == {"policy_id": policy["id"], "secret_path": PATH, "detached": True}
    again = await world.agent.delete(f"{url}/secrets/{PATH}")
    assert again.refusal == (404, "secret_not_found")
    assert (await world.agent.post(f"{url}/rotate")).data == []


async def test_rotating_needs_the_permission_on_the_path(world: World) -> None:
    policy = await assigned(world, auto_generate=True)
    stranger = await world.token("skt_stranger", scopes=["secrets:rotate"])
    answer = await stranger.post(f"{BASE}/{policy['id']}/rotate")
    assert answer.refusal == (403, "access_denied")
    assert (await world.agent.get(f"/v1/secrets/{PATH}")).data["version"] == 1


async def test_assigning_needs_a_secret(world: World) -> None:
    policy = await create(world)
    body = {"secret_path": "app/none"}
    answer = await world.agent.post(f"{BASE}/{policy['id']}/secrets", body)
    assert answer.refusal == (404, "secret_not_found")
