"""Tools that are more than one plain request. Spec: scaivault 1."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from scaimcp.scaivault.client import VaultClient
from scaimcp.scaivault.guards import Guards
from tests.integration.rawserver import raw, serve_raw
from tests.integration.scaivault.desk import Desk, open_desk
from tests.integration.scaivault.world import EC, furnish
from tests.unit.scaivault.certificates import make

ORDERS = "/v1/pki/acme/orders"


# -- secrets -----------------------------------------------------------------------------------


async def test_one_key_of_a_secret(desk: Desk) -> None:
    await desk.secret("app/db", {"a": 1, "b": 2})
    result = await desk.call("read_secret", path="app/db", field="b")
    assert result["data"] == {"b": 2}
    error = await desk.refused("read_secret", path="app/db", field="c")
    assert (error.code, error.details[0]["field"]) == ("INVALID_ARGUMENTS", "field")


async def test_what_expires_is_sorted_and_counted(desk: Desk) -> None:
    for path, life in (("a/late", "40d"), ("a/soon", "5d"), ("a/next", "10d"), ("a/gone", "1h")):
        await desk.secret(path, options={"expires_in": life})
    await desk.secret("a/never")
    await desk.sleep(3_600)
    rows = (await desk.call("check_expiration", prefix="a"))["items"]
    shown = [(row["path"], row["days_remaining"], row["expired"]) for row in rows]
    assert shown == [("a/gone", 0, True), ("a/soon", 4, False), ("a/next", 9, False)]
    rows = (await desk.call("check_expiration", include_expired=False))["items"]
    assert [row["path"] for row in rows] == ["a/soon", "a/next"]


async def test_a_long_list_is_read_for_ten_pages_only(desk: Desk) -> None:
    for number in range(11):
        row = {"path": f"a/{number}", "expires_at": "2026-04-25T00:00:00Z"}
        answer = {"secrets": [row], "has_more": True, "cursor": f"c{number}"}
        desk.fault("/v1/secrets/", answer=answer)
    report = await desk.call("check_expiration")
    assert (report["truncated"], len(report["items"]), len(desk.lines())) == (True, 10, 10)


async def test_leases_that_end_soon(desk: Desk) -> None:
    ids = await furnish(desk)
    await desk.sleep(600)
    report = await desk.call("check_expiring_leases", within="1h")
    lease = report["items"][0]
    assert (lease["lease_id"], lease["seconds_remaining"]) == (ids["lease"], 3_000)
    assert (await desk.call("check_expiring_leases", within="5m"))["items"] == []


async def test_certificates_that_expire_soon(desk: Desk) -> None:
    ids = await furnish(desk)
    rows = (await desk.call("check_expiring_certs", within="31d"))["items"]
    assert [(row["id"], row["days_remaining"]) for row in rows] == [(ids["certificate"], 30)]


async def test_a_rotation_that_names_no_such_secret_is_a_mismatch(desk: Desk) -> None:
    desk.fault("/v1/rotation/.*", answer=[{"secret_path": "app/other", "new_version": 2}])
    error = await desk.refused("rotate_secret", path="app/db", rotation_policy_id="rot_1")
    assert error.code == "UPSTREAM_SHAPE_MISMATCH"


# -- audit -------------------------------------------------------------------------------------


async def test_refused_access_in_groups(desk: Desk) -> None:
    groups = (await desk.call("find_unauthorized_access"))["groups"]
    assert groups == [
        {
            "identity_id": "sa:report-runner",
            "secret_path": "infra/db/primary/credentials",
            "actions": ["read"],
            "failures": 3,
            "first_at": "2026-04-24T03:04:38.000Z",
            "last_at": "2026-04-24T03:05:40.000Z",
            "source_ips": ["10.0.1.50"],
        }
    ]
    assert (await desk.call("find_unauthorized_access", min_failures=4))["groups"] == []
    guards = Guards(denied=("infra",))
    assert (await desk.call("find_unauthorized_access", guards))["groups"] == []


async def test_a_span_that_is_none_is_refused_without_a_call(desk: Desk) -> None:
    for begin in ("2030-01-01T00:00:00Z", "2020-01-01T00:00:00Z"):
        error = await desk.refused("query_audit", **{"from": begin})
        assert (error.code, desk.sent()) == ("INVALID_ARGUMENTS", [])


async def test_every_page_of_an_audit_query_has_one_begin(desk: Desk) -> None:
    first = await desk.call("query_audit", limit=1)
    await desk.sleep(100)
    await desk.call("query_audit", limit=1, cursor=first["next_cursor"])
    begins = {line.partition("from=")[2].partition("&")[0] for line in desk.lines()}
    assert begins == {"2026-04-23T03%3A06%3A40Z"}


# -- certificates ------------------------------------------------------------------------------


async def test_a_certificate_without_its_pem(desk: Desk) -> None:
    ids = await furnish(desk)
    one = {"certificate_id": ids["certificate"], "include_pem": False}
    result = await desk.call("get_certificate", **one)
    assert "certificate" not in result
    assert len(desk.lines()) == 1
    assert "certificate_pem" not in await desk.call("get_ca", ca_id=ids["ca"])


@pytest.mark.parametrize("answer", [{"certificate_pem": 7}, {}, "x", {"certificate_pem": "x"}])
async def test_a_certificate_that_is_none_is_a_mismatch(desk: Desk, answer: Any) -> None:
    ids = await furnish(desk)
    desk.fault("/v1/pki/ca/.*/certificate", answer=answer)
    error = await desk.refused("get_ca", ca_id=ids["ca"], include_pem=True)
    assert error.code == "UPSTREAM_SHAPE_MISMATCH"


async def chained(desk: Desk) -> dict[str, str]:
    """Return ids of a root, an authority below it and a certificate of that."""
    root = {"name": "top", "common_name": "Top", "ca_type": "root", **EC}
    top = await desk.rest("POST", "/v1/pki/ca", root)
    middle = {"name": "mid", "common_name": "Mid", "ca_type": "intermediate", **EC}
    mid = await desk.rest("POST", "/v1/pki/ca", {**middle, "parent_ca_id": top["id"]})
    role = {"name": "svc", "ca_id": mid["id"], "allowed_domains": ["svc.example.com"]}
    await desk.rest("POST", "/v1/pki/roles", role)
    leaf = await desk.rest("POST", "/v1/pki/issue/svc", {"common_name": "svc.example.com"})
    desk.forget()
    return {"top": top["id"], "mid": mid["id"], "leaf": leaf["id"], "pem": leaf["certificate"]}


async def test_a_chain_is_followed_to_its_root(desk: Desk) -> None:
    ids = await chained(desk)
    result = await desk.call("validate_certificate", certificate_id=ids["leaf"])
    assert (result["valid"], result["chain_ok"], result["revoked"]) == (True, True, False)
    assert f"GET /v1/pki/ca/{ids['top']}/crl" in desk.lines()


async def test_a_certificate_alone_finds_its_authority_by_name(desk: Desk) -> None:
    ids = await chained(desk)
    await desk.rest(
        "POST",
        "/v1/pki/ca",
        {"name": "same", "common_name": "Mid", "ca_type": "root", **EC},
    )
    given = {"certificate_pem": ids["pem"], "hostname": "svc.example.com"}
    assert (await desk.call("validate_certificate", **given))["valid"] is True
    given["hostname"] = "www.example.com"
    assert (await desk.call("validate_certificate", **given))["reasons"] == ["hostname_mismatch"]


async def test_an_authority_is_looked_for_on_every_page(desk: Desk) -> None:
    ids = await chained(desk)
    listed = await desk.rest("GET", "/v1/pki/ca")
    other = {"id": "ca_x", "common_name": "Other"}
    desk.fault("/v1/pki/ca", answer={"cas": [other], "has_more": True, "cursor": "c"})
    desk.fault("/v1/pki/ca", answer=listed)
    desk.forget()
    result = await desk.call("validate_certificate", certificate_pem=ids["pem"])
    assert result["valid"] is True
    assert desk.lines()[1] == "GET /v1/pki/ca?limit=200&cursor=c"


async def test_an_authority_of_the_same_name_that_has_not_signed_is_passed_over(desk: Desk) -> None:
    ids = await chained(desk)
    twin = {"name": "twin", "common_name": "Mid", "ca_type": "root", **EC}
    made = await desk.rest("POST", "/v1/pki/ca", twin)
    rows = [{"id": made["id"], "common_name": "Mid"}, {"id": ids["mid"], "common_name": "Mid"}]
    desk.fault("/v1/pki/ca", answer={"cas": rows})
    result = await desk.call("validate_certificate", certificate_pem=ids["pem"])
    assert result["valid"] is True


async def test_an_issuer_without_a_common_name_is_not_looked_for(desk: Desk) -> None:
    pem = make("", is_ca=False).pem
    result = await desk.call("validate_certificate", certificate_pem=pem)
    assert result["reasons"] == ["issuer_unknown", "revocation_unknown"]
    assert desk.lines() == []


async def test_a_stranger_has_no_known_issuer(desk: Desk) -> None:
    async with open_desk(seed="other") as elsewhere:
        pem = (await chained(elsewhere))["pem"]
    result = await desk.call("validate_certificate", certificate_pem=pem)
    assert result["valid"] is False
    assert result["reasons"] == ["issuer_unknown", "revocation_unknown"]
    assert result["revoked"] is None


async def test_a_revoked_certificate_is_not_valid(desk: Desk) -> None:
    ids = await chained(desk)
    await desk.call("revoke_certificate", certificate_id=ids["leaf"])
    result = await desk.call("validate_certificate", certificate_pem=ids["pem"])
    assert (result["valid"], result["revoked"], result["reasons"]) == (False, True, ["revoked"])
    desk.fault("/v1/pki/ca/.*/crl", status=404, code="crl_not_found", count=2)
    result = await desk.call("validate_certificate", certificate_id=ids["leaf"])
    assert (result["valid"], result["revoked"], result["reasons"]) == (False, True, ["revoked"])


async def test_a_certificate_is_judged_at_a_moment(desk: Desk) -> None:
    ids = await chained(desk)
    one = {"certificate_id": ids["leaf"]}
    for at, reason in (
        ("2020-01-01T00:00:00Z", "not_yet_valid"),
        ("2027-01-01T00:00:00Z", "expired"),
    ):
        result = await desk.call("validate_certificate", **one, at=at)
        assert reason in result["reasons"]
        assert result["valid"] is False


async def test_an_authority_that_is_gone_is_unknown_and_one_that_is_refused_an_error(
    desk: Desk,
) -> None:
    ids = await chained(desk)
    desk.fault("/v1/pki/ca/.*/certificate", status=404, code="ca_not_found", count=9)
    result = await desk.call("validate_certificate", certificate_id=ids["leaf"])
    assert "issuer_unknown" in result["reasons"]
    desk.served.vault.faults.clear()
    for path in ("certificate", "crl"):
        desk.fault(f"/v1/pki/ca/.*/{path}", status=403, code="access_denied")
        error = await desk.refused("validate_certificate", certificate_id=ids["leaf"])
        assert error.code == "access_denied"


async def test_b10_a_pem_that_is_none_is_refused(desk: Desk) -> None:
    pem = "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----"
    error = await desk.refused("validate_certificate", certificate_pem=pem)
    assert (error.code, desk.sent()) == ("INVALID_ARGUMENTS", [])
    assert "bm8" not in str(error.details)


async def test_a_stored_certificate_that_cannot_be_read_is_a_mismatch(desk: Desk) -> None:
    ids = await chained(desk)
    desk.fault("/v1/pki/certificates/.*", extra={"certificate": "garbage"})
    error = await desk.refused("validate_certificate", certificate_id=ids["leaf"])
    assert error.code == "UPSTREAM_SHAPE_MISMATCH"
    desk.fault("/v1/pki/certificates/.*", extra={"certificate": None})
    assert (await desk.call("validate_certificate", certificate_id=ids["leaf"]))["valid"] is True


# -- ACME --------------------------------------------------------------------------------------


async def order(desk: Desk, domain: str, **more: Any) -> Any:
    ids = await furnish(desk)
    return await desk.call(
        "request_certificate",
        account_id=ids["acme"],
        domains=[domain],
        challenge_type="http-01",
        **more,
    )


async def test_a_certificate_is_waited_for(desk: Desk) -> None:
    result = await order(desk, "a.example.com")
    assert result["status"] == "valid"
    assert result["certificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert result["certificate_id"].startswith("cert_")
    assert "not_after" in result
    assert desk.slept == [2.0, 2.0]


async def test_an_order_that_fails_says_so(desk: Desk) -> None:
    result = await order(desk, "fail.example.com")
    assert (result["status"], result["certificate_id"]) == ("invalid", None)


@pytest.mark.parametrize(("wait", "slept"), [(0, []), (1, [1.0]), (3, [2.0, 1.0])])
async def test_a_wait_ends(desk: Desk, wait: int, slept: list[float]) -> None:
    desk.fault(f"{ORDERS}/[^/]*", answer={"id": "x", "status": "processing"}, count=9)
    result = await order(desk, "a.example.com", wait_seconds=wait)
    assert (result["status"], desk.slept) == ("processing", slept)


async def test_an_order_whose_status_is_no_word_is_waited_for(desk: Desk) -> None:
    desk.fault(f"{ORDERS}/[^/]*", answer={"id": "x", "status": ["valid"]}, count=9)
    assert (await order(desk, "a.example.com", wait_seconds=1))["status"] == ["valid"]


@pytest.mark.parametrize("details", [None, {"state": "closed"}])
async def test_an_order_that_cannot_go_on_names_itself(desk: Desk, details: Any) -> None:
    ids = await furnish(desk)
    desk.fault(f"{ORDERS}/.*/complete", status=409, code="conflict", details=details)
    error = await desk.refused(
        "request_certificate",
        account_id=ids["acme"],
        domains=["a.example.com"],
        challenge_type="http-01",
    )
    assert error.code == "conflict"
    told = dict(error.members["details"])
    assert told.pop("order_id").startswith("ord_")
    assert told == (details or {})


async def test_a_certificate_that_is_not_in_its_order_is_fetched(desk: Desk) -> None:
    ids = await furnish(desk)
    done = {"id": "ord_x", "status": "valid", "certificate_id": ids["certificate"]}
    desk.fault(ORDERS, answer=done)
    result = await desk.call(
        "request_certificate",
        account_id=ids["acme"],
        domains=["a.example.com"],
        challenge_type="http-01",
    )
    assert result["certificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert result["ca_chain"]


# -- what this ScaiVault does not have ---------------------------------------------------------


@pytest.mark.parametrize("status", [404, 405])
async def test_a_missing_route_is_not_supported(desk: Desk, status: int) -> None:
    desk.fault("/v1/dynamic/leases", status=status)
    error = await desk.refused("list_leases")
    assert (error.code, len(desk.lines())) == ("NOT_SUPPORTED", 1)
    assert "scaivault_list_leases" in error.message
    desk.fault("/v1/policies", status=status)
    assert (await desk.refused("list_policies")).code == "UPSTREAM_ERROR"


async def test_service_accounts_may_be_missing() -> None:
    async with open_desk(identity_admin=False) as desk:
        assert (await desk.refused("list_service_accounts")).code == "NOT_SUPPORTED"


async def test_a_deletion_may_say_nothing(desk: Desk) -> None:
    desk.fault("/v1/subscriptions/.*", answer={})
    result = await desk.call("delete_subscription", subscription_id="sub_1")
    assert result == {"id": "sub_1", "deleted": True}


async def test_a_deletion_may_have_no_content(desk: Desk) -> None:
    async with serve_raw() as server:
        server.default = raw(b"HTTP/1.1 204 No Content\r\n\r\n", then_close=False)
        desk.client = VaultClient(desk.http, server.url, timing=desk.timing)
        desk.with_tools()
        result = await desk.call("delete_secret", path="app/db")
        assert result == {"path": "app/db", "deleted": True, "permanent": False}
        error = await desk.refused("write_secret", path="app/db", data={"a": 1})
        assert error.code == "UPSTREAM_SHAPE_MISMATCH"


async def test_a_call_as_a_whole_has_an_end(desk: Desk) -> None:
    desk.with_tools(call_seconds=0.05)
    desk.fault("/v1/secrets/.*", delay_ms=60_000, count=3)
    desk.shift -= 100
    read = await desk.refused("read_secret", path="app/db")
    write = await desk.refused("write_secret", path="app/db", data={"a": 1})
    assert (read.code, write.code) == ("UPSTREAM_TIMEOUT", "UPSTREAM_TIMEOUT")
    assert "may not have been applied" not in read.message
    assert "may not have been applied" in write.message


async def test_calls_at_once_ask_once_whose_the_token_is(desk: Desk) -> None:
    await desk.secret("app/db")
    desk.forget()
    guards = Guards(tenant_id="tnt_a")
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(desk.call("read_secret", guards, path="app/db"))
    assert desk.lines().count("GET /v1/auth/whoami") == 1
