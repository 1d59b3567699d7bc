"""Sandboxes: a state machine by the clock, without any process. Spec: scaigrid 11, 12."""

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.clock import iso, seconds_of
from scaimcp.dev.platform.endpoint import Endpoint, Family, Handler, Reply, json_body
from scaimcp.dev.platform.errors import conflict
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_b, view
from scaimcp.dev.platform.samples import insert_samples
from scaimcp.dev.platform.shell import Run, execute
from scaimcp.dev.platform.state import Platform
from scaimcp.dev.platform.store import Row, TableSpec

MODULE_ID = "scaibunker"
CREATE, EXECUTE = "scaibunker:create", "scaibunker:execute"
# A new bunker is provisioned after the first and runs after the second, in seconds of its age.
PROVISIONING_AFTER, RUNNING_AFTER = 0.1, 0.3
STARTING = ("pending", "provisioning")
MEBIBYTE = 1024 * 1024
# Seconds after which a bunker ends that was given no lifetime; None is never.
LIFETIMES: dict[str, int | None] = {"ephemeral": 3_600, "session": 86_400, "persistent": None}
NEW = (
    "image:str*, name:str, lifecycle_mode:enum(ephemeral,session,persistent)=ephemeral,"
    "network_profile:enum(isolated,registry,allowlisted,unrestricted,transit)=isolated,"
    "network_allowlist:list<str>(<=64), cpu_millicores:int(100-64000)=1000,"
    "memory_mb:int(64-262144)=512, disk_mb:int(64-1048576)=1024, gpu_count:int(0-8)=0,"
    "gpu_type:str, max_lifetime_s:int(10-604800), idle_timeout_s:int(10-86400),"
    "session_type:enum(standalone,scaicore,scaiwave,api)=api, session_ref:str, label_set:map,"
    "env_vars:map, interfaces, bandwidth_mbit"
)
EXEC = "command:str(1-16384)*, timeout_s:int(1-600)=60, workdir:str, env_vars:map, stdin:text"
ABSENT: Row = {
    "network_allowlist": [],
    "gpu_type": None,
    "max_lifetime_s": None,
    "idle_timeout_s": None,
    "session_ref": None,
    "label_set": {},
    "env_vars": {},
}
# Neither variables, which may be secret, nor how a bunker came about is shown.
_bunker = view(
    "id name image status lifecycle_mode network_profile network_allowlist cpu_millicores"
    " memory_mb disk_mb gpu_count gpu_type session_type session_ref label_set created_at expires_at"
)


def _due(call: Call, row: Row) -> str:
    """Return the status a bunker has by now."""
    status, now = str(row["status"]), call.platform.clock.now()
    if status == "terminated":
        return status
    if row["expires_at"] is not None and call.now() >= row["expires_at"]:
        return "terminated"
    if status in STARTING:
        age = now - seconds_of(row["created_at"])
        status = "pending" if age < PROVISIONING_AFTER else "provisioning"
        status = "running" if age >= RUNNING_AFTER else status
    idle = row["idle_timeout_s"]
    if status == "running" and idle is not None and now >= seconds_of(row["active_at"]) + idle:
        return "terminated"
    return status


def _settled(call: Call, row: Row) -> Row:
    status = _due(call, row)
    if status == row["status"]:
        return row
    return call.table("bunkers").update(row["id"], {"status": status})


def _find(call: Call, *states: str) -> Row:
    """Return the bunker of the path; with `states`, only in one of them (409)."""
    row = _settled(call, call.find("bunkers", call.params["bunker_id"], "BUNKER"))
    if states and row["status"] not in states:
        raise conflict(f"The bunker is {row['status']}, not {' or '.join(states)}.")
    return row


def create(call: Call) -> object:
    """Ask for a bunker; it runs a moment later."""
    body = call.body
    if body["lifecycle_mode"] != "ephemeral":
        call.require(f"{CREATE}:{body['lifecycle_mode']}")
    if body["network_profile"] != "isolated":
        call.require(f"scaibunker:network:{body['network_profile']}")
    lifetime = body.get("max_lifetime_s", LIFETIMES[body["lifecycle_mode"]])
    now = call.platform.clock.now()
    row = {
        **ABSENT,
        **body,
        "tenant_id": call.tenant_id,
        "status": "pending",
        "expires_at": None if lifetime is None else iso(now + lifetime),
        "active_at": iso(now),
    }
    row.setdefault("name", f"bunker-{len(call.rows('bunkers')) + 1}")
    return _bunker(call.created("bunkers", row))


def list_bunkers(call: Call) -> Reply:
    """List the tenant's bunkers, ended ones too."""
    rows = [_settled(call, row) for row in call.rows("bunkers")]
    wanted = {"status": call.query.get("status"), "lifecycle_mode": call.query.get("lifecycle")}
    for name, value in wanted.items():
        rows = [row for row in rows if value in (None, row[name])]
    return shape_b(call, rows, _bunker)


