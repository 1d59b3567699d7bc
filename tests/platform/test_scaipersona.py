"""Personas, and chatting with them."""

from typing import Any

import pytest

from tests.platform.conftest import Answer, World
from tests.platform.helpers import actions, assert_needs, assert_walls, grant

ROOT = "/v1/modules/scaipersona/personas"
CHAT = "/v1/inference/chat"
ECHO = "scailabs/echo-1"


async def create(world: World, **body: Any) -> Answer:
    return await world.as_("tenant_admin").post(ROOT, {"name": "New", "model_slug": ECHO, **body})


async def chat(world: World, name: str, model: str) -> Answer:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    return await world.as_(name).post(CHAT, body)


async def test_personas_are_listed_in_shape_a_and_either_order(world: World) -> None:
    viewer = world.as_("tenant_viewer")
    answer = await viewer.get(f"{ROOT}?limit=1")
    assert set(answer.json) == {"data", "pagination", "meta"}
    row = answer.data["items"][0]
    assert set(row) == {
        "id",
        "name",
        "slug",
        "model_slug",
        "published_model",
        "rag_enabled",
        "status",
        "created_at",
    }
    assert row["published_model"] == "tenant/acme/helper"
    cursor = answer.json["pagination"]["next_cursor"]
    rest = (await viewer.get(f"{ROOT}?cursor={cursor}")).data["items"]
    assert [persona["slug"] for persona in rest] == ["lawyer"]
    turned = (await viewer.get(f"{ROOT}?order=desc")).data["items"]
    assert [persona["slug"] for persona in turned] == ["lawyer", "helper"]
    assert (await viewer.get(f"{ROOT}?order=name")).faults == {"order"}


async def test_a_new_persona_has_its_defaults(world: World) -> None:
    row = (await create(world, name="Größe & Co.")).data
    assert row["id"].startswith("per_")
    assert (row["slug"], row["status"], row["rag_enabled"]) == ("gr-e-co", "draft", False)
    assert row["system_prompt"] is None
    assert row["settings"] == {
        "rag_strategy": "single_step",
        "rag_top_k": 5,
        "rag_min_score": None,
        "rag_context_template": None,
        "rag_status_messages": None,
        "status_messages_mode": None,
        "default_params": {},
        "metadata": {},
    }
    assert (await world.as_("tenant_viewer").get(f"{ROOT}/{row['id']}")).data == row
    assert (await create(world, name="???")).data["slug"] == "persona"


async def test_a_persona_is_changed_in_part(world: World) -> None:
    row = (await create(world, slug="a", system_prompt="One.", metadata={"k": 1})).data
    path = f"{ROOT}/{row['id']}"
    admin = world.as_("tenant_admin")
    changed = (await admin.put(path, {"status": "active", "rag_top_k": 9})).data
    assert (changed["status"], changed["settings"]["rag_top_k"]) == ("active", 9)
    assert (changed["system_prompt"], changed["settings"]["metadata"]) == ("One.", {"k": 1})
    assert (await admin.put(path, {"slug": "a", "name": "Same"})).data["name"] == "Same"
    moved = (await admin.put(path, {"slug": "b"})).data
    assert moved["published_model"] == "tenant/acme/b"


async def test_a_slug_is_taken_once_per_tenant(world: World) -> None:
    taken = await create(world, name="Helper")
    assert (taken.status, taken.code) == (409, "SLUG_CONFLICT")
    row = (await create(world)).data
    moved = await world.as_("tenant_admin").put(f"{ROOT}/{row['id']}", {"slug": "helper"})
    assert moved.code == "SLUG_CONFLICT"


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({"model_slug": "none"}, {"model_slug"}),
        ({"model_slug": "scailabs/embed-det-1"}, {"model_slug"}),
        ({"slug": "Not", "rag_top_k": 0, "rag_min_score": 2, "status": "x"}, None),
        ({"rag_strategy": "x", "default_params": [], "colour": 1}, None),
    ],
)
async def test_a_wrong_persona_is_422(
    world: World, body: dict[str, Any], faults: set[str] | None
) -> None:
    assert (await create(world, **body)).faults == (faults or set(body))
    row = (await create(world)).data
    changed = await world.as_("tenant_admin").put(f"{ROOT}/{row['id']}", body)
    assert changed.faults == (faults or set(body))


async def test_a_persona_needs_a_name_and_a_model(world: World) -> None:
    answer = await world.as_("tenant_admin").post(ROOT, {})
    assert answer.faults == {"name", "model_slug"}


