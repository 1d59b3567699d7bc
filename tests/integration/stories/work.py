"""sessions, rooms, accounting."""

from tests.integration.stories.step import Step, Story, deleted, page

START, END = "2020-01-01T00:00:00Z", "2035-01-01T00:00:00Z"
SPAN = "start=2020-01-01T00%3A00%3A00Z&end=2035-01-01T00%3A00%3A00Z"

SESSIONS = Story(
    "sessions",
    "tenant_user",
    (
        Step(
            "sessions_create",
            "POST /v1/sessions",
            {
                "model": "scailabs/echo-1",
                "title": "Talk",
                "system_prompt": "be brief",
                "metadata": {"a": [1]},
            },
            body={
                "model": "scailabs/echo-1",
                "title": "Talk",
                "system_prompt": "be brief",
                "metadata": {"a": [1]},
            },
            result={"title": "Talk", "status": "active", "message_count": 0},
            keep={"session": "id"},
        ),
        Step(
            "sessions_list",
            "GET /v1/sessions?limit=25&status=active&scope=own",
            {"status": "active"},
            result=page({"id": "$session"}),
        ),
        Step(
            "sessions_list",
            "GET /v1/sessions?limit=25&scope=tenant",
            {"scope": "tenant"},
            role="tenant_admin",
            result=page({"id": "$session"}),
        ),
        Step(
            "sessions_get",
            "GET /v1/sessions/$session",
            {"session_id": "$session"},
            result={"id": "$session", "user_id": "$user"},
        ),
        Step(
            "sessions_send_message",
            "POST /v1/sessions/$session/messages",
            {"session_id": "$session", "content": "hello", "max_tokens": 50},
            body={"content": "hello", "max_tokens": 50, "stream": False},
            result={
                "session_id": "$session",
                "message_id": str,
                "model": "scailabs/echo-1",
                "content": "echo: hello",
                "finish_reason": "stop",
                "usage": {"total_tokens": int},
            },
        ),
        Step(
            "sessions_list_messages",
            "GET /v1/sessions/$session/messages?limit=25&order=asc",
            {"session_id": "$session"},
            result=page({"role": "user", "content": "hello"}, {"role": "assistant"}),
        ),
        Step(
            "sessions_list_messages",
            "GET /v1/sessions/$session/messages?limit=1&order=desc",
            {"session_id": "$session", "limit": 1, "order": "desc"},
            result=page({"role": "assistant"}, has_more=True),
        ),
        Step(
            "sessions_update",
            "PATCH /v1/sessions/$session",
            {"session_id": "$session", "title": "Done", "status": "closed"},
            body={"title": "Done", "status": "closed"},
            result={"title": "Done", "status": "closed"},
        ),
        Step(
            "sessions_delete",
            "DELETE /v1/sessions/$session",
            {"session_id": "$session"},
            result=deleted("$session"),
        ),
    ),
)

ROOMS = Story(
    "rooms",
    "tenant_user",
    (
        Step(
            "rooms_create",
            "POST /v1/rooms",
            {
                "name": "Team",
                "description": "All of us",
                "initial_members": [{"type": "user", "id": "$admin"}],
            },
            body={
                "name": "Team",
                "description": "All of us",
                "initial_members": [{"type": "user", "id": "$admin"}],
            },
            result={"name": "Team", "members": list},
            keep={"room": "id"},
        ),
        Step("rooms_list", "GET /v1/rooms?limit=25", result=page({"id": "$room"})),
        Step(
            "rooms_get",
            "GET /v1/rooms/$room",
            {"room_id": "$room"},
            result={"created_by": "$user"},
        ),
        Step(
            "rooms_update",
            "PATCH /v1/rooms/$room",
            {"room_id": "$room", "name": "Crew"},
            body={"name": "Crew"},
            result={"name": "Crew"},
        ),
        Step(
            "rooms_add_member",
            "POST /v1/rooms/$room/members",
            {"room_id": "$room", "type": "user", "id": "$nobody"},
            body={"type": "user", "id": "$nobody", "role": "member"},
            result={
                "id": "$room",
                "members": lambda rows: any(m["role"] == "member" for m in rows),
            },
        ),
        Step(
            "rooms_send_message",
            "POST /v1/rooms/$room/messages",
            {"room_id": "$room", "content": "good morning"},
            body={"content": "good morning"},
            result={
                "room_id": "$room",
                "message_id": str,
                "content": "good morning",
                "replies": list,
            },
            keep={"message": "message_id"},
        ),
        Step(
            "rooms_send_message",
            "POST /v1/rooms/$room/messages",
            {"room_id": "$room", "content": "and you", "reply_to": "$message"},
            body={"content": "and you", "reply_to": "$message"},
            result={"content": "and you"},
        ),
        Step(
            "rooms_list_messages",
            "GET /v1/rooms/$room/messages?limit=25&order=asc",
            {"room_id": "$room"},
            result={"items": lambda rows: rows[0]["content"] == "good morning"},
        ),
        Step(
            "rooms_remove_member",
            "DELETE /v1/rooms/$room/members/$nobody",
            {"room_id": "$room", "member_id": "$nobody"},
            result=deleted("$nobody"),
        ),
        Step(
            "rooms_delete",
            "DELETE /v1/rooms/$room",
            {"room_id": "$room"},
            result=deleted("$room"),
        ),
    ),
)

