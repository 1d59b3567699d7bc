"""Tools of the module for speech, scaispeak.

Data only. Spec: core-tools 2, scaigrid 11.
"""

from __future__ import annotations

from scaimcp.catalog.definition import PAGE, tool
from scaimcp.catalog.notation import arg
from scaimcp.catalog.results import an, audio, list_of

_ROOT = "/v1/modules/scaispeak"
_RETURN_AS = arg(
    "return_as:enum(content,base64)=content",
    "content for playable audio, base64 for clients without audio support; content when absent.",
)

TOOLS = (
    tool(
        "speak_voices_list",
        "List voices",
        "List the voices for speech page by page; use it to find a voice_id that fits language and "
        "tone; returns name, language, gender and readiness of each.",
        f"GET {_ROOT}/voices",
        (
            *PAGE,
            arg(
                "language:str(2–16)", "Only voices of this language, for example en; all if absent."
            ),
            arg("scope:str(1–32)", "Only voices of this owner, for example tenant; all if absent."),
            arg(
                "gender:str(1–32)", "Only voices that sound so, for example female; all if absent."
            ),
            arg(
                "embedding_status:str(1–32)",
                "Only voices in this state of preparation, for example ready; all when absent.",
            ),
            arg("q:str", "Words to find in the voice's name; all voices when absent."),
        ),
        permission="scaispeak:voice.read",
        hints="R I",
        result=list_of("Voice"),
        module_id="scaispeak",
    ),
    tool(
        "speak_voices_get",
        "Show a voice",
        "Show one voice; use it to check that a voice is ready before speech is made with it; "
        "returns its name, language, gender, scope and readiness.",
        f"GET {_ROOT}/voices/{{voice_id}}",
        (arg("voice_id:id*", "Identifier of the voice, from speak_voices_list."),),
        permission="scaispeak:voice.read",
        hints="R I",
        result=an("Voice"),
        module_id="scaispeak",
    ),
    tool(
        "speak_voices_preview",
        "Hear a voice",
        "Speak a short sample with one voice; use it to let someone choose between voices; returns "
        "the audio with its media type and size.",
        f"POST {_ROOT}/voices/{{voice_id}}/preview",
        (
            arg("voice_id:id*", "Identifier of the voice, from speak_voices_list."),
            arg(
                "text:str(1–200)",
                "Text of the sample, at most 200 characters; a standard sentence when absent.",
            ),
            _RETURN_AS,
        ),
        permission="scaispeak:voice.read",
        hints="O",
        result=audio("voice_id, mime_type, size_bytes, audio_base64?", is_json=True),
        module_id="scaispeak",
        timeout_seconds=120.0,
    ),
    tool(
        "speak_synthesize",
        "Turn text into speech",
        "Speak a text with one voice; use it when spoken audio in a chosen voice is wanted; "
        "returns the audio with its media type, size and duration.",
        f"POST {_ROOT}/speak",
        (
            arg("text:str(1–5000)*", "Text to speak, at most 5,000 characters."),
            arg("voice_id:id*", "Identifier of the voice, from speak_voices_list."),
            arg(
                "language:str(2–16)",
                "Language of the text, for example en; the voice's own when absent.",
            ),
            arg("format:enum(mp3,wav,ogg)=mp3", "Format of the audio; mp3 when absent."),
            arg(
                "speed:num(0.5–2)",
                "Speed of speech as a factor, from 0.5 to 2; 1, the normal speed, when absent.",
            ),
            _RETURN_AS,
        ),
        permission="scaispeak:synthesize",
        hints="O",
        result=audio("voice_id, mime_type, size_bytes, duration_ms, audio_base64?", is_json=True),
        module_id="scaispeak",
        timeout_seconds=120.0,
    ),
)
