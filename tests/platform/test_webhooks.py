"""Webhooks and their deliveries."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tests.platform.conftest import Caller, Starter, World

PATH = "/v1/webhooks"
HOOK = {"url": "https://hook.test/a", "events": ["budget.soft_limit"], "secret": "s" * 16}


class Receiver:
    """A server that takes posts and answers with `status`."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.seen: list[tuple[dict[str, str], Any]] = []

    async def take(self, request: web.Request) -> web.Response:
        self.seen.append((dict(request.headers), await request.json()))
        return web.Response(status=self.status)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    app = web.Application()
    app.router.add_post("/hook", found.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield found
    await runner.cleanup()


async def hook(caller: Caller, **changes: Any) -> Any:
    return (await caller.post(PATH, {**HOOK, **changes})).data


async def aim(world: World, hook_id: str, url: str) -> None:
    """Point a webhook at loopback, which its endpoint refuses for want of https."""
    answer = await world.control.patch(f"/rows/webhooks/{hook_id}", {"url": url})
    assert answer.status == 200


async def test_a_webhook_is_created_changed_and_deleted(world: World) -> None:
    admin = world.as_("tenant_admin")
    row = await hook(admin)
    assert row["id"].startswith("whk_")
    assert set(row) == {
        "id",
        "url",
        "events",
        "status",
        "max_retries",
        "consecutive_failures",
        "created_at",
    }
    assert (row["status"], row["max_retries"], row["consecutive_failures"]) == ("active", 5, 0)
    path = f"{PATH}/{row['id']}"
    assert (await admin.get(path)).data == row
    changed = (await admin.put(path, {"status": "inactive", "max_retries": 0})).data
    assert changed == {**row, "status": "inactive", "max_retries": 0}
    assert (await admin.get(PATH)).data["items"] == [changed]
    world.served.platform.outbox.queue(world.rows("webhooks")[0], "x", {})
    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).code == "WEBHOOK_NOT_FOUND"
    assert not world.rows("deliveries")
    assert [r["action"] for r in world.rows("audit")] == [
        "webhook.create",
        "webhook.update",
        "webhook.delete",
    ]


async def test_webhooks_stay_within_the_walls(world: World) -> None:
    row = await hook(world.as_("tenant_admin"))
    other = world.as_("other_tenant_admin")
    path = f"{PATH}/{row['id']}"
    for answer in (
        await other.get(path),
        await other.put(path, {}),
        await other.delete(path),
        await other.post(f"{path}/test"),
        await other.get(f"{path}/deliveries"),
    ):
        assert (answer.status, answer.code) == (404, "WEBHOOK_NOT_FOUND")
    assert (await other.get(PATH)).data["items"] == []
    assert (await world.as_("tenant_user").get(PATH)).code == "AUTHZ_PERMISSION_DENIED"
    assert (await world.as_("super_admin").get(path)).status == 200
    homeless = await world.as_("super_admin").post(PATH, HOOK)
    assert homeless.code == "AUTHZ_PERMISSION_DENIED"


@pytest.mark.parametrize(
    "url", ["http://a.test/", "https://", "https://a.test:x/", "https://[::1", "a.test", ""]
)
async def test_a_webhook_needs_an_https_url(world: World, url: str) -> None:
    assert (await world.as_("tenant_admin").post(PATH, {**HOOK, "url": url})).faults == {"url"}


async def test_faults_of_a_webhook_are_listed(world: World) -> None:
    admin = world.as_("tenant_admin")
    wrong = {"events": [], "secret": "short", "max_retries": 11, "status": "on", "name": "x"}
    assert (await admin.post(PATH, wrong)).faults == {*wrong, "url"}
    path = f"{PATH}/{(await hook(admin))['id']}"
    assert (await admin.put(path, {"url": "http://a.test/"})).faults == {"url"}


async def test_a_test_without_posts_stays_pending(world: World) -> None:
    admin = world.as_("tenant_admin")
    path = f"{PATH}/{(await hook(admin))['id']}"
    tested = (await admin.post(f"{path}/test")).data
    assert (tested["status_code"], tested["duration_ms"]) == (None, None)
    assert tested["error"] == "Nothing was sent: outgoing posts are switched off."
    (delivery,) = (await admin.get(f"{path}/deliveries")).data["items"]
    assert delivery["id"] == tested["delivery_id"]
    assert (delivery["event_type"], delivery["status"], delivery["attempts"]) == (
        "webhook.test",
        "pending",
        0,
    )
    assert world.rows("audit")[-1]["action"] == "webhook.test"


