"""API keys. Spec: scaigrid 10."""

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.errors import denied, refuse
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.identity import digest_of
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.store import Row

KEYS, MANAGE = "/v1/api-keys", "api_keys:manage"
KEY_LENGTH = 40
_key = view("id name prefix scopes assigned_user_id expires_at last_used_at created_at")


def _may_manage_others(call: Call) -> bool:
    return call.holds("users:manage")


def list_keys(call: Call) -> Reply:
    """List the caller's keys; with users:manage, everybody's in reach."""
    rows = call.rows("api_keys")
    if not _may_manage_others(call):
        rows = [row for row in rows if row["assigned_user_id"] == call.user_id]
    return shape_a(call, rows, _key)


def create_key(call: Call) -> Row:
    """Make a key for the caller or another user; the answer alone holds the key itself."""
    body = call.body
    user_id = body.get("assigned_user_id", call.user_id)
    if user_id != call.user_id and not _may_manage_others(call):
        raise denied("users:manage")
    user = call.principal.user if user_id == call.user_id else call.find("users", user_id, "USER")
    if user.get("subject_type") == "client":
        refuse("assigned_user_id", "must name a user, since the caller is a client")
    if body.get("expires_at") is not None and body["expires_at"] <= call.now():
        refuse("expires_at", "must lie in the future")
    secret = call.platform.store.token("sgk_", KEY_LENGTH)
    row = call.created(
        "api_keys",
        {
            "name": body["name"],
            "prefix": secret[:8],
            "hash": digest_of(secret),
            # A key can never hold more than the one that made it.
            "scopes": ["*"] if call.principal.key is None else list(call.principal.key["scopes"]),
            "tenant_id": user["tenant_id"],
            "assigned_user_id": user["id"],
            "expires_at": body.get("expires_at"),
            "last_used_at": None,
        },
    )
    return {**_key(row), "key": secret}


def delete_key(call: Call) -> None:
    """Revoke a key at once."""
    key_id = call.params["key_id"]
    if _may_manage_others(call):
        call.find("api_keys", key_id, "API_KEY")
    else:
        call.own("api_keys", key_id, "API_KEY", "assigned_user_id")
    call.table("api_keys").delete(key_id)


FAMILY = Family(
    endpoints=(
        Endpoint("GET", KEYS, MANAGE, list_keys, query=fields("@page")),
        Endpoint(
            "POST",
            KEYS,
            MANAGE,
            create_key,
            body=json_body("name:str*, expires_at:ts, assigned_user_id:id"),
            audit="api_key.create",
        ),
        Endpoint("DELETE", f"{KEYS}/{{key_id}}", MANAGE, delete_key, audit="api_key.delete"),
    )
)
