"""The lock to a tenant or partner, and tokens that change. Spec: scaivault 2.4, 2.7, 3, 8."""

from __future__ import annotations

import msgspec
import pytest

from scaimcp.dev.vault.fixture import (
    AGENT,
    AGENT_B,
    AGENT_Y,
    EXPIRED,
    PARTNER_ADMIN,
)
from scaimcp.scaivault.context_lock import FRESH_SECONDS, ContextLock, Identity
from scaimcp.scaivault.guards import Guards
from tests.integration.scaivault.desk import Desk, identity_of

WHOAMI = "GET /v1/auth/whoami"
READ = "GET /v1/secrets/app/db"
TENANT_A, TENANT_B = Guards(tenant_id="tnt_a"), Guards(tenant_id="tnt_b")


async def test_g53_the_own_tenant_needs_no_header(desk: Desk) -> None:
    await desk.secret("app/db")
    desk.forget()
    await desk.call("read_secret", TENANT_A, path="app/db")
    await desk.call("read_secret", TENANT_A, path="app/db")
    assert desk.lines() == [WHOAMI, READ, READ]
    assert not any("x-tenant-id" in row["headers"] for row in desk.sent())


async def test_g54_another_tenant_goes_with_every_request(desk: Desk) -> None:
    desk.identity = identity_of(PARTNER_ADMIN)
    await desk.call("read_secret", TENANT_B, path="reports/mailer")
    whoami, read = desk.sent()
    assert "x-tenant-id" not in whoami["headers"]
    assert read["headers"]["x-tenant-id"] == "tnt_b"
    desk.identity = identity_of(AGENT)
    error = await desk.refused("read_secret", TENANT_B, path="reports/mailer")
    assert error.code == "tenant_access_denied"


async def test_g55_a_lock_to_a_tenant_refuses_the_partners_policies(desk: Desk) -> None:
    rules = [{"path_pattern": "app/**", "permissions": ["read"]}]
    new = {"name": "p", "rules": rules, "scope": "partner"}
    for tool, arguments in (("create_policy", new), ("list_policies", {"scope": "partner"})):
        error = await desk.refused(tool, TENANT_A, **arguments)
        assert error.code == "TENANT_LOCKED"
    assert set(desk.lines()) <= {WHOAMI}


@pytest.mark.parametrize("answer", [{}, {"partner_id": None}, {"partner_id": "ptn_z"}])
async def test_g56_a_partner_must_be_stated_and_fit(desk: Desk, answer: dict[str, str]) -> None:
    desk.fault("/v1/auth/whoami", answer=answer)
    error = await desk.refused("read_secret", Guards(partner_id="ptn_x"), path="app/db")
    assert (error.code, desk.lines()) == ("TENANT_LOCKED", [WHOAMI])


async def test_g56_a_partner_that_fits_passes(desk: Desk) -> None:
    await desk.secret("app/db")
    await desk.call("read_secret", Guards(partner_id="ptn_x"), path="app/db")
    desk.identity = identity_of(AGENT_Y)
    error = await desk.refused("read_secret", Guards(partner_id="ptn_x"), path="app/db")
    assert error.code == "TENANT_LOCKED"


async def test_g56_nothing_is_sent_while_nobody_says_whose_the_token_is(desk: Desk) -> None:
    desk.fault("/v1/auth/whoami", status=503, code="service_unavailable", count=3)
    error = await desk.refused("read_secret", TENANT_A, path="app/db")
    assert error.code == "service_unavailable"
    assert set(desk.lines()) == {WHOAMI}


@pytest.mark.parametrize("answer", [[], "x", 7])
async def test_an_identity_that_is_no_object_is_a_mismatch(desk: Desk, answer: object) -> None:
    desk.fault("/v1/auth/whoami", answer=answer)
    error = await desk.refused("read_secret", TENANT_A, path="app/db")
    assert (error.code, desk.lines()) == ("UPSTREAM_SHAPE_MISMATCH", [WHOAMI])


async def test_without_a_stated_tenant_a_lock_refuses(desk: Desk) -> None:
    desk.fault("/v1/auth/whoami", answer={"partner_id": "ptn_x"})
    error = await desk.refused("read_secret", TENANT_B, path="app/db")
    assert (error.code, desk.lines()) == ("TENANT_LOCKED", [WHOAMI])