ACCOUNTING = Story(
    "accounting",
    "tenant_admin",
    (
        Step(
            "inference_generate",
            "POST /v1/inference/generate",
            {"model": "scailabs/echo-1", "prompt": "count me"},
            body={"model": "scailabs/echo-1", "prompt": "count me"},
        ),
        Step(
            "accounting_list_usage",
            f"GET /v1/accounting/usage?{SPAN}&user_id=$admin&model=scailabs%2Fecho-1&limit=50",
            {"start": START, "end": END, "user_id": "$admin", "model": "scailabs/echo-1"},
            result=page({"model": "scailabs/echo-1", "user_id": "$admin", "cost": str}),
        ),
        Step(
            "accounting_list_usage",
            "GET /v1/accounting/usage?period=day&backend_id=$echo_backend&limit=1000",
            {"period": "day", "backend_id": "$echo_backend", "limit": 1000},
            result={"items": list, "has_more": False},
        ),
        Step(
            "accounting_usage_summary",
            f"GET /v1/accounting/usage/summary?group_by=user&{SPAN}",
            {"group_by": "user", "start": START, "end": END},
            result=page({"group_key": str, "request_count": 1, "total_tokens": int}),
        ),
        Step(
            "accounting_export",
            f"GET /v1/accounting/export?{SPAN}&format=csv",
            {"start": START, "end": END},
            result={
                "format": "csv",
                "content": lambda text: "scailabs/echo-1" in text and "," in text,
                "size_bytes": int,
            },
        ),
        Step(
            "accounting_create_budget",
            "POST /v1/accounting/budgets",
            {
                "scope": "tenant",
                "scope_id": "$acme",
                "period": "monthly",
                "cost_limit": "100.00",
                "token_limit": 1_000_000,
                "request_limit": 1000,
                "soft_limit_pct": 0.5,
            },
            body={
                "scope": "tenant",
                "scope_id": "$acme",
                "period": "monthly",
                "cost_limit": "100.00",
                "token_limit": 1_000_000,
                "request_limit": 1000,
                "hard_action": "block",
                "soft_limit_pct": 0.5,
            },
            result={"scope_id": "$acme", "cost_limit": "100.00", "hard_action": "block"},
            keep={"budget": "id"},
        ),
        Step(
            "accounting_list_budgets",
            "GET /v1/accounting/budgets?limit=25&scope=tenant",
            {"scope": "tenant"},
            result=page({"id": "$budget"}),
        ),
        Step(
            "accounting_get_budget",
            "GET /v1/accounting/budgets/$budget",
            {"budget_id": "$budget"},
            result={"token_limit": 1_000_000},
        ),
        Step(
            "accounting_update_budget",
            "PUT /v1/accounting/budgets/$budget",
            {"budget_id": "$budget", "request_limit": 5, "hard_action": "notify"},
            body={"request_limit": 5, "hard_action": "notify"},
            result={"request_limit": 5, "hard_action": "notify"},
        ),
        Step(
            "accounting_delete_budget",
            "DELETE /v1/accounting/budgets/$budget",
            {"budget_id": "$budget"},
            result=deleted("$budget"),
        ),
    ),
)

STORIES = (SESSIONS, ROOMS, ACCOUNTING)
