"""The sign-in's protocol against a provider that answers as told. Spec: mcp-configs 4.4."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from scaimcp.auth.identity_provider import (
    LoginClient,
    LoginFailed,
    is_safe,
    login_client,
    read_provider,
    refused,
)
from scaimcp.auth.issuer import Issuer
from scaimcp.auth.login import Attempt, Login
from scaimcp.outbound import Fetched, FetchFailed
from scaimcp.settings import Settings
from scaimcp.types import Secret
from tests.fakes.callers import Clock
from tests.fakes.idtokens import CLIENT, ISSUER, NONCE, NOW, USER, claims, key_set, rsa, signed

WELL_KNOWN = f"{ISSUER}/.well-known/openid-configuration"
BACK = "https://mcp.example/login/callback"
ATTEMPT = Attempt(NONCE, "v" * 43)
# The example of RFC 7636, appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
PUBLIC = LoginClient(CLIENT)


def metadata(**changed: Any) -> dict[str, Any]:
    base = {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/authorize",
        "token_endpoint": f"{ISSUER}/token",
        "jwks_uri": f"{ISSUER}/keys",
        **changed,
    }
    return {name: value for name, value in base.items() if value is not None}


class Named:
    """An issuer that is known."""

    def __init__(self, issuer: str | None = ISSUER) -> None:
        self.issuer = issuer

    async def get(self, request_id: str) -> str | None:
        return self.issuer


class Provider:
    """Answers by address; an exception is raised."""

    def __init__(self, **changed: Any) -> None:
        tokens = {"access_token": "access", "token_type": "Bearer", "id_token": signed(claims())}
        self.answers: dict[str, Any] = {
            WELL_KNOWN: (200, metadata(**changed)),
            f"{ISSUER}/token": (200, tokens),
            f"{ISSUER}/keys": (200, key_set(rsa())),
        }
        self.seen: list[tuple[str, str, Mapping[str, str], str]] = []

    async def __call__(
        self, method: str, url: str, *, headers: Mapping[str, str], body: str | None = None
    ) -> Fetched:
        self.seen.append((method, url, headers, body or ""))
        answer = self.answers[url]
        if isinstance(answer, Exception):
            raise answer
        status, content = answer
        encoded = content if isinstance(content, bytes) else msgspec.json.encode(content)
        return Fetched(status, encoded)

    def count(self, path: str) -> int:
        return sum(1 for _, url, _, _ in self.seen if url == ISSUER + path)

    @property
    def sent(self) -> dict[str, str]:
        """The fields of the last token request."""
        body = next(body for _, url, _, body in reversed(self.seen) if url == f"{ISSUER}/token")
        return {name: value for name, (value,) in parse_qs(body).items()}


class Setup:
    """A login, its provider and its clocks."""

    def __init__(self, client: LoginClient = PUBLIC, **changed: Any) -> None:
        self.provider = Provider(**changed)
        self.named = Named()
        self.clock = Clock()
        self.login = Login(
            client,
            cast(Issuer, self.named),
            self.provider,
            wall=lambda: NOW,
            monotonic=self.clock,
        )

    async def subject(self, **answer: str) -> str:
        given = answer or {"code": "c0de"}
        return await self.login.subject(given, ATTEMPT, BACK, "req_1")

    async def address(self, *, anew: bool = False, attempt: Attempt = ATTEMPT) -> dict[str, str]:
        address = await self.login.address(attempt, "sealed", BACK, "req_1", anew=anew)
        assert address.startswith(f"{ISSUER}/authorize?")
        return {name: value for name, (value,) in parse_qs(urlsplit(address).query).items()}

    def gives(self, path: str, status: int, content: Any) -> None:
        self.provider.answers[ISSUER + path] = (status, content)


async def failure(setup: Setup, **answer: str) -> tuple[str, str]:
    with pytest.raises(LoginFailed) as caught:
        await setup.subject(**answer)
    return caught.value.reason, caught.value.cause


# --- the way there ----------------------------------------------------------------------------


async def test_the_browser_is_sent_with_challenge_nonce_and_state() -> None:
    asked = await Setup().address(attempt=Attempt(NONCE, VERIFIER))
    assert asked == {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": BACK,
        "scope": "openid",
        "state": "sealed",
        "nonce": NONCE,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }


async def test_somebody_else_is_asked_to_name_himself() -> None:
    assert (await Setup().address(anew=True))["prompt"] == "login"


async def test_a_claim_of_its_own_is_asked_for() -> None:
    setup = Setup(LoginClient(CLIENT, subject_claim="grid_user"))
    assert (await setup.address())["scope"] == "openid profile email"


async def test_an_endpoint_keeps_its_own_parameters() -> None:
    setup = Setup(authorization_endpoint=f"{ISSUER}/authorize?realm=a")
    assert (await setup.address())["realm"] == "a"


async def test_an_issuer_with_a_path_has_its_document_below_it() -> None:
    setup = Setup()
    setup.named.issuer = f"{ISSUER}/realm/"
    url = f"{ISSUER}/realm/.well-known/openid-configuration"
    setup.provider.answers[url] = (200, metadata(issuer=f"{ISSUER}/realm/"))
    assert (await setup.address())["client_id"] == CLIENT


async def test_without_an_issuer_nobody_is_sent_anywhere() -> None:
    setup = Setup()
    setup.named.issuer = None
    assert await failure(setup) == ("unavailable", "no_issuer")
    setup.named.issuer = "http://id.example"
    assert await failure(setup) == ("unusable", "issuer")
    assert setup.provider.seen == []


# --- metadata ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"issuer": ISSUER + "/"}, ("distrusted", "metadata_issuer")),
        ({"issuer": None}, ("distrusted", "metadata")),
        ({"token_endpoint": 5}, ("distrusted", "metadata")),
        ({"token_endpoint": "http://id.example/token"}, ("unusable", "endpoint")),
        ({"jwks_uri": "/keys"}, ("unusable", "endpoint")),
        ({"authorization_endpoint": "javascript:alert(1)"}, ("unusable", "endpoint")),
        ({"code_challenge_methods_supported": ["plain"]}, ("unusable", "pkce")),
    ],
    ids=str,
)
async def test_a_document_that_cannot_be_used_is_refused(changed: Any, expected: Any) -> None:
    assert await failure(Setup(**changed)) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((404, b""), ("unusable", "document_404")),
        ((302, b""), ("unusable", "document_302")),
        ((500, b""), ("unavailable", "status_500")),
        ((429, b""), ("unavailable", "status_429")),
        ((200, b"<html>"), ("distrusted", "metadata")),
        (FetchFailed("timeout"), ("unavailable", "timeout")),
    ],
    ids=str,
)
async def test_without_a_document_nobody_is_sent_anywhere(answer: Any, expected: Any) -> None:
    setup = Setup()
    setup.provider.answers[WELL_KNOWN] = answer
    assert await failure(setup) == expected


@pytest.mark.parametrize(
    ("url", "allows_http", "expected"),
    [
        ("https://id.example/a", False, True),
        ("http://id.example/a", False, False),
        ("http://id.example/a", True, True),
        ("http://127.0.0.1:1/a", False, True),
        ("http://[::1]:1/a", False, True),
        ("ftp://127.0.0.1/a", True, False),
        ("https://", True, False),
        ("https://u@id.example/", True, False),
        ("https://id.example/#a", True, False),
        ("https://id.example/ a", True, False),
        ("https://[::1/", True, False),
        ("", True, False),
    ],
)
def test_addresses_are_safe_by_https_or_near(url: str, allows_http: bool, expected: bool) -> None:
    assert is_safe(url, allows_http=allows_http) is expected


async def test_a_document_serves_ten_minutes() -> None:
    setup = Setup()
    await setup.subject()
    setup.clock.forward(599)
    await setup.subject()
    assert (setup.provider.count("/.well-known/openid-configuration")) == 1
    assert setup.provider.count("/keys") == 1
    setup.clock.forward(1)
    await setup.subject()
    assert setup.provider.count("/.well-known/openid-configuration") == 2
    assert setup.provider.count("/keys") == 2


async def test_after_a_failure_there_is_a_pause() -> None:
    setup = Setup()
    setup.provider.answers[WELL_KNOWN] = FetchFailed("connect")
    assert await failure(setup) == ("unavailable", "connect")
    setup.gives("/.well-known/openid-configuration", 200, metadata())
    setup.clock.forward(4.9)
    assert await failure(setup) == ("unavailable", "connect")
    setup.clock.forward(0.1)
    assert await setup.subject() == USER


async def test_another_issuer_is_asked_at_once() -> None:
    setup = Setup()
    await setup.subject()
    setup.named.issuer = "https://other.example"
    setup.provider.answers["https://other.example/.well-known/openid-configuration"] = (500, b"")
    assert await failure(setup) == ("unavailable", "status_500")
    setup.named.issuer = ISSUER
    assert await setup.subject() == USER


# --- the way back -----------------------------------------------------------------------------


async def test_a_code_becomes_the_users_id() -> None:
    setup = Setup()
    assert await setup.subject() == USER
    assert setup.provider.sent == {
        "grant_type": "authorization_code",
        "redirect_uri": BACK,
        "code": "c0de",
        "code_verifier": ATTEMPT.verifier,
        "client_id": CLIENT,
    }


@pytest.mark.parametrize("iss", ["https://evil.example", ISSUER + "/", ""])
async def test_an_answer_of_another_issuer_is_not_redeemed(iss: str) -> None:
    setup = Setup()
    assert await failure(setup, code="c0de", iss=iss) == ("foreign", "iss")
    assert await failure(setup, error="access_denied", iss=iss) == ("foreign", "iss")
    assert setup.provider.count("/token") == 0


async def test_an_issuer_that_always_names_itself_must() -> None:
    setup = Setup(authorization_response_iss_parameter_supported=True)
    assert await failure(setup) == ("foreign", "iss")
    assert await setup.subject(code="c0de", iss=ISSUER) == USER


async def test_an_answer_without_a_code_is_none() -> None:
    assert await failure(Setup(), state="sealed") == ("foreign", "code")
    assert await failure(Setup(), code="") == ("foreign", "code")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("access_denied", ("declined", "access_denied")),
        ("login_required", ("declined", "login_required")),
        ("temporarily_unavailable", ("unavailable", "temporarily_unavailable")),
        ("invalid_scope", ("unusable", "invalid_scope")),
        ("<script>", ("unusable", "unreadable")),
        ("x" * 65, ("unusable", "unreadable")),
    ],
)
async def test_an_error_answer_is_understood(error: str, expected: Any) -> None:
    assert await failure(Setup(), error=error) == expected


@pytest.mark.parametrize(
    ("status", "content", "expected"),
    [
        (400, {"error": "invalid_grant"}, ("stale", "invalid_grant")),
        (401, {"error": "invalid_client"}, ("unusable", "invalid_client")),
        (400, {"error": 5}, ("unusable", "unreadable")),
        (400, b"<html>", ("unusable", "unreadable")),
        (200, b"<html>", ("distrusted", "token_answer_200")),
        (200, {"token_type": "Bearer", "id_token": "x"}, ("distrusted", "token_answer_200")),
        (200, {"access_token": "a", "token_type": "Bearer"}, ("distrusted", "token_answer_200")),
        (307, b"", ("distrusted", "token_answer_307")),
        (503, b"", ("unavailable", "status_503")),
    ],
    ids=str,
)
async def test_a_token_answer_that_is_none_signs_nobody_in(
    status: int, content: Any, expected: Any
) -> None:
    setup = Setup()
    setup.gives("/token", status, content)
    assert await failure(setup) == expected


@pytest.mark.parametrize(
    "changed", [{"token_type": "mac"}, {"access_token": ""}, {"status": 201}], ids=str
)
async def test_a_token_answer_must_be_whole(changed: dict[str, Any]) -> None:
    setup = Setup()
    status, tokens = setup.provider.answers[f"{ISSUER}/token"]
    status = changed.pop("status", status)
    setup.gives("/token", status, {**tokens, **changed})
    assert await failure(setup) == ("distrusted", f"token_answer_{status}")


async def test_the_token_type_is_bearer_in_any_case() -> None:
    setup = Setup()
    _, tokens = setup.provider.answers[f"{ISSUER}/token"]
    setup.gives("/token", 200, {**tokens, "token_type": "bEARER"})
    assert await setup.subject() == USER


async def test_an_id_token_that_says_something_else_signs_nobody_in() -> None:
    setup = Setup()
    _, tokens = setup.provider.answers[f"{ISSUER}/token"]
    setup.gives("/token", 200, {**tokens, "id_token": signed(claims(nonce="other"))})
    assert await failure(setup) == ("distrusted", "id_token_claims")
    assert setup.provider.count("/keys") == 1


# --- keys -------------------------------------------------------------------------------------


async def test_new_keys_are_fetched_when_none_fits() -> None:
    setup = Setup()
    await setup.subject()
    _, tokens = setup.provider.answers[f"{ISSUER}/token"]
    setup.gives("/token", 200, {**tokens, "id_token": signed(claims(), rsa("r2"))})
    setup.gives("/keys", 200, key_set(rsa(), rsa("r2")))
    setup.clock.forward(5)
    assert await setup.subject() == USER
    assert setup.provider.count("/keys") == 2


async def test_keys_are_not_fetched_for_every_forged_token() -> None:
    setup = Setup()
    _, tokens = setup.provider.answers[f"{ISSUER}/token"]
    setup.gives("/token", 200, {**tokens, "id_token": signed(claims(), rsa("r2"))})
    for _ in range(5):
        assert await failure(setup) == ("distrusted", "id_token_signature")
    assert setup.provider.count("/keys") == 1


@pytest.mark.parametrize(
    ("status", "content", "expected"),
    [
        (200, b"<html>", ("distrusted", "key_set")),
        (200, b"[" * 5000, ("distrusted", "key_set")),
        (404, b"", ("unusable", "document_404")),
    ],
    ids=str,
)
async def test_without_keys_nobody_is_signed_in(status: int, content: Any, expected: Any) -> None:
    setup = Setup()
    setup.gives("/keys", status, content)
    assert await failure(setup) == expected


# --- the client -------------------------------------------------------------------------------


@pytest.mark.parametrize("supported", [None, ["client_secret_post", "client_secret_basic"]])
async def test_a_secret_goes_into_the_header(supported: list[str] | None) -> None:
    client = LoginClient("a:b", Secret("p+%ü"))
    setup = Setup(client, token_endpoint_auth_methods_supported=supported)
    _, tokens = setup.provider.answers[f"{ISSUER}/token"]
    setup.gives("/token", 200, {**tokens, "id_token": signed(claims(aud="a:b"))})
    assert await setup.subject() == USER
    headers = setup.provider.seen[1][2]
    scheme, _, encoded = headers["Authorization"].partition(" ")
    # Encoded as a form first: RFC 6749, 2.3.1.
    assert (scheme, base64.b64decode(encoded)) == ("Basic", b"a%3Ab:p%2B%25%C3%BC")
    assert {"client_id", "client_secret"} & set(setup.provider.sent) == set()


async def test_a_secret_goes_into_the_body_where_nothing_else_is_taken() -> None:
    client = LoginClient(CLIENT, Secret("p+%ü"))
    setup = Setup(client, token_endpoint_auth_methods_supported=["client_secret_post"])
    assert await setup.subject() == USER
    assert setup.provider.sent["client_secret"] == "p+%ü"
    assert "Authorization" not in setup.provider.seen[1][2]


async def test_a_provider_that_takes_no_secret_is_not_sent_one() -> None:
    client = LoginClient(CLIENT, Secret("hush"))
    setup = Setup(client, token_endpoint_auth_methods_supported=["private_key_jwt"])
    assert await failure(setup) == ("unusable", "auth_method")
    assert setup.provider.count("/token") == 0


def test_the_settings_name_the_client() -> None:
    assert login_client(Settings()) is None
    made = login_client(
        Settings(
            login_client_id="a",
            login_client_secret=Secret("b"),
            login_subject_claim="c",
            platform_allow_http=True,
        )
    )
    assert made == LoginClient("a", Secret("b"), "c", True)


def test_a_provider_is_read_to_the_letter() -> None:
    found = read_provider(msgspec.json.encode(metadata()), ISSUER, PUBLIC)
    assert (found.auth_method, found.tells_issuer) == ("none", False)


@pytest.mark.parametrize(
    ("reason", "status", "wait"),
    [("unavailable", 503, 5), ("unusable", 503, 5), ("distrusted", 502, None),
     ("declined", 403, None), ("stale", 400, None), ("foreign", 400, None)],
)  # fmt: skip
def test_every_failure_has_its_status(reason: str, status: int, wait: int | None) -> None:
    error = LoginFailed(reason)
    assert (error.http_status, error.retry_after) == (status, wait)
    assert error.message.endswith(".")


def test_what_a_provider_says_is_not_repeated() -> None:
    assert "drop" not in str(refused("drop table; --").cause)