async def test_what_is_known_of_a_token_is_fresh_for_five_minutes(desk: Desk) -> None:
    await desk.secret("app/db")
    desk.forget()
    for seconds, asked in ((0.0, 1), (FRESH_SECONDS - 1, 1), (1.0, 2)):
        desk.shift += seconds
        await desk.call("read_secret", TENANT_A, path="app/db")
        assert desk.lines().count(WHOAMI) == asked


async def test_no_more_tokens_are_known_than_may_be(desk: Desk) -> None:
    lock = ContextLock(desk.client, most_entries=1)
    for token in (AGENT, AGENT, PARTNER_ADMIN, AGENT):
        await lock.check(identity_of(token), TENANT_A, desk.monotonic() + 60)
    assert desk.lines() == [WHOAMI] * 3


async def test_rows_and_objects_of_another_tenant_are_kept_back(desk: Desk) -> None:
    await desk.secret("app/db")
    desk.fault("/v1/secrets/", extra_rows={"tenant_id": "tnt_b"})
    assert (await desk.call("list_secrets", TENANT_A))["items"] == []
    desk.fault("/v1/secrets/app/db", extra={"tenant_id": "tnt_b"})
    error = await desk.refused("read_secret", TENANT_A, path="app/db")
    assert error.code == "TENANT_LOCKED"


# -- in the gateway ----------------------------------------------------------------------------


async def test_the_gateways_tenant_must_be_the_tokens_own(desk: Desk) -> None:
    await desk.secret("app/db")
    desk.forget()
    desk.identity = identity_of(AGENT, tenant_id="tnt_a", request_id="req_1")
    await desk.call("read_secret", path="app/db")
    assert desk.lines() == [WHOAMI, READ]
    for row in desk.sent():
        assert row["headers"]["x-request-id"] == "req_1"
        assert "x-tenant-id" not in row["headers"]
    desk.forget()
    desk.identity = identity_of(PARTNER_ADMIN, tenant_id="tnt_b")
    error = await desk.refused("read_secret", path="app/db")
    assert (error.code, desk.lines()) == ("TENANT_LOCKED", [WHOAMI])


async def test_the_lock_can_be_checked_alone(desk: Desk) -> None:
    await desk.tools.check_lock(desk.identity, TENANT_A)
    await desk.tools.check_lock(desk.identity, Guards())
    assert desk.lines() == [WHOAMI]


# -- tokens that change ------------------------------------------------------------------------


async def test_a_changed_token_is_tried_once(desk: Desk) -> None:
    await desk.secret("app/db")
    desk.forget()
    fresh = identity_of(AGENT)
    desk.identity = identity_of(EXPIRED, renewed=lambda: fresh)
    result = await desk.call("read_secret", TENANT_A, path="app/db")
    assert result["path"] == "app/db"
    assert desk.lines() == [WHOAMI, WHOAMI, READ]


async def test_a_changed_token_passes_the_lock_again(desk: Desk) -> None:
    await desk.secret("app/db")
    desk.forget()
    other = identity_of(AGENT_Y)
    desk.identity = identity_of(EXPIRED, renewed=lambda: other)
    error = await desk.refused("read_secret", Guards(partner_id="ptn_x"), path="app/db")
    assert (error.code, desk.lines()) == ("TENANT_LOCKED", [WHOAMI, WHOAMI])


async def test_a_token_that_is_refused_in_the_middle_is_renewed_behind_the_lock(
    desk: Desk,
) -> None:
    await desk.secret("app/db")
    await desk.tools.check_lock(desk.identity, TENANT_A)
    desk.forget()
    fresh = identity_of(AGENT_B)
    desk.identity = msgspec.structs.replace(identity_of(AGENT), renewed=lambda: fresh)
    desk.fault("/v1/secrets/.*", status=401, code="token_expired")
    error = await desk.refused("write_secret", TENANT_A, path="app/db", data={"a": 1})
    assert error.code == "tenant_access_denied"
    write = "PUT /v1/secrets/app/db"
    assert desk.lines() == [write, WHOAMI, write]
    assert desk.sent()[-1]["headers"]["x-tenant-id"] == "tnt_a"


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_token_that_has_not_changed_is_not_tried_again(desk: Desk, is_known: bool) -> None:
    def unchanged() -> Identity | None:
        return None

    desk.identity = identity_of(EXPIRED, renewed=unchanged if is_known else None)
    error = await desk.refused("read_secret", path="app/db")
    assert error.code.startswith("token_")
    assert desk.lines() == [READ]
