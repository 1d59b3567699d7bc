"""Sign a browser's user in at the platform's identity provider: OpenID Connect, code with PKCE.

The protocol only: what is sent, what comes back and whether it can be believed. Pages, cookies
and the sealed state are the edge's affair. Authlib forms the requests and checks the claims; its
HTTP clients are not used. Spec: mcp-configs 4.4 (`login`), scaigrid 2.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, Protocol, TypeVar
from urllib.parse import quote_plus

import msgspec
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from scaimcp.auth.id_token import Expected, IdTokenRefused, SigningKey, read_keys, subject_of
from scaimcp.auth.identity_provider import (
    BASIC,
    PAUSE_SECONDS,
    LoginClient,
    LoginFailed,
    Provider,
    is_safe,
    read_provider,
    refused,
)
from scaimcp.auth.issuer import Issuer
from scaimcp.outbound import Fetched, FetchFailed

KEEP_SECONDS = 600.0
_WELL_KNOWN = "/.well-known/openid-configuration"
_JSON = {"accept": "application/json"}
_FORM = {**_JSON, "content-type": "application/x-www-form-urlencoded"}

T = TypeVar("T")


class Fetch(Protocol):
    """Sends one small request; see `scaimcp.outbound.fetch`."""

    async def __call__(
        self, method: str, url: str, *, headers: Mapping[str, str], body: str | None = None
    ) -> Fetched:
        """Return the answer.

        Raises:
            FetchFailed: there is no whole one.
        """
        ...


class Attempt(msgspec.Struct, frozen=True, array_like=True):
    """What binds the answer of a sign-in to its beginning; both are secret and used once."""

    nonce: str
    verifier: str


class _Tokens(msgspec.Struct):
    access_token: str
    token_type: str
    id_token: str


class _Refusal(msgspec.Struct):
    error: str = ""


class _Kept(Generic[T]):
    """One fetched document: fetched by one at a time, kept for ten minutes, a failure briefly."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._name = ""
        self._value: T | None = None
        self._failure = ("", "")
        self._at = 0.0

    async def get(
        self, name: str, load: Callable[[], Awaitable[T]], *, is_newer: bool = False
    ) -> T:
        """Return the document called `name`, as `load` fetches it.

        Args:
            name: another one drops what is kept.
            load: fetches it.
            is_newer: what is kept was of no use: fetch again, unless it was fetched just now.

        Raises:
            LoginFailed: as `load`.
        """
        async with self._lock:
            age = self._monotonic() - self._at
            if name == self._name and self._value is None and age < PAUSE_SECONDS:
                raise LoginFailed(*self._failure)
            most = PAUSE_SECONDS if is_newer else KEEP_SECONDS
            if name == self._name and self._value is not None and age < most:
                return self._value
            self._name, self._value = name, None
            try:
                self._value = await load()
            except LoginFailed as error:
                self._failure = (error.reason, error.cause)
                raise
            finally:
                self._at = self._monotonic()
            return self._value


