"""Tools of the module for message queues, scaiqueue.

Data only. Spec: core-tools 2, scaigrid 11.
"""

from __future__ import annotations

from scaimcp.catalog.definition import PAGE, tool
from scaimcp.catalog.notation import arg
from scaimcp.catalog.results import an, fields, list_of

_ROOT = "/v1/modules/scaiqueue"
_QUEUE_ID = arg("queue_id:id*", "Identifier of the queue, from queue_list.")
_MESSAGE_ID = arg("message_id:id*", "Identifier of a message the caller holds, from queue_claim.")

TOOLS = (
    tool(
        "queue_list",
        "List message queues",
        "List the message queues page by page; use it to find the queue to publish to or to claim "
        "from; returns name, ordering and the number of waiting messages of each.",
        f"GET {_ROOT}/queues",
        (
            *PAGE,
            arg("scope_id:id", "Only queues of this scope; queues of all scopes when absent."),
        ),
        permission="scaiqueue:consume",
        hints="R I",
        result=list_of("Queue"),
        module_id="scaiqueue",
    ),
    tool(
        "queue_create",
        "Create a message queue",
        "Create a message queue within a scope; use it when work is to be handed from one program "
        "to another; returns the queue, whose id the other queue tools need.",
        f"POST {_ROOT}/scopes/{{scope_id}}/queues",
        (
            arg("scope_id:id*", "Identifier of the scope, from queue_scopes_create."),
            arg(
                "slug:str(1–64)*",
                "Short unique name in lower case, for example invoices-in.",
            ),
            arg("display_name:str*", "Name shown to people, for example Incoming invoices."),
            arg(
                "ordering:enum(fifo,priority,deadline)",
                "Which message is handed out first: oldest, highest priority or nearest deadline; "
                "fifo when absent.",
            ),
            arg(
                "consumer_mode:enum(competing,broadcast)",
                "Whether one consumer or every consumer gets a message; competing when absent.",
            ),
        ),
        permission="scaiqueue:manage",
        hints="",
        result=an("Queue"),
        module_id="scaiqueue",
    ),
    tool(
        "queue_scopes_create",
        "Create a queue scope",
        "Create a scope, which groups message queues; use it once before queue_create when no "
        "fitting scope exists; returns the scope, whose id queue_create needs.",
        f"POST {_ROOT}/scopes",
        (
            arg("slug:str(1–64)*", "Short unique name in lower case, for example billing."),
            arg("display_name:str*", "Name shown to people, for example Billing."),
        ),
        permission="scaiqueue:manage",
        hints="",
        result=an("Scope"),
        module_id="scaiqueue",
    ),
    tool(
        "queue_publish",
        "Publish a message",
        "Put one message into a queue; use it to hand work to a consumer, with idempotency_key "
        "when the call may be repeated; returns the message's identifier and status.",
        f"POST {_ROOT}/queues/{{queue_id}}/publish",
        (
            _QUEUE_ID,
            arg(
                "payload:map*",
                'Content of the message, for example {"invoice": 42}; its form is up to the '
                "consumer.",
            ),
            arg(
                "priority:int(0–9)",
                "Urgency from 0 to 9 in queues ordered by priority; 5 when absent.",
            ),
            arg(
                "deadline:ts",
                "When it should be done, RFC 3339, for example 2025-06-01T12:00:00Z; none when "
                "absent.",
            ),
            arg(
                "idempotency_key:str(1–128)",
                "Key that keeps a repeated call from adding a second message; none when absent.",
            ),
        ),
        permission="scaiqueue:publish",
        hints="",
        result=fields("message_id, status, is_duplicate"),
        module_id="scaiqueue",
    ),
    tool(
        "queue_claim",
        "Claim messages",
        "Take messages from a queue for a limited time; use it to get work, then end each with "
        "queue_complete or queue_fail; returns payload, attempts and end of lease of each.",
        f"POST {_ROOT}/queues/{{queue_id}}/claim",
        (
            _QUEUE_ID,
            arg("limit:int(1–10)=1", "Number of messages to take, from 1 to 10; 1 when absent."),
            arg(
                "lease_s:int(5–3600)=60",
                "Seconds they are held before they become free again, 5 to 3600; 60 when absent.",
            ),
        ),
        permission="scaiqueue:consume",
        hints="",
        result=fields("items"),
        module_id="scaiqueue",
    ),
    tool(
        "queue_complete",
        "Complete a message",
        "Mark a claimed message as done, which removes it from the queue for good; use it after "
        "the work succeeded; returns the message's identifier and status.",
        f"POST {_ROOT}/queues/{{queue_id}}/messages/{{message_id}}/complete",
        (
            _QUEUE_ID,
            _MESSAGE_ID,
            arg(
                "result:map",
                'Outcome kept with the message, for example {"pages": 3}; none when absent.',
            ),
        ),
        permission="scaiqueue:consume",
        hints="D I",
        result=fields("message_id, status"),
        module_id="scaiqueue",
    ),
    tool(
        "queue_fail",
        "Give back a message",
        "Report that work on a claimed message failed; use it instead of letting the lease run "
        "out, with requeue false to give the message up; returns its identifier and status.",
        f"POST {_ROOT}/queues/{{queue_id}}/messages/{{message_id}}/fail",
        (
            _QUEUE_ID,
            _MESSAGE_ID,
            arg("reason:str(≤2000)", "What went wrong, for the record; empty when absent."),
            arg(
                "requeue:bool=true",
                "True to have it tried again, false to give it up; true when absent.",
            ),
        ),
        permission="scaiqueue:consume",
        hints="I",
        result=fields("message_id, status"),
        module_id="scaiqueue",
    ),
)
