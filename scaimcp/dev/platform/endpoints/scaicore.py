"""Cores and their events, read only. Spec: scaigrid 11."""

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.samples import insert_samples
from scaimcp.dev.platform.state import Platform
from scaimcp.dev.platform.store import Row, TableSpec

MODULE_ID = "scaicore"
VIEW = "scaicore:view"
_core = view("id name runtime_mode concurrency_mode privilege_level status created_at")
_event = view("id core_id type payload created_at")


def list_cores(call: Call) -> Reply:
    """List the tenant's cores."""
    return shape_a(call, call.rows("cores"), _core)


def get(call: Call) -> object:
    """Return one core."""
    return _core(call.find("cores", call.params["core_id"], "CORE"))


def list_events(call: Call) -> Reply:
    """List the events of the tenant's cores, oldest first; `since` is the earliest time."""
    wanted = {name: call.query[name] for name in ("core_id", "type") if name in call.query}
    since = call.query.get("since", "")
    rows = [row for row in call.rows("core_events", **wanted) if row["created_at"] >= since]
    return shape_a(call, rows, _event)


def _sample(name: str, runtime_mode: str, status: str) -> Row:
    return {
        "name": name,
        "runtime_mode": runtime_mode,
        "concurrency_mode": "serial",
        "privilege_level": "tenant",
        "status": status,
    }


def _seed(platform: Platform) -> None:
    samples = {
        "acme": [_sample("Inbox", "event", "running"), _sample("Nightly", "scheduled", "stopped")],
        "globex": [_sample("Globex inbox", "event", "running")],
    }
    for slug, rows in samples.items():
        for core in insert_samples(platform, "cores", slug, rows):
            events = [
                {"core_id": core["id"], "type": "core.created", "payload": {"name": core["name"]}},
                {"core_id": core["id"], "type": f"core.{core['status']}", "payload": {}},
            ]
            insert_samples(platform, "core_events", slug, events)


FAMILY = Family(
    tables=(
        TableSpec("cores", "cor_", ("tenant_id",)),
        TableSpec("core_events", "evt_", ("tenant_id",)),
    ),
    seed=_seed,
    endpoints=(
        Endpoint("GET", "/cores", VIEW, list_cores, module=MODULE_ID, query=fields("@page")),
        Endpoint("GET", "/cores/{core_id}", VIEW, get, module=MODULE_ID),
        Endpoint(
            "GET",
            "/events",
            VIEW,
            list_events,
            module=MODULE_ID,
            query=fields("@page, core_id:id, type:str(1-64), since:ts"),
        ),
    ),
)
