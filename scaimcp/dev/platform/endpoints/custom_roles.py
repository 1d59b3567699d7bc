"""Custom roles: additive, of one tenant. Spec: scaigrid 3, 10."""

from collections.abc import Iterable
from typing import Any

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.endpoints.users import check_grant, module_permission_faults
from scaimcp.dev.platform.errors import conflict
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.permissions import CORE_PERMISSIONS
from scaimcp.dev.platform.store import Row

ROLE_FIELDS = fields(
    "name:str*, slug:slug(1-64)*, description:str(<=2000), core_permissions:list<str>(<=15),"
    "module_permissions:list<str>(<=256)"
)
LISTS = ("core_permissions", "module_permissions")
_role = view(
    "id tenant_id name slug description core_permissions module_permissions created_by created_at"
    " updated_at"
)


def _named(call: Call) -> Row:
    return call.find("custom_roles", call.params["role_id"], "CUSTOM_ROLE")


def _given(call: Call) -> Row:
    """Return the body's fields; nobody puts into a role what they do not hold themselves."""
    given = dict(call.body)
    for name in LISTS:
        if name in given:
            given[name] = list(dict.fromkeys(given[name]))
            check_grant(call, given[name])
    return given


def list_roles(call: Call) -> Reply:
    """List the custom roles."""
    return shape_a(call, call.rows("custom_roles"), _role)


def get_role(call: Call) -> object:
    """Return one custom role."""
    return _role(_named(call))


def create_role(call: Call) -> object:
    """Add a custom role to the caller's tenant."""
    tenant_id = call.tenant_id
    if call.table("custom_roles").first(tenant_id=tenant_id, slug=call.body["slug"]):
        raise conflict("The slug is taken.", "SLUG_CONFLICT")
    row: Row = {
        "description": None,
        "core_permissions": [],
        "module_permissions": [],
        **_given(call),
        "tenant_id": tenant_id,
        "created_by": call.user_id,
        "updated_at": call.now(),
    }
    return _role(call.created("custom_roles", row))


def update_role(call: Call) -> object:
    """Change the given fields; a list replaces the stored one."""
    row = _named(call)
    changes = {**_given(call), "updated_at": call.now()}
    return _role(call.table("custom_roles").update(row["id"], changes))


def delete_role(call: Call) -> None:
    """Remove a custom role and take it from everybody who has it."""
    row = _named(call)
    for user in call.table("users").find(tenant_id=row["tenant_id"]):
        if row["id"] in user["custom_role_ids"]:
            left = [role_id for role_id in user["custom_role_ids"] if role_id != row["id"]]
            call.table("users").update(user["id"], {"custom_role_ids": left})
    for mapping in call.table("role_mappings").find(custom_role_id=row["id"]):
        call.table("role_mappings").delete(mapping["id"])
    call.table("custom_roles").delete(row["id"])


def _check(body: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for number, name in enumerate(body.get("core_permissions", ())):
        if name not in CORE_PERMISSIONS:
            yield f"core_permissions[{number}]", "is not a core permission"
    yield from module_permission_faults("module_permissions", body.get("module_permissions", ()))


ROLES, ROLE, MANAGE = "/v1/iam/custom-roles", "/v1/iam/custom-roles/{role_id}", "users:manage"

FAMILY = Family(
    endpoints=(
        Endpoint("GET", ROLES, MANAGE, list_roles, query=fields("@page")),
        Endpoint(
            "POST",
            ROLES,
            MANAGE,
            create_role,
            body=json_body(ROLE_FIELDS, _check),
            audit="custom_role.create",
        ),
        Endpoint("GET", ROLE, MANAGE, get_role),
        Endpoint(
            "PUT",
            ROLE,
            MANAGE,
            update_role,
            body=json_body(ROLE_FIELDS.partial("slug"), _check),
            audit="custom_role.update",
        ),
        Endpoint("DELETE", ROLE, MANAGE, delete_role, audit="custom_role.delete"),
    )
)
