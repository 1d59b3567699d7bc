"""Tools of the module for transcription, scaiecho.

Data only. Spec: core-tools 2, scaigrid 11.
"""

from __future__ import annotations

from scaimcp.catalog.definition import tool
from scaimcp.catalog.notation import arg
from scaimcp.catalog.results import fields

_ROOT = "/v1/modules/scaiecho"
_JOB = (
    "job_id, status, transcript?, backend_used?, language_detected?, audio_duration_ms?, "
    "audio_bytes?"
)

TOOLS = (
    tool(
        "echo_transcribe",
        "Transcribe recorded speech",
        "Turn recorded speech into text; use it for audio given in base64, with force_async for "
        "long recordings; returns the transcript, or a job to ask for with echo_jobs_get.",
        f"POST {_ROOT}/transcribe",
        (
            arg(
                "audio_base64:str(1–33333336)*",
                "The recording in base64 without line breaks, at most 25,000,000 bytes decoded.",
            ),
            arg(
                "mime_type:enum(audio/mpeg,audio/wav,audio/ogg,audio/webm,audio/mp4)*",
                "Media type of the recording, for example audio/mpeg for mp3.",
            ),
            arg(
                "language_hint:str(2–8)",
                "Language that is spoken, for example en; found out when absent.",
            ),
            arg(
                "backend_preference:str(1–64)",
                "Name of the transcription backend to prefer; chosen when absent.",
            ),
            arg(
                "temperature:num(0–1)",
                "How freely unclear speech is guessed, 0 to 1; the backend's own when absent.",
            ),
            arg(
                "force_async:bool=false",
                "True to get a job at once instead of waiting for the text; false when absent.",
            ),
        ),
        permission="scaiecho:transcribe",
        hints="O",
        # A transcript that comes at once comes without a status.
        result=fields(_JOB, long_text=("transcript",), otherwise=(("status", "completed"),)),
        module_id="scaiecho",
        body="multipart",
        files=(("audio_base64", "file"),),
        timeout_seconds=120.0,
    ),
    tool(
        "echo_jobs_get",
        "Show a transcription job",
        "Show one transcription job; use it after echo_transcribe gave a job without a transcript, "
        "and again until it is done; returns status, transcript and any error.",
        f"GET {_ROOT}/transcribe/jobs/{{job_id}}",
        (arg("job_id:id*", "Identifier of the job, from echo_transcribe."),),
        permission="scaiecho:transcribe",
        hints="R I",
        result=fields(f"{_JOB}, error?", long_text=("transcript",)),
        module_id="scaiecho",
    ),
)
