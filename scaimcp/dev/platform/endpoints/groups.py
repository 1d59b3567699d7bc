"""Groups of the identity provider, and the roles they give. Spec: scaigrid 10."""

from collections.abc import Iterable
from typing import Any

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.endpoints.users import ROLE, check_grant, check_level
from scaimcp.dev.platform.errors import conflict, not_found
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.store import Row

PAGE = fields("@page")
_group = view("id name external_id synced_at")
_mapping = view("id group_id role custom_role_id auto_revoke created_at")


def _show(row: Row) -> Row:
    return {**_group(row), "member_count": len(row["member_ids"])}


def list_groups(call: Call) -> Reply:
    """List the groups."""
    return shape_a(call, call.rows("groups"), _show)


def get_group(call: Call) -> Row:
    """Return one group with its members."""
    row = call.find("groups", call.params["group_id"], "GROUP")
    return {**_show(row), "member_ids": list(row["member_ids"])}


def list_mappings(call: Call) -> Reply:
    """List the role mappings."""
    return shape_a(call, call.rows("role_mappings"), _mapping)


def create_mapping(call: Call) -> object:
    """Give the members of a group a role."""
    body = call.body
    group = call.find("groups", body["group_id"], "GROUP")
    if "role" in body:
        check_level(call, [body["role"]])
    else:
        role = call.table("custom_roles").get(body["custom_role_id"])
        if role is None or role["tenant_id"] != group["tenant_id"]:
            raise not_found("CUSTOM_ROLE")
        check_grant(call, role["core_permissions"])
    row: Row = {"role": None, "custom_role_id": None, **body, "tenant_id": group["tenant_id"]}
    same = {name: row[name] for name in ("group_id", "role", "custom_role_id")}
    if call.table("role_mappings").first(**same):
        raise conflict("The group has that role already.")
    return _mapping(call.created("role_mappings", row))


def delete_mapping(call: Call) -> None:
    """Take a role from a group."""
    row = call.find("role_mappings", call.params["mapping_id"], "ROLE_MAPPING")
    call.table("role_mappings").delete(row["id"])


def _check_mapping(body: dict[str, Any]) -> Iterable[tuple[str, str]]:
    if ("role" in body) == ("custom_role_id" in body):
        yield "role", "exactly one of role and custom_role_id must be given"


GROUPS, MAPPINGS, MANAGE = "/v1/groups", "/v1/role-mappings", "users:manage"

FAMILY = Family(
    endpoints=(
        Endpoint("GET", GROUPS, MANAGE, list_groups, query=PAGE),
        Endpoint("GET", f"{GROUPS}/{{group_id}}", MANAGE, get_group),
        Endpoint("GET", MAPPINGS, MANAGE, list_mappings, query=PAGE),
        Endpoint(
            "POST",
            MAPPINGS,
            MANAGE,
            create_mapping,
            body=json_body(
                f"group_id:id*, role:{ROLE}, custom_role_id:id, auto_revoke:bool=true",
                _check_mapping,
            ),
            audit="role_mapping.create",
        ),
        Endpoint(
            "DELETE",
            f"{MAPPINGS}/{{mapping_id}}",
            MANAGE,
            delete_mapping,
            audit="role_mapping.delete",
        ),
    )
)
