"""Providers, backends and routing policies."""

from typing import Any

import pytest

from tests.platform.conftest import World

PROVIDER = {"name": "Open", "provider_type": "openai", "base_url": "https://open.test/v1"}
CHAT = {"model": "org/new-1", "messages": [{"role": "user", "content": "hi"}]}


async def provider(world: World, **changes: Any) -> Any:
    return (await world.as_("super_admin").post("/v1/providers", {**PROVIDER, **changes})).data


async def backend(world: World, provider_id: str, **changes: Any) -> Any:
    body = {"name": "b", "provider_id": provider_id, "upstream_model": "gpt", **changes}
    return (await world.as_("super_admin").post("/v1/backends", body)).data


async def model(world: World) -> Any:
    body = {"slug": "org/new-1", "display_name": "New", "modality": "chat"}
    return (await world.as_("super_admin").post("/v1/models", body)).data


async def test_a_provider_is_created_changed_and_deleted(world: World) -> None:
    admin = world.as_("super_admin")
    row = await provider(world, connection_config={"api_key": "s3cret"})
    assert row["id"].startswith("prv_")
    assert set(row) == {
        "id",
        "name",
        "provider_type",
        "base_url",
        "status",
        "created_at",
        "backend_count",
    }
    path = f"/v1/providers/{row['id']}"
    assert (await admin.put(path, {"name": "Closed", "status": "disabled"})).status == 200
    changed = (await admin.get(path)).data
    assert (changed["name"], changed["status"], changed["base_url"]) == (
        "Closed",
        "disabled",
        PROVIDER["base_url"],
    )
    assert (await admin.put(path, {"provider_type": "custom"})).faults == {"provider_type"}
    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).code == "PROVIDER_NOT_FOUND"
    assert [r["action"] for r in world.rows("audit")] == [
        "provider.create",
        "provider.update",
        "provider.update",
        "provider.delete",
    ]


async def test_providers_are_listed_by_type(world: World) -> None:
    row = await provider(world)
    admin = world.as_("super_admin")
    assert len((await admin.get("/v1/providers")).data["items"]) == 2
    listed = (await admin.get("/v1/providers?provider_type=openai")).data["items"]
    assert [found["id"] for found in listed] == [row["id"]]
    assert (await admin.get("/v1/providers?provider_type=none")).faults == {"provider_type"}


async def test_a_provider_with_backends_is_not_deleted(world: World) -> None:
    row = await provider(world)
    served = await backend(world, row["id"])
    admin = world.as_("super_admin")
    answer = await admin.delete(f"/v1/providers/{row['id']}")
    assert (answer.status, answer.code) == (409, "PROVIDER_HAS_BACKENDS")
    assert (await admin.get(f"/v1/providers/{row['id']}")).data["backend_count"] == 1
    await admin.delete(f"/v1/backends/{served['id']}")
    assert (await admin.delete(f"/v1/providers/{row['id']}")).status == 204


async def test_a_provider_tells_what_it_offers(world: World) -> None:
    admin = world.as_("super_admin")
    row = await provider(world)
    made = await model(world)
    await backend(world, row["id"], model_id=made["id"], upstream_model="gpt-9")
    await backend(world, row["id"], upstream_model="loose")
    found = (await admin.post(f"/v1/providers/{row['id']}/discover")).data
    assert found["provider_id"] == row["id"]
    offered = {m["upstream_model"]: (m["modality"], m["is_mapped"]) for m in found["models"]}
    assert offered == {
        "gpt-9": ("chat", True),
        "loose": ("chat", True),
        "openai-chat-1": ("chat", False),
        "openai-embedding-1": ("embedding", False),
    }
    await admin.put(f"/v1/providers/{row['id']}", {"status": "disabled"})
    refused = await admin.post(f"/v1/providers/{row['id']}/discover")
    assert (refused.status, refused.code) == (502, "PROVIDER_DISCOVERY_ERROR")
    assert (await admin.post("/v1/providers/none/discover")).code == "PROVIDER_NOT_FOUND"