def get(call: Call) -> object:
    """Return one bunker."""
    return _bunker(_find(call))


def terminate(call: Call) -> object:
    """End a bunker; ending it again changes nothing."""
    row = _find(call)
    if row["status"] == "terminated":
        return _bunker(row)
    if call.query["snapshot"]:
        _snapshot(call, _find(call, "running", "paused"), None)
    return _bunker(call.table("bunkers").update(row["id"], {"status": "terminated"}))


def pause(call: Call) -> object:
    """Halt a running bunker; its idle time does not count meanwhile."""
    row = _find(call, "running")
    return _bunker(call.table("bunkers").update(row["id"], {"status": "paused"}))


def resume(call: Call) -> object:
    """Let a paused bunker run again."""
    row = _find(call, "paused")
    changes = {"status": "running", "active_at": call.now()}
    return _bunker(call.table("bunkers").update(row["id"], changes))


def snapshot(call: Call) -> Row:
    """Keep the state of a running or paused bunker."""
    return _snapshot(call, _find(call, "running", "paused"), call.body.get("name"))


def _snapshot(call: Call, bunker: Row, name: str | None) -> Row:
    row = call.table("bunker_snapshots").insert(
        {
            "tenant_id": bunker["tenant_id"],
            "bunker_id": bunker["id"],
            "name": name or f"{bunker['name']} snapshot",
            "size_bytes": bunker["disk_mb"] * MEBIBYTE,
        }
    )
    call.audit_details["snapshot_id"] = row["id"]
    shown = {name: row[name] for name in ("bunker_id", "size_bytes", "created_at")}
    return {"snapshot_id": row["id"], **shown}


def run_command(call: Call) -> object:
    """Run a command line in the pretended shell; time passes only in the answer."""
    row, body = _find(call, "running"), call.body
    call.table("bunkers").update(row["id"], {"active_at": call.now()})
    variables = {**row["env_vars"], **body.get("env_vars", {})}
    run = Run(
        env={str(name): str(value) for name, value in variables.items()},
        stdin=body.get("stdin", ""),
        timeout_ms=body["timeout_s"] * 1000,
    )
    run.workdir = body.get("workdir", run.workdir)
    done = execute(run, body["command"])
    call.audit_details["exit_code"] = done.exit_code
    return done.answer()


def _seed(platform: Platform) -> None:
    start = {
        **ABSENT,
        "network_profile": "isolated",
        "cpu_millicores": 1000,
        "memory_mb": 512,
        "disk_mb": 1024,
        "gpu_count": 0,
        "session_type": "api",
        "lifecycle_mode": "persistent",
        "expires_at": None,
        "active_at": None,
    }
    rows = [
        {**start, "name": "build", "image": "python:3.12-slim", "status": "running"},
        {**start, "name": "archive", "image": "debian:12", "status": "paused"},
    ]
    insert_samples(platform, "bunkers", "acme", rows)
    insert_samples(platform, "bunkers", "globex", [{**rows[0], "name": "globex-build"}])


BUNKERS, BUNKER = "/bunkers", "/bunkers/{bunker_id}"


def _step(verb: str, handler: Handler, body: str = "") -> Endpoint:
    """Return the endpoint of one step of the state machine."""
    return Endpoint(
        "POST",
        f"{BUNKER}/{verb}",
        CREATE,
        handler,
        module=MODULE_ID,
        body=json_body(body),
        audit=f"scaibunker.bunker.{verb}",
    )


FAMILY = Family(
    tables=(
        TableSpec("bunkers", "bnk_", ("tenant_id",)),
        TableSpec("bunker_snapshots", "snp_", ("tenant_id",)),
    ),
    seed=_seed,
    endpoints=(
        Endpoint(
            "POST",
            BUNKERS,
            CREATE,
            create,
            module=MODULE_ID,
            body=json_body(NEW),
            audit="scaibunker.bunker.create",
        ),
        Endpoint(
            "GET",
            BUNKERS,
            CREATE,
            list_bunkers,
            module=MODULE_ID,
            query=fields("@page, status:str(1-32), lifecycle:enum(ephemeral,session,persistent)"),
        ),
        Endpoint("GET", BUNKER, CREATE, get, module=MODULE_ID),
        Endpoint(
            "DELETE",
            BUNKER,
            CREATE,
            terminate,
            module=MODULE_ID,
            query=fields("snapshot:bool=false"),
            audit="scaibunker.bunker.terminate",
        ),
        _step("pause", pause),
        _step("resume", resume),
        _step("snapshot", snapshot, "name:str"),
        Endpoint(
            "POST",
            f"{BUNKER}/exec",
            EXECUTE,
            run_command,
            module=MODULE_ID,
            body=json_body(EXEC),
            audit="scaibunker.bunker.exec",
        ),
    ),
)
