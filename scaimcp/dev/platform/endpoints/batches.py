"""Batches: files of inference calls that are answered later. Spec: scaigrid 10, 12.

A new batch is `validating`. The first look at it starts it, the next one - or the first, once a
second has passed - finds its lines answered at the cost of its owner, to whom alone it is visible.
An input that cannot be read, or has a faulty line, ends as `failed` with an error file. Only files
of earlier batches can be named by URL, as nothing is fetched from outside.
"""

import binascii
from base64 import b64decode
from collections.abc import Iterable
from typing import Any

import msgspec

from scaimcp.dev.platform.accounting import write_audit
from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.clock import iso, seconds_of
from scaimcp.dev.platform.endpoint import Endpoint, Family, Raw, Reply, json_body
from scaimcp.dev.platform.endpoints.inference import FAMILY as INFERENCE
from scaimcp.dev.platform.errors import (
    Fault,
    PlatformError,
    conflict,
    invalid,
    not_found,
    refuse,
)
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.store import Row, TableSpec

INPUT_BYTES = 10_000_000
INPUT_CHARACTERS = 20_000_000
RUN_SECONDS = 1.0
FILE_SECONDS = 24 * 3600
SCHEMES = ("https://", "http://", "scaidrive://", "scaigrid://file/")
STATES = "validating,in_progress,completed,failed,cancelling,cancelled,expired"
BATCH_BODY = (
    f"input_file_url:str(<=2048), input_file_base64:str(1-{INPUT_CHARACTERS}),"
    "endpoint_completion_window:enum(24h,4h,1h)=24h, metadata:map"
)
encoder = msgspec.json.Encoder()
LINE = fields("custom_id:str*, method:enum(POST)=POST, url:str*, body:any*")
LINE_ENDPOINTS = {endpoint.path: endpoint for endpoint in INFERENCE.endpoints}
ACTIVE = ("validating", "in_progress")
_batch = view(
    "id status request_counts endpoint_completion_window metadata created_at completed_at"
)


def _show(call: Call, row: Row) -> Row:
    def url(file_id: str | None) -> str | None:
        return None if file_id is None else f"{call.base_url}{FILES}/{file_id}"

    return {
        **_batch(row),
        "output_file_url": url(row["output_file_id"]),
        "error_file_url": url(row["error_file_id"]),
    }


def _own(call: Call) -> Row:
    return call.own("batches", call.params["batch_id"], "BATCH")


def create_batch(call: Call) -> Row:
    """Take a file of calls."""
    tenant_id = call.tenant_id
    row: Row = {
        "status": "validating",
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "output_file_id": None,
        "error_file_id": None,
        "endpoint_completion_window": call.body["endpoint_completion_window"],
        "metadata": call.body.get("metadata", {}),
        "completed_at": None,
        "tenant_id": tenant_id,
        "user_id": call.user_id,
        "input": _input(call),
        "lines": None,
        "running": False,
    }
    return _show(call, call.created("batches", row))


def _input(call: Call) -> str | None:
    """Return the text of the input file; None where the URL leads outside or nowhere."""
    if "input_file_base64" in call.body:
        return _decoded(call.body["input_file_base64"])
    url = call.body["input_file_url"]
    file = call.table("batch_files").get(url.rpartition("/")[2])
    ours = url.startswith((f"{call.base_url}{FILES}/", "scaigrid://file/"))
    if file is None or not ours or file["user_id"] != call.user_id:
        return None
    return str(file["content"])


def _decoded(text: str) -> str:
    try:
        content = b64decode(text, validate=True)
        if len(content) >= INPUT_BYTES:
            raise PlatformError("PAYLOAD_TOO_LARGE", f"The file has {INPUT_BYTES} bytes or more.")
        decoded = content.decode()
    except (binascii.Error, UnicodeDecodeError):
        refuse("input_file_base64", "must be base64 of UTF-8 text")
    if not decoded.strip():
        refuse("input_file_base64", "holds no line")
    return decoded


async def list_batches(call: Call) -> Reply:
    """List the caller's batches."""
    rows = call.rows("batches", user_id=call.user_id)
    for row in rows:
        await _advance(call, row)
    wanted = call.query.get("status")
    chosen = [row for row in rows if wanted in (None, row["status"])]
    return shape_a(call, chosen, lambda row: _show(call, row))


async def get_batch(call: Call) -> Row:
    """Return one batch as it now stands."""
    return _show(call, await _advance(call, _own(call)))


def cancel_batch(call: Call) -> Row:
    """Stop a batch that is not finished; the next look finds it cancelled."""
    row = _own(call)
    if row["status"] not in (*ACTIVE, "cancelling"):
        raise conflict(f"The batch is {row['status']}.")
    return _show(call, call.table("batches").update(row["id"], {"status": "cancelling"}))


async def _advance(call: Call, row: Row) -> Row:
    """Take a batch one step further, or to its end when its time has come."""
    if row["running"]:
        # Another look is answering its lines just now.
        return row
    if row["status"] == "cancelling":
        return _end(call, row, "cancelled")
    if row["status"] not in ACTIVE:
        return row
    due = call.platform.clock.now() >= seconds_of(row["created_at"]) + RUN_SECONDS
    if row["status"] == "validating":
        lines, faults = _lines(row["input"])
        if faults:
            return _end(call, row, "failed", error_file_id=_file(call, faults))
        counts = {"total": len(lines), "completed": 0, "failed": 0}
        started = {"status": "in_progress", "request_counts": counts, "lines": lines, "input": None}
        row = call.table("batches").update(row["id"], started)
        if not due:
            return row
    return await _finish(call, row)


