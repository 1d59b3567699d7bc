"""Event subscriptions: polling, acknowledging, events from the other areas."""

from typing import Any

import pytest

from scaimcp.dev.vault.fixture import PARTNER_ADMIN
from tests.vault.certificates import authority, issue, role
from tests.vault.conftest import World

BASE = "/v1/subscriptions"
EVENTS = ["secret.created", "secret.updated", "secret.deleted"]
NEW = {"name": "app", "paths": ["app/**"], "events": EVENTS, "delivery": {"type": "polling"}}


async def create(world: World, **body: Any) -> Any:
    return (await world.agent.post(BASE, {**NEW, **body})).data


async def poll(world: World, row: Any, query: str = "") -> Any:
    return (await world.agent.get(f"{BASE}/{row['id']}/poll{query}")).data


async def told(world: World, row: Any, query: str = "") -> list[tuple[str, str | None]]:
    events = (await poll(world, row, query))["events"]
    return [(event["event_type"], event.get("path")) for event in events]


async def test_a_subscription_is_created_shown_and_listed(world: World) -> None:
    row = await create(world, filters={"tag": "prod"})
    assert (row["status"], row["identity_id"]) == ("active", "sa:agent")
    assert (row["delivery"], row["filters"]) == (
        {"type": "polling", "buffer_size": 1000},
        {"tag": "prod"},
    )
    assert (await world.agent.get(f"{BASE}/{row['id']}")).data == row
    (listed,) = (await world.agent.get(BASE)).data["subscriptions"]
    assert listed == {name: row[name] for name in row if name not in ("filters", "created_at")}


async def test_the_secret_of_a_webhook_is_never_shown(world: World) -> None:
    delivery = {"type": "webhook", "url": "https://hook.example", "secret": "s" * 16}
    row = await create(world, delivery=delivery)
    assert row["delivery"] == {
        "type": "webhook",
        "url": "https://hook.example",
        "buffer_size": 1000,
    }
    answer = await world.agent.get(f"{BASE}/{row['id']}/poll")
    assert answer.refusal == (400, "invalid_request")


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"paths": ["a**"]}, (400, "invalid_glob")),
        ({"paths": []}, (422, "validation_error")),
        ({"delivery": {"type": "webhook"}}, (422, "validation_error")),
        ({"delivery": {"type": "polling", "url": "https://x.example"}}, (422, "validation_error")),
        ({"delivery": {"type": "polling", "buffer_size": 0}}, (422, "validation_error")),
    ],
)
async def test_a_subscription_that_cannot_be_is_refused(
    world: World, body: dict[str, Any], refusal: tuple[int, str]
) -> None:
    assert (await world.agent.post(BASE, {**NEW, **body})).refusal == refusal


async def test_a_poll_tells_of_matching_paths_and_events_since_the_start(world: World) -> None:
    await world.agent.store("app/early")
    row = await create(world)
    await world.agent.store("app/db")
    await world.agent.store("app/db")
    await world.agent.get("/v1/secrets/app/db")
    await world.agent.store("other/db")
    await world.agent.delete("/v1/secrets/app/db")
    assert await told(world, row) == [
        ("secret.created", "app/db"),
        ("secret.updated", "app/db"),
        ("secret.deleted", "app/db"),
    ]
    event = (await poll(world, row))["events"][0]
    assert event.keys() == {"event_id", "event_type", "timestamp", "path", "data"}
    assert "path" not in event["data"]


async def test_events_come_again_until_they_are_acknowledged(world: World) -> None:
    row = await create(world)
    await world.agent.store("app/a")
    await world.agent.store("app/b")
    first = (await poll(world, row))["events"][0]["event_id"]
    body = {"event_ids": [first, "evt_x"]}
    url = f"{BASE}/{row['id']}/ack"
    assert (await world.agent.post(url, body)).data == {"acknowledged": 1}
    assert (await world.agent.post(url, body)).data == {"acknowledged": 0}
    assert await told(world, row) == [("secret.created", "app/b")]


async def test_a_poll_gives_parts_and_goes_on_after_an_event(world: World) -> None:
    row = await create(world)
    for name in "abc":
        await world.agent.store(f"app/{name}")
    part = await poll(world, row, "?max_events=2")
    assert (len(part["events"]), part["has_more"]) == (2, True)
    since = part["events"][-1]["event_id"]
    rest = await poll(world, row, f"?max_events=2&since_event_id={since}")
    assert [event["path"] for event in rest["events"]] == ["app/c"]
    assert rest["has_more"] is False
    assert len((await poll(world, row, "?since_event_id=evt_x"))["events"]) == 3


async def test_the_buffer_keeps_the_newest_events(world: World) -> None:
    row = await create(world, delivery={"type": "polling", "buffer_size": 2})
    for name in "abc":
        await world.agent.store(f"app/{name}")
    assert [path for _, path in await told(world, row)] == ["app/b", "app/c"]


async def test_certificates_and_rotations_are_told_too(world: World) -> None:
    events = ["certificate.issued", "certificate.revoked", "secret.rotated", "rotation.completed"]
    row = await create(world, events=events)
    await role(world, await authority(world))
    made = (await issue(world)).data
    await world.agent.post(f"/v1/pki/certificates/{made['id']}/revoke")
    await world.agent.store("app/db")
    body = {"name": "m", "interval": "30d", "auto_generate": True}
    policy = (await world.agent.post("/v1/rotation/policies", body)).data
    url = f"/v1/rotation/policies/{policy['id']}"
    await world.agent.post(f"{url}/secrets", {"secret_path": "app/db"})
    await world.agent.post(f"{url}/rotate")
    assert await told(world, row) == [
        ("certificate.issued", None),
        ("certificate.revoked", None),
        ("secret.rotated", "app/db"),
        ("rotation.completed", "app/db"),
    ]
    data = (await poll(world, row))["events"][2]["data"]
    assert (data["old_version"], data["new_version"]) == (1, 2)
    assert data["rotation_policy_name"] == "m"


async def test_a_change_takes_effect_at_once(world: World) -> None:
    row = await create(world)
    await world.agent.store("app/a")
    url = f"{BASE}/{row['id']}"
    changed = (await world.agent.patch(url, {"paths": ["other/*"]})).data
    assert changed == {**row, "paths": ["other/*"]}
    assert await told(world, row) == []
    delivery = {"type": "polling", "buffer_size": 5}
    assert (await world.agent.patch(url, {"delivery": delivery})).data["delivery"] == delivery


async def test_only_the_owner_polls_acknowledges_and_changes(world: World) -> None:
    row = await create(world)
    other = world.as_(PARTNER_ADMIN)
    url = f"{BASE}/{row['id']}"
    for answer in (
        await other.get(f"{url}/poll"),
        await other.post(f"{url}/ack", {"event_ids": []}),
        await other.patch(url, {}),
    ):
        assert answer.refusal == (403, "forbidden")
    assert (await other.get(url)).data == row


async def test_a_deleted_subscription_is_gone(world: World) -> None:
    row = await create(world)
    url = f"{BASE}/{row['id']}"
    assert (await world.agent.delete(url)).data == {"id": row["id"], "deleted": True}
    for path in (url, f"{url}/poll"):
        assert (await world.agent.get(path)).refusal == (404, "subscription_not_found")
