"""Transcription, at once or as a job, by the model `scailabs/scribe-1`. Spec: scaigrid 11, 12."""

from scaimcp.dev.platform.accounting import charge, check_budgets
from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.deterministic import duration_of, tokens_of, transcribe
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, form_body
from scaimcp.dev.platform.errors import refuse
from scaimcp.dev.platform.inference import resolve
from scaimcp.dev.platform.pages import view
from scaimcp.dev.platform.store import Row, TableSpec

MODULE_ID = "scaiecho"
TRANSCRIBE = "scaiecho:transcribe"
MODEL = "scailabs/scribe-1"
FILE_BYTES = 25_000_000 - 1
# A job is processed after the first and done after the second, in seconds.
PROCESSING_AFTER, DONE_AFTER = 0.2, 1.0
UNREADABLE = "The audio cannot be decoded."
_result = view("transcript backend_used language_detected audio_duration_ms audio_bytes")


def start(call: Call) -> Reply | Row:
    """Transcribe a recording now, or take it as a job."""
    body = call.body
    content = body["file"].content
    seconds = duration_of(content)
    is_async, error = body["force_async"], None if seconds > 0 else UNREADABLE
    if error is not None and not is_async:
        refuse("file", "cannot be decoded")
    target = resolve(call, MODEL, "audio")
    check_budgets(call)
    text = transcribe(content)
    charge(call, target.charged, tokens_of(text), 0)
    done_at = call.platform.clock.now() + (DONE_AFTER if is_async else 0)
    row = call.created(
        "transcription_jobs",
        {
            "tenant_id": call.principal.tenant_id,
            "done_at": done_at,
            "transcript": text,
            # There is one backend, whichever is preferred.
            "backend_used": MODEL,
            "language_detected": body.get("language_hint", "en"),
            "audio_duration_ms": round(seconds * 1000),
            "audio_bytes": len(content),
            "error": error,
        },
    )
    if is_async:
        return Reply({"job_id": row["id"], "status": _status(call, row)}, status=202)
    return {"job_id": row["id"], **_result(row)}


def _status(call: Call, row: Row) -> str:
    left = row["done_at"] - call.platform.clock.now()
    if left <= 0:
        return "failed" if row["error"] else "completed"
    return "processing" if left <= DONE_AFTER - PROCESSING_AFTER else "queued"


def get_job(call: Call) -> Row:
    """Return a job, with the result once it is done."""
    row = call.find("transcription_jobs", call.params["job_id"], "JOB")
    status = _status(call, row)
    answer: Row = {"job_id": row["id"], "status": status}
    if status == "completed":
        answer |= _result(row)
    elif status == "failed":
        answer["error"] = row["error"]
    return answer


FAMILY = Family(
    tables=(TableSpec("transcription_jobs", "tjob_", ("tenant_id",)),),
    endpoints=(
        Endpoint(
            "POST",
            "/transcribe",
            TRANSCRIBE,
            start,
            module=MODULE_ID,
            body=form_body(
                f"file:file(1-{FILE_BYTES})*, language_hint:str, backend_preference:str,"
                "temperature:num(0-1), force_async:bool=false"
            ),
            audit="scaiecho.job.create",
        ),
        Endpoint("GET", "/transcribe/jobs/{job_id}", TRANSCRIBE, get_job, module=MODULE_ID),
    ),
)
