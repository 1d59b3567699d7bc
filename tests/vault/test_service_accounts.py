"""Service accounts and API keys."""

from datetime import datetime
from typing import Any

import pytest

from scaimcp.dev.vault.fixture import READER
from tests.vault.conftest import START, World

BASE = "/v1/identity/service-accounts"
DAY = 86400


async def create(world: World, name: str = "ci", **body: Any) -> Any:
    return (await world.agent.post(BASE, {"name": name, **body})).data


async def test_a_created_account_is_shown_and_listed(world: World) -> None:
    account = await create(world, description="builds", scopes=["secrets:read"])
    assert (account["identity_id"], account["status"]) == ("sa:ci", "active")
    assert (account["description"], account["scopes"]) == ("builds", ["secrets:read"])
    assert (await world.agent.get(f"{BASE}/{account['id']}")).data == account
    listed = (await world.agent.get(BASE)).data
    assert listed["service_accounts"][0].keys() == {
        "id", "identity_id", "name", "status", "scopes", "created_at"
    }  # fmt: skip
    assert (listed["page"], listed["page_size"], listed["total"]) == (1, 50, 1)


async def test_lists_go_by_page_number_and_a_limit_is_the_size_of_a_page(world: World) -> None:
    for name in ("a", "b", "c"):
        await create(world, name)
    seen = (await world.agent.get(f"{BASE}?limit=2&page=2")).data
    assert [row["name"] for row in seen["service_accounts"]] == ["c"]
    assert (seen["page"], seen["page_size"], seen["total"]) == (2, 2, 3)


async def test_a_change_leaves_alone_what_it_does_not_name(world: World) -> None:
    account = await create(world, scopes=["a", "b"])
    changed = (await world.agent.patch(f"{BASE}/{account['id']}", {"status": "disabled"})).data
    assert changed == {**account, "status": "disabled"}
    renamed = (await world.agent.patch(f"{BASE}/{account['id']}", {"name": "cd"})).data
    assert (renamed["name"], renamed["identity_id"]) == ("cd", "sa:ci")
    disabled = (await world.agent.get(f"{BASE}?status=disabled")).data
    assert [row["name"] for row in disabled["service_accounts"]] == ["cd"]
    assert (await world.agent.get(f"{BASE}?status=active")).data["total"] == 0


async def test_a_taken_name_and_a_wrong_one_are_refused(world: World) -> None:
    await create(world, "ci")
    other = await create(world, "cd")
    taken = await world.agent.patch(f"{BASE}/{other['id']}", {"name": "ci"})
    assert taken.refusal == (409, "conflict")
    assert (await world.agent.post(BASE, {"name": "ci"})).refusal == (409, "conflict")
    assert (await world.agent.post(BASE, {"name": "a b"})).refusal == (422, "validation_error")


async def test_a_key_is_shown_once(world: World) -> None:
    account = await create(world, scopes=["secrets:read", "secrets:list"])
    url = f"{BASE}/{account['id']}/api-keys"
    key = (await world.agent.post(url, {"name": "deploy"})).data
    assert key["key"].startswith(key["prefix"])
    assert len(key["key"]) > 40
    assert key["scopes"] == account["scopes"]
    assert datetime.fromisoformat(key["expires_at"]).timestamp() == START + 90 * DAY
    listed = (await world.agent.get(url)).data["api_keys"]
    assert [row["id"] for row in listed] == [key["id"]]
    assert "key" not in listed[0]
    assert key["key"] not in str(listed)


async def test_a_key_has_no_more_scopes_than_its_account(world: World) -> None:
    account = await create(world, scopes=["secrets:read"])
    url = f"{BASE}/{account['id']}/api-keys"
    beyond = await world.agent.post(url, {"name": "x", "scopes": ["secrets:write"]})
    assert beyond.refusal == (403, "insufficient_scope")
    fewer = await world.agent.post(url, {"name": "x", "scopes": [], "expires_in": "365d"})
    assert fewer.data["scopes"] == []


@pytest.mark.parametrize(
    ("life", "refusal"),
    [("366d", (422, "validation_error")), ("soon", (400, "invalid_duration"))],
)
async def test_a_key_lives_a_year_at_most(
    world: World, life: str, refusal: tuple[int, str]
) -> None:
    account = await create(world)
    body = {"name": "x", "expires_in": life}
    answer = await world.agent.post(f"{BASE}/{account['id']}/api-keys", body)
    assert answer.refusal == refusal


async def test_what_is_deleted_is_gone(world: World) -> None:
    account = await create(world)
    url = f"{BASE}/{account['id']}"
    key = (await world.agent.post(f"{url}/api-keys", {"name": "x"})).data
    gone = await world.agent.delete(f"{url}/api-keys/{key['id']}")
    assert gone.data == {"id": key["id"], "deleted": True}
    again = await world.agent.delete(f"{url}/api-keys/{key['id']}")
    assert again.refusal == (404, "api_key_not_found")
    assert (await world.agent.get(f"{url}/api-keys")).data["api_keys"] == []
    assert (await world.agent.delete(url)).data == {"id": account["id"], "deleted": True}
    assert (await world.agent.get(url)).refusal == (404, "service_account_not_found")


async def test_switched_off_the_routes_answer_404_without_a_code(world: World) -> None:
    account = await create(world)
    await world.control.put("/identity-admin", {"enabled": False})
    for path in ("", f"/{account['id']}", f"/{account['id']}/api-keys"):
        answer = await world.agent.get(BASE + path)
        assert answer.status == 404
        assert "error" not in answer.json


async def test_only_administrators_manage_accounts(world: World) -> None:
    assert (await world.as_(READER).get(BASE)).refusal == (403, "insufficient_scope")
