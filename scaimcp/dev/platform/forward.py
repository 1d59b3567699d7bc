"""Hand chat and embedding calls to an OpenAI-compatible service."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import msgspec

from scaimcp.dev.platform.errors import PlatformError
from scaimcp.dev.platform.state import Platform

TIMEOUT = aiohttp.ClientTimeout(total=120, sock_connect=5)
FORWARDED = ("max_tokens", "temperature", "top_p", "stop", "seed", "tools", "tool_choice")


class Choice(msgspec.Struct):
    """One choice of a chat answer."""

    message: dict[str, Any]
    finish_reason: str = "stop"


class Usage(msgspec.Struct):
    """Token counts, as far as the service gives them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class ChatAnswer(msgspec.Struct):
    """The part of a chat answer that is passed on."""

    choices: list[Choice]
    usage: Usage = msgspec.field(default_factory=Usage)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt."""
        return self.usage.prompt_tokens

    @property
    def completion_tokens(self) -> int:
        """Tokens of the answer."""
        return self.usage.completion_tokens


class Vector(msgspec.Struct):
    """One embedding."""

    embedding: list[float]
    index: int = 0


class EmbedAnswer(msgspec.Struct):
    """The part of an embedding answer that is passed on."""

    data: list[Vector]
    usage: Usage = msgspec.field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors in the order of the inputs."""

    vectors: list[list[float]]
    prompt_tokens: int


async def forward_chat(
    platform: Platform, model: str, messages: Sequence[dict[str, Any]], options: dict[str, Any]
) -> tuple[ChatAnswer, int]:
    """Return a service's chat answer and its latency in milliseconds.

    Raises:
        PlatformError: `BACKEND_ERROR`, `BACKEND_TIMEOUT`, `BACKEND_RATE_LIMITED` or
            `UPSTREAM_SHAPE_MISMATCH`.
    """
    chosen = {name: options[name] for name in FORWARDED if name in options}
    body = {"model": model, "messages": list(messages), "stream": False, **chosen}
    content, latency = await _post(platform, "/chat/completions", body)
    answer = _decode(content, ChatAnswer)
    if not answer.choices:
        raise PlatformError("UPSTREAM_SHAPE_MISMATCH", "The backend's answer has no choice.")
    return answer, latency


async def forward_embed(
    platform: Platform, model: str, texts: Sequence[str], dimensions: int | None
) -> tuple[Embedded, int]:
    """Return a service's vectors and its latency in milliseconds; raises as `forward_chat`."""
    body: dict[str, Any] = {"model": model, "input": list(texts)}
    if dimensions is not None:
        body["dimensions"] = dimensions
    content, latency = await _post(platform, "/embeddings", body)
    answer = _decode(content, EmbedAnswer)
    if len(answer.data) != len(texts):
        raise PlatformError("UPSTREAM_SHAPE_MISMATCH", "The backend's answer lacks vectors.")
    ordered = sorted(answer.data, key=lambda vector: vector.index)
    return Embedded([vector.embedding for vector in ordered], answer.usage.prompt_tokens), latency


async def _post(platform: Platform, path: str, body: dict[str, Any]) -> tuple[bytes, int]:
    headers = {"Content-Type": "application/json"}
    if platform.config.inference_key:
        headers["Authorization"] = f"Bearer {platform.config.inference_key}"
    url = f"{platform.config.inference_url}".rstrip("/") + path
    begun = time.monotonic()
    try:
        async with platform.http.post(
            url,
            data=msgspec.json.encode(body),
            headers=headers,
            timeout=TIMEOUT,
            allow_redirects=False,
        ) as answer:
            content = await answer.read()
    except TimeoutError:
        raise PlatformError("BACKEND_TIMEOUT", "The backend gave no answer in time.") from None
    except aiohttp.ClientError as problem:
        raise PlatformError(
            "BACKEND_ERROR", f"The backend failed: {type(problem).__name__}."
        ) from None
    if answer.status == 429:
        raise PlatformError("BACKEND_RATE_LIMITED", "The backend is busy.", retry_after=5)
    if answer.status != 200:
        raise PlatformError("BACKEND_ERROR", f"The backend answered HTTP {answer.status}.")
    return content, round((time.monotonic() - begun) * 1000)


T = TypeVar("T")


def _decode(content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError):
        raise PlatformError(
            "UPSTREAM_SHAPE_MISMATCH", "The backend's answer is malformed."
        ) from None