async def test_an_active_persona_can_be_chatted_with(world: World) -> None:
    answer = (await chat(world, "tenant_user", "tenant/acme/helper")).data
    assert answer["model"] == "tenant/acme/helper"
    assert answer["choices"][0]["message"]["content"] == "echo: hi"
    plain = (await chat(world, "tenant_user", ECHO)).data
    # The system prompt is part of what is paid for.
    assert answer["usage"]["prompt_tokens"] > plain["usage"]["prompt_tokens"]
    usage = world.rows("usage")[0]
    assert (usage["model"], usage["tokens_in"]) == ("tenant/acme/helper", 8)
    assert float(usage["cost"]) > 0
    assert actions(world) == ["inference.chat", "inference.chat"]


async def test_status_decides_whether_a_persona_answers(world: World) -> None:
    admin = world.as_("tenant_admin")
    row = (await create(world, slug="p")).data
    for status, code in (("draft", 404), ("active", 200), ("archived", 404)):
        await admin.put(f"{ROOT}/{row['id']}", {"status": status})
        assert (await chat(world, "tenant_user", "tenant/acme/p")).status == code


@pytest.mark.parametrize(
    "model",
    [
        "tenant/acme/none",
        "tenant/acme/lawyer",
        "tenant/globex/helper",
        "tenant/none/helper",
        "tenant/acme/helper/x",
        "tenant/acme",
        "helper",
    ],
)
async def test_other_names_are_no_models(world: World, model: str) -> None:
    answer = await chat(world, "tenant_user", model)
    assert (answer.status, answer.code) == (404, "MODEL_NOT_FOUND")


async def test_a_persona_without_its_module_or_model_does_not_answer(world: World) -> None:
    admin = world.as_("tenant_admin")
    row = (await create(world, slug="p", status="active", model_slug="scailabs/offline-1")).data
    assert (await chat(world, "tenant_user", "tenant/acme/p")).code == "MODEL_UNAVAILABLE"
    await world.control.patch(f"/rows/personas/{row['id']}", {"model_slug": "gone"})
    assert (await chat(world, "tenant_user", "tenant/acme/p")).code == "MODEL_NOT_FOUND"
    await admin.post("/v1/modules/scaipersona/disable")
    assert (await chat(world, "tenant_user", "tenant/acme/helper")).code == "MODEL_NOT_FOUND"
    assert (await admin.get(ROOT)).code == "MODULE_NOT_ENABLED"


async def test_access_rules_of_the_model_hold_for_its_personas(world: World) -> None:
    model = next(row for row in world.rows("models") if row["slug"] == ECHO)
    rule = {"subject_type": "user", "subject_id": world.user_id("tenant_user"), "effect": "deny"}
    await world.as_("super_admin").post(f"/v1/models/{model['id']}/access", rule)
    denied = await chat(world, "tenant_user", "tenant/acme/helper")
    assert denied.code == "MODEL_ACCESS_DENIED"
    assert (await chat(world, "tenant_admin", "tenant/acme/helper")).status == 200


async def test_every_call_needs_its_permission(world: World) -> None:
    await assert_needs(world, "GET", ROOT, "scaipersona:view")
    await assert_needs(world, "GET", f"{ROOT}/x", "scaipersona:view")
    await assert_needs(world, "POST", ROOT, "scaipersona:manage")
    await assert_needs(world, "PUT", f"{ROOT}/x", "scaipersona:manage")
    # Chatting needs the permission for models, not the module's.
    await grant(world, "tenant_user")
    assert (await chat(world, "tenant_user", "tenant/acme/helper")).status == 200


async def test_walls_stand_between_tenants(world: World) -> None:
    await assert_walls(world, "scaipersona", "personas", "/personas", "PERSONA_NOT_FOUND")
    row = world.rows("personas")[0]
    other = world.as_("other_tenant_admin")
    assert (await other.put(f"{ROOT}/{row['id']}", {})).code == "PERSONA_NOT_FOUND"
    seen = (await other.get(ROOT)).data["items"]
    assert [persona["published_model"] for persona in seen] == ["tenant/globex/helper"]
    homeless = await world.as_("super_admin").post(ROOT, {"name": "x", "model_slug": ECHO})
    assert homeless.code == "AUTHZ_PERMISSION_DENIED"


async def test_changes_are_audited(world: World) -> None:
    row = (await create(world)).data
    await world.as_("tenant_admin").put(f"{ROOT}/{row['id']}", {"name": "x"})
    await world.as_("tenant_admin").get(f"{ROOT}/{row['id']}")
    assert actions(world) == ["scaipersona.persona.create", "scaipersona.persona.update"]
    assert {entry["resource_id"] for entry in world.rows("audit")} == {row["id"]}
