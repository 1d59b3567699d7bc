"""Queues: order, leases, attempts, dead letters, idempotency."""

from typing import Any

import pytest

from tests.platform.conftest import Starter, World
from tests.platform.helpers import actions, assert_needs, enable, grant, shift

ROOT = "/v1/modules/scaiqueue"
QUEUES = f"{ROOT}/queues"


@pytest.fixture
async def world(start: Starter) -> World:
    return await start(frozen_at=1_800_000_000)


async def queue(world: World, slug: str = "q", **body: Any) -> str:
    """Create a queue in the seeded scope; returns its path."""
    scope = world.rows("queue_scopes")[0]["id"]
    order = {"slug": slug, "display_name": "Q", **body}
    row = (await world.as_("tenant_admin").post(f"{ROOT}/scopes/{scope}/queues", order)).data
    return f"{QUEUES}/{row['id']}"


async def publish(world: World, path: str, text: str, **body: Any) -> dict[str, Any]:
    order = {"payload": {"text": text}, **body}
    return dict((await world.as_("tenant_admin").post(f"{path}/publish", order)).data)


async def claim(world: World, path: str, name: str = "tenant_admin", **body: Any) -> list[Any]:
    return list((await world.as_(name).post(f"{path}/claim", body)).data["items"])


async def counts(world: World, path: str) -> tuple[int, int, int]:
    """Return depth, in flight and dead letters."""
    rows = (await world.as_("tenant_admin").get(QUEUES)).data["items"]
    row = next(row for row in rows if path.endswith(row["id"]))
    return row["depth"], row["in_flight"], row["dead_letter_count"]


def texts(items: list[Any]) -> list[str]:
    return [item["payload"]["text"] for item in items]


async def test_scopes_and_queues_are_created_once(world: World) -> None:
    admin = world.as_("tenant_admin")
    scope = (await admin.post(f"{ROOT}/scopes", {"slug": "dev", "display_name": "Dev"})).data
    assert scope["id"].startswith("scp_")
    assert set(scope) == {"id", "slug", "display_name"}
    again = await admin.post(f"{ROOT}/scopes", {"slug": "dev", "display_name": "Other"})
    assert (again.status, again.code) == (409, "SLUG_CONFLICT")
    path = f"{ROOT}/scopes/{scope['id']}/queues"
    row = (await admin.post(path, {"slug": "jobs", "display_name": "Jobs"})).data
    assert row == {
        "id": row["id"],
        "scope_id": scope["id"],
        "slug": "jobs",
        "display_name": "Jobs",
        "ordering": "fifo",
        "consumer_mode": "competing",
        "depth": 0,
        "in_flight": 0,
        "dead_letter_count": 0,
    }
    assert (await admin.post(path, {"slug": "jobs", "display_name": "J"})).code == "SLUG_CONFLICT"
    missing = f"{ROOT}/scopes/none/queues"
    body = {"slug": "jobs", "display_name": "Jobs"}
    assert (await admin.post(missing, body)).code == "SCOPE_NOT_FOUND"


async def test_queues_are_listed_in_shape_a(world: World) -> None:
    admin = world.as_("tenant_admin")
    answer = await admin.get(f"{QUEUES}?limit=1")
    assert set(answer.json) == {"data", "pagination", "meta"}
    assert [row["slug"] for row in answer.data["items"]] == ["fifo"]
    assert answer.data["items"][0]["depth"] == 2
    assert answer.json["pagination"]["has_more"] is True
    scope = world.rows("queue_scopes")[0]["id"]
    mine = (await admin.get(f"{QUEUES}?scope_id={scope}")).data["items"]
    assert [row["slug"] for row in mine] == ["fifo", "priority"]
    assert (await admin.get(f"{QUEUES}?scope_id=none")).data["items"] == []


@pytest.mark.parametrize(
    ("ordering", "expected"),
    [
        ("fifo", ["a", "b", "c", "d"]),
        ("priority", ["c", "a", "d", "b"]),
        ("deadline", ["d", "b", "a", "c"]),
    ],
)
async def test_messages_come_in_the_queues_order(
    world: World, ordering: str, expected: list[str]
) -> None:
    path = await queue(world, ordering=ordering)
    await publish(world, path, "a")
    await publish(world, path, "b", priority=1, deadline="2030-01-02T00:00:00Z")
    await publish(world, path, "c", priority=9)
    await publish(world, path, "d", deadline="2030-01-01T00:00:00Z")
    assert texts(await claim(world, path, limit=10)) == expected


