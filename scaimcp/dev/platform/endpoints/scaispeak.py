"""Voices and speech, by the model `scailabs/tone-1`. Spec: scaigrid 11, 12."""

from base64 import b64encode

from scaimcp.dev.platform.accounting import charge, check_budgets
from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.deterministic import duration_of, tokens_of, tone, wav
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.errors import conflict, not_found
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.inference import resolve
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.samples import insert_samples
from scaimcp.dev.platform.state import Platform
from scaimcp.dev.platform.store import Row, TableSpec

MODULE_ID = "scaispeak"
READ, SYNTHESIZE = "scaispeak:voice.read", "scaispeak:synthesize"
MODEL = "scailabs/tone-1"
MIME_TYPE = "audio/wav"
EXACT = ("language", "scope", "gender", "embedding_status")
SPEAK = (
    "text:str(1-5000)*, voice_id:id*, language:str(2-16), format:enum(mp3,wav,ogg)=mp3,"
    "speed:num(0.5-2)=1, async:bool=false"
)
_voice = view("id name language gender scope embedding_status created_at")


def _is_visible(call: Call, row: Row) -> bool:
    return row["tenant_id"] is None or call.sees_tenant(row["tenant_id"])


def _find(call: Call, voice_id: str) -> Row:
    row = call.table("voices").get(voice_id)
    if row is None or not _is_visible(call, row):
        raise not_found("VOICE")
    return row


def list_voices(call: Call) -> Reply:
    """List the platform's voices and the tenant's own; `q` is a part of the name."""
    wanted = {name: call.query[name] for name in EXACT if name in call.query}
    part = call.query.get("q", "").lower()
    rows = [
        row
        for row in call.table("voices").find(**wanted)
        if _is_visible(call, row) and part in row["name"].lower()
    ]
    return shape_a(call, rows, _voice)


def get(call: Call) -> object:
    """Return one voice."""
    return _voice(_find(call, call.params["voice_id"]))


def _sound(call: Call, voice: Row, text: str, speed: float) -> Row:
    """Return a spoken text, which is always a WAV tone, and charge it."""
    if voice["embedding_status"] != "ready":
        raise conflict("The voice is not ready.")
    target = resolve(call, MODEL, "audio")
    check_budgets(call)
    content = wav(tone(text, speed))
    charge(call, target.charged, tokens_of(text), 0)
    return {
        "audio_base64": b64encode(content).decode(),
        "mime_type": MIME_TYPE,
        "duration_ms": round(duration_of(content) * 1000),
    }


def preview(call: Call) -> Row:
    """Let a voice say a sentence."""
    voice = _find(call, call.params["voice_id"])
    text = call.body.get("text") or f"Hello, this is {voice['name']}."
    sound = _sound(call, voice, text, 1.0)
    return {name: sound[name] for name in ("audio_base64", "mime_type")}


def speak(call: Call) -> Reply | Row:
    """Speak a text now, or take it as a job."""
    body = call.body
    voice = _find(call, body["voice_id"])
    call.resource_id = voice["id"]
    sound = _sound(call, voice, body["text"], body["speed"])
    if not body["async"]:
        return {**sound, "voice_id": voice["id"]}
    job = {"tenant_id": call.principal.tenant_id, "voice_id": voice["id"], "status": "queued"}
    row = call.created("speak_jobs", job)
    return Reply({"job_id": row["id"], "status": row["status"]}, status=202)


# tenant, name, language, gender, status
SAMPLES = (
    ("", "Alice", "en-GB", "female", "ready"),
    ("", "Bram", "nl-NL", "male", "ready"),
    ("acme", "Acme Anna", "en-US", "female", "ready"),
    ("acme", "Acme Otto", "de-DE", "male", "pending"),
    ("globex", "Globex Gina", "en-US", "female", "ready"),
)


def _seed(platform: Platform) -> None:
    for slug, name, language, gender, status in SAMPLES:
        row = {
            "name": name,
            "language": language,
            "gender": gender,
            "scope": "tenant" if slug else "platform",
            "embedding_status": status,
        }
        insert_samples(platform, "voices", slug, [row])


VOICES, ONE = "/voices", "/voices/{voice_id}"

FAMILY = Family(
    tables=(TableSpec("voices", "voi_"), TableSpec("speak_jobs", "spj_")),
    seed=_seed,
    endpoints=(
        Endpoint(
            "GET",
            VOICES,
            READ,
            list_voices,
            module=MODULE_ID,
            query=fields("@page, language:str, scope:str, gender:str, embedding_status:str, q:str"),
        ),
        Endpoint("GET", ONE, READ, get, module=MODULE_ID),
        Endpoint(
            "POST",
            f"{ONE}/preview",
            READ,
            preview,
            module=MODULE_ID,
            body=json_body("text:str(1-200)"),
            audit="scaispeak.voice.preview",
        ),
        Endpoint(
            "POST",
            "/speak",
            SYNTHESIZE,
            speak,
            module=MODULE_ID,
            body=json_body(SPEAK),
            audit="scaispeak.voice.speak",
        ),
    ),
)