@pytest.mark.parametrize("path", ["/v1/providers", "/v1/backends"])
async def test_only_super_admins_see_providers_and_backends(world: World, path: str) -> None:
    for name in ("tenant_admin", "partner_admin"):
        assert (await world.as_(name).get(path)).code == "AUTHZ_PERMISSION_DENIED"


async def test_secrets_of_a_backend_are_never_shown(world: World) -> None:
    admin = world.as_("super_admin")
    row = await provider(world)
    config = {"api_key": "k1", "region": "eu", "nested": {"token": "t", "port": 1}, "secret": None}
    made = await backend(world, row["id"], connection_config=config)
    shown = {
        "api_key": "***",
        "region": "eu",
        "nested": {"token": "***", "port": 1},
        "secret": None,
    }
    assert made["connection_config"] == shown
    path = f"/v1/backends/{made['id']}"
    assert (await admin.get(path)).data["connection_config"] == shown
    sent_back = {**shown, "region": "us", "nested": {"token": "***", "port": 2}}
    await admin.put(path, {"connection_config": sent_back})
    stored = world.rows("backends")[-1]["connection_config"]
    assert stored["api_key"] == "k1"
    assert stored["nested"] == {"token": "t", "port": 2}
    assert stored["region"] == "us"
    kept = {"api_key": "x"}
    assert (await admin.put(f"/v1/providers/{row['id']}", {"connection_config": kept})).data
    assert world.rows("providers")[-1]["connection_config"] == kept


async def test_a_backend_makes_a_model_answer(world: World) -> None:
    admin, caller = world.as_("super_admin"), world.as_("tenant_user")
    made = await model(world)
    assert (await caller.post("/v1/inference/chat", CHAT)).code == "MODEL_UNAVAILABLE"
    served = await backend(world, (await provider(world))["id"], model_id=made["id"])
    assert served["provider_type"] == "openai"
    assert (served["priority"], served["weight"], served["health_status"]) == (100, 1, "healthy")
    assert (await caller.post("/v1/inference/chat", CHAT)).status == 200
    await admin.put(f"/v1/backends/{served['id']}", {"status": "disabled"})
    assert (await caller.post("/v1/inference/chat", CHAT)).code == "MODEL_UNAVAILABLE"


async def test_backends_are_listed_by_provider_model_and_health(world: World) -> None:
    admin = world.as_("super_admin")
    row, made = await provider(world), await model(world)
    served = await backend(world, row["id"], model_id=made["id"])
    for query in (f"provider_id={row['id']}", f"model_id={made['id']}"):
        listed = (await admin.get(f"/v1/backends?{query}")).data["items"]
        assert [found["id"] for found in listed] == [served["id"]]
    down = (await admin.get("/v1/backends?health_status=unavailable")).data["items"]
    assert [found["upstream_model"] for found in down] == ["scailabs/offline-1"]


async def test_references_of_a_backend_must_exist(world: World) -> None:
    admin, row = world.as_("super_admin"), await provider(world)
    body = {"name": "b", "provider_id": "prv_none", "upstream_model": "gpt"}
    assert (await admin.post("/v1/backends", body)).code == "PROVIDER_NOT_FOUND"
    body |= {"provider_id": row["id"], "model_id": "mdl_none"}
    assert (await admin.post("/v1/backends", body)).code == "MODEL_NOT_FOUND"
    made = await backend(world, row["id"])
    path = f"/v1/backends/{made['id']}"
    other = await provider(world, provider_type="mistral")
    moved = (await admin.put(path, {"provider_id": other["id"]})).data
    assert (moved["provider_type"], moved["provider_id"]) == ("mistral", other["id"])
    assert (await admin.put("/v1/backends/none", {})).code == "BACKEND_NOT_FOUND"
    faults = await admin.post("/v1/backends", {"priority": 1001, "weight": 0, "extra": 1})
    assert faults.faults == {
        "name",
        "provider_id",
        "upstream_model",
        "priority",
        "weight",
        "extra",
    }


