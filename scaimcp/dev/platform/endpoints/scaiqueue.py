"""Queues: leases by the clock, attempts, dead letters, idempotency keys. Spec: scaigrid 11, 12.

A message has one lane per consumer that handles it on its own: one for all of them in a competing
queue, one per user in a broadcast queue. An expired lease needs no writing: what a lane is worth
now is computed whenever it is read.
"""

from collections import Counter
from collections.abc import Callable

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.clock import iso
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.errors import conflict, not_found
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.samples import insert_samples
from scaimcp.dev.platform.state import Platform
from scaimcp.dev.platform.store import Row, TableSpec

MODULE_ID = "scaiqueue"
MANAGE, PUBLISH, CONSUME = "scaiqueue:manage", "scaiqueue:publish", "scaiqueue:consume"
MAX_ATTEMPTS = 5
QUEUED, CLAIMED, COMPLETED, DEAD = "queued", "claimed", "completed", "dead_letter"
EVERYBODY = "*"
UNTOUCHED: Row = {"status": QUEUED, "attempts": 0, "lease_expires_at": None, "holder": None}
SCOPE = "slug:slug(1-64)*, display_name:str*"
QUEUE = (
    f"{SCOPE}, ordering:enum(fifo,priority,deadline)=fifo,"
    "consumer_mode:enum(competing,broadcast)=competing"
)
MESSAGE = "payload:map*, priority:int(0-9)=5, deadline:ts, idempotency_key:str(<=128)"
# Ties go to the older message, since sorting is stable; messages without a deadline come last.
ORDER: dict[str, Callable[[Row], tuple[object, ...]]] = {
    "fifo": lambda row: (),
    "priority": lambda row: (-row["priority"],),
    "deadline": lambda row: (row["deadline"] is None, row["deadline"] or ""),
}
_scope = view("id slug display_name")
_queue = view("id scope_id slug display_name ordering consumer_mode")


def _consumer(call: Call, queue: Row) -> str:
    return EVERYBODY if queue["consumer_mode"] == "competing" else call.user_id


def _lane(call: Call, queue: Row, message: Row) -> Row:
    """Return how a message stands with the caller."""
    lane: Row = message["lanes"].get(_consumer(call, queue), UNTOUCHED)
    if lane["status"] == CLAIMED and lane["lease_expires_at"] <= call.now():
        return _given_back(lane)
    return lane


def _given_back(lane: Row) -> Row:
    status = QUEUED if lane["attempts"] < MAX_ATTEMPTS else DEAD
    return {**lane, "status": status, "lease_expires_at": None, "holder": None}


def _write(call: Call, queue: Row, message: Row, lane: Row, **changes: object) -> None:
    lanes = {**message["lanes"], _consumer(call, queue): lane}
    if queue["consumer_mode"] == "competing" and lane["status"] == COMPLETED:
        # Done for everybody: no claim has to look at it again.
        changes["open_in"] = None
    call.table("queue_messages").update(message["id"], {**changes, "lanes": lanes})


def _open(call: Call, queue: Row) -> list[tuple[Row, Row]]:
    """Return the messages not done for everybody, each with the caller's lane."""
    messages = call.table("queue_messages").find(open_in=queue["id"])
    return [(message, _lane(call, queue, message)) for message in messages]


def _find_queue(call: Call) -> Row:
    return call.find("queues", call.params["queue_id"], "QUEUE")


def _show(call: Call, queue: Row) -> Row:
    counts = Counter(lane["status"] for _, lane in _open(call, queue))
    return {
        **_queue(queue),
        "depth": counts[QUEUED],
        "in_flight": counts[CLAIMED],
        "dead_letter_count": counts[DEAD],
    }


def create_scope(call: Call) -> object:
    """Add a scope, which groups queues."""
    if call.table("queue_scopes").first(tenant_id=call.tenant_id, slug=call.body["slug"]):
        raise conflict("The slug is taken.", "SLUG_CONFLICT")
    return _scope(call.created("queue_scopes", {**call.body, "tenant_id": call.tenant_id}))


def create_queue(call: Call) -> Row:
    """Add a queue to a scope."""
    scope = call.find("queue_scopes", call.params["scope_id"], "SCOPE")
    if call.table("queues").first(scope_id=scope["id"], slug=call.body["slug"]):
        raise conflict("The slug is taken.", "SLUG_CONFLICT")
    row = {**call.body, "scope_id": scope["id"], "tenant_id": scope["tenant_id"]}
    return _show(call, call.created("queues", row))


def list_queues(call: Call) -> Reply:
    """List the queues with their numbers of messages."""
    wanted = {name: call.query[name] for name in ("scope_id",) if name in call.query}
    return shape_a(call, call.rows("queues", **wanted), lambda row: _show(call, row))


def publish(call: Call) -> Row:
    """Add a message; a repeated idempotency key names the first one instead."""
    queue, body = _find_queue(call), call.body
    key = body.get("idempotency_key")
    dedup = None if key is None else f"{queue['id']}:{key}"
    messages = call.table("queue_messages")
    known = None if dedup is None else messages.first(dedup=dedup)
    message = known or messages.insert(_message(queue, {**body, "dedup": dedup}))
    call.resource_id = message["id"]
    return {
        "message_id": message["id"],
        "status": _lane(call, queue, message)["status"],
        "is_duplicate": known is not None,
    }


