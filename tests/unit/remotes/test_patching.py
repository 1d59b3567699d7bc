"""What a PATCH makes of a row. Spec: remote-servers 1 (PATCH rules)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from scaimcp.errors import RequestRefused
from scaimcp.remotes.enumerations import AuthType, ConsentTier, ToolChanges, Transport
from scaimcp.remotes.models import ServerRow
from scaimcp.remotes.registry.fields import read_changes
from scaimcp.remotes.registry.patching import Patch, patched
from scaimcp.remotes.rights import Actor
from scaimcp.remotes.rules.endpoint_policy import Endpoint

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ROW = ServerRow(
    "rs_1", "ten_1", "usr_1", "usr_1", False, "One", "one-000000", "",
    "https://a.example.com/mcp", "https://a.example.com:443", Transport.STREAMABLE_HTTP,
    AuthType.BEARER, ConsentTier.AUTO, ToolChanges.AUTO, False, None, 3, 1, 4, "usr_1", "usr_2",
    NOW, None, NOW, NOW,
)  # fmt: skip
OWNER = Actor("ten_1", "usr_1", use=True, own=True)
BOTH = Actor("ten_1", "usr_1", use=True, own=True, tenant=True)
SAME = Endpoint(
    "https://a.example.com/v2", "https://a.example.com:443", "a.example.com", 443, False
)
OTHER = Endpoint("https://b.example.com/", "https://b.example.com:443", "b.example.com", 443, False)


def patch(
    body: dict[str, Any],
    endpoint: Endpoint | None = None,
    *,
    row: ServerRow = ROW,
    actor: Actor = OWNER,
    needs: bool = False,
) -> Patch:
    return patched(row, read_changes(body), endpoint, needs_approval=needs, actor=actor)


def test_what_is_as_it_was_is_no_change() -> None:
    for body in ({}, {"name": "One"}, {"description": "", "timeout_seconds": None}):
        found = patch(body)
        assert (found.changed, found.row, found.credentials) == (frozenset(), ROW, None)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "Two"}, {"description": "d"}, {"consent_tier": "locked"},
        {"forward_user_id": True}, {"tool_changes": "review"}, {"timeout_seconds": 9},
    ],
)  # fmt: skip
def test_what_is_not_about_the_connection_raises_no_version(body: dict[str, Any]) -> None:
    found = patch(body)
    assert found.changed == set(body)
    assert not found.is_other
    assert (found.row.config_version, found.row.credential_version) == (1, 4)
    assert found.row.slug == ROW.slug


@pytest.mark.parametrize(
    ("body", "endpoint", "raised"),
    [
        ({"endpoint_url": "x"}, SAME, 0),
        ({"transport": "sse"}, None, 0),
        ({"credentials": {"authorization": "n"}}, None, 1),
        ({"auth_type": "none"}, None, 1),
        ({"endpoint_url": "x", "credentials": {"authorization": "n"}}, OTHER, 1),
    ],
)
def test_what_is_about_the_connection_makes_another_server(
    body: dict[str, Any], endpoint: Endpoint | None, raised: int
) -> None:
    found = patch(body, endpoint)
    assert found.is_other
    assert (found.row.config_version, found.row.credential_version) == (2, 4 + raised)
    assert (found.credentials is not None) == bool(raised)


@pytest.mark.parametrize(
    ("body", "endpoint"),
    [({"endpoint_url": "x"}, OTHER), ({"auth_type": "api_key_header"}, None)],
)
def test_secrets_stay_where_they_are(body: dict[str, Any], endpoint: Endpoint | None) -> None:
    with pytest.raises(RequestRefused) as refused:
        patch(body, endpoint)
    assert refused.value.code == "SCAILINK_CREDENTIALS_REQUIRED"


def test_a_server_without_credentials_moves_without_any() -> None:
    row = msgspec.structs.replace(ROW, auth_type=AuthType.NONE)
    found = patch({"endpoint_url": "x"}, OTHER, row=row)
    assert found.credentials == {}
    assert found.row.endpoint_origin == OTHER.origin


@pytest.mark.parametrize(
    ("actor", "needs", "approved_by", "waits"),
    [
        (OWNER, False, None, False), (OWNER, True, None, True),
        (BOTH, True, "usr_1", False), (BOTH, False, None, False),
    ],
)  # fmt: skip
def test_an_approval_is_of_one_origin(
    actor: Actor, needs: bool, approved_by: str | None, waits: bool
) -> None:
    body = {"endpoint_url": "x", "credentials": {"authorization": "n"}}
    found = patch(body, OTHER, actor=actor, needs=needs)
    assert (found.row.approved_by, found.is_waiting) == (approved_by, waits)
    kept = patch({"endpoint_url": "x"}, SAME, actor=actor, needs=needs)
    assert (kept.row.approved_by, kept.is_waiting) == ("usr_2", False)


def test_credentials_of_an_unknown_kind_cannot_be_set() -> None:
    row = msgspec.structs.replace(ROW, auth_type=None)
    assert patch({"credentials": {"a": "b"}}, row=row).credentials is None
