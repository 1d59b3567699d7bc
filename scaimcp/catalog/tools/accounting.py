"""Tools for usage, costs and budgets. Data only. Spec: core-tools 1."""

from __future__ import annotations

from scaimcp.catalog.definition import PAGE, Rule, ToolDefinition, tool
from scaimcp.catalog.notation import arg
from scaimcp.catalog.results import DELETED, EXPORT, an, list_of

EXPORT_SECONDS = 60.0

START = arg(
    "start:ts",
    "Begin of the time span, RFC 3339 in UTC, for example 2026-01-01T00:00:00Z; from the first "
    "record, or by period, when left out.",
)
END = arg(
    "end:ts",
    "End of the time span, RFC 3339 in UTC, for example 2026-02-01T00:00:00Z, after start; now "
    "when left out.",
)
PERIOD = arg(
    "period:enum(hour,day,week,month)",
    "Length of the time span up to now, used when start and end are left out; no such limit when "
    "left out.",
)
USER_FILTER = arg(
    "user_id:id",
    "Only usage of this user, for example usr_01J8; other users need accounting:view_tenant; all "
    "visible users when left out.",
)
TENANT_FILTER = arg(
    "tenant_id:id",
    "Only usage of this tenant, for example tnt_01J8, which needs accounting:view_partner; the "
    "caller's tenant when left out.",
)
MODEL_FILTER = arg(
    "model:str",
    "Only usage of the model with this slug, for example openai/gpt-4o; all models when left out.",
)
BACKEND_FILTER = arg(
    "backend_id:id",
    "Only usage of this backend, for example bkd_01J8; all backends when left out.",
)
BUDGET_ID = arg(
    "budget_id:id*",
    "Identifier of the budget, for example bud_01J8, from accounting_list_budgets.",
)

