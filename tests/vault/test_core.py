"""Identity, tenants, envelope, routing. Spec: scaivault 7 (identity, envelope)."""

import pytest

from scaimcp.dev.platform import SEED_LOGINS, serve_platform
from scaimcp.dev.platform.tokens import TokenKeys
from scaimcp.dev.vault import VaultConfig
from scaimcp.dev.vault.fixture import (
    AGENT,
    AGENT_B,
    AGENT_Y,
    EXPIRED,
    NO_SCOPES,
    PARTNER_ADMIN,
    READER,
    REVOKED,
)
from tests.vault.conftest import START, Starter, World

WHOAMI = "/v1/auth/whoami"
STRIPE = "/v1/secrets/integrations/stripe/api-key"


async def test_whoami_names_identity_tenant_and_scopes(world: World) -> None:
    answer = await world.as_(READER).get(WHOAMI)
    assert answer.data == {
        "identity_id": "user:alice@acme.example",
        "identity_type": "user",
        "display_name": "alice@acme.example",
        "tenant_id": "tnt_a",
        "partner_id": "ptn_x",
        "scopes": ["secrets:read", "secrets:list", "policies:read", "audit:read"],
        "groups": ["group:users"],
        "roles": [],
        "mfa_verified_at": None,
        "token_expires_at": None,
    }


async def test_whoami_shows_the_times_of_a_token(world: World) -> None:
    caller = await world.token("skt_times", mfa_at=START, expires_at=START + 60, partner_admin=True)
    data = (await caller.get(WHOAMI)).data
    assert data["mfa_verified_at"] == "2027-01-15T08:00:00.000Z"
    assert data["token_expires_at"] == "2027-01-15T08:01:00.000Z"
    assert data["roles"] == ["partner_admin"]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "authentication_required"),
        ("Basic abc", "authentication_required"),
        ("Bearer ", "authentication_required"),
        ("Bearer sgk_0123456789abcdef", "token_invalid"),
        ("Bearer skt_unknown", "token_invalid"),
        ("Bearer eyJ.only.rubbish", "token_invalid"),
        ("Bearer scai_live_123", "token_invalid"),
        (f"Bearer {EXPIRED}", "token_expired"),
        (f"Bearer {REVOKED}", "token_revoked"),
    ],
)
async def test_a_bad_bearer_is_401(world: World, header: str | None, code: str) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = await world.anyone.get(WHOAMI, headers=headers)
    assert answer.refusal == (401, code)


async def test_a_token_expires_by_the_clock(world: World) -> None:
    caller = await world.token("skt_short", expires_at=START + 60)
    assert (await caller.get(WHOAMI)).status == 200
    await world.advance(60)
    assert (await caller.get(WHOAMI)).refusal == (401, "token_expired")


async def test_probes_and_version_need_no_bearer(world: World) -> None:
    health = await world.anyone.get("/v1/health")
    assert health.data == {"status": "healthy", "timestamp": "2027-01-15T08:00:00.000Z"}
    assert (await world.anyone.get("/v1/health/ready")).data["status"] == "ready"
    assert (await world.anyone.get("/v1/version")).data["api_version"] == "v1"


async def test_a_missing_scope_is_403(world: World) -> None:
    answer = await world.as_(NO_SCOPES).get(STRIPE)
    assert answer.refusal == (403, "insufficient_scope")
    assert answer.json["error"]["details"] == {"required": "secrets:read"}


async def test_an_error_has_the_envelope_and_its_request_id(world: World) -> None:
    answer = await world.agent.get("/v1/secrets/app/none", headers={"X-Request-ID": "my-1"})
    assert answer.json == {
        "error": {
            "code": "secret_not_found",
            "message": "There is no secret at this path.",
            "details": {"path": "app/none"},
            "request_id": "my-1",
        }
    }
    assert answer.headers["X-Request-ID"] == "my-1"


async def test_an_odd_request_id_is_replaced(world: World) -> None:
    answer = await world.agent.get(WHOAMI, headers={"X-Request-ID": "two words"})
    assert answer.headers["X-Request-ID"].startswith("req_")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/", 404),
        ("GET", "/v1/policies/", 404),
        ("POST", WHOAMI, 405),
        ("PATCH", STRIPE, 405),
        ("DELETE", "/v1/policies", 405),
    ],
)
async def test_unknown_routes_and_methods_have_no_code(
    world: World, method: str, path: str, status: int
) -> None:
    answer = await world.agent(method, path)
    assert answer.status == status
    assert "error" not in answer.json
    assert answer.headers["X-Request-ID"]


async def test_tenants_do_not_see_each_other(world: World) -> None:
    assert (await world.agent.store("app/db")).status == 201
    assert (await world.as_(AGENT_B).get("/v1/secrets/app/db")).status == 404
    assert (await world.as_(AGENT_Y).get(WHOAMI)).data["partner_id"] == "ptn_y"


