"""Images, transcription and speech. Spec: scaigrid 10, 12 (other models)."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

from scaimcp.dev.platform.accounting import charge, check_budgets
from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.clock import iso, seconds_of
from scaimcp.dev.platform.deterministic import (
    duration_of,
    picture,
    tokens_of,
    tone,
    transcribe,
    wav,
)
from scaimcp.dev.platform.endpoint import Endpoint, Family, Raw, form_body, json_body
from scaimcp.dev.platform.errors import PlatformError, not_found
from scaimcp.dev.platform.inference import resolve

URL_SECONDS = 3600
AUDIO_BYTES = 25_000_000 - 1
AUDIO_SUFFIXES = ("mp3", "wav", "ogg", "webm", "m4a")
IMAGE = (
    "model:str*, prompt:str(1-4000)*, n:int(1-10)=1,"
    "size:enum(1024x1024,1792x1024,1024x1792)=1024x1024,"
    "quality:enum(standard,hd)=standard, style:enum(vivid,natural)=vivid,"
    "response_format:enum(url,b64_json)=url, metadata:map"
)
TRANSCRIBE = (
    f"file:file(1-{AUDIO_BYTES})*, model:str*, language:str(2-3), temperature:num(0-1),"
    "prompt:str(<=2000),"
    "response_format:enum(text,json,verbose_json,srt,vtt)=text,"
    "timestamp_granularities[]:list<enum(segment,word)>(1-2)"
)
SYNTHESIZE = (
    "model:str*, input:str(1-4096)*, voice:str=default,"
    "response_format:enum(mp3,opus,aac,flac,wav,pcm)=mp3, speed:num(0.25-4)=1"
)


def images(call: Call) -> dict[str, Any]:
    """Return one-colour pictures; a URL leads back here for an hour."""
    body = call.body
    target = resolve(call, body["model"], "image")
    check_budgets(call)
    tokens = tokens_of(body["prompt"])
    rows = [_image(call, number) for number in range(body["n"])]
    charge(call, target.charged, tokens, 0)
    return {"created": int(call.platform.clock.now()), "data": rows}


def _image(call: Call, number: int) -> dict[str, str]:
    body = call.body
    # The number is part of the hash, so that several pictures of one prompt differ.
    source = body["prompt"] if number == 0 else f"{body['prompt']} #{number}"
    if body["response_format"] == "b64_json":
        shown = {"b64_json": b64encode(picture(source, body["size"])).decode()}
    else:
        now = call.platform.clock.now()
        expires_at = iso(now + URL_SECONDS)
        row = call.table("files").insert(
            {"prompt": source, "size": body["size"], "expires_at": expires_at}
        )
        shown = {"url": f"{call.base_url}/v1/inference/images/files/{row['id']}"}
    return {**shown, "revised_prompt": body["prompt"]}


def image_file(call: Call) -> Raw:
    """Serve a generated picture until its hour is over."""
    row = call.table("files").get(call.params["file_id"])
    if row is None or seconds_of(row["expires_at"]) <= call.platform.clock.now():
        raise not_found("FILE")
    return Raw(picture(row["prompt"], row["size"]), "image/png")


def transcription(call: Call) -> dict[str, Any]:
    """Return the text of a recording in the wanted form."""
    body = call.body
    part = body["file"]
    if part.filename.rpartition(".")[2].lower() not in AUDIO_SUFFIXES:
        raise PlatformError("UNSUPPORTED_MEDIA_TYPE", f"Audio must be {', '.join(AUDIO_SUFFIXES)}.")
    target = resolve(call, body["model"], "audio")
    check_budgets(call)
    text = transcribe(part.content)
    charge(call, target.charged, tokens_of(text), 0)
    duration = duration_of(part.content)
    return TRANSCRIPTS[body["response_format"]](call, text, duration)


def _plain(call: Call, text: str, duration: float) -> dict[str, Any]:
    return {"text": text}


def _verbose(call: Call, text: str, duration: float) -> dict[str, Any]:
    words = text.split()
    step = duration / len(words)
    wanted = call.body.get("timestamp_granularities[]", ["segment"])
    answer: dict[str, Any] = {
        "text": text,
        "language": call.body.get("language", "en"),
        "duration_s": duration,
    }
    if "segment" in wanted:
        answer["segments"] = [{"id": 0, "start": 0.0, "end": duration, "text": text}]
    if "word" in wanted:
        answer["words"] = [
            {"word": word, "start": round(n * step, 3), "end": round((n + 1) * step, 3)}
            for n, word in enumerate(words)
        ]
    return answer


def _srt(call: Call, text: str, duration: float) -> dict[str, Any]:
    return {"text": f"1\n00:00:00,000 --> {_stamp(duration, ',')}\n{text}\n"}


def _vtt(call: Call, text: str, duration: float) -> dict[str, Any]:
    return {"text": f"WEBVTT\n\n00:00:00.000 --> {_stamp(duration, '.')}\n{text}\n"}


def _stamp(seconds: float, mark: str) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{mark}{thousandths:03d}"


TRANSCRIPTS: dict[str, Callable[[Call, str, float], dict[str, Any]]] = {
    "text": _plain,
    "json": _plain,
    "verbose_json": _verbose,
    "srt": _srt,
    "vtt": _vtt,
}


def synthesize(call: Call) -> Raw:
    """Return a tone: WAV whatever compressed format was asked for, or bare PCM."""
    body = call.body
    target = resolve(call, body["model"], "audio")
    check_budgets(call)
    sound = tone(body["input"], body["speed"])
    charge(call, target.charged, tokens_of(body["input"]), 0)
    if body["response_format"] == "pcm":
        return Raw(sound, "audio/pcm")
    return Raw(wav(sound), "audio/wav")


ROOT, USE = "/v1/inference", "models:use"

FAMILY = Family(
    endpoints=(
        Endpoint(
            "POST",
            f"{ROOT}/images/generate",
            USE,
            images,
            body=json_body(IMAGE),
            audit="inference.images_generate",
        ),
        Endpoint("GET", f"{ROOT}/images/files/{{file_id}}", None, image_file),
        Endpoint(
            "POST",
            f"{ROOT}/audio/transcribe",
            USE,
            transcription,
            body=form_body(TRANSCRIBE),
            audit="inference.audio_transcribe",
        ),
        Endpoint(
            "POST",
            f"{ROOT}/audio/synthesize",
            USE,
            synthesize,
            body=json_body(SYNTHESIZE),
            audit="inference.audio_synthesize",
        ),
    )
)
