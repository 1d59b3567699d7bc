"""Voices and speech."""

import base64
import io
import wave
from typing import Any

import pytest

from tests.platform.conftest import Answer, World
from tests.platform.helpers import actions, assert_needs, enable

ROOT = "/v1/modules/scaispeak"
VOICES = f"{ROOT}/voices"


def voice(world: World, name: str) -> str:
    return str(next(row["id"] for row in world.rows("voices") if row["name"] == name))


async def speak(world: World, name: str = "Alice", **body: Any) -> Answer:
    order = {"text": "one two three", "voice_id": voice(world, name), **body}
    return await world.as_("tenant_admin").post(f"{ROOT}/speak", order)


async def test_voices_are_listed_in_shape_a(world: World) -> None:
    viewer = world.as_("tenant_viewer")
    answer = await viewer.get(f"{VOICES}?limit=3")
    assert set(answer.json) == {"data", "pagination", "meta"}
    assert [row["name"] for row in answer.data["items"]] == ["Alice", "Bram", "Acme Anna"]
    assert answer.data["items"][0]["id"].startswith("voi_")
    cursor = answer.json["pagination"]["next_cursor"]
    rest = (await viewer.get(f"{VOICES}?cursor={cursor}")).data["items"]
    assert [row["name"] for row in rest] == ["Acme Otto"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("language=nl-NL", ["Bram"]),
        ("scope=tenant", ["Acme Anna", "Acme Otto"]),
        ("gender=female&scope=platform", ["Alice"]),
        ("embedding_status=pending", ["Acme Otto"]),
        ("q=ACME", ["Acme Anna", "Acme Otto"]),
        ("q=globex", []),
        ("language=xx", []),
    ],
)
async def test_voices_are_filtered(world: World, query: str, names: list[str]) -> None:
    rows = (await world.as_("tenant_viewer").get(f"{VOICES}?{query}")).data["items"]
    assert [row["name"] for row in rows] == names


async def test_a_text_is_spoken_as_a_tone(world: World) -> None:
    data = (await speak(world)).data
    assert set(data) == {"audio_base64", "mime_type", "duration_ms", "voice_id"}
    assert (data["mime_type"], data["duration_ms"]) == ("audio/wav", 150)
    assert data["voice_id"] == voice(world, "Alice")
    with wave.open(io.BytesIO(base64.b64decode(data["audio_base64"]))) as reader:
        assert reader.getnframes() / reader.getframerate() == pytest.approx(0.15)
    assert (await speak(world)).data == data
    assert (await speak(world, speed=2)).data["duration_ms"] == 75


async def test_a_long_text_is_taken_as_a_job(world: World) -> None:
    order = {"text": "one", "voice_id": voice(world, "Bram"), "async": True}
    answer = await world.as_("tenant_admin").post(f"{ROOT}/speak", order)
    assert answer.status == 202
    assert answer.data == {"job_id": answer.data["job_id"], "status": "queued"}
    assert world.rows("speak_jobs")[0]["id"] == answer.data["job_id"]


async def test_a_voice_is_previewed(world: World) -> None:
    viewer = world.as_("tenant_viewer")
    path = f"{VOICES}/{voice(world, 'Bram')}/preview"
    data = (await viewer.post(path)).data
    assert set(data) == {"audio_base64", "mime_type"}
    longer = (await viewer.post(path, {"text": "one two three four five six seven"})).data
    assert len(longer["audio_base64"]) > len(data["audio_base64"])
    assert (await viewer.post(path, {"text": "x" * 201})).faults == {"text"}


async def test_a_voice_that_is_not_ready_is_a_conflict(world: World) -> None:
    answer = await speak(world, "Acme Otto")
    assert (answer.status, answer.code) == (409, "CONFLICT")
    path = f"{VOICES}/{voice(world, 'Acme Otto')}/preview"
    assert (await world.as_("tenant_viewer").post(path)).code == "CONFLICT"


async def test_wrong_orders_are_422(world: World) -> None:
    answer = await speak(world, text="", format="flac", speed=3, language="x", colour=1)
    assert answer.faults == {"text", "format", "speed", "language", "colour"}
    bare = await world.as_("tenant_admin").post(f"{ROOT}/speak", {})
    assert bare.faults == {"text", "voice_id"}


async def test_speech_is_charged_and_audited(world: World) -> None:
    await speak(world)
    await world.as_("tenant_viewer").post(f"{VOICES}/{voice(world, 'Bram')}/preview")
    await speak(world, voice_id="none")
    assert [row["model"] for row in world.rows("usage")] == ["scailabs/tone-1"] * 2
    assert actions(world) == [
        "scaispeak.voice.speak",
        "scaispeak.voice.preview",
        "scaispeak.voice.speak",
    ]
    rows = world.rows("audit")
    assert rows[0]["resource_id"] == voice(world, "Alice")
    assert rows[-1]["details"] == {"code": "VOICE_NOT_FOUND"}


async def test_a_foreign_voice_is_not_found(world: World) -> None:
    admin = world.as_("tenant_admin")
    foreign = voice(world, "Globex Gina")
    assert (await admin.get(f"{VOICES}/{voice(world, 'Acme Anna')}")).data["scope"] == "tenant"
    for found in (foreign, "none"):
        missing = await admin.get(f"{VOICES}/{found}")
        assert (missing.status, missing.code) == (404, "VOICE_NOT_FOUND")
        assert (await admin.post(f"{VOICES}/{found}/preview")).code == "VOICE_NOT_FOUND"
    assert (await speak(world, "Globex Gina")).code == "VOICE_NOT_FOUND"
    await enable(world, "scaispeak", "globex")
    seen = (await world.as_("other_tenant_admin").get(VOICES)).data["items"]
    assert [row["name"] for row in seen] == ["Alice", "Bram", "Globex Gina"]


async def test_every_call_needs_its_permission(world: World) -> None:
    await assert_needs(world, "GET", VOICES, "scaispeak:voice.read")
    await assert_needs(world, "GET", f"{VOICES}/x", "scaispeak:voice.read")
    await assert_needs(world, "POST", f"{VOICES}/x/preview", "scaispeak:voice.read")
    await assert_needs(world, "POST", f"{ROOT}/speak", "scaispeak:synthesize")