async def test_a_partner_admin_acts_in_a_tenant_of_the_partner(world: World) -> None:
    await world.as_(AGENT_B).store("app/only-b")
    there = world.as_(PARTNER_ADMIN, **{"X-Tenant-ID": "tnt_b"})
    assert (await there.get("/v1/secrets/app/only-b")).status == 200
    assert (await world.as_(PARTNER_ADMIN).get("/v1/secrets/app/only-b")).status == 404


@pytest.mark.parametrize(
    ("token", "tenant"),
    [(PARTNER_ADMIN, "tnt_y"), (PARTNER_ADMIN, "tnt_unknown"), (AGENT, "tnt_b")],
)
async def test_another_tenant_is_refused(world: World, token: str, tenant: str) -> None:
    answer = await world.as_(token, **{"X-Tenant-ID": tenant}).get(STRIPE)
    assert answer.refusal == (403, "tenant_access_denied")


async def test_naming_the_own_tenant_changes_nothing(world: World) -> None:
    answer = await world.as_(AGENT, **{"X-Tenant-ID": "tnt_a"}).get(STRIPE)
    assert answer.status == 200


def claims(**more: object) -> dict[str, object]:
    known = {"sub": "u1", "tenant_id": "tnt_j", "partner_id": "ptn_j", "exp": int(START) + 60}
    return {**known, **more}


async def test_a_signed_token_is_known_by_the_key_set(start: Starter) -> None:
    keys = TokenKeys()
    world = await start(VaultConfig(frozen_at=START, jwks=keys.jwks))
    user = world.as_(keys.mint(claims(role="tenant_user")))
    data = (await user.get(WHOAMI)).data
    assert (data["identity_id"], data["identity_type"]) == ("user:u1", "user")
    assert (data["tenant_id"], data["groups"]) == ("tnt_j", ["group:users"])
    assert (await user.get(STRIPE)).status == 200
    assert (await user.put(STRIPE, {"data": {"a": 1}})).refusal == (403, "insufficient_scope")


async def test_roles_and_scope_claims_give_the_rights_of_a_token(start: Starter) -> None:
    keys = TokenKeys()
    world = await start(VaultConfig(frozen_at=START, jwks=keys.jwks))
    admin = (await world.as_(keys.mint(claims(role="tenant_admin"))).get(WHOAMI)).data
    assert (admin["scopes"], admin["groups"]) == (["admin"], ["group:admins"])
    narrow = keys.mint(claims(role="partner_admin", scope="audit:read pki:issue"))
    partner = (await world.as_(narrow).get(WHOAMI)).data
    assert partner["scopes"] == ["audit:read", "pki:issue"]
    assert partner["roles"] == ["partner_admin"]
    service = keys.mint(claims(token_type="client", sub="svc"))
    assert (await world.as_(service).get(WHOAMI)).data["identity_id"] == "sa:svc"


async def test_bad_signatures_claims_and_times_are_refused(start: Starter) -> None:
    keys = TokenKeys()
    world = await start(VaultConfig(frozen_at=START, jwks=keys.jwks))
    for token, code in (
        (keys.mint(claims(), bad_signature=True), "token_invalid"),
        (keys.mint(claims(tenant_id=None)), "token_invalid"),
        (keys.mint(claims(exp=int(START))), "token_expired"),
    ):
        assert (await world.as_(token).get(WHOAMI)).refusal == (401, code)
    await world.advance(60)
    late = world.as_(keys.mint(claims()))
    assert (await late.get(WHOAMI)).refusal == (401, "token_expired")


async def test_a_vault_without_keys_refuses_every_signed_token(world: World) -> None:
    token = TokenKeys().mint(claims())
    assert (await world.as_(token).get(WHOAMI)).refusal == (401, "token_invalid")


async def test_keys_are_read_from_the_identity_provider(start: Starter) -> None:
    async with serve_platform() as platform:
        config = VaultConfig(jwks_url=f"{platform.url}/.well-known/jwks.json")
        world = await start(config)
        wanted = {"login": SEED_LOGINS["tenant_admin"]}
        async with world.http.post(platform.url + "/__standin/tokens", json=wanted) as answer:
            token = (await answer.json())["token"]
        caller = world.as_(token)
        assert (await caller.get(WHOAMI)).data["scopes"] == ["admin"]
        assert (await caller.get(STRIPE)).status == 200


async def test_service_accounts_can_be_switched_off(world: World) -> None:
    address = "/v1/identity/service-accounts"
    assert (await world.agent.get(address)).status == 200
    await world.control.put("/identity-admin", {"enabled": False})
    answer = await world.agent.get(address)
    assert answer.status == 404
    assert "error" not in answer.json
