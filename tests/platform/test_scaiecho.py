"""Transcription, at once and as a job."""

import hashlib
from typing import Any

import pytest

from scaimcp.dev.platform.deterministic import tone, wav
from tests.platform.conftest import Answer, Starter, World
from tests.platform.helpers import actions, assert_needs, enable, shift, upload

ROOT = "/v1/modules/scaiecho/transcribe"
SOUND = wav(tone("a b c d"))
BROKEN = b"RIFF"


@pytest.fixture
async def world(start: Starter) -> World:
    return await start(frozen_at=1_800_000_000)


async def transcribe(world: World, content: bytes = SOUND, **values: str) -> Answer:
    return await upload(world.as_("tenant_admin"), ROOT, content, **values)


async def job(world: World, job_id: str) -> Any:
    return (await world.as_("tenant_admin").get(f"{ROOT}/jobs/{job_id}")).data


async def test_a_recording_is_transcribed_at_once(world: World) -> None:
    answer = await transcribe(world, language_hint="nl", backend_preference="x", temperature="0.5")
    assert answer.status == 200
    digest = hashlib.sha256(SOUND).hexdigest()[:8]
    result = {
        "transcript": f"audio {len(SOUND)} {digest}",
        "backend_used": "scailabs/scribe-1",
        "language_detected": "nl",
        "audio_duration_ms": 200,
        "audio_bytes": len(SOUND),
    }
    job_id = answer.data["job_id"]
    assert answer.data == {"job_id": job_id, **result}
    assert await job(world, job_id) == {"job_id": job_id, "status": "completed", **result}


async def test_a_job_is_done_after_a_while(world: World) -> None:
    answer = await transcribe(world, force_async="true")
    assert answer.status == 202
    job_id = answer.data["job_id"]
    assert answer.data == {"job_id": job_id, "status": "queued"}
    await shift(world, 0.5)
    assert await job(world, job_id) == {"job_id": job_id, "status": "processing"}
    await shift(world, 0.5)
    done = await job(world, job_id)
    assert (done["status"], done["language_detected"]) == ("completed", "en")
    assert done["transcript"].startswith("audio ")


async def test_what_cannot_be_decoded_fails(world: World) -> None:
    assert (await transcribe(world, BROKEN)).faults == {"file"}
    answer = await transcribe(world, BROKEN, force_async="true")
    await shift(world, 1)
    assert await job(world, answer.data["job_id"]) == {
        "job_id": answer.data["job_id"],
        "status": "failed",
        "error": "The audio cannot be decoded.",
    }


async def test_uploads_are_checked(world: World) -> None:
    assert (await transcribe(world, b"")).faults == {"file"}
    wrong = await transcribe(world, temperature="2", force_async="maybe", colour="red")
    assert wrong.faults == {"temperature", "force_async", "colour"}
    bare = await world.as_("tenant_admin").post(ROOT, {})
    assert bare.code == "UNSUPPORTED_MEDIA_TYPE"
    large = await transcribe(world, bytes(25_000_000))
    assert (large.status, large.code) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_foreign_job_is_not_found(world: World) -> None:
    job_id = (await transcribe(world)).data["job_id"]
    other = world.as_("other_tenant_admin")
    assert (await other.get(f"{ROOT}/jobs/{job_id}")).code == "MODULE_NOT_ENABLED"
    await enable(world, "scaiecho", "globex")
    for path in (job_id, "none"):
        answer = await other.get(f"{ROOT}/jobs/{path}")
        assert (answer.status, answer.code) == (404, "JOB_NOT_FOUND")
    assert (await world.as_("partner_admin").get(f"{ROOT}/jobs/{job_id}")).status == 200


async def test_transcription_is_charged_and_audited(world: World) -> None:
    job_id = (await transcribe(world)).data["job_id"]
    await job(world, job_id)
    assert [row["model"] for row in world.rows("usage")] == ["scailabs/scribe-1"]
    assert actions(world) == ["scaiecho.job.create"]
    assert world.rows("audit")[0]["resource_id"] == job_id


async def test_every_call_needs_the_permission(world: World) -> None:
    await assert_needs(world, "POST", ROOT, "scaiecho:transcribe")
    await assert_needs(world, "GET", f"{ROOT}/jobs/x", "scaiecho:transcribe")
