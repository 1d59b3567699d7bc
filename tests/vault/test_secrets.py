"""Secrets. Spec: scaivault 7 (secrets), 2.3 (grammar)."""

from typing import Any

import pytest

from scaimcp.dev.vault import VaultConfig
from scaimcp.dev.vault.fixture import READER, REPORT_RUNNER
from tests.vault.conftest import Caller, Starter, World

DAY = 86400


async def read(caller: Caller, path: str, query: str = "") -> Any:
    return (await caller.get(f"/v1/secrets/{path}{query}")).data


async def test_the_seeded_secrets_have_the_versions_of_the_public_page(world: World) -> None:
    listed = (await world.as_(READER).get("/v1/secrets/?prefix=integrations/")).data
    assert [(row["path"], row["version"]) for row in listed["secrets"]] == [
        ("integrations/salesforce/oauth", 3),
        ("integrations/stripe/api-key", 1),
    ]
    assert (listed["has_more"], listed["cursor"]) == (False, None)


@pytest.mark.parametrize(
    "path",
    [
        "App/db",
        "app//db",
        "app/db/",
        "app/../db",
        "app/.db",
        "app%2Fdb",
        "app/%2e%2e/db",
        "app/d%62",
        "app%00",
        "app/db%0A",
        "app/*",
        "app/db;v",
        "app/metadata",
        "batch",
        "a/b/c/d/e/f/g/h/i/j/k",
        "a" * 513,
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_path_outside_the_grammar_is_refused(world: World, path: str, method: str) -> None:
    body = {"data": {"a": 1}} if method == "PUT" else None
    answer = await world.agent(method, f"/v1/secrets/{path}", body)
    assert answer.refusal == (400, "invalid_path")


@pytest.mark.parametrize("path", ["a", "a_b-c/9", "a/b/c/d/e/f/g/h/i/j", "a" * 512])
async def test_a_path_inside_the_grammar_is_written_and_read(world: World, path: str) -> None:
    assert (await world.agent.store(path)).status == 201
    assert (await read(world.agent, path))["path"] == path


@pytest.mark.parametrize("path", ["app/versions", "app/rotate"])
async def test_a_reserved_last_segment_is_never_a_secret(world: World, path: str) -> None:
    assert (await world.agent.store(path)).refusal == (400, "invalid_path")


async def test_a_new_secret_shows_every_documented_field(world: World) -> None:
    written = await world.agent.store(
        "app/db",
        {"password": "x"},
        secret_type="kv",
        metadata={"owner": "team:db"},
        options={"expires_in": "2d", "rotation_policy_id": "rot_1", "max_versions": 3},
    )
    assert written.status == 201
    assert await read(world.agent, "app/db") == {
        "path": "app/db",
        "secret_type": "kv",
        "version": 1,
        "data": {"password": "x"},
        "metadata": {"owner": "team:db"},
        "created_at": "2027-01-15T08:00:00.000Z",
        "updated_at": "2027-01-15T08:00:00.000Z",
        "expires_at": "2027-01-17T08:00:00.000Z",
        "last_accessed_at": None,
        "rotation_policy_id": "rot_1",
        "secret_policy_id": None,
    }
    assert "data" not in written.json


async def test_every_write_is_a_new_version_and_old_ones_stay_readable(world: World) -> None:
    await world.agent.store("app/db", {"n": 1}, secret_type="kv", metadata={"k": "v"})
    await world.advance(60)
    again = await world.agent.store("app/db", {"n": 2})
    assert (again.status, again.data["version"]) == (200, 2)
    newest = await read(world.agent, "app/db")
    assert (newest["data"], newest["secret_type"], newest["metadata"]) == (
        {"n": 2},
        "kv",
        {"k": "v"},
    )
    assert newest["updated_at"] > newest["created_at"]
    first = await read(world.agent, "app/db", "?version=1")
    assert (first["data"], first["version"]) == ({"n": 1}, 1)
    assert first["last_accessed_at"] == "2027-01-15T08:01:00.000Z"


async def test_old_versions_age_out(world: World) -> None:
    for number in range(4):
        await world.agent.store("app/db", {"n": number}, options={"max_versions": 2})
    listed = (await world.agent.get("/v1/secrets/app/db/versions")).data["versions"]
    assert [(row["version"], row["is_current"]) for row in listed] == [(4, True), (3, False)]
    assert listed[0]["created_by"] == "sa:agent"
    gone = await world.agent.get("/v1/secrets/app/db?version=2")
    assert gone.refusal == (404, "version_not_found")


@pytest.mark.parametrize("version", ["0", "x", "-1", "1.5"])
async def test_an_odd_version_is_a_validation_error(world: World, version: str) -> None:
    await world.agent.store("app/db")
    answer = await world.agent.get(f"/v1/secrets/app/db?version={version}")
    assert answer.refusal == (422, "validation_error")
    assert answer.json["error"]["details"]["fields"][0]["field"] == "version"


@pytest.mark.parametrize(
    ("body", "refusal", "field"),
    [
        ({}, (422, "validation_error"), "body"),
        ({"data": {}}, (422, "validation_error"), "data"),
        ({"data": [1]}, (422, "validation_error"), "data"),
        ({"data": {"a": 1}, "ttl": 3}, (422, "validation_error"), "body"),
        ({"data": {"a": 1}, "secret_type": "KV"}, (422, "validation_error"), "secret_type"),
        (
            {"data": {"a": 1}, "options": {"max_versions": 0}},
            (422, "validation_error"),
            "options.max_versions",
        ),
        ({"data": {"a": 1}, "options": {"expires_in": "1w"}}, (400, "invalid_duration"), None),
        ([], (400, "invalid_request"), None),
    ],
)
async def test_a_wrong_body_is_refused(
    world: World, body: Any, refusal: tuple[int, str], field: str | None
) -> None:
    answer = await world.agent.put("/v1/secrets/app/db", body)
    assert answer.refusal == refusal
    if field is not None:
        assert answer.json["error"]["details"]["fields"][0]["field"] == field
    assert (await world.agent.get("/v1/secrets/app/db")).status == 404


async def test_a_body_that_is_no_json_is_refused(world: World) -> None:
    answer = await world.agent("PUT", "/v1/secrets/app/db", data=b'{"data": ')
    assert answer.refusal == (400, "invalid_request")


async def test_a_deleted_secret_keeps_its_path_for_thirty_days(world: World) -> None:
    await world.agent.store("app/db")
    deleted = (await world.agent.delete("/v1/secrets/app/db")).data
    assert deleted == {
        "path": "app/db",
        "deleted": True,
        "permanent": False,
        "recoverable_until": "2027-02-14T08:00:00.000Z",
    }
    assert (await world.agent.get("/v1/secrets/app/db")).refusal == (404, "secret_not_found")
    assert (await world.agent.get("/v1/secrets/?prefix=app")).data["secrets"] == []
    assert (await world.agent.delete("/v1/secrets/app/db")).status == 404
    await world.advance(30 * DAY - 1)
    assert (await world.agent.store("app/db")).refusal == (409, "secret_exists")
    await world.advance(1)
    again = await world.agent.store("app/db")
    assert (again.status, again.data["version"]) == (201, 1)


async def test_a_permanent_deletion_frees_the_path_at_once(world: World) -> None:
    await world.agent.store("app/db")
    await world.agent.delete("/v1/secrets/app/db")
    gone = (await world.agent.delete("/v1/secrets/app/db?permanent=true")).data
    assert (gone["permanent"], gone["recoverable_until"]) == (True, None)
    assert (await world.agent.store("app/db")).status == 201
    odd = await world.agent.delete("/v1/secrets/app/db?permanent=yes")
    assert odd.refusal == (422, "validation_error")


async def test_a_permanent_deletion_of_nothing_is_404(world: World) -> None:
    answer = await world.agent.delete("/v1/secrets/app/none?permanent=true")
    assert answer.refusal == (404, "secret_not_found")


async def test_a_listing_matches_the_prefix_as_a_string(world: World) -> None:
    for path in ("app/a", "app2/b", "ap"):
        await world.agent.store(path)
    listed = (await world.agent.get("/v1/secrets/?prefix=app")).data["secrets"]
    assert [row["path"] for row in listed] == ["app/a", "app2/b"]
    assert all("data" not in row for row in listed)


async def test_a_listing_goes_on_by_cursor(world: World) -> None:
    for number in range(5):
        await world.agent.store(f"app/{number}")
    seen: list[str] = []
    query = "?prefix=app/&limit=2"
    cursor: str | None = ""
    while cursor is not None:
        after = f"&cursor={cursor}" if cursor else ""
        page = (await world.agent.get(f"/v1/secrets/{query}{after}")).data
        seen += [row["path"] for row in page["secrets"]]
        assert page["has_more"] == (page["cursor"] is not None)
        cursor = page["cursor"]
    assert seen == [f"app/{number}" for number in range(5)]


async def test_a_cursor_of_another_list_or_of_nothing_is_refused(world: World) -> None:
    first = (await world.agent.get("/v1/secrets/?limit=1")).data
    other = await world.agent.get(f"/v1/policies?cursor={first['cursor']}")
    assert other.refusal == (400, "invalid_cursor")
    assert (await world.agent.get("/v1/secrets/?cursor=abc")).refusal == (400, "invalid_cursor")
    assert (await world.agent.get("/v1/secrets/?limit=0")).refusal == (422, "validation_error")


async def test_containers_and_the_cursor_can_have_other_names(start: Starter) -> None:
    config = VaultConfig(containers={"secrets": "data"}, cursor_field="next_cursor")
    page = (await (await start(config)).agent.get("/v1/secrets/?limit=1")).data
    assert list(page) == ["data", "has_more", "next_cursor"]
    bare = await start(VaultConfig(containers={"secrets": ""}))
    assert isinstance((await bare.agent.get("/v1/secrets/?limit=1")).data, list)


async def test_a_listing_shows_only_what_policies_let_the_caller_list(world: World) -> None:
    listed = (await world.as_(REPORT_RUNNER).get("/v1/secrets/")).data
    assert [row["path"] for row in listed["secrets"]] == ["reports/mailer"]


async def test_scopes_and_policies_both_apply(world: World) -> None:
    reader = world.as_(READER)
    assert (await reader.get("/v1/secrets/integrations/stripe/api-key")).status == 200
    denied = await reader.get("/v1/secrets/reports/mailer")
    assert denied.refusal == (403, "access_denied")
    assert denied.json["error"]["details"] == {"path": "reports/mailer", "permission": "read"}
    scoped = await world.token("skt_narrow", id="sa:agent", scopes=["secrets:read"])
    assert (await scoped.store("app/db")).refusal == (403, "insufficient_scope")


async def test_rotation_makes_a_value_and_ends_the_old_version_with_the_grace(
    world: World,
) -> None:
    await world.agent.store("app/db", {"user": "u", "password": "old"})
    rotated = (await world.agent.post("/v1/secrets/app/db/rotate")).data
    assert rotated == {
        "path": "app/db",
        "old_version": 1,
        "new_version": 2,
        "grace_period_ends": "2027-01-17T08:00:00.000Z",
        "auto_generated": True,
    }
    value = (await read(world.agent, "app/db"))["data"]
    assert value["user"] == "u"
    assert len(value["password"]) == 32
    assert (await read(world.agent, "app/db", "?version=1"))["data"]["password"] == "old"
    await world.advance(2 * DAY)
    ended = await world.agent.get("/v1/secrets/app/db?version=1")
    assert ended.refusal == (404, "version_not_found")


async def test_rotation_takes_a_given_value_and_grace(world: World) -> None:
    await world.agent.store("app/db", {"password": "old"})
    body = {"data": {"password": "new"}, "grace_period": "1h"}
    rotated = (await world.agent.post("/v1/secrets/app/db/rotate", body)).data
    assert rotated["auto_generated"] is False
    assert rotated["grace_period_ends"] == "2027-01-15T09:00:00.000Z"
    assert (await read(world.agent, "app/db"))["data"] == {"password": "new"}
    missing = await world.agent.post("/v1/secrets/app/none/rotate")
    assert missing.refusal == (404, "secret_not_found")


async def test_rotation_follows_the_secret_policy(world: World) -> None:
    policy = {
        "name": "hexes",
        "policy_type": "password",
        "fields": [{"name": "password", "generator": "hex", "config": {"length": 8}}],
    }
    made = (await world.agent.post("/v1/secret-policies", policy)).data
    await world.agent.store("app/db", options={"secret_policy_id": made["id"]})
    await world.agent.post("/v1/secrets/app/db/rotate")
    rotated = await read(world.agent, "app/db")
    assert rotated["secret_policy_id"] == made["id"]
    assert list(rotated["data"]) == ["password"]
    await world.agent.store("app/lost", options={"secret_policy_id": "sp_none"})
    lost = await world.agent.post("/v1/secrets/app/lost/rotate")
    assert lost.refusal == (404, "secret_policy_not_found")


PROXY = {
    "name": "hashi",
    "type": "hashicorp-vault",
    "config": {"endpoint": "https://vault.example"},
    "path_mapping": {"external/hashicorp/**": "secret/data/**"},
    "mode": "proxy",
}


async def test_a_proxied_path_is_read_from_elsewhere_and_never_written(world: World) -> None:
    assert (await world.agent.post("/v1/federation/backends", PROXY)).status == 201
    path = "external/hashicorp/app/db"
    proxied = await read(world.agent, path)
    assert (proxied["path"], proxied["version"]) == (path, 1)
    assert proxied["data"] == {"username": "app", "password": "remote-db-demo"}
    address = f"/v1/secrets/{path}"
    assert (await world.agent.store(path)).refusal == (403, "forbidden")
    assert (await world.agent.delete(address)).refusal == (403, "forbidden")
    assert (await world.agent.post(f"{address}/rotate")).refusal == (403, "forbidden")


async def test_every_change_is_an_event(world: World) -> None:
    await world.agent.store("app/db")
    await world.agent.store("app/db")
    await world.agent.post("/v1/secrets/app/db/rotate")
    await world.agent.get("/v1/secrets/app/db")
    await world.agent.delete("/v1/secrets/app/db")
    events = world.served.vault.tenants["tnt_a"].events
    assert [event["event_type"] for event in events] == [
        "secret.created",
        "secret.updated",
        "secret.rotated",
        "secret.accessed",
        "secret.deleted",
    ]
    assert all(event["data"]["path"] == "app/db" for event in events)
    assert events[1]["data"] == {
        "path": "app/db",
        "is_rotation": False,
        "old_version": 1,
        "new_version": 2,
        "updated_by": "sa:agent",
    }


async def test_the_seeded_engine_makes_the_credential_of_the_public_page(world: World) -> None:
    address = "/v1/dynamic/engines/postgres-prod/creds/readonly"
    given = (await world.agent.post(address, {"ttl": "1h"})).data
    url = given["credentials"]["connection_url"]
    assert url.startswith("postgresql://v_readonly_")
    assert url.endswith("@db.internal:5432/main")
