"""``GET /v1/me`` into a caller: every row of scaigrid 2."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scaimcp.auth.identity import read_profile
from scaimcp.errors import PlatformFailure, RequestRefused
from tests.catalogue import CORE, MODULE

KEY = b"k" * 32
USER = {"id": "usr_1", "email": "a@b.example", "display_name": "A", "status": "active"}
TENANT = {"id": "tnt_1", "slug": "acme", "display_name": "Acme", "status": "active"}
FULL: dict[str, Any] = {
    "user": USER,
    "tenant": TENANT,
    "partner": {"id": "prt_1", "slug": "north", "display_name": "North"},
    "roles": ["tenant_user"],
    "custom_roles": [{"id": "crl_1", "slug": "writers", "name": "Writers"}],
    "groups": ["grp_1"],
    "permissions": ["models:list"],
    "module_permissions": ["scaimatrix:search"],
    "auth": {
        "method": "api_key",
        "subject_type": "user",
        "issued_at": None,
        "expires_at": None,
        "api_key": {"id": "apikey_1", "scopes": ["*"], "expires_at": "2027-01-15T08:00:00Z"},
    },
}
GONE = object()


def profile(**changes: Any) -> dict[str, Any]:
    merged = {**FULL, **changes}
    return {name: value for name, value in merged.items() if value is not GONE}


def read(data: Any, *, token_role: str | None = None, is_open: bool = True) -> Any:
    raw = data if isinstance(data, bytes) else msgspec.json.encode(data)
    return read_profile(raw, KEY, token_role=token_role, fallback_open=is_open, confirmed_at=17.0)


def test_a_full_profile_becomes_a_caller() -> None:
    caller = read(FULL)
    assert (caller.key, caller.user_id, caller.tenant_id) == (KEY, "usr_1", "tnt_1")
    assert (caller.tenant_slug, caller.partner_id) == ("acme", "prt_1")
    assert caller.grants.core == {"models:list"}
    assert caller.grants.module == {"scaimatrix:search"}
    assert caller.grants.roles == {"tenant_user"}
    assert (caller.grants.source, caller.grants.fallback_open) == ("me", False)
    assert caller.custom_role_ids == ("crl_1",)
    assert (caller.method, caller.subject_type) == ("api_key", "user")
    assert (caller.confirmed_at, caller.is_stale) == (17.0, False)
    assert caller.expires_at == 1_800_000_000.0
    assert msgspec.json.decode(bytes(caller.profile)) == FULL


def test_optional_members_may_be_absent_or_null() -> None:
    for value in (GONE, None):
        caller = read(profile(partner=value, custom_roles=value, auth=value, groups=value))
        assert (caller.partner_id, caller.custom_role_ids) == ("", ())
        assert (caller.method, caller.subject_type, caller.expires_at) == ("jwt", "user", None)


def test_a_client_credentials_token_names_the_client() -> None:
    caller = read(profile(auth={"method": "jwt", "subject_type": "client", "api_key": None}))
    assert caller.subject_type == "client"


def test_a_slug_that_nobody_needs_may_be_null() -> None:
    roles = [{"id": "crl_1", "slug": None}]
    caller = read(profile(tenant={**TENANT, "slug": None}, custom_roles=roles))
    assert (caller.tenant_id, caller.tenant_slug) == ("tnt_1", "")


def test_the_flat_profile_is_understood() -> None:
    caller = read(
        {"id": "usr_9", "email": "x", "tenant_id": "tnt_9", "partner_id": "prt_9", "name": "N"}
    )
    assert (caller.user_id, caller.tenant_id, caller.partner_id) == ("usr_9", "tnt_9", "prt_9")
    assert (caller.tenant_slug, caller.grants.source) == ("", "unresolved")


def test_a_flat_profile_with_lists_is_read_like_the_other() -> None:
    caller = read(
        {"id": "usr_9", "tenant_id": "tnt_9", "permissions": [], "module_permissions": ["*"]}
    )
    assert (caller.grants.core, caller.grants.module) == (frozenset(), {"*"})


@pytest.mark.parametrize("role", ["super_admin", "partner_admin", "partner_viewer"])
def test_platform_and_partner_users_need_no_tenant(role: str) -> None:
    assert read(profile(tenant=None, partner=None, roles=[role])).tenant_id == ""


@pytest.mark.parametrize(
    "data",
    [
        {},
        profile(user=GONE),
        profile(user={"id": ""}),
        profile(tenant=None),
        profile(tenant=GONE),
        profile(tenant={"id": ""}, roles=["tenant_admin"]),
        {"id": "usr_1"},
        {"tenant_id": "tnt_1"},
        [],
        None,
        profile(permissions="models:list"),
        profile(permissions=[1]),
        profile(roles={}),
        profile(user=[]),
        b"",
        b"{",
        b"\xff",
    ],
)
def test_less_than_user_and_tenant_is_a_bad_answer(data: Any) -> None:
    with pytest.raises(PlatformFailure) as caught:
        read(data)
    assert (caught.value.code, caught.value.http_status) == ("PLATFORM_BAD_RESPONSE", 502)


@pytest.mark.parametrize("status", ["suspended", "deleted", "", "Active", "<script>"])
@pytest.mark.parametrize("owner", ["user", "tenant"])
def test_whoever_is_not_active_is_refused(owner: str, status: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        read(profile(**{owner: {**FULL[owner], "status": status}}))
    assert (caught.value.code, caught.value.http_status) == ("AUTHZ_PERMISSION_DENIED", 403)
    assert caught.value.message == f"This {owner} is not active."


def test_a_suspended_user_of_a_flat_profile_is_refused_too() -> None:
    with pytest.raises(RequestRefused):
        read({"id": "usr_9", "tenant_id": "tnt_9", "status": "suspended"})


def test_empty_lists_mean_no_permissions() -> None:
    grants = read(profile(permissions=[], module_permissions=[], roles=["super_admin"])).grants
    assert (grants.core, grants.module, grants.source) == (frozenset(), frozenset(), "me")


@pytest.mark.parametrize("absent", [GONE, None])
@pytest.mark.parametrize("custom", [GONE, None, []])
def test_absent_lists_are_filled_from_the_roles(absent: Any, custom: Any) -> None:
    grants = read(
        profile(permissions=absent, module_permissions=absent, custom_roles=custom,
                roles=["tenant_viewer", "partner_viewer"]),
        token_role="super_admin",
    ).grants  # fmt: skip
    assert grants.core == set(CORE["tenant_viewer"]) | set(CORE["partner_viewer"])
    assert grants.module == set(MODULE["tenant_viewer"])
    assert (grants.source, grants.fallback_open) == ("roles", False)


def test_one_absent_list_is_filled_and_the_other_kept() -> None:
    grants = read(profile(permissions=GONE, custom_roles=[])).grants
    assert grants.core == set(CORE["tenant_user"])
    assert (grants.module, grants.source) == ({"scaimatrix:search"}, "roles")
    grants = read(profile(module_permissions=GONE, custom_roles=[], roles=["tenant_admin"])).grants
    assert (grants.core, grants.module) == ({"models:list"}, {"*"})


def test_empty_roles_give_nothing_and_do_not_fall_through() -> None:
    changes = {"permissions": GONE, "module_permissions": GONE, "custom_roles": [], "roles": []}
    grants = read(profile(**changes), token_role="tenant_admin").grants
    assert (grants.core, grants.module, grants.source) == (frozenset(), frozenset(), "roles")


@pytest.mark.parametrize("roles", [GONE, None])
def test_without_roles_the_confirmed_tokens_role_counts(roles: Any) -> None:
    changes = {"permissions": GONE, "module_permissions": GONE, "custom_roles": GONE}
    grants = read(profile(roles=roles, **changes), token_role="tenant_admin").grants
    assert grants.core == set(CORE["tenant_admin"])
    assert (grants.module, grants.source) == ({"*"}, "token_role")
    assert grants.roles == {"tenant_admin"}


def test_an_unknown_token_role_gives_nothing() -> None:
    changes = {"permissions": GONE, "module_permissions": GONE, "custom_roles": GONE, "roles": GONE}
    grants = read(profile(**changes), token_role="emperor").grants
    assert (grants.core, grants.module, grants.source) == (frozenset(), frozenset(), "token_role")


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize(
    "changes", [{"roles": ["tenant_admin"]}, {"roles": GONE}, {"custom_roles": GONE, "roles": GONE}]
)
def test_custom_roles_or_nothing_usable_leave_permissions_unresolved(
    changes: dict[str, Any], is_open: bool
) -> None:
    token_role = None if "custom_roles" in changes else "tenant_admin"
    grants = read(
        profile(permissions=GONE, module_permissions=GONE, **changes),
        token_role=token_role,
        is_open=is_open,
    ).grants
    assert (grants.core, grants.module) == (None, None)
    assert (grants.source, grants.fallback_open) == ("unresolved", is_open)


def test_a_stated_list_stays_stated_when_the_other_is_unresolved() -> None:
    grants = read(profile(module_permissions=GONE)).grants
    assert (grants.core, grants.module) == ({"models:list"}, None)
    grants = read(profile(permissions=GONE)).grants
    assert (grants.core, grants.module) == (None, {"scaimatrix:search"})


@pytest.mark.parametrize(
    ("token_end", "key_end", "expected"),
    [
        ("2027-01-15T08:00:00Z", None, 1_800_000_000.0),
        (None, "2027-01-15T09:00:00+01:00", 1_800_000_000.0),
        ("2027-01-15T08:00:00", None, 1_800_000_000.0),
        ("2027-01-15T08:00:00Z", "2027-01-15T07:59:00Z", 1_799_999_940.0),
        ("2027-01-15T07:59:00Z", "2027-01-15T08:00:00Z", 1_799_999_940.0),
        (None, None, None),
        ("", "soon", None),
        ("0001-01-01T00:00:00", None, -62_135_596_800.0),
    ],
)
def test_the_earliest_stated_end_counts(
    token_end: str | None, key_end: str | None, expected: float | None
) -> None:
    auth = {"expires_at": token_end, "api_key": {"expires_at": key_end} if key_end else None}
    assert read(profile(auth=auth)).expires_at == expected


def test_unknown_members_are_kept_for_the_profile_only() -> None:
    caller = read(profile(extra={"deep": [1]}))
    assert b'"extra"' in bytes(caller.profile)