async def _finish(call: Call, row: Row) -> Row:
    lines = row["lines"]
    call.table("batches").update(row["id"], {"running": True})
    good: list[Row] = []
    bad: list[Row] = []
    for line in lines:
        if row["status"] == "in_progress":
            answer = await _run(call, line)
            (good if answer["error"] is None else bad).append(answer)
    status = "completed" if row["status"] == "in_progress" else "cancelled"
    counts = {"total": len(lines), "completed": len(good), "failed": len(bad)}
    return _end(
        call,
        row,
        status,
        request_counts=counts,
        output_file_id=_file(call, good) if good else None,
        error_file_id=_file(call, bad) if bad else None,
    )


def _end(call: Call, row: Row, status: str, **changes: object) -> Row:
    done: Row = {"status": status, "completed_at": call.now(), "lines": None, "input": None}
    done |= {"running": False, **changes}
    row = call.table("batches").update(row["id"], done)
    payload: dict[str, object] = {"batch_id": row["id"], "status": status}
    call.platform.outbox.emit(row["tenant_id"], f"batch.{status}", payload)
    return row


def _file(call: Call, rows: Iterable[Row]) -> str:
    """Store an answer file and return its id."""
    content = encoder.encode_lines(rows).decode()
    expires_at = iso(call.platform.clock.now() + FILE_SECONDS)
    file: Row = {"content": content, "expires_at": expires_at, "user_id": call.user_id}
    return str(call.table("batch_files").insert(file)["id"])


def _lines(text: str | None) -> tuple[list[Row], list[Row]]:
    """Return the calls of an input file, and what is wrong with it line by line."""
    if text is None:
        return [], [{"line": None, "error": _error("The input file cannot be read.", ())}]
    lines: list[Row] = []
    wrong: list[Row] = []
    seen: set[str] = set()
    for number, raw in enumerate(text.split("\n"), 1):
        if not raw.strip():
            continue
        faults: list[Fault] = []
        line = _line(raw, seen, faults)
        lines.append(line)
        if faults:
            wrong.append({"line": number, "error": _error("The line is not valid.", faults)})
    return lines, wrong


def _error(message: str, faults: Iterable[Fault]) -> Row:
    return PlatformError("VALIDATION_ERROR", message, details=tuple(faults)).body()


def _line(raw: str, seen: set[str], faults: list[Fault]) -> Row:
    try:
        decoded = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        faults.append(Fault("line", "must be a JSON object"))
        return {}
    line = LINE.check(decoded, faults)
    if not faults and line["custom_id"] in seen:
        faults.append(Fault("custom_id", "is used more than once"))
    if not faults and line["url"] not in LINE_ENDPOINTS:
        faults.append(Fault("url", f"must be one of {', '.join(LINE_ENDPOINTS)}"))
    seen.add(str(line.get("custom_id")))
    return line


async def _run(call: Call, line: Row) -> Row:
    """Answer one line as its endpoint would, with its own audit row."""
    endpoint = LINE_ENDPOINTS[line["url"]]
    inner = Call(call.platform, endpoint, ())
    inner.principal = call.principal
    inner.headers, inner.client_ip, inner.base_url = call.headers, call.client_ip, call.base_url
    inner.request_id = call.platform.store.token("req_")
    response: Row | None = None
    error: PlatformError | None = None
    try:
        inner.body = _checked(endpoint, line["body"])
        body = await endpoint.handler(inner)
        response = {"status_code": 200, "request_id": inner.request_id, "body": body}
    except PlatformError as failed:
        error = failed
    write_audit(inner, str(endpoint.audit), error)
    return {
        "id": inner.request_id,
        "custom_id": line["custom_id"],
        "response": response,
        "error": None if error is None else error.body(),
    }


def _checked(endpoint: Endpoint, body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        refuse("body", "must be a JSON object")
    faults: list[Fault] = []
    checked = endpoint.body.fields.check(body, faults)
    if not faults and endpoint.body.check is not None:
        faults = [Fault(*found) for found in endpoint.body.check(checked)]
    if faults:
        raise invalid(*faults)
    return checked


def batch_file(call: Call) -> Raw:
    """Serve an answer file to whoever has its address, for a day."""
    row = call.table("batch_files").get(call.params["file_id"])
    if row is None or seconds_of(row["expires_at"]) <= call.platform.clock.now():
        raise not_found("FILE")
    return Raw(row["content"].encode(), "application/x-ndjson")


def _check(body: dict[str, Any]) -> Iterable[tuple[str, str]]:
    if ("input_file_url" in body) == ("input_file_base64" in body):
        text = "exactly one of input_file_url and input_file_base64 must be given"
        yield "input_file_url", text
    elif not body.get("input_file_url", SCHEMES[0]).startswith(SCHEMES):
        yield "input_file_url", "must be a presigned object URL, scaidrive:// or scaigrid://file/"


BATCHES, BATCH, USE = "/v1/inference/batch", "/v1/inference/batch/{batch_id}", "models:use"
FILES = f"{BATCHES}/files"

FAMILY = Family(
    tables=(
        TableSpec("batches", "bat_", ("tenant_id",)),
        TableSpec("batch_files", "bfile_"),
    ),
    endpoints=(
        Endpoint(
            "POST",
            BATCHES,
            USE,
            create_batch,
            body=json_body(BATCH_BODY, _check),
            audit="batch.create",
        ),
        Endpoint("GET", BATCHES, USE, list_batches, query=fields(f"@page, status:enum({STATES})")),
        Endpoint("GET", BATCH, USE, get_batch),
        Endpoint("POST", f"{BATCH}/cancel", USE, cancel_batch, audit="batch.cancel"),
        Endpoint("GET", f"{FILES}/{{file_id}}", None, batch_file),
    ),
)
