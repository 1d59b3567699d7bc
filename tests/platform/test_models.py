"""Models, access rules and model groups."""

from typing import Any

import pytest

from tests.platform.conftest import World

MODEL = {"slug": "org/new-1", "display_name": "New", "modality": "chat"}
ECHO = "/v1/models/scailabs%2Fecho-1"
CHAT = {"model": "scailabs/echo-1", "messages": [{"role": "user", "content": "hi"}]}


async def created(world: World, **changes: Any) -> Any:
    return (await world.as_("super_admin").post("/v1/models", {**MODEL, **changes})).data


async def echo_id(world: World) -> str:
    return str((await world.as_("super_admin").get(ECHO)).data["id"])


async def test_models_are_listed_by_modality_and_status(world: World) -> None:
    caller = world.as_("tenant_viewer")
    audio = (await caller.get("/v1/models?modality=audio")).data["items"]
    assert [row["slug"] for row in audio] == ["scailabs/tone-1", "scailabs/scribe-1"]
    old = (await caller.get("/v1/models?status=deprecated")).data["items"]
    assert [row["slug"] for row in old] == ["scailabs/legacy-0"]


async def test_a_model_shows_the_state_of_its_backends(world: World) -> None:
    caller = world.as_("tenant_user")
    echo = (await caller.get(ECHO)).data
    assert (echo["health_status"], echo["active_backend_count"]) == ("healthy", 1)
    offline = (await caller.get("/v1/models/scailabs%2Foffline-1")).data
    assert (offline["health_status"], offline["active_backend_count"]) == ("unavailable", 0)
    assert (await caller.get(f"/v1/models/{echo['id']}")).data == echo


async def test_a_model_is_created_changed_and_deleted(world: World) -> None:
    admin = world.as_("super_admin")
    row = await created(world, input_price_per_mtok="0.5")
    assert (row["status"], row["health_status"], row["total_backend_count"]) == (
        "active",
        "unavailable",
        0,
    )
    path = f"/v1/models/{row['id']}"
    changed = (await admin.put(path, {"status": "deprecated", "description": ""})).data
    assert (changed["status"], changed["input_price_per_mtok"]) == ("deprecated", "0.5")
    await admin.post(f"{path}/access", {"subject_type": "tenant", "subject_id": "tnt_1"})
    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).code == "MODEL_NOT_FOUND"
    assert (await admin.put(path, {})).code == "MODEL_NOT_FOUND"
    assert not [r for r in world.rows("model_access") if r["model_id"] == row["id"]]


async def test_a_slug_is_taken_once_and_never_changed(world: World) -> None:
    admin = world.as_("super_admin")
    row = await created(world)
    again = await admin.post("/v1/models", MODEL)
    assert (again.status, again.code) == (409, "SLUG_CONFLICT")
    assert (await admin.put(f"/v1/models/{row['id']}", {"slug": "x"})).faults == {"slug"}


async def test_a_used_model_is_not_deleted(world: World) -> None:
    answer = await world.as_("super_admin").delete(f"/v1/models/{await echo_id(world)}")
    assert (answer.status, answer.code) == (409, "MODEL_IN_USE")


async def test_only_super_admins_manage_models(world: World) -> None:
    answer = await world.as_("tenant_admin").post("/v1/models", MODEL)
    assert (answer.status, answer.code) == (403, "AUTHZ_PERMISSION_DENIED")
    assert (await world.as_("no_roles").get("/v1/models")).code == "AUTHZ_PERMISSION_DENIED"


@pytest.mark.parametrize("subject", ["user", "tenant", "partner"])
async def test_a_deny_hides_a_model_and_refuses_inference(world: World, subject: str) -> None:
    admin, caller = world.as_("super_admin"), world.as_("tenant_user")
    me = (await caller.get("/v1/me")).data
    rule = {"subject_type": subject, "subject_id": me[subject]["id"], "effect": "deny"}
    path = f"/v1/models/{await echo_id(world)}/access"
    row = (await admin.post(path, rule)).data
    assert row["model_id"] == await echo_id(world)
    assert (await caller.get(ECHO)).code == "MODEL_NOT_FOUND"
    listed = (await caller.get("/v1/models")).data["items"]
    assert "scailabs/echo-1" not in [model["slug"] for model in listed]
    refused = await caller.post("/v1/inference/chat", CHAT)
    assert (refused.status, refused.code) == (403, "MODEL_ACCESS_DENIED")
    assert (await world.as_("other_tenant_user").get(ECHO)).status == 200
    assert (await admin.get(ECHO)).status == 200
    assert (await admin.delete(f"{path}/{row['id']}")).status == 204
    assert (await caller.get(ECHO)).status == 200


