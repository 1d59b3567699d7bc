"""Training jobs that advance by the clock. Spec: scaigrid 11, 12."""

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.clock import iso, seconds_of
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import cut, view
from scaimcp.dev.platform.samples import insert_samples
from scaimcp.dev.platform.state import Platform
from scaimcp.dev.platform.store import Row, TableSpec

MODULE_ID = "scaimind"
VIEW, MANAGE = "scaimind:view", "scaimind:manage"
# Seconds of its age at which a job starts and ends.
STARTS_AFTER, ENDS_AFTER = 5, 65
ORDERS = ("created_at", "created_at asc", "created_at desc")
JOB = (
    "name:str*, training_config:map*, data_config:map*, resource_config:map*, output_config:map,"
    "scheduling_config:map, labels:map"
)
_job = view("id name status progress labels created_at started_at finished_at error")


def _advanced(call: Call, row: Row) -> Row:
    """Return a job as it stands by now; it is never written, so the clock may go either way."""
    begun = seconds_of(row["created_at"])
    age = call.platform.clock.now() - begun
    now: Row = {"status": "queued", "progress": 0.0, "started_at": None, "finished_at": None}
    if age >= STARTS_AFTER:
        share = (age - STARTS_AFTER) / (ENDS_AFTER - STARTS_AFTER)
        now |= {"status": "running", "progress": round(min(share, 1.0), 4)}
        now["started_at"] = iso(begun + STARTS_AFTER)
    if age >= ENDS_AFTER:
        now |= {"status": "succeeded", "finished_at": iso(begun + ENDS_AFTER)}
    # Rows with a fixed outcome do not wait for the clock.
    return {**row, **now, "error": None, **row["outcome"]}


def list_jobs(call: Call) -> Reply:
    """List the tenant's jobs."""
    rows = [_advanced(call, row) for row in call.rows("training_jobs")]
    wanted = call.query.get("status")
    if wanted is not None:
        rows = [row for row in rows if row["status"] in wanted]
    page = cut(call, rows, newest_first=call.query["order_by"].endswith(" desc"))
    return Reply(
        {
            "jobs": [_job(row) for row in page.rows],
            "next_page_token": page.next or "",
            "total_count": page.total,
        }
    )


def get(call: Call) -> object:
    """Return one job."""
    return _job(_advanced(call, call.find("training_jobs", call.params["job_id"], "JOB")))


def create(call: Call) -> object:
    """Take a training job."""
    row = {"labels": {}, **call.body, "tenant_id": call.tenant_id, "outcome": {}}
    return _job(_advanced(call, call.created("training_jobs", row)))


def _seed(platform: Platform) -> None:
    done: Row = {
        "name": "Support classifier",
        "labels": {"team": "support"},
        "outcome": {
            "status": "succeeded",
            "progress": 1.0,
            "started_at": "2026-01-01T00:00:05.000Z",
            "finished_at": "2026-01-01T00:01:05.000Z",
        },
    }
    failed: Row = {
        "name": "Price forecast",
        "labels": {},
        "outcome": {
            **done["outcome"],
            "status": "failed",
            "progress": 0.4,
            "error": "The data set has no rows.",
        },
    }
    insert_samples(platform, "training_jobs", "acme", [done, failed])
    insert_samples(platform, "training_jobs", "globex", [done])


FAMILY = Family(
    tables=(TableSpec("training_jobs", "job_", ("tenant_id",)),),
    seed=_seed,
    endpoints=(
        Endpoint(
            "GET",
            "/jobs",
            VIEW,
            list_jobs,
            module=MODULE_ID,
            query=fields(
                "status:list<str(1-32)>(1-8), page_size:int(1-100)=20, page_token:str(<=512),"
                f"order_by:enum({','.join(ORDERS)})=created_at"
            ),
        ),
        Endpoint("GET", "/jobs/{job_id}", VIEW, get, module=MODULE_ID),
        Endpoint(
            "POST",
            "/jobs",
            MANAGE,
            create,
            module=MODULE_ID,
            body=json_body(JOB),
            audit="scaimind.job.create",
            status=201,
        ),
    ),
)