async def test_a_test_really_posts(start: Starter, receiver: Receiver) -> None:
    world = await start(webhook_posts=True)
    admin = world.as_("tenant_admin")
    row = await hook(admin)
    await aim(world, row["id"], receiver.url)
    path = f"{PATH}/{row['id']}"
    good = (await admin.post(f"{path}/test")).data
    assert (good["status_code"], good["error"]) == (200, None)
    assert good["duration_ms"] >= 0
    receiver.status = 500
    bad = (await admin.post(f"{path}/test")).data
    assert (bad["status_code"], bad["error"]) == (500, "HTTP 500")
    # One post each: a test is never repeated.
    assert [body["id"] for _, body in receiver.seen] == [good["delivery_id"], bad["delivery_id"]]
    headers, body = receiver.seen[0]
    assert headers["X-Scaigrid-Signature"].startswith("sha256=")
    assert (body["type"], body["data"]) == ("webhook.test", {"webhook_id": row["id"]})
    assert (await admin.get(path)).data["consecutive_failures"] == 1
    failed = (await admin.get(f"{path}/deliveries?status=failed")).data["items"]
    assert [delivery["id"] for delivery in failed] == [bad["delivery_id"]]


async def test_a_webhook_may_be_removed_while_it_is_posted_to(
    start: Starter, receiver: Receiver
) -> None:
    world = await start(webhook_posts=True)
    admin = world.as_("tenant_admin")
    row = await hook(admin)
    take = receiver.take

    async def remove_first(request: web.Request) -> web.Response:
        assert (await admin.delete(f"{PATH}/{row['id']}")).status == 204
        return await take(request)

    app = web.Application()
    app.router.add_post("/hook", remove_first)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await aim(world, row["id"], f"http://127.0.0.1:{runner.addresses[0][1]}/hook")
    tested = (await admin.post(f"{PATH}/{row['id']}/test")).data
    assert tested["status_code"] == 200
    assert not world.rows("deliveries")
    await runner.cleanup()


async def test_deliveries_are_listed_newest_first(start: Starter) -> None:
    world = await start(frozen_at=1_800_000_000.0)
    admin = world.as_("tenant_admin")
    row = await hook(admin)
    outbox, stored = world.served.platform.outbox, world.rows("webhooks")[0]
    for name in ("a", "b"):
        outbox.queue(stored, name, {})
        await world.control.post("/clock", {"seconds": 60})
    outbox.queue(stored, "c", {})
    path = f"{PATH}/{row['id']}/deliveries"
    page = await admin.get(f"{path}?limit=2")
    assert [found["event_type"] for found in page.data["items"]] == ["c", "b"]
    cursor = page.json["pagination"]["next_cursor"]
    rest = (await admin.get(f"{path}?limit=2&cursor={cursor}")).data["items"]
    assert [found["event_type"] for found in rest] == ["a"]
    since = page.data["items"][1]["created_at"]
    later = (await admin.get(f"{path}?since={since}&status=pending")).data["items"]
    assert later == page.data["items"]
    assert (await admin.get(f"{path}?status=lost&since=now")).faults == {"status", "since"}


async def test_events_reach_only_webhooks_that_want_them(world: World) -> None:
    admin = world.as_("tenant_admin")
    wanted = [await hook(admin), await hook(admin, events=["*"])]
    await hook(admin, events=["other"])
    await hook(admin, status="inactive")
    limit = {"scope": "tenant", "scope_id": world.tenant_id("acme"), "period": "total"}
    await admin.post("/v1/accounting/budgets", {**limit, "request_limit": 2, "soft_limit_pct": 0.5})
    body = {"model": "scailabs/echo-1", "prompt": "x"}
    await world.as_("tenant_user").post("/v1/inference/generate", body)
    got = {(row["webhook_id"], row["event_type"]) for row in world.rows("deliveries")}
    assert got == {(row["id"], "budget.soft_limit") for row in wanted}