async def test_a_message_is_claimed_completed_and_gone(world: World) -> None:
    path, admin = await queue(world), world.as_("tenant_admin")
    sent = await publish(world, path, "a")
    assert sent == {"message_id": sent["message_id"], "status": "queued", "is_duplicate": False}
    assert await counts(world, path) == (1, 0, 0)
    item = (await claim(world, path))[0]
    assert item == {
        "message_id": sent["message_id"],
        "payload": {"text": "a"},
        "attempts": 1,
        "lease_expires_at": "2027-01-15T08:01:00.000Z",
    }
    assert await counts(world, path) == (0, 1, 0)
    assert await claim(world, path) == []
    message = f"{path}/messages/{sent['message_id']}"
    done = (await admin.post(f"{message}/complete", {"result": {"n": 1}})).data
    assert done == {"message_id": sent["message_id"], "status": "completed"}
    assert await counts(world, path) == (0, 0, 0)
    for verb in ("complete", "fail"):
        again = await admin.post(f"{message}/{verb}")
        assert (again.status, again.code) == (409, "CONFLICT")
    assert next(r for r in world.rows("queue_messages") if r["id"] == sent["message_id"])[
        "result"
    ] == {"n": 1}


async def test_a_lease_that_expires_gives_the_message_back(world: World) -> None:
    path, admin = await queue(world), world.as_("tenant_admin")
    sent = await publish(world, path, "a")
    await publish(world, path, "b")
    await claim(world, path, lease_s=30)
    await shift(world, 29)
    assert texts(await claim(world, path)) == ["b"]
    await shift(world, 1)
    assert await counts(world, path) == (1, 1, 0)
    late = await admin.post(f"{path}/messages/{sent['message_id']}/complete")
    assert late.code == "CONFLICT"
    again = await claim(world, path)
    assert (texts(again), again[0]["attempts"]) == (["a"], 2)


async def test_five_expired_leases_make_a_dead_letter(world: World) -> None:
    path = await queue(world)
    await publish(world, path, "a")
    for attempt in range(1, 6):
        assert (await claim(world, path, lease_s=5))[0]["attempts"] == attempt
        await shift(world, 5)
    assert await claim(world, path) == []
    assert await counts(world, path) == (0, 0, 1)


async def test_five_failures_make_a_dead_letter(world: World) -> None:
    path, admin = await queue(world), world.as_("tenant_admin")
    sent = await publish(world, path, "a")
    statuses = []
    for _ in range(5):
        await claim(world, path)
        failed = await admin.post(
            f"{path}/messages/{sent['message_id']}/fail", {"reason": "no luck"}
        )
        statuses.append(failed.data["status"])
    assert statuses == ["queued"] * 4 + ["dead_letter"]
    assert await counts(world, path) == (0, 0, 1)
    assert world.rows("queue_messages")[-1]["reason"] == "no luck"


async def test_a_failure_without_requeue_is_a_dead_letter_at_once(world: World) -> None:
    path, admin = await queue(world), world.as_("tenant_admin")
    sent = await publish(world, path, "a")
    message = f"{path}/messages/{sent['message_id']}"
    assert (await admin.post(f"{message}/fail", {"requeue": False})).code == "CONFLICT"
    await claim(world, path)
    failed = await admin.post(f"{message}/fail", {"requeue": False})
    assert failed.data == {"message_id": sent["message_id"], "status": "dead_letter"}


async def test_an_idempotency_key_is_good_for_one_message(world: World) -> None:
    path, other = await queue(world), await queue(world, "other")
    first = await publish(world, path, "a", idempotency_key="k")
    await claim(world, path)
    second = await publish(world, path, "b", idempotency_key="k")
    assert second == {
        "message_id": first["message_id"],
        "status": "claimed",
        "is_duplicate": True,
    }
    assert await counts(world, path) == (0, 1, 0)
    await world.as_("tenant_admin").post(f"{path}/messages/{first['message_id']}/complete")
    assert (await publish(world, path, "c", idempotency_key="k"))["status"] == "completed"
    elsewhere = await publish(world, other, "a", idempotency_key="k")
    assert elsewhere["is_duplicate"] is False


async def test_only_the_holder_of_a_lease_ends_it(world: World) -> None:
    path = await queue(world)
    sent = await publish(world, path, "a")
    await grant(world, "tenant_user", "scaiqueue:consume")
    assert texts(await claim(world, path, "tenant_user")) == ["a"]
    message = f"{path}/messages/{sent['message_id']}"
    for verb in ("complete", "fail"):
        assert (await world.as_("tenant_admin").post(f"{message}/{verb}")).code == "CONFLICT"
    assert (await world.as_("tenant_user").post(f"{message}/complete")).status == 200


