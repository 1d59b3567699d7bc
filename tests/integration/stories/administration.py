"""webhooks, modules, partners, tenants, audit."""

from tests.integration.stories.step import Step, Story, deleted, page
from tests.integration.stories.work import END, SPAN, START

URL = "https://hooks.example/scaigrid"

WEBHOOKS = Story(
    "webhooks",
    "tenant_admin",
    (
        Step(
            "webhooks_create",
            "POST /v1/webhooks",
            {
                "url": URL,
                "events": ["model.create", "user.role_update"],
                "secret": "sixteen-or-more-characters",
                "status": "active",
                "max_retries": 1,
            },
            body={
                "url": URL,
                "events": ["model.create", "user.role_update"],
                "secret": "sixteen-or-more-characters",
                "status": "active",
                "max_retries": 1,
            },
            result={"url": URL, "max_retries": 1},
            keep={"hook": "id"},
        ),
        Step(
            "webhooks_list",
            "GET /v1/webhooks?limit=25",
            result={"items": lambda rows: len(rows) == 1 and "secret" not in rows[0]},
        ),
        Step(
            "webhooks_get",
            "GET /v1/webhooks/$hook",
            {"webhook_id": "$hook"},
            result={"id": "$hook"},
        ),
        Step(
            "webhooks_test",
            "POST /v1/webhooks/$hook/test",
            {"webhook_id": "$hook"},
            result={"delivery_id": str},
        ),
        Step(
            "webhooks_list_deliveries",
            "GET /v1/webhooks/$hook/deliveries?limit=25&since=2020-01-01T00%3A00%3A00Z",
            {"webhook_id": "$hook", "since": START},
            result={"items": lambda rows: len(rows) == 1},
        ),
        Step(
            "webhooks_update",
            "PUT /v1/webhooks/$hook",
            {"webhook_id": "$hook", "status": "inactive", "events": ["*"]},
            body={"status": "inactive", "events": ["*"]},
            result={"status": "inactive"},
        ),
        Step(
            "webhooks_delete",
            "DELETE /v1/webhooks/$hook",
            {"webhook_id": "$hook"},
            result=deleted("$hook"),
        ),
    ),
)

MODULES = Story(
    "modules",
    "tenant_admin",
    (
        Step(
            "modules_list",
            "GET /v1/modules",
            result={"modules_source": "platform", "has_more": False, "items": list},
        ),
        Step(
            "modules_list",
            "GET /v1/modules",
            {"status": "disabled"},
            result={
                "items": lambda rows: (
                    {row["module_id"] for row in rows} == {"scaimind", "scaicore", "scaibot"}
                )
            },
        ),
        Step(
            "modules_get",
            "GET /v1/modules/scaibot",
            {"module_id": "scaibot"},
            role="tenant_user",
            result={"module_id": "scaibot", "status": "disabled"},
        ),
        Step(
            "modules_enable",
            "POST /v1/modules/scaibot/enable",
            {"module_id": "scaibot"},
            result={"module_id": "scaibot", "status": "active"},
        ),
        Step("bot_list", "GET /v1/modules/scaibot/bots?limit=25", result={"items": list}),
        Step(
            "modules_disable",
            "POST /v1/modules/scaibot/disable",
            {"module_id": "scaibot", "scope": "tenant", "tenant_id": "$acme"},
            body={"scope": "tenant", "tenant_id": "$acme"},
            result={"module_id": "scaibot", "status": "disabled"},
        ),
        Step(
            "modules_update_config",
            "PUT /v1/modules/scaimatrix/config",
            {"module_id": "scaimatrix", "config": {"a": 1, "b": "two"}},
            body={"a": 1, "b": "two"},
            result={"scope_config": {"a": 1, "b": "two"}},
        ),
        Step(
            "modules_update_config",
            "PUT /v1/modules/scaimatrix/config",
            {"module_id": "scaimatrix", "config": {"c": True}, "reset_keys": ["a"]},
            body={"c": True, "a": None},
            result={"scope_config": lambda config: config == {"b": "two", "c": True}},
        ),
        Step(
            "modules_get_config",
            "GET /v1/modules/scaimatrix/config",
            {"module_id": "scaimatrix"},
            result={"global_config": dict, "scope_config": {"b": "two"}},
        ),
    ),
)