def _message(queue: Row, given: Row) -> Row:
    return {
        "queue_id": queue["id"],
        "open_in": queue["id"],
        "tenant_id": queue["tenant_id"],
        "payload": given["payload"],
        "priority": given["priority"],
        "deadline": given.get("deadline"),
        "dedup": given.get("dedup"),
        "lanes": {},
        "result": None,
        "reason": None,
    }


def claim(call: Call) -> Row:
    """Lease the next messages to the caller."""
    queue, body = _find_queue(call), call.body
    waiting = [pair for pair in _open(call, queue) if pair[1]["status"] == QUEUED]
    waiting.sort(key=lambda pair: ORDER[queue["ordering"]](pair[0]))
    expires_at = iso(call.platform.clock.now() + body["lease_s"])
    items: list[Row] = []
    for message, lane in waiting[: body["limit"]]:
        leased = {
            "status": CLAIMED,
            "attempts": lane["attempts"] + 1,
            "lease_expires_at": expires_at,
            "holder": call.user_id,
        }
        _write(call, queue, message, leased)
        items.append(
            {
                "message_id": message["id"],
                "payload": message["payload"],
                "attempts": leased["attempts"],
                "lease_expires_at": expires_at,
            }
        )
    call.audit_details["message_ids"] = [item["message_id"] for item in items]
    return {"items": items}


def _leased(call: Call) -> tuple[Row, Row, Row]:
    """Return queue, message and lane of the path; 409 unless the caller holds the lease."""
    queue = _find_queue(call)
    message = call.find("queue_messages", call.params["message_id"], "MESSAGE")
    if message["queue_id"] != queue["id"]:
        raise not_found("MESSAGE")
    lane = _lane(call, queue, message)
    if lane["status"] != CLAIMED:
        raise conflict(f"The message is {lane['status']}, not {CLAIMED}.")
    if lane["holder"] != call.user_id:
        raise conflict("Another consumer holds the lease.")
    return queue, message, lane


def complete(call: Call) -> Row:
    """Mark a leased message as done."""
    queue, message, lane = _leased(call)
    done = {**lane, "status": COMPLETED, "lease_expires_at": None}
    _write(call, queue, message, done, result=call.body.get("result"))
    return {"message_id": message["id"], "status": COMPLETED}


def fail(call: Call) -> Row:
    """Give a leased message back, or up: without requeue and after the last attempt."""
    queue, message, lane = _leased(call)
    back = _given_back(lane)
    if not call.body["requeue"]:
        back["status"] = DEAD
    _write(call, queue, message, back, reason=call.body.get("reason"))
    return {"message_id": message["id"], "status": back["status"]}


def _seed(platform: Platform) -> None:
    for slug in ("acme", "globex"):
        scope = insert_samples(
            platform, "queue_scopes", slug, [{"slug": "ops", "display_name": "Operations"}]
        )[0]
        rows = [
            {
                "scope_id": scope["id"],
                "slug": ordering,
                "display_name": f"{ordering.capitalize()} jobs",
                "ordering": ordering,
                "consumer_mode": "competing",
            }
            for ordering in ("fifo", "priority")
        ]
        queues = insert_samples(platform, "queues", slug, rows)
        payloads = ({"task": "backup"}, {"task": "report"})
        messages = [_message(queues[0], {"payload": task, "priority": 5}) for task in payloads]
        insert_samples(platform, "queue_messages", slug, messages)


QUEUES, ONE = "/queues", "/queues/{queue_id}"
MESSAGES = f"{ONE}/messages/{{message_id}}"

FAMILY = Family(
    tables=(
        TableSpec("queue_scopes", "scp_", ("tenant_id",)),
        TableSpec("queues", "que_", ("tenant_id", "scope_id")),
        TableSpec("queue_messages", "qmsg_", ("open_in", "dedup")),
    ),
    seed=_seed,
    endpoints=(
        Endpoint(
            "POST",
            "/scopes",
            MANAGE,
            create_scope,
            module=MODULE_ID,
            body=json_body(SCOPE),
            audit="scaiqueue.scope.create",
        ),
        Endpoint(
            "POST",
            "/scopes/{scope_id}/queues",
            MANAGE,
            create_queue,
            module=MODULE_ID,
            body=json_body(QUEUE),
            audit="scaiqueue.queue.create",
        ),
        Endpoint(
            "GET",
            QUEUES,
            CONSUME,
            list_queues,
            module=MODULE_ID,
            query=fields("@page, scope_id:id"),
        ),
        Endpoint(
            "POST",
            f"{ONE}/publish",
            PUBLISH,
            publish,
            module=MODULE_ID,
            body=json_body(MESSAGE),
            audit="scaiqueue.message.publish",
        ),
        Endpoint(
            "POST",
            f"{ONE}/claim",
            CONSUME,
            claim,
            module=MODULE_ID,
            body=json_body("limit:int(1-10)=1, lease_s:int(5-3600)=60"),
            audit="scaiqueue.queue.claim",
        ),
        Endpoint(
            "POST",
            f"{MESSAGES}/complete",
            CONSUME,
            complete,
            module=MODULE_ID,
            body=json_body("result:map"),
            audit="scaiqueue.message.complete",
        ),
        Endpoint(
            "POST",
            f"{MESSAGES}/fail",
            CONSUME,
            fail,
            module=MODULE_ID,
            body=json_body("reason:str(<=2000), requeue:bool=true"),
            audit="scaiqueue.message.fail",
        ),
    ),
)
