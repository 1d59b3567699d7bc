"""ACME orders, moved by the clock."""

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

import pytest

from tests.vault.certificates import verify
from tests.vault.conftest import START, World

ORDERS = "/v1/pki/acme/orders"
ACCOUNTS = "/v1/pki/acme/accounts"
NEW = {"name": "le", "provider": "letsencrypt", "email": "certs@acme.example"}


async def account(world: World, **body: Any) -> Any:
    return (await world.agent.post(ACCOUNTS, {**NEW, **body})).data


async def order(world: World, *domains: str, **body: Any) -> Any:
    known = {"account_id": (await account(world))["id"], "challenge_type": "http-01"}
    return await world.agent.post(ORDERS, {**known, "domains": domains, **body})


async def complete(world: World, row: Any, *numbers: int) -> Any:
    for number in numbers:
        url = f"{ORDERS}/{row['id']}/challenges/{row['challenges'][number]['id']}/complete"
        row = (await world.agent.post(url)).data
    return row


async def shown(world: World, row: Any) -> Any:
    return (await world.agent.get(f"{ORDERS}/{row['id']}")).data


async def test_an_account_is_created_and_listed_without_its_key(world: World) -> None:
    row = await account(world)
    assert row.keys() == {
        "id", "name", "provider", "environment", "email", "status", "created_at"
    }  # fmt: skip
    assert (row["environment"], row["status"]) == ("staging", "valid")
    assert (await world.agent.get(ACCOUNTS)).data["accounts"] == [row]
    assert (await world.agent.post(ACCOUNTS, NEW)).refusal == (409, "conflict")


@pytest.mark.parametrize(
    "body",
    [
        {"provider": "custom"},
        {"directory_url": "https://acme.example/directory"},
        {"email": "nobody"},
    ],
)
async def test_an_account_that_cannot_be_is_refused(world: World, body: dict[str, Any]) -> None:
    answer = await world.agent.post(ACCOUNTS, {**NEW, **body})
    assert answer.refusal == (422, "validation_error")


async def test_a_new_order_is_pending_with_a_challenge_for_each_domain(world: World) -> None:
    row = (await order(world, "a.example", "b.example")).data
    assert (row["status"], row["certificate_id"]) == ("pending", None)
    assert [(c["domain"], c["type"], c["status"]) for c in row["challenges"]] == [
        ("a.example", "http-01", "pending"),
        ("b.example", "http-01", "pending"),
    ]
    assert row["challenges"][0]["record_name"] is None
    assert await shown(world, row) == row


async def test_a_dns_challenge_names_the_record(world: World) -> None:
    body = {"challenge_type": "dns-01", "dns_provider_id": "dns_1"}
    (challenge,) = (await order(world, "*.a.example", **body)).data["challenges"]
    digest = sha256(challenge["token"].encode()).digest()
    assert challenge["record_name"] == "_acme-challenge.a.example"
    assert challenge["record_value"] == urlsafe_b64encode(digest).rstrip(b"=").decode()


async def test_an_order_turns_valid_some_seconds_after_its_last_challenge(world: World) -> None:
    row = (await order(world, "a.example", "b.example")).data
    row = await complete(world, row, 0)
    assert row["status"] == "pending"
    row = await complete(world, row, 1)
    assert row["status"] == "processing"
    await world.advance(2)
    assert (await shown(world, row))["status"] == "processing"
    await world.advance(1)
    row = await shown(world, row)
    assert row["status"] == "valid"
    assert {challenge["status"] for challenge in row["challenges"]} == {"valid"}
    for name in ("a.example", "b.example"):
        verify(row["certificate"], row["ca_chain"], name, START + 10)
    kept = (await world.agent.get(f"/v1/pki/certificates/{row['certificate_id']}")).data
    assert kept["certificate"] == row["certificate"]
    assert kept["private_key"].startswith("-----BEGIN PRIVATE KEY-----")
    assert "private_key" not in row


async def test_all_certificates_come_from_one_staging_authority(world: World) -> None:
    first = await complete(world, (await order(world, "a.example")).data, 0)
    listed = (await world.agent.get(ACCOUNTS)).data["accounts"]
    body = {"account_id": listed[0]["id"], "challenge_type": "tls-alpn-01"}
    made = await world.agent.post(ORDERS, {**body, "domains": ["b.example"]})
    second = await complete(world, made.data, 0)
    await world.advance(3)
    chains = [(await shown(world, row))["ca_chain"] for row in (first, second)]
    assert chains[0] == chains[1]
    (ca,) = (await world.agent.get("/v1/pki/ca")).data["cas"]
    assert (ca["name"], ca["certificates_issued"]) == ("acme-staging", 2)


async def test_a_domain_that_starts_with_fail_makes_the_order_invalid(world: World) -> None:
    row = (await order(world, "a.example", "fail.example")).data
    row = await complete(world, row, 0, 1)
    await world.advance(3)
    row = await shown(world, row)
    assert (row["status"], row["certificate_id"]) == ("invalid", None)
    assert [challenge["status"] for challenge in row["challenges"]] == ["valid", "invalid"]


async def test_completing_again_changes_nothing(world: World) -> None:
    row = await complete(world, (await order(world, "a.example", "b.example")).data, 0)
    assert await complete(world, row, 0) == row
    row = await complete(world, row, 1)
    await world.advance(2)
    assert await complete(world, row, 1) == row
    await world.advance(1)
    assert (await shown(world, row))["status"] == "valid"


async def test_an_order_that_nobody_completes_turns_invalid_after_a_week(world: World) -> None:
    row = (await order(world, "a.example")).data
    await world.advance(7 * 86400)
    assert (await complete(world, row, 0))["status"] == "invalid"


async def test_orders_are_listed_as_the_clock_has_them(world: World) -> None:
    row = await complete(world, (await order(world, "a.example")).data, 0)
    for status, count in (("processing", 1), ("valid", 0)):
        rows = (await world.agent.get(f"{ORDERS}?status={status}")).data["orders"]
        assert len(rows) == count
    await world.advance(3)
    url = f"{ORDERS}?status=valid&account_id={row['account_id']}"
    (listed,) = (await world.agent.get(url)).data["orders"]
    assert (listed["id"], "challenges" in listed) == (row["id"], False)
    assert (await world.agent.get(f"{ORDERS}?account_id=acct_x")).data["orders"] == []


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"account_id": "acct_x"}, (404, "acme_account_not_found")),
        ({"domains": ["*.a.example"]}, (422, "validation_error")),
        ({"challenge_type": "dns-01"}, (422, "validation_error")),
        ({"domains": []}, (422, "validation_error")),
    ],
)
async def test_an_order_that_cannot_be_is_refused(
    world: World, body: dict[str, Any], refusal: tuple[int, str]
) -> None:
    domains = body.pop("domains", ["a.example"])
    assert (await order(world, *domains, **body)).refusal == refusal


async def test_unknown_orders_and_challenges_are_not_found(world: World) -> None:
    row = (await order(world, "a.example")).data
    unknown = await world.agent.get(f"{ORDERS}/ord_x")
    assert unknown.refusal == (404, "acme_order_not_found")
    answer = await world.agent.post(f"{ORDERS}/{row['id']}/challenges/chl_x/complete")
    assert answer.refusal == (404, "acme_challenge_not_found")
