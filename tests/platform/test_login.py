"""The stand-in's sign-in: OpenID Connect with PKCE, users by button. Spec: scaigrid 2, 12."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from scaimcp.dev.plan import LOGIN_CLIENT
from scaimcp.dev.platform import SEED_LOGINS
from scaimcp.dev.platform.endpoints.login import CODE_SECONDS, GATEWAY_CLIENT
from tests.platform.conftest import Answer, Starter, World

BACK = "http://127.0.0.1:8080/login/callback"
VERIFIER = "v" * 43
ADMIN = SEED_LOGINS["tenant_admin"]


def challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def asked(**changed: str | None) -> str:
    given: dict[str, str | None] = {
        "response_type": "code",
        "client_id": GATEWAY_CLIENT,
        "redirect_uri": BACK,
        "scope": "openid",
        "state": "st&te",
        "nonce": "n0nce",
        "code_challenge": challenge(VERIFIER),
        "code_challenge_method": "S256",
        **changed,
    }
    return urlencode({name: value for name, value in given.items() if value is not None})


async def authorize(world: World, **changed: str | None) -> Answer:
    return await world.anyone.get(f"/v1/auth/authorize?{asked(**changed)}")


def parameters(answer: Answer) -> dict[str, str]:
    assert answer.status == 302
    assert answer.headers["location"].startswith(f"{BACK}?")
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    return {name: value for name, (value,) in query.items()}


async def code_of(world: World, login: str = ADMIN) -> str:
    return parameters(await authorize(world, login=login))["code"]


async def redeem(world: World, given_code: str, **changed: str | None) -> Answer:
    given: dict[str, str | None] = {
        "grant_type": "authorization_code",
        "code": given_code,
        "redirect_uri": BACK,
        "code_verifier": VERIFIER,
        "client_id": GATEWAY_CLIENT,
        **changed,
    }
    form = {name: value for name, value in given.items() if value is not None}
    return await world.anyone("POST", "/v1/auth/token", data=form)


async def test_the_document_says_where_everything_is(world: World) -> None:
    answer = await world.anyone.get("/.well-known/openid-configuration")
    found = answer.json
    told = (await world.anyone.get("/v1/scailink/auth/discover")).data
    same = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
    assert {name: found[name] for name in same} == {name: told[name] for name in same}
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["authorization_response_iss_parameter_supported"] is True


async def test_a_fixed_public_url_is_the_issuer_of_the_document(start: Starter) -> None:
    world = await start(public_url="https://platform.test")
    found = (await world.anyone.get("/.well-known/openid-configuration")).json
    assert found["issuer"] == "https://platform.test"


async def test_every_user_can_be_chosen_and_the_page_says_what_it_is(world: World) -> None:
    answer = await authorize(world)
    page = unescape(answer.content.decode())
    assert (answer.status, "not ScaiGrid" in page) == (200, True)
    buttons = re.findall(r'name="login" value="([^"]*)"', page)
    assert buttons == [*(row["email"] for row in world.rows("users")), "nobody"]
    assert 'name="state" value="st&te"' in page


async def test_a_chosen_user_gets_tokens_of_the_platforms_key(world: World) -> None:
    back = parameters(await authorize(world, login=ADMIN))
    assert (back["state"], back["iss"]) == ("st&te", world.served.url)
    answer = await redeem(world, back["code"])
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    tokens = answer.json
    keys = KeySet.import_key_set((await world.anyone.get("/.well-known/jwks.json")).json)
    said = jwt.decode(tokens["id_token"], keys, algorithms=["RS256"]).claims
    assert said["iss"] == world.served.url
    assert (said["aud"], said["nonce"]) == (GATEWAY_CLIENT, "n0nce")
    assert (said["sub"], said["email"]) == (world.user_id("tenant_admin"), ADMIN)
    assert said["exp"] - said["iat"] == 300
    half = hashlib.sha256(tokens["access_token"].encode()).digest()[:16]
    assert said["at_hash"] == base64.urlsafe_b64encode(half).rstrip(b"=").decode()
    me = await world.with_bearer(tokens["access_token"]).get("/v1/me")
    assert me.data["user"]["email"] == ADMIN
    assert tokens["token_type"] == "Bearer"


async def test_a_nonce_is_returned_only_where_one_came(world: World) -> None:
    back = parameters(await authorize(world, login=ADMIN, nonce=None, state=None))
    assert "state" not in back
    tokens = (await redeem(world, back["code"])).json
    payload = tokens["id_token"].split(".")[1]
    assert "nonce" not in msgspec.json.decode(base64.urlsafe_b64decode(payload + "=="))


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": "unknown"},
        {"client_id": None},
        {"redirect_uri": None},
        {"redirect_uri": "https://evil.example/login/callback"},
        {"redirect_uri": "http://127.0.0.1:8080/other"},
        {"redirect_uri": f"{BACK}?next=x"},
        {"redirect_uri": "ftp://127.0.0.1/login/callback"},
        {"redirect_uri": "http://[::1/login/callback"},
    ],
    ids=str,
)
async def test_an_unregistered_address_is_never_sent_to(world: World, changed: Any) -> None:
    answer = await authorize(world, login=ADMIN, **changed)
    assert answer.status == 400
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "email"}, "invalid_scope"),
        ({"scope": None}, "invalid_scope"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"login": "nobody"}, "access_denied"),
    ],
    ids=str,
)
async def test_a_request_out_of_order_goes_back_with_the_error(
    world: World, changed: Any, error: str
) -> None:
    back = parameters(await authorize(world, **{"login": ADMIN, **changed}))
    assert back == {"error": error, "state": "st&te", "iss": world.served.url}


async def test_a_suspended_user_cannot_sign_in(world: World) -> None:
    user_id = world.user_id("tenant_user")
    world.served.platform.store["users"].update(user_id, {"status": "suspended"})
    back = parameters(await authorize(world, login=SEED_LOGINS["tenant_user"]))
    assert back["error"] == "access_denied"


async def test_a_code_serves_once_and_one_minute(world: World) -> None:
    code = await code_of(world)
    assert (await redeem(world, code)).status == 200
    again = await redeem(world, code)
    assert (again.status, again.json) == (400, {"error": "invalid_grant"})
    late = await code_of(world)
    await world.control.post("/clock", {"seconds": CODE_SECONDS})
    assert (await redeem(world, late)).json == {"error": "invalid_grant"}


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"code": "guessed"}, 400, "invalid_grant"),
        ({"code": None}, 400, "invalid_grant"),
        ({"code_verifier": "w" * 43}, 400, "invalid_grant"),
        ({"code_verifier": None}, 400, "invalid_grant"),
        ({"redirect_uri": "http://localhost:8080/login/callback"}, 400, "invalid_grant"),
        ({"client_id": "unknown"}, 401, "invalid_client"),
        ({"client_id": None}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
    ids=str,
)
async def test_a_code_is_bound_to_what_asked_for_it(
    world: World, changed: Any, status: int, error: str
) -> None:
    answer = await redeem(world, await code_of(world), **changed)
    assert (answer.status, answer.json) == (status, {"error": error})


async def test_a_token_request_is_a_form(world: World) -> None:
    answer = await world.anyone.post("/v1/auth/token", {"grant_type": "authorization_code"})
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    answer = await world.anyone("POST", "/v1/auth/token", data={"code": "x", "odd": "1"})
    assert answer.faults == {"grant_type", "odd"}


async def test_a_reset_forgets_every_code(world: World) -> None:
    code = await code_of(world)
    await world.control.post("/reset")
    assert (await redeem(world, code)).json == {"error": "invalid_grant"}


def test_the_gateway_of_a_development_set_up_is_known() -> None:
    assert LOGIN_CLIENT == GATEWAY_CLIENT