async def test_a_broadcast_reaches_every_consumer_once(world: World) -> None:
    path = await queue(world, consumer_mode="broadcast")
    sent = await publish(world, path, "a")
    await grant(world, "tenant_user", "scaiqueue:consume")
    for name in ("tenant_user", "tenant_admin"):
        assert texts(await claim(world, path, name)) == ["a"]
        done = await world.as_(name).post(f"{path}/messages/{sent['message_id']}/complete")
        assert done.data["status"] == "completed"
        assert await claim(world, path, name) == []
    assert await counts(world, path) == (0, 0, 0)


async def test_what_is_not_there_is_404(world: World) -> None:
    path, other = await queue(world), await queue(world, "other")
    admin = world.as_("tenant_admin")
    sent = await publish(world, other, "a")
    assert (await admin.post(f"{QUEUES}/none/claim")).code == "QUEUE_NOT_FOUND"
    for message in ("none", sent["message_id"]):
        missing = await admin.post(f"{path}/messages/{message}/complete")
        assert (missing.status, missing.code) == (404, "MESSAGE_NOT_FOUND")


@pytest.mark.parametrize(
    ("call", "body", "faults"),
    [
        ("publish", {}, {"payload"}),
        ("publish", {"payload": [], "priority": 10, "deadline": "soon"}, None),
        ("publish", {"payload": {}, "idempotency_key": "k" * 129}, {"idempotency_key"}),
        ("claim", {"limit": 11, "lease_s": 4}, None),
        ("messages/x/fail", {"reason": "x" * 2001, "requeue": "yes"}, None),
        ("messages/x/complete", {"result": 1}, None),
    ],
)
async def test_wrong_bodies_are_422(
    world: World, call: str, body: dict[str, Any], faults: set[str] | None
) -> None:
    path = await queue(world)
    answer = await world.as_("tenant_admin").post(f"{path}/{call}", body)
    assert answer.faults == (faults or set(body))


async def test_wrong_slugs_are_422(world: World) -> None:
    admin, body = world.as_("tenant_admin"), {"slug": "Not A Slug"}
    assert (await admin.post(f"{ROOT}/scopes", body)).faults == {"slug", "display_name"}
    answer = await admin.post(f"{ROOT}/scopes/x/queues", {**body, "ordering": "x"})
    assert answer.faults == {"slug", "display_name", "ordering"}


async def test_every_call_needs_its_permission(world: World) -> None:
    for method, path, key in (
        ("POST", f"{ROOT}/scopes", "manage"),
        ("POST", f"{ROOT}/scopes/x/queues", "manage"),
        ("POST", f"{QUEUES}/x/publish", "publish"),
        ("GET", QUEUES, "consume"),
        ("POST", f"{QUEUES}/x/claim", "consume"),
        ("POST", f"{QUEUES}/x/messages/y/complete", "consume"),
        ("POST", f"{QUEUES}/x/messages/y/fail", "consume"),
    ):
        await assert_needs(world, method, path, f"scaiqueue:{key}")


async def test_walls_stand_between_tenants(world: World) -> None:
    path = await queue(world)
    scope = world.rows("queue_scopes")[0]["id"]
    other = world.as_("other_tenant_admin")
    assert (await other.get(QUEUES)).code == "MODULE_NOT_ENABLED"
    await enable(world, "scaiqueue", "globex")
    assert (await other.post(f"{path}/claim")).code == "QUEUE_NOT_FOUND"
    assert (await other.post(f"{path}/publish", {"payload": {}})).code == "QUEUE_NOT_FOUND"
    body = {"slug": "x", "display_name": "X"}
    assert (await other.post(f"{ROOT}/scopes/{scope}/queues", body)).code == "SCOPE_NOT_FOUND"
    assert len((await other.get(QUEUES)).data["items"]) == 2
    # The same slug is free in another tenant.
    assert (await other.post(f"{ROOT}/scopes", {**body, "slug": "dev"})).status == 200
    homeless = await world.as_("super_admin").post(f"{ROOT}/scopes", body)
    assert homeless.code == "AUTHZ_PERMISSION_DENIED"


async def test_mutations_are_audited(world: World) -> None:
    path, admin = await queue(world), world.as_("tenant_admin")
    sent = await publish(world, path, "a")
    for _ in range(2):
        await claim(world, path)
        await admin.post(f"{path}/messages/{sent['message_id']}/fail")
    await claim(world, path)
    await admin.post(f"{path}/messages/{sent['message_id']}/complete")
    await admin.get(QUEUES)
    assert actions(world) == [
        "scaiqueue.queue.create",
        "scaiqueue.message.publish",
        *["scaiqueue.queue.claim", "scaiqueue.message.fail"] * 2,
        "scaiqueue.queue.claim",
        "scaiqueue.message.complete",
    ]
    rows = world.rows("audit")
    assert rows[1]["resource_id"] == rows[-1]["resource_id"] == sent["message_id"]
    assert rows[2]["details"] == {"message_ids": [sent["message_id"]]}