TOOLS: tuple[ToolDefinition, ...] = (
    tool(
        "accounting_list_usage",
        "List usage records",
        "List single inference calls with tokens, cost and latency, page by page; use it to look "
        "into individual calls, and accounting_usage_summary for totals; returns one row per call.",
        "GET /v1/accounting/usage",
        (
            START,
            END,
            PERIOD,
            USER_FILTER,
            TENANT_FILTER,
            MODEL_FILTER,
            BACKEND_FILTER,
            arg(
                "limit:int(1–1000)=50",
                "Number of rows to return, from 1 to 1,000; 50 when left out.",
            ),
            PAGE[1],
        ),
        permission="accounting:view_own",
        hints="R I",
        result=list_of("UsageRow"),
    ),
    tool(
        "accounting_usage_summary",
        "Summarise usage",
        "Add up requests, tokens and cost by model, user, backend or tenant; use it to answer what "
        "was spent and on what; returns one row of totals per group.",
        "GET /v1/accounting/usage/summary",
        (
            PERIOD,
            arg(
                "group_by:enum(model,user,backend,tenant)=model",
                "What each row of totals stands for; model when left out.",
            ),
            START,
            END,
            USER_FILTER,
            TENANT_FILTER,
            MODEL_FILTER,
            BACKEND_FILTER,
        ),
        permission="accounting:view_own",
        hints="R I",
        result=list_of("UsageGroup"),
    ),
    tool(
        "accounting_export",
        "Export usage records",
        "Export all usage records of a time span as one text; use it when the rows are to be saved "
        "or worked on elsewhere rather than read; returns the text in the chosen format and its "
        "size.",
        "GET /v1/accounting/export",
        (
            arg(
                "start:ts*",
                "Begin of the time span, RFC 3339 in UTC, for example 2026-01-01T00:00:00Z.",
            ),
            arg(
                "end:ts*",
                "End of the time span, RFC 3339 in UTC, after start, for example "
                "2026-02-01T00:00:00Z.",
            ),
            arg(
                "format:enum(csv,json,ndjson)=csv",
                "Form of the text: csv, one json array, or ndjson with one object per line; csv "
                "when left out.",
            ),
        ),
        permission="accounting:view_own",
        hints="R I",
        result=EXPORT,
        timeout_seconds=EXPORT_SECONDS,
    ),
    tool(
        "accounting_list_budgets",
        "List budgets",
        "List the budgets the caller may see, page by page; use it to check limits and how much of "
        "them is used; returns scope, period, limits and used amounts of each budget.",
        "GET /v1/accounting/budgets",
        (
            *PAGE,
            arg(
                "scope:enum(partner,tenant,user,group)",
                "Only budgets for this kind of subject; for every kind when left out.",
            ),
        ),
        permission="accounting:view_own",
        hints="R I",
        result=list_of("Budget"),
    ),
    tool(
        "accounting_get_budget",
        "Get a budget",
        "Read one budget; use it to see how much is left and when it starts anew; returns limits, "
        "used cost, tokens and requests, and the time of the next reset.",
        "GET /v1/accounting/budgets/{budget_id}",
        (BUDGET_ID,),
        permission="accounting:view_own",
        hints="R I",
        result=an("Budget"),
    ),
    tool(
        "accounting_create_budget",
        "Create a budget",
        "Limit what a partner, tenant, user or group may spend in a period; use it with at least "
        "one of cost_limit, token_limit and request_limit; returns the new budget.",
        "POST /v1/accounting/budgets",
        (
            arg(
                "scope:enum(partner,tenant,user,group)*",
                "Kind of subject that the budget limits; cannot be changed later.",
            ),
            arg(
                "scope_id:id*",
                "Identifier of that partner, tenant, user or group, for example usr_01J8.",
            ),
            arg(
                "period:enum(daily,weekly,monthly,total)*",
                "How often the used amounts start anew; total for never.",
            ),
            arg(
                "cost_limit:money",
                "Most cost per period as a decimal string, for example 250.00; give at least one "
                "of cost_limit, token_limit and request_limit.",
            ),
            arg(
                "token_limit:int(≥1)",
                "Most tokens per period, input and output together; give at least one of "
                "cost_limit, token_limit and request_limit.",
            ),
            arg(
                "request_limit:int(≥1)",
                "Most requests per period; give at least one of cost_limit, token_limit and "
                "request_limit.",
            ),
            arg(
                "hard_action:enum(block,notify,throttle)=block",
                "What happens at the limit: block refuses calls, notify only tells, throttle slows "
                "down; block when left out.",
            ),
            arg(
                "soft_limit_pct:num(0–1)",
                "Share of a limit at which a warning is sent, for example 0.8 for 80 percent; 0.8 "
                "when left out.",
            ),
        ),
        permission="accounting:manage_budgets",
        hints="",
        result=an("Budget"),
        rules=(Rule("at_least_one", ("cost_limit", "token_limit", "request_limit")),),
    ),
    tool(
        "accounting_update_budget",
        "Update a budget",
        "Change limits or behaviour of one budget, leaving the others as they are; use it to raise "
        "or lower a limit; returns the budget as it is now.",
        "PUT /v1/accounting/budgets/{budget_id}",
        (
            BUDGET_ID,
            arg(
                "cost_limit:money",
                "New most cost per period as a decimal string, for example 250.00; unchanged when "
                "left out.",
            ),
            arg("token_limit:int(≥1)", "New most tokens per period; unchanged when left out."),
            arg("request_limit:int(≥1)", "New most requests per period; unchanged when left out."),
            arg(
                "hard_action:enum(block,notify,throttle)",
                "What happens at the limit: block refuses calls, notify only tells, throttle slows "
                "down; unchanged when left out.",
            ),
            arg(
                "soft_limit_pct:num(0–1)",
                "Share of a limit at which a warning is sent, for example 0.8 for 80 percent; "
                "unchanged when left out.",
            ),
        ),
        permission="accounting:manage_budgets",
        hints="I",
        result=an("Budget"),
    ),
    tool(
        "accounting_delete_budget",
        "Delete a budget",
        "Delete one budget for good, so that its limits no longer hold; use it when the subject "
        "shall spend without this limit; returns a confirmation with the budget's identifier.",
        "DELETE /v1/accounting/budgets/{budget_id}",
        (BUDGET_ID,),
        permission="accounting:manage_budgets",
        hints="D I",
        result=DELETED,
    ),
)