ORGANISATIONS = Story(
    "partners and tenants",
    "super_admin",
    (
        Step(
            "partners_create",
            "POST /v1/partners",
            {"slug": "west", "display_name": "West", "settings": {"tier": 1}},
            body={"slug": "west", "display_name": "West", "settings": {"tier": 1}},
            result={"slug": "west", "settings": {"tier": 1}},
            keep={"west": "id"},
        ),
        Step(
            "partners_list",
            "GET /v1/partners?limit=25&status=active",
            {"status": "active"},
            result={"items": lambda rows: [row["slug"] for row in rows][-1] == "west"},
        ),
        Step(
            "partners_list",
            "GET /v1/partners?limit=25",
            role="partner_viewer",
            result=page({"id": "$north"}),
        ),
        Step(
            "partners_get",
            "GET /v1/partners/$north",
            {"partner_id": "$north"},
            role="partner_admin",
            result={"slug": "north"},
        ),
        Step(
            "partners_update",
            "PUT /v1/partners/$west",
            {"partner_id": "$west", "display_name": "Far west", "status": "suspended"},
            body={"display_name": "Far west", "status": "suspended"},
            result={"status": "suspended"},
        ),
        Step(
            "tenants_create",
            "POST /v1/tenants",
            {
                "slug": "initech",
                "display_name": "Initech",
                "partner_id": "$south",
                "settings": {},
            },
            body={
                "slug": "initech",
                "display_name": "Initech",
                "partner_id": "$south",
                "settings": {},
            },
            result={"slug": "initech", "partner_id": "$south"},
            keep={"initech": "id"},
        ),
        Step(
            "tenants_create",
            "POST /v1/tenants",
            {"slug": "hooli", "display_name": "Hooli"},
            body={"slug": "hooli", "display_name": "Hooli"},
            role="partner_admin",
            result={"partner_id": "$north"},
        ),
        Step(
            "tenants_list",
            "GET /v1/tenants?limit=25&status=active&partner_id=$south",
            {"status": "active", "partner_id": "$south"},
            result=page({"id": "$globex"}, {"id": "$initech"}),
        ),
        Step(
            "tenants_get",
            "GET /v1/tenants/$acme",
            {"tenant_id": "$acme"},
            role="partner_viewer",
            result={"slug": "acme", "partner_id": "$north"},
        ),
        Step(
            "tenants_update",
            "PUT /v1/tenants/$initech",
            {"tenant_id": "$initech", "settings": {"seats": 5}},
            body={"settings": {"seats": 5}},
            result={"settings": {"seats": 5}},
        ),
    ),
)

AUDIT = Story(
    "audit",
    "tenant_admin",
    (
        Step(
            "webhooks_create",
            "POST /v1/webhooks",
            {"url": URL, "events": ["*"]},
            body={"url": URL, "events": ["*"]},
            keep={"hook": "id"},
        ),
        Step(
            "audit_list",
            f"GET /v1/audit-log?{SPAN}&action=webhook.create&actor_id=$admin"
            "&resource_id=$hook&status=SUCCESS&limit=50",
            {
                "start": START,
                "end": END,
                "action": "webhook.create",
                "actor_id": "$admin",
                "resource_id": "$hook",
                "status": "SUCCESS",
            },
            result=page({"action": "webhook.create", "actor_id": "$admin"}),
        ),
        Step(
            "audit_list",
            "GET /v1/audit-log?ip_address=127.0.0.1&limit=1",
            {"ip_address": "127.0.0.1", "limit": 1},
            result={"items": [dict]},
        ),
        Step(
            "audit_export",
            "GET /v1/audit-log/export?action=webhook.create&format=ndjson",
            {"action": "webhook.create", "format": "ndjson"},
            result={"format": "ndjson", "content": lambda text: "webhook.create" in text},
        ),
    ),
)

STORIES = (WEBHOOKS, MODULES, ORGANISATIONS, AUDIT)
