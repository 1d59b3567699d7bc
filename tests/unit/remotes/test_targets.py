"""Credentials are opened for one request, bound to their place, and sent in their form."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from scaimcp.credentials.envelope import Place, seal
from scaimcp.credentials.errors import CredentialCorrupt, KeyUnavailable
from scaimcp.credentials.keys import LocalKeys
from scaimcp.credentials.store import StoredField
from scaimcp.remotes.enumerations import AuthType, ConsentTier, ToolChanges, Transport
from scaimcp.remotes.models import ServerRow
from scaimcp.remotes.watching.targets import CredentialMissing, open_target, opener
from scaimcp.settings import KeyRing
from scaimcp.types import Secret

NOW = datetime(2026, 11, 20, tzinfo=UTC)
KEYS = LocalKeys(KeyRing(("k1",), (bytes(range(32)),)))


def row(**changed: Any) -> ServerRow:
    values: dict[str, Any] = {
        "id": "rs_1", "tenant_id": "t", "owner_user_id": "u", "scope_key": "u",
        "is_tenant_shared": False, "name": "One", "slug": "one-123456", "description": "",
        "endpoint_url": "https://a.example/mcp", "endpoint_origin": "https://a.example:443",
        "transport": Transport.STREAMABLE_HTTP, "auth_type": AuthType.BEARER,
        "consent_tier": ConsentTier.AUTO, "tool_changes": ToolChanges.AUTO,
        "forward_user_id": False, "timeout_seconds": None, "version": 1, "config_version": 1,
        "credential_version": 1, "created_by": "u", "approved_by": None, "approved_at": None,
        "disabled_by": None, "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip
    return ServerRow(**values | changed)


async def sealed(at: ServerRow, **values: str) -> list[StoredField]:
    """Sealed fields; underscores in names stand for hyphens."""
    found = []
    for key, value in values.items():
        field = key.replace("_", "-")
        place = Place(at.tenant_id, at.id, field, at.endpoint_origin)
        kept = await seal(KEYS, place, Secret(value))
        found.append(StoredField(field, kept, 1, NOW, "u"))
    return found


def headers(target: Any) -> dict[str, str]:
    return {name: value.reveal() for name, value in target.credentials}


async def test_a_bearer_gets_its_scheme_back_and_nothing_else_goes_with_it() -> None:
    fields = await sealed(row(), authorization="ntn_x", x_old="left over")
    target = await open_target(KEYS, row(), fields)
    assert headers(target) == {"authorization": "Bearer ntn_x"}
    assert (target.url, target.user_id, target.hops) == ("https://a.example/mcp", None, 1)


async def test_key_headers_are_sent_verbatim() -> None:
    fields = await sealed(row(), authorization="Basic x", x_api_key="k")
    target = await open_target(KEYS, row(auth_type=AuthType.API_KEY_HEADER), fields)
    assert headers(target) == {"authorization": "Basic x", "x-api-key": "k"}


@pytest.mark.parametrize("auth_type", [AuthType.NONE, AuthType.PER_USER])
async def test_without_credentials_none_are_sent_though_some_are_stored(
    auth_type: AuthType,
) -> None:
    fields = await sealed(row(), authorization="x")
    assert headers(await open_target(KEYS, row(auth_type=auth_type), fields)) == {}


@pytest.mark.parametrize("is_forwarded", [True, False])
async def test_a_user_id_goes_out_only_where_the_server_asks_for_it(is_forwarded: bool) -> None:
    server = row(auth_type=AuthType.NONE, forward_user_id=is_forwarded)
    target = await open_target(KEYS, server, (), user_id="usr_1", hops=2)
    assert target.user_id == ("usr_1" if is_forwarded else None)
    assert target.hops == 2
    assert (await open_target(KEYS, server, ())).user_id is None


@pytest.mark.parametrize("auth_type", [AuthType.BEARER, AuthType.API_KEY_HEADER, None])
async def test_a_missing_credential_or_an_unknown_form_is_missing(
    auth_type: AuthType | None,
) -> None:
    with pytest.raises(CredentialMissing) as caught:
        await open_target(KEYS, row(auth_type=auth_type), ())
    assert caught.value.health_name == "CredentialMissingError"


async def test_an_unknown_form_sends_nothing_that_is_stored() -> None:
    fields = await sealed(row(), authorization="x")
    with pytest.raises(CredentialMissing):
        await open_target(KEYS, row(auth_type=None), fields)


@pytest.mark.parametrize(
    "moved",
    [{"id": "rs_2"}, {"tenant_id": "other"}, {"endpoint_origin": "https://b.example:443"}],
)
async def test_a_credential_opens_in_its_own_place_only(moved: dict[str, str]) -> None:
    fields = await sealed(row(), authorization="x")
    with pytest.raises(CredentialCorrupt):
        await open_target(KEYS, row(**moved), fields)


async def test_an_opener_opens_anew_for_each_request() -> None:
    fields = await sealed(row(), authorization="x")
    open_one = opener(KEYS, row(), fields)
    first, second = await open_one(), await open_one()
    assert headers(first) == headers(second) == {"authorization": "Bearer x"}
    assert first.credentials[0][1] is not second.credentials[0][1]


class SlowKeys(LocalKeys):
    """Keys that have to be asked for somewhere else."""

    async def unwrap(self, wrapped: bytes, aad: bytes) -> bytearray:
        await asyncio.sleep(0)
        return await super().unwrap(wrapped, aad)


async def test_a_request_waits_for_keys_that_are_held_elsewhere() -> None:
    fields = await sealed(row(), authorization="x")
    slow = SlowKeys(KeyRing(("k1",), (bytes(range(32)),)))
    assert headers(await opener(slow, row(), fields)()) == {"authorization": "Bearer x"}


async def test_a_key_that_is_not_loaded_stops_the_request_alone() -> None:
    fields = await sealed(row(), authorization="x")
    open_one = opener(LocalKeys(KeyRing(("k2",), (bytes(range(1, 33)),))), row(), fields)
    with pytest.raises(KeyUnavailable):
        await open_one()
