"""Modules: listing, switching, configuration, tool manifests. Spec: scaigrid 4, 10, 11."""

from typing import Any

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import MAP_BODY, Endpoint, Family, json_body
from scaimcp.dev.platform.endpoints.demo_notes import MODULE_ID as DEMO_NOTES
from scaimcp.dev.platform.endpoints.demo_notes import TOOLS as DEMO_NOTES_TOOLS
from scaimcp.dev.platform.errors import PlatformError, conflict, not_found
from scaimcp.dev.platform.pages import view
from scaimcp.dev.platform.store import Row

MANIFESTS: dict[str, list[dict[str, Any]]] = {DEMO_NOTES: DEMO_NOTES_TOOLS}
_module = view(
    "id module_id display_name version description admin_pages dependencies permissions"
    " frontend_url"
)


def _show(call: Call, row: Row, tenant: Row | None) -> Row:
    active = call.platform.module_active(row["module_id"], tenant)
    shown = {**_module(row), "status": "active" if active else "disabled"}
    if "mcp_tools_path" in row:
        shown["mcp_tools_path"] = row["mcp_tools_path"]
    return shown


def _row(call: Call) -> Row:
    row = call.table("modules").first(module_id=call.params["module_id"])
    if row is None:
        raise not_found("MODULE")
    return row


def list_modules(call: Call) -> list[Row]:
    """List every module with its status for the caller's tenant."""
    return [_show(call, row, call.principal.tenant) for row in call.table("modules").all()]


def get_module(call: Call) -> Row:
    """Return one module."""
    return _show(call, _row(call), call.principal.tenant)


def enable(call: Call) -> Row:
    """Switch a module on for a tenant or a partner."""
    return _switch(call, "active")


def disable(call: Call) -> Row:
    """Switch a module off for a tenant or a partner."""
    return _switch(call, "disabled")


def _switch(call: Call, status: str) -> Row:
    row = _row(call)
    tenant = call.principal.tenant
    if "tenant_id" in call.body:
        tenant = call.table("tenants").get(call.body["tenant_id"])
        if tenant is None or not call.sees_tenant(tenant["id"]):
            raise not_found("TENANT")
    if tenant is None:
        raise PlatformError("AUTHZ_PERMISSION_DENIED", "The caller belongs to no tenant.")
    if call.body["scope"] == "partner":
        if call.principal.reach == "tenant":
            raise PlatformError(
                "AUTHZ_PERMISSION_DENIED", "The partner scope needs a partner role."
            )
        _set_state(call, row["module_id"], tenant["partner_id"], {"status": status})
    else:
        barred = call.platform.module_state(row["module_id"], tenant["partner_id"]) == "disabled"
        if barred and status == "active":
            raise conflict("The partner has disabled the module.")
        _set_state(call, row["module_id"], tenant["id"], {"status": status})
    return _show(call, row, tenant)


def _set_state(call: Call, module_id: str, scope_id: str, changes: Row) -> Row:
    table = call.table("module_states")
    state = table.first(scope_id=scope_id, module_id=module_id)
    if state is not None:
        return table.update(state["id"], changes)
    fresh = {"module_id": module_id, "scope_id": scope_id, "status": "disabled", "config": {}}
    return table.insert({**fresh, **changes})


def get_config(call: Call) -> Row:
    """Return the platform's configuration and the tenant's own."""
    row = _row(call)
    state = call.table("module_states").first(scope_id=call.tenant_id, module_id=row["module_id"])
    return {"global_config": row["global_config"], "scope_config": state["config"] if state else {}}


def put_config(call: Call) -> Row:
    """Merge into the tenant's configuration; null resets a key."""
    merged = {**get_config(call)["scope_config"], **call.body}
    config = {name: value for name, value in merged.items() if value is not None}
    _set_state(call, _row(call)["module_id"], call.tenant_id, {"config": config})
    # Names only: the values may be secret.
    call.audit_details["keys"] = sorted(call.body)
    return get_config(call)


def manifest(call: Call) -> Row:
    """Return the tools a module describes itself; most describe none."""
    module_id = call.params["module_id"]
    return {"manifest_version": 1, "module_id": module_id, "tools": MANIFESTS.get(module_id, [])}


MODULES, MODULE = "/v1/modules", "/v1/modules/{module_id}"
USE, MANAGE = "modules:use", "modules:manage"
SWITCH = json_body("scope:enum(tenant,partner)=tenant, tenant_id:id")

FAMILY = Family(
    endpoints=(
        Endpoint("GET", MODULES, USE, list_modules),
        Endpoint("GET", MODULE, USE, get_module),
        Endpoint("POST", f"{MODULE}/enable", MANAGE, enable, body=SWITCH, audit="module.enable"),
        Endpoint("POST", f"{MODULE}/disable", MANAGE, disable, body=SWITCH, audit="module.disable"),
        Endpoint("GET", f"{MODULE}/config", MANAGE, get_config),
        Endpoint(
            "PUT",
            f"{MODULE}/config",
            MANAGE,
            put_config,
            body=MAP_BODY,
            audit="module.config_update",
        ),
        Endpoint("GET", f"{MODULE}/mcp/tools", USE, manifest, module="{}"),
    )
)