class Login:
    """Signs users in.

    Args:
        client: this gateway at the provider.
        issuer: which provider.
        fetch: sends requests to it.
        wall: the wall clock, for the life of tokens.
        monotonic: clock for the age of documents, in seconds.
    """

    def __init__(
        self,
        client: LoginClient,
        issuer: Issuer,
        fetch: Fetch,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._issuer = issuer
        self._fetch = fetch
        self._wall = wall
        self._provider: _Kept[Provider] = _Kept(monotonic)
        self._keys: _Kept[tuple[SigningKey, ...]] = _Kept(monotonic)

    async def address(
        self, attempt: Attempt, state: str, redirect_uri: str, request_id: str, *, anew: bool
    ) -> str:
        """Return where the browser signs in.

        Args:
            attempt: kept until the answer comes.
            state: comes back with the answer.
            redirect_uri: where the answer goes.
            request_id: of the request that asks.
            anew: have the user name himself again, as somebody else perhaps.

        Raises:
            LoginFailed: the provider does not answer, or not usably.
        """
        provider = await self._provider_now(request_id)
        is_plain = self._client.subject_claim == "sub"
        more = {"prompt": "login"} if anew else {}
        return str(
            prepare_grant_uri(
                provider.authorization_endpoint,
                self._client.client_id,
                "code",
                redirect_uri=redirect_uri,
                # Claims beyond the subject come with these.
                scope="openid" if is_plain else "openid profile email",
                state=state,
                nonce=attempt.nonce,
                code_challenge=create_s256_code_challenge(attempt.verifier),
                code_challenge_method="S256",
                **more,
            )
        )

    async def subject(
        self, answer: Mapping[str, str], attempt: Attempt, redirect_uri: str, request_id: str
    ) -> str:
        """Return the platform's id of the user who has signed in.

        Args:
            answer: the parameters with which the browser came back.
            attempt: what the browser was sent away with.
            redirect_uri: where it came back.
            request_id: of the request that asks.

        Raises:
            LoginFailed: it is no answer of this provider's, it says no, or what the provider
                then tells cannot be believed.
        """
        provider = await self._provider_now(request_id)
        named = answer.get("iss")
        # Before the code is used, and for refusals as well: it may be another provider's.
        if named != provider.issuer and (named is not None or provider.tells_issuer):
            raise LoginFailed("foreign", "iss")
        if "error" in answer:
            raise refused(answer["error"])
        if not answer.get("code"):
            raise LoginFailed("foreign", "code")
        tokens = await self._tokens(provider, answer["code"], attempt, redirect_uri)
        expected = Expected(
            provider.issuer,
            self._client.client_id,
            attempt.nonce,
            tokens.access_token,
            self._client.subject_claim,
        )
        return await self._checked(provider, tokens.id_token, expected)

    async def _checked(self, provider: Provider, token: str, expected: Expected) -> str:
        try:
            return await self._proved(provider, token, expected)
        except IdTokenRefused as error:
            reason = error.reason
        if reason == "signature":
            # The provider may have changed its keys since they were fetched.
            try:
                return await self._proved(provider, token, expected, is_newer=True)
            except IdTokenRefused as error:
                reason = error.reason
        raise LoginFailed("distrusted", f"id_token_{reason}")

    async def _proved(
        self, provider: Provider, token: str, expected: Expected, *, is_newer: bool = False
    ) -> str:
        keys = await self._keys.get(
            provider.jwks_uri, lambda: self._load_keys(provider), is_newer=is_newer
        )
        return subject_of(token, keys, expected, self._wall())

    async def _tokens(
        self, provider: Provider, code: str, attempt: Attempt, redirect_uri: str
    ) -> _Tokens:
        body = prepare_token_request(
            "authorization_code",
            redirect_uri=redirect_uri,
            code=code,
            code_verifier=attempt.verifier,
        )
        answer = await self._sent("POST", provider.token_endpoint, *self._named(provider, body))
        if answer.status in (400, 401):
            raise refused(_error_of(answer.body))
        try:
            tokens = msgspec.json.decode(answer.body, type=_Tokens)
        except ValueError:
            raise LoginFailed("distrusted", f"token_answer_{answer.status}") from None
        is_usable = tokens.token_type.lower() == "bearer" and tokens.access_token
        if answer.status != 200 or not is_usable:
            raise LoginFailed("distrusted", f"token_answer_{answer.status}")
        return tokens

    def _named(self, provider: Provider, body: str) -> tuple[dict[str, str], str]:
        """Return headers and body of a token request that names this client."""
        name, secret = self._client.client_id, self._client.secret
        plain = secret.reveal() if secret is not None else ""
        if provider.auth_method == BASIC:
            # Authlib leaves this step of RFC 6749, 2.3.1 to its callers.
            name, plain = quote_plus(name), quote_plus(plain)
        auth = ClientAuth(name, plain, provider.auth_method)
        _, headers, named = auth.prepare("POST", provider.token_endpoint, dict(_FORM), body)
        return headers, named

    async def _provider_now(self, request_id: str) -> Provider:
        issuer = await self._issuer.get(request_id)
        if issuer is None:
            raise LoginFailed("unavailable", "no_issuer")
        if not is_safe(issuer, allows_http=self._client.allows_http):
            raise LoginFailed("unusable", "issuer")
        return await self._provider.get(issuer, lambda: self._load_provider(issuer))

    async def _load_provider(self, issuer: str) -> Provider:
        answer = await self._document(issuer.rstrip("/") + _WELL_KNOWN)
        return read_provider(answer, issuer, self._client)

    async def _load_keys(self, provider: Provider) -> tuple[SigningKey, ...]:
        body = await self._document(provider.jwks_uri)
        try:
            return read_keys(body)
        except (ValueError, RecursionError):
            raise LoginFailed("distrusted", "key_set") from None

    async def _document(self, url: str) -> bytes:
        answer = await self._sent("GET", url, _JSON)
        if answer.status != 200:
            raise LoginFailed("unusable", f"document_{answer.status}")
        return answer.body

    async def _sent(
        self, method: str, url: str, headers: Mapping[str, str], body: str | None = None
    ) -> Fetched:
        try:
            answer = await self._fetch(method, url, headers=headers, body=body)
        except FetchFailed as error:
            raise LoginFailed("unavailable", error.reason) from None
        if answer.status >= 500 or answer.status == 429:
            raise LoginFailed("unavailable", f"status_{answer.status}")
        return answer


def _error_of(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Refusal).error
    except ValueError:
        return ""
