"""The models the stand-in computes itself: same input, same output. Spec: scaigrid 12 (models)."""

import hashlib
import io
import math
import re
import struct
import wave
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

DIMENSIONS = 64
CHARACTERS_PER_TOKEN = 4
SAMPLE_RATE = 16_000
WORD_SECONDS = 0.05
TONE_HERTZ = 440.0
CALL = re.compile(r"call:([A-Za-z0-9_.-]+)\s*(\{.*\})?\s*", re.DOTALL)
WORD = re.compile(r"\w+")


class Turn(NamedTuple):
    """One generated turn: the text or the tool calls, and why it ended."""

    text: str
    finish_reason: str
    tool_calls: list[dict[str, Any]]


def tokens_of(text: str) -> int:
    """Return the tokens of a text: its characters by four, rounded up."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def text_of(content: Any) -> str:
    """Return the text of a message's content: itself, or its text parts joined."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def cut(text: str, max_tokens: int | None, stop: Sequence[str]) -> tuple[str, str]:
    """Return a text ended by a stop sequence or by `max_tokens`, and the reason."""
    ends = [at for at in (text.find(mark) for mark in stop) if at >= 0]
    text = text[: min(ends)] if ends else text
    if max_tokens is not None and tokens_of(text) > max_tokens:
        return text[: max_tokens * CHARACTERS_PER_TOKEN], "length"
    return text, "stop"


def echo(messages: Sequence[dict[str, Any]], options: dict[str, Any]) -> Turn:
    """Answer as `echo-1`: the last user text after `echo: `, or the tool call it asks for.

    Args:
        messages: of a chat.
        options: `max_tokens`, `stop` (text or list), `tools` and `tool_choice` of the request.
    """
    last = text_of(messages[-1].get("content"))
    asked = CALL.fullmatch(last)
    if asked and asked[1] in _offered(options):
        arguments = asked[2] or "{}"
        digest = hashlib.sha256(last.encode()).hexdigest()[:24]
        function = {"name": asked[1], "arguments": arguments}
        call = {"id": f"call_{digest}", "type": "function", "function": function}
        return Turn("", "tool_calls", [call])
    user = [text_of(m.get("content")) for m in messages if m.get("role") == "user"]
    stop = options.get("stop") or []
    marks = [stop] if isinstance(stop, str) else stop
    text, reason = cut("echo: " + (user[-1] if user else ""), options.get("max_tokens"), marks)
    return Turn(text, reason, [])


def _offered(options: dict[str, Any]) -> set[str]:
    if options.get("tool_choice") == "none":
        return set()
    tools = options.get("tools") or []
    return {str((tool.get("function") or tool).get("name")) for tool in tools}


@lru_cache(maxsize=4096)
def _word_signs(word: str, dimensions: int) -> int:
    return int.from_bytes(hashlib.shake_128(word.encode()).digest((dimensions + 7) // 8), "big")


def embed(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Return the unit vector of a text: the sum of one random sign vector per word.

    Texts that share words are therefore closer; a text without words is one word.
    """
    vector = [0] * dimensions
    for word in WORD.findall(text.lower()) or [text]:
        bits = _word_signs(word, dimensions)
        for place in range(dimensions):
            vector[place] += 1 if bits >> place & 1 else -1
    length = math.sqrt(sum(value * value for value in vector))
    if length == 0:
        # Opposed words cancelled out; any fixed direction will do.
        vector[0], length = 1, 1.0
    return [value / length for value in vector]


@lru_cache(maxsize=256)
def picture(prompt: str, size: str) -> bytes:
    """Return a PNG of one colour, taken from the prompt's hash; `size` as `1024x1024`."""
    width, height = (int(part) for part in size.split("x"))
    colour = hashlib.sha256(prompt.encode()).digest()[:3]
    line = b"\0" * (1 + (width + 7) // 8)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)),
        (b"PLTE", colour),
        (b"IDAT", zlib.compress(line * height, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def tone(text: str, speed: float = 1.0) -> bytes:
    """Return 16-bit mono PCM: a sine of 50 ms for every word, shorter at a higher speed."""
    samples = round(SAMPLE_RATE * WORD_SECONDS * max(1, len(text.split())) / speed)
    step = 2 * math.pi * TONE_HERTZ / SAMPLE_RATE
    return struct.pack(f"<{samples}h", *(round(8_000 * math.sin(step * n)) for n in range(samples)))


def wav(pcm: bytes) -> bytes:
    """Return PCM in a WAV container."""
    target = io.BytesIO()
    with wave.open(target, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(pcm)
    return target.getvalue()


def transcribe(content: bytes) -> str:
    """Return the transcript of `scribe-1`: the size and the start of the hash."""
    return f"audio {len(content)} {hashlib.sha256(content).hexdigest()[:8]}"


def duration_of(content: bytes) -> float:
    """Return the seconds of a WAV file; for other formats, of 16 kB a second."""
    try:
        with wave.open(io.BytesIO(content)) as reader:
            return float(round(reader.getnframes() / reader.getframerate(), 3))
    except (wave.Error, EOFError, ZeroDivisionError):
        return round(len(content) / SAMPLE_RATE, 3)