async def test_the_health_of_a_backend(world: World) -> None:
    admin, row = world.as_("super_admin"), await provider(world)
    path = f"/v1/backends/{(await backend(world, row['id']))['id']}"
    fine = (await admin.get(f"{path}/health")).data
    assert fine["status"] == "healthy"
    assert 5 <= fine["latency_ms"] < 70
    assert "error" not in fine
    await admin.put(f"/v1/providers/{row['id']}", {"status": "disabled"})
    off = (await admin.get(f"{path}/health")).data
    assert (off["status"], off["latency_ms"], off["error"]) == (
        "unavailable",
        None,
        "The backend is disabled.",
    )
    down = (await admin.get("/v1/backends?health_status=unavailable")).data["items"][0]
    silent = (await admin.get(f"/v1/backends/{down['id']}/health")).data
    assert silent["error"] == "The backend does not answer."
    assert (await admin.get("/v1/backends/none/health")).code == "BACKEND_NOT_FOUND"


async def test_a_routing_policy_comes_and_goes(world: World) -> None:
    admin, viewer = world.as_("super_admin"), world.as_("tenant_admin")
    made = await model(world)
    served = await backend(world, (await provider(world))["id"], model_id=made["id"])
    body = {"name": "p", "model_id": made["id"], "strategy": "weighted"}
    row = (await admin.post("/v1/routing-policies", body)).data
    assert row["id"].startswith("rtp_")
    assert (row["backend_ids"], row["max_retries"], row["fallback_model"]) == ([], 1, None)
    path = f"/v1/routing-policies/{row['id']}"
    changes = {"backend_ids": [served["id"]], "fallback_model": "scailabs/echo-1"}
    assert (await admin.put(path, changes)).data["backend_ids"] == [served["id"]]
    assert (await viewer.get(path)).data["fallback_model"] == "scailabs/echo-1"
    query = f"/v1/routing-policies?model_id={made['id']}"
    assert len((await viewer.get(query)).data["items"]) == 1
    assert (await viewer.get("/v1/routing-policies?model_id=none")).data["items"] == []
    await admin.delete(f"/v1/backends/{served['id']}")
    assert (await admin.get(path)).data["backend_ids"] == []
    assert (await viewer.delete(path)).code == "AUTHZ_PERMISSION_DENIED"
    assert (await admin.delete(path)).status == 204
    assert (await viewer.get(path)).code == "ROUTING_POLICY_NOT_FOUND"


async def test_a_routing_policy_names_backends_of_its_model(world: World) -> None:
    admin, made = world.as_("super_admin"), await model(world)
    echo = world.rows("backends")[0]["id"]
    served = await backend(world, (await provider(world))["id"], model_id=made["id"])
    kept = {"name": "p", "model_id": made["id"], "strategy": "priority"}
    kept["backend_ids"] = [served["id"]]
    assert (await admin.post("/v1/routing-policies", kept)).status == 200
    other = world.rows("backends")[1]
    await admin.delete(f"/v1/backends/{other['id']}")
    left = (await admin.get("/v1/routing-policies")).data["items"][0]
    assert left["backend_ids"] == [served["id"]]
    body = {"name": "p", "model_id": made["id"], "strategy": "priority"}
    wrong = {**body, "backend_ids": [echo, "none"], "fallback_model": "no/such"}
    answer = await admin.post("/v1/routing-policies", wrong)
    assert answer.faults == {"backend_ids[0]", "backend_ids[1]", "fallback_model"}
    unknown = await admin.post("/v1/routing-policies", {**body, "model_id": "mdl_none"})
    assert unknown.code == "MODEL_NOT_FOUND"
    assert (await world.as_("tenant_user").get("/v1/routing-policies")).status == 403
    row = (await admin.post("/v1/routing-policies", body)).data
    path = f"/v1/routing-policies/{row['id']}"
    assert (await admin.put(path, {"model_id": made["id"]})).faults == {"model_id"}
    assert (await admin.put(path, {"strategy": "luck"})).faults == {"strategy"}
