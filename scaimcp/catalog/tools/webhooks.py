"""Tools for webhooks and for switching modules. Data only. Spec: core-tools 1."""

from __future__ import annotations

from scaimcp.catalog.definition import PAGE, Rule, ToolDefinition, tool
from scaimcp.catalog.notation import arg
from scaimcp.catalog.results import DELETED, an, fields, list_of

WEBHOOK_ID = arg(
    "webhook_id:id*", "Identifier of the webhook, for example whk_01J8, from webhooks_list."
)
MODULE_ID = arg(
    "module_id:id*",
    "Name of the module as in the module_id of modules_list, for example scaimatrix.",
)
SCOPE = arg(
    "scope:enum(tenant,partner)",
    "Switch for one tenant or for the whole partner, whose switching off wins; tenant when left "
    "out.",
)
TENANT_ID = arg(
    "tenant_id:id",
    "Tenant to switch it for, for example tnt_01J8; the caller's tenant when left out.",
)

TOOLS: tuple[ToolDefinition, ...] = (
    tool(
        "webhooks_list",
        "List webhooks",
        "List the tenant's webhooks page by page; use it to see where events are sent and which "
        "webhooks are failing; returns address, events, status and failures in a row of each.",
        "GET /v1/webhooks",
        PAGE,
        permission="webhooks:manage",
        hints="R I",
        result=list_of("Webhook"),
    ),
    tool(
        "webhooks_get",
        "Get a webhook",
        "Read one webhook; use it to check its address, events and failures before changing it; "
        "returns all of its fields but never its secret.",
        "GET /v1/webhooks/{webhook_id}",
        (WEBHOOK_ID,),
        permission="webhooks:manage",
        hints="R I",
        result=an("Webhook"),
    ),
    tool(
        "webhooks_create",
        "Create a webhook",
        "Have the platform post chosen events to an https address; use it to tell another system "
        "about what happens, then try it with webhooks_test; returns the new webhook without its "
        "secret.",
        "POST /v1/webhooks",
        (
            arg(
                "url:str(≤2048)*",
                "https address that receives the events, for example https://example.com/hooks.",
            ),
            arg(
                "events:list<str(1–128)>(1–64)*",
                "Names of the events to send, 1 to 64, for example model.create.",
            ),
            arg(
                "secret:str(16–128)",
                "Secret of 16 to 128 characters that signs each delivery, never shown again; the "
                "platform decides when left out.",
            ),
            arg(
                "status:enum(active,inactive)",
                "Whether events are sent; active when left out.",
            ),
            arg(
                "max_retries:int(0–10)",
                "Further attempts after a failed delivery, 0 to 10; 5 when left out.",
            ),
        ),
        permission="webhooks:manage",
        hints="O",
        result=an("Webhook"),
    ),
    tool(
        "webhooks_update",
        "Update a webhook",
        "Change address, events, secret, status or retries of one webhook, leaving the others as "
        "they are; use it to redirect or to pause deliveries; returns the webhook as it is now.",
        "PUT /v1/webhooks/{webhook_id}",
        (
            WEBHOOK_ID,
            arg(
                "url:str(≤2048)",
                "New https address that receives the events; unchanged when left out.",
            ),
            arg(
                "events:list<str(1–128)>(1–64)",
                "Names of all events to send from now on, for example model.create, replacing the "
                "old list; unchanged when left out.",
            ),
            arg(
                "secret:str(16–128)",
                "New secret of 16 to 128 characters that signs each delivery, never shown again; "
                "unchanged when left out.",
            ),
            arg(
                "status:enum(active,inactive)",
                "Whether events are sent; unchanged when left out.",
            ),
            arg(
                "max_retries:int(0–10)",
                "Further attempts after a failed delivery, 0 to 10; unchanged when left out.",
            ),
        ),
        permission="webhooks:manage",
        hints="I O",
        result=an("Webhook"),
    ),
    tool(
        "webhooks_delete",
        "Delete a webhook",
        "Delete one webhook for good; use it when its receiver is gone, or webhooks_update with "
        "status inactive to pause it; returns a confirmation with the webhook's identifier.",
        "DELETE /v1/webhooks/{webhook_id}",
        (WEBHOOK_ID,),
        permission="webhooks:manage",
        hints="D I",
        result=DELETED,
    ),
    tool(
        "webhooks_test",
        "Test a webhook",
        "Send one test event to a webhook's address now; use it after creating or changing a "
        "webhook; returns the receiver's status code, the duration and the error if there is one.",
        "POST /v1/webhooks/{webhook_id}/test",
        (WEBHOOK_ID,),
        permission="webhooks:manage",
        hints="O",
        result=fields("delivery_id, status_code, duration_ms, error?"),
    ),
    tool(
        "webhooks_list_deliveries",
        "List webhook deliveries",
        "List what was sent to one webhook page by page; use it to find out why a receiver misses "
        "events; returns event, status, status code, attempts and error of each delivery.",
        "GET /v1/webhooks/{webhook_id}/deliveries",
        (
            WEBHOOK_ID,
            *PAGE,
            arg(
                "status:enum(success,failed,pending)",
                "Only deliveries with this outcome; all when left out.",
            ),
            arg(
                "since:ts",
                "Only deliveries from this time on, RFC 3339 in UTC, for example "
                "2026-01-31T08:00:00Z; of any time when left out.",
            ),
        ),
        permission="webhooks:manage",
        hints="R I",
        result=list_of("Delivery"),
    ),
    tool(
        "modules_list",
        "List modules",
        "List the platform's modules and whether they are enabled for the caller's tenant; use it "
        "to see why a module's tools are missing; returns name and status of each module and how "
        "they were found.",
        "GET /v1/modules",
        (
            arg(
                "status:enum(active,available,error,disabled)",
                "Only modules with this status, active for enabled ones; all when left out.",
            ),
        ),
        permission="",
        hints="R I",
        result=list_of("Module", "modules_source"),
    ),
    tool(
        "modules_get",
        "Get a module",
        "Read one module; use it to learn what it does, what it depends on and which permissions "
        "it brings; returns all of the module's fields.",
        "GET /v1/modules/{module_id}",
        (MODULE_ID,),
        permission="modules:use",
        hints="R I",
        result=an("Module"),
    ),
    tool(
        "modules_enable",
        "Enable a module",
        "Switch a module on for a tenant or partner; use it when a module's tools are wanted but "
        "missing, as they appear right afterwards; returns the module with its new status.",
        "POST /v1/modules/{module_id}/enable",
        (MODULE_ID, SCOPE, TENANT_ID),
        permission="modules:manage",
        hints="I",
        result=an("Module"),
    ),
    tool(
        "modules_disable",
        "Disable a module",
        "Switch a module off for a tenant or partner; use it when nobody there shall use the "
        "module, as its tools vanish at once; returns the module with its new status.",
        "POST /v1/modules/{module_id}/disable",
        (MODULE_ID, SCOPE, TENANT_ID),
        permission="modules:manage",
        hints="D I",
        result=an("Module"),
    ),
    tool(
        "modules_get_config",
        "Get a module's configuration",
        "Read the configuration of one module; use it before modules_update_config to see which "
        "keys exist; returns the platform-wide values and those set for the caller's scope.",
        "GET /v1/modules/{module_id}/config",
        (MODULE_ID,),
        permission="modules:manage",
        hints="R I",
        result=fields("global_config, scope_config"),
    ),
    tool(
        "modules_update_config",
        "Change a module's configuration",
        "Set or reset configuration keys of one module; use it after modules_get_config, with at "
        "least one of config and reset_keys; returns the platform-wide values and those of the "
        "caller's scope.",
        "PUT /v1/modules/{module_id}/config",
        (
            MODULE_ID,
            arg(
                "config:map",
                'Keys to set, at most 64, for example {"max_items": 20}; others stay as they are; '
                "give at least one of config and reset_keys.",
            ),
            arg(
                "reset_keys:list<str(1–128)>(≤64)",
                "Keys whose own value is dropped, so that the platform-wide one holds, at most 64; "
                "give at least one of config and reset_keys.",
            ),
        ),
        permission="modules:manage",
        hints="D I",
        result=fields("global_config, scope_config"),
        rules=(Rule("at_least_one", ("config", "reset_keys")),),
        body="config",
    ),
)
