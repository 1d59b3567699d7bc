"""Users, their roles and their module permissions. Spec: scaigrid 3, 10."""

import re
from collections.abc import Iterable
from typing import Any

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.errors import PlatformError, conflict, denied, not_found
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.permissions import CORE_PERMISSIONS, MODULE_KEYS, ROLE_LEVELS
from scaimcp.dev.platform.store import Row

ROLE = f"enum({','.join(ROLE_LEVELS)})"
MODULE_PERMISSION = re.compile(r"[a-z0-9][a-z0-9-]*:(\*|[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)*)")
_user = view(
    "id email display_name status roles custom_role_ids tenant_id last_login_at created_at"
)


def sees_user(call: Call, user: Row) -> bool:
    """Tell whether a user is within the caller's walls; partner users are their partner's."""
    if user["tenant_id"] is not None or call.principal.reach == "platform":
        return call.sees_tenant(user["tenant_id"])
    return call.principal.reach == "partner" and user["partner_id"] == call.principal.partner_id


def reachable_user(call: Call, user_id: str) -> Row:
    """Return a user within the caller's walls.

    Raises:
        PlatformError: `USER_NOT_FOUND`.
    """
    user = call.table("users").get(user_id)
    if user is None or not sees_user(call, user):
        raise not_found("USER")
    return user


def check_level(call: Call, roles: Iterable[str]) -> None:
    """Refuse roles above the caller's own.

    Raises:
        PlatformError: `AUTHZ_PERMISSION_DENIED`.
    """
    if max((ROLE_LEVELS[role] for role in roles), default=0) > call.principal.level:
        raise PlatformError("AUTHZ_PERMISSION_DENIED", "The role is above the caller's own.")


def module_permission_faults(field: str, names: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Find fault with names that no module permission can have; `<module>:*` is one.

    Keys are looked up for the modules known here; other modules' only need the right form.
    """
    for number, name in enumerate(names):
        module, _, key = name.partition(":")
        known = MODULE_KEYS.get(module)
        fits = MODULE_PERMISSION.fullmatch(name) and name not in CORE_PERMISSIONS
        if not fits or (known is not None and key not in (*known, "*")):
            yield f"{field}[{number}]", "is not a module permission"


def check_grant(call: Call, permissions: Iterable[str]) -> None:
    """Refuse permissions the caller does not hold.

    Raises:
        PlatformError: `AUTHZ_PERMISSION_DENIED`.
    """
    for name in permissions:
        if not call.holds(name):
            raise denied(name)


def _named(call: Call) -> Row:
    return reachable_user(call, call.params["user_id"])


def _subordinate(call: Call) -> Row:
    user = _named(call)
    check_level(call, call.platform.auth.grants(user).roles)
    return user


def list_users(call: Call) -> Reply:
    """List the users."""
    wanted = {name: call.query[name] for name in ("status",) if name in call.query}
    rows = [user for user in call.table("users").find(**wanted) if sees_user(call, user)]
    return shape_a(call, rows, _user)


def get_user(call: Call) -> object:
    """Return one user."""
    return _user(_named(call))


def delete_user(call: Call) -> None:
    """Remove a user with their keys and memberships."""
    user = _subordinate(call)
    if user["id"] == call.user_id:
        raise conflict("Nobody removes themselves.")
    for key in call.table("api_keys").find(assigned_user_id=user["id"]):
        call.table("api_keys").delete(key["id"])
    for group in call.table("groups").find(tenant_id=user["tenant_id"]):
        left = [member for member in group["member_ids"] if member != user["id"]]
        call.table("groups").update(group["id"], {"member_ids": left})
    call.table("users").delete(user["id"])


def put_roles(call: Call) -> object:
    """Replace a user's roles and, where given, their custom roles."""
    user, body = _subordinate(call), call.body
    check_level(call, body["roles"])
    changes: Row = {"roles": list(dict.fromkeys(body["roles"]))}
    if "custom_role_ids" in body:
        changes["custom_role_ids"] = list(dict.fromkeys(body["custom_role_ids"]))
        for role_id in changes["custom_role_ids"]:
            role = call.table("custom_roles").get(role_id)
            if role is None or role["tenant_id"] != user["tenant_id"]:
                raise not_found("CUSTOM_ROLE")
            check_grant(call, role["core_permissions"])
    return _user(call.table("users").update(user["id"], changes))


def get_permissions(call: Call) -> Row:
    """Return the module permissions given to a user directly."""
    user = _named(call)
    return {"user_id": user["id"], "permissions": list(user.get("module_permissions", ()))}


def put_permissions(call: Call) -> Row:
    """Replace a user's own module permissions."""
    user = _subordinate(call)
    wanted = list(dict.fromkeys(call.body["permissions"]))
    check_grant(call, wanted)
    call.table("users").update(user["id"], {"module_permissions": wanted})
    return {"user_id": user["id"], "permissions": wanted}


def _check_permissions(body: dict[str, Any]) -> Iterable[tuple[str, str]]:
    return module_permission_faults("permissions", body["permissions"])


USERS, USER, MANAGE = "/v1/users", "/v1/users/{user_id}", "users:manage"
PERMISSIONS = f"{USER}/module-permissions"

FAMILY = Family(
    endpoints=(
        Endpoint(
            "GET", USERS, MANAGE, list_users, query=fields("@page, status:enum(active,suspended)")
        ),
        Endpoint("GET", USER, MANAGE, get_user),
        Endpoint("DELETE", USER, MANAGE, delete_user, audit="user.delete"),
        Endpoint(
            "PUT",
            f"{USER}/roles",
            MANAGE,
            put_roles,
            body=json_body(f"roles:list<{ROLE}>(<=6)*, custom_role_ids:list<id>(<=32)"),
            audit="user.role_update",
        ),
        Endpoint("GET", PERMISSIONS, MANAGE, get_permissions),
        Endpoint(
            "PUT",
            PERMISSIONS,
            MANAGE,
            put_permissions,
            body=json_body("permissions:list<str>(<=256)*", _check_permissions),
            audit="user.module_permission_update",
        ),
    )
)
