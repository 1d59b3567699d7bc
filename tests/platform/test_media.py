"""Images, transcription and speech."""

import base64
import hashlib
import io
import struct
import wave
import zlib
from typing import Any

import aiohttp
import pytest

from scaimcp.dev.platform.deterministic import duration_of, tone, wav
from tests.platform.conftest import Answer, World

IMAGES = "/v1/inference/images/generate"
SPEECH = "/v1/inference/audio/synthesize"
TEXT = "/v1/inference/audio/transcribe"


async def transcribe(
    world: World, content: bytes = b"abc", name: str = "a.mp3", **values: Any
) -> Answer:
    form = aiohttp.FormData()
    form.add_field("file", io.BytesIO(content), filename=name, content_type="audio/mpeg")
    for field, value in {"model": "scailabs/scribe-1", **values}.items():
        for one in value if isinstance(value, list) else [value]:
            form.add_field(field, one)
    return await world.as_("tenant_user")("POST", TEXT, data=form)


def chunk(png: bytes, kind: bytes) -> bytes:
    at = png.index(kind)
    size = struct.unpack(">I", png[at - 4 : at])[0]
    data = png[at + 4 : at + 4 + size]
    assert zlib.crc32(kind + data) == struct.unpack(">I", png[at + 4 + size : at + 8 + size])[0]
    return data


async def test_a_picture_has_one_colour_from_the_prompts_hash(world: World) -> None:
    body = {"model": "scailabs/pixel-1", "prompt": "a fox", "n": 2, "response_format": "b64_json"}
    data = (await world.as_("tenant_user").post(IMAGES, body)).data
    pictures = [base64.b64decode(row["b64_json"]) for row in data["data"]]
    assert data["data"][0]["revised_prompt"] == "a fox"
    assert chunk(pictures[0], b"PLTE") == hashlib.sha256(b"a fox").digest()[:3]
    assert struct.unpack(">II", chunk(pictures[0], b"IHDR")[:8]) == (1024, 1024)
    assert len(zlib.decompress(chunk(pictures[0], b"IDAT"))) == 1024 * 129
    assert pictures[0] != pictures[1]
    assert len(world.rows("usage")) == 1


async def test_a_pictures_url_lives_an_hour(world: World) -> None:
    body = {"model": "scailabs/pixel-1", "prompt": "a fox", "size": "1792x1024"}
    data = (await world.as_("tenant_user").post(IMAGES, body)).data
    path = data["data"][0]["url"].removeprefix(world.served.url)
    picture = await world.anyone.get(path)
    assert picture.headers["Content-Type"] == "image/png"
    assert struct.unpack(">II", chunk(picture.content, b"IHDR")[:8]) == (1792, 1024)
    await world.control.post("/clock", {"seconds": 3601})
    assert (await world.anyone.get(path)).code == "FILE_NOT_FOUND"
    assert (await world.anyone.get("/v1/inference/images/files/none")).code == "FILE_NOT_FOUND"


async def test_image_faults_are_listed(world: World) -> None:
    body = {"model": "m", "prompt": "", "n": 11, "size": "1x1", "style": "odd"}
    answer = await world.as_("tenant_user").post(IMAGES, body)
    assert answer.faults == {"prompt", "n", "size", "style"}


async def test_speech_is_a_tone_as_long_as_its_words(world: World) -> None:
    caller = world.as_("tenant_user")
    body = {"model": "scailabs/tone-1", "input": "one two three four"}
    answer = await caller.post(SPEECH, body)
    assert answer.headers["Content-Type"] == "audio/wav"
    with wave.open(io.BytesIO(answer.content)) as reader:
        assert reader.getnframes() / reader.getframerate() == pytest.approx(0.2)
    fast = await caller.post(SPEECH, {**body, "speed": 2})
    assert len(fast.content) < len(answer.content)
    bare = await caller.post(SPEECH, {**body, "response_format": "pcm"})
    assert bare.headers["Content-Type"] == "audio/pcm"
    assert answer.content.endswith(bare.content)


async def test_a_recording_is_transcribed_by_size_and_hash(world: World) -> None:
    digest = hashlib.sha256(b"abc").hexdigest()[:8]
    answer = await transcribe(world)
    assert answer.data == {"text": f"audio 3 {digest}"}
    assert [row["action"] for row in world.rows("audit")] == ["inference.audio_transcribe"]
    assert len(world.rows("usage")) == 1


async def test_a_verbose_transcript_has_times(world: World) -> None:
    content = wav(tone("a b c d"))
    data = (await transcribe(world, content, "a.wav", response_format="verbose_json")).data
    assert data["duration_s"] == 0.2
    assert data["language"] == "en"
    assert data["segments"][0]["end"] == 0.2
    assert "words" not in data
    values: dict[str, Any] = {
        "response_format": "verbose_json",
        "timestamp_granularities[]": ["word", "segment"],
        "language": "nl",
    }
    both = (await transcribe(world, content, "a.wav", **values)).data
    assert both["language"] == "nl"
    assert [word["word"] for word in both["words"]][:2] == ["audio", str(len(content))]
    values["timestamp_granularities[]"] = ["word"]
    assert "segments" not in (await transcribe(world, content, "a.wav", **values)).data


@pytest.mark.parametrize(
    ("form", "opening"),
    [("srt", "1\n00:00:00,000 --> 00:00:00,200\n"), ("vtt", "WEBVTT\n\n00:00:00.000")],
)
async def test_subtitles_come_as_text(world: World, form: str, opening: str) -> None:
    content = wav(tone("a b c d"))
    data = (await transcribe(world, content, "a.wav", response_format=form)).data
    assert data["text"].startswith(opening)


@pytest.mark.parametrize(
    ("name", "values", "code"),
    [
        ("a.txt", {}, "UNSUPPORTED_MEDIA_TYPE"),
        ("a", {}, "UNSUPPORTED_MEDIA_TYPE"),
        ("a.mp3", {"temperature": "2"}, "VALIDATION_ERROR"),
        ("a.mp3", {"what": "x"}, "VALIDATION_ERROR"),
        ("a.mp3", {"timestamp_granularities[]": ["second"]}, "VALIDATION_ERROR"),
        ("a.mp3", {"model": "scailabs/echo-1"}, "VALIDATION_ERROR"),
        ("a.mp3", {"model": "none"}, "MODEL_NOT_FOUND"),
    ],
)
async def test_a_wrong_upload_is_refused(
    world: World, name: str, values: dict[str, Any], code: str
) -> None:
    assert (await transcribe(world, b"abc", name, **values)).code == code


async def test_an_upload_needs_a_form_and_a_file(world: World) -> None:
    caller = world.as_("tenant_user")
    assert (await caller.post(TEXT, {"model": "x"})).code == "UNSUPPORTED_MEDIA_TYPE"
    assert (await transcribe(world, b"")).faults == {"file"}


async def test_an_upload_of_25_megabytes_is_too_large(world: World) -> None:
    answer = await transcribe(world, bytes(25_000_000))
    assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")


def test_other_formats_have_a_guessed_duration() -> None:
    assert duration_of(bytes(16_000)) == 1.0
    assert duration_of(b"RIFF") == 0.0