async def test_an_allow_admits_only_whom_it_names(world: World) -> None:
    admin = world.as_("super_admin")
    path = f"/v1/models/{await echo_id(world)}/access"
    group = world.rows("groups")[0]["id"]
    row = (await admin.post(path, {"subject_type": "group", "subject_id": group})).data
    assert row["effect"] == "allow"
    assert (await world.as_("group_member").get(ECHO)).status == 200
    assert (await world.as_("tenant_user").get(ECHO)).code == "MODEL_NOT_FOUND"
    assert [r["id"] for r in (await admin.get(path)).data["items"]] == [row["id"]]


async def test_an_access_rule_belongs_to_its_model(world: World) -> None:
    admin = world.as_("super_admin")
    path = f"/v1/models/{await echo_id(world)}/access"
    row = (await admin.post(path, {"subject_type": "user", "subject_id": "usr_1"})).data
    other = await created(world)
    assert (await admin.delete(f"/v1/models/{other['id']}/access/{row['id']}")).code == (
        "MODEL_ACCESS_NOT_FOUND"
    )
    assert (await admin.delete(f"{path}/nothing")).code == "MODEL_ACCESS_NOT_FOUND"
    assert (await admin.get("/v1/models/nothing/access")).code == "MODEL_NOT_FOUND"
    assert (await admin.post("/v1/models/nothing/access", {})).status == 422


async def test_groups_of_models_come_and_go(world: World) -> None:
    admin, viewer = world.as_("super_admin"), world.as_("tenant_viewer")
    wanted = {"slug": "fast", "display_name": "Fast", "model_slugs": ["scailabs/echo-1"]}
    group = (await admin.post("/v1/model-groups", wanted)).data
    assert group["id"].startswith("mgr_")
    assert (await admin.post("/v1/model-groups", wanted)).code == "SLUG_CONFLICT"
    path = f"/v1/model-groups/{group['id']}"
    assert (await viewer.get(path)).data == group
    assert (await viewer.get("/v1/model-groups")).data["items"] == [group]
    changed = (await admin.put(path, {"model_slugs": []})).data
    assert (changed["model_slugs"], changed["display_name"]) == ([], "Fast")
    unknown = await admin.put(path, {"model_slugs": ["scailabs/echo-1", "no/such"]})
    assert unknown.faults == {"model_slugs[1]"}
    assert (await viewer.delete(path)).code == "AUTHZ_PERMISSION_DENIED"
    assert (await admin.delete(path)).status == 204
    assert (await viewer.get(path)).code == "MODEL_GROUP_NOT_FOUND"


async def test_mutations_are_audited_and_reads_are_not(world: World) -> None:
    admin = world.as_("super_admin")
    row = await created(world)
    await admin.post("/v1/models", MODEL)
    await admin.get("/v1/models")
    await world.as_("tenant_user").delete(f"/v1/models/{row['id']}")
    await world.anyone.delete(f"/v1/models/{row['id']}")
    audit = [
        (r["action"], r["status"], r["resource_type"], r["resource_id"])
        for r in world.rows("audit")
    ]
    assert audit == [
        ("model.create", "SUCCESS", "model", row["id"]),
        ("model.create", "FAILURE", "model", None),
        ("model.delete", "FAILURE", "model", row["id"]),
    ]
    last = world.rows("audit")[-1]
    assert last["actor_email"] == "user@acme.test"
    assert last["tenant_id"] == world.tenant_id("acme")
    assert last["details"] == {"code": "AUTHZ_PERMISSION_DENIED"}
    assert last["ip_address"] == "127.0.0.1"
