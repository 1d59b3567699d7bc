"""Inference as other families use it: resolve a model, answer, charge. Spec: scaigrid 10, 12.

`complete` and `embed_texts` do everything one inference call entails except its audit row: access,
availability, budgets, the answer (computed or forwarded), the usage row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scaimcp.dev.platform.accounting import charge, check_budgets
from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.deterministic import DIMENSIONS, echo, embed, text_of, tokens_of
from scaimcp.dev.platform.errors import PlatformError, not_found, refuse
from scaimcp.dev.platform.forward import forward_chat, forward_embed
from scaimcp.dev.platform.store import Row

OWN_MODELS = "scailabs/"
Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """A model that can answer now.

    Attributes:
        model: what the caller named: a row, or a family's made-up one with `base_slug`.
        backend: the row that serves it.
    """

    model: Row
    backend: Row

    @property
    def charged(self) -> Row:
        """The model as `charge` takes it."""
        return {**self.model, "backend_id": self.backend["id"]}


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished chat turn; `message` holds `role`, `content` and perhaps `tool_calls`."""

    model: str
    message: Message
    finish_reason: str
    usage: dict[str, int]


def usage_of(tokens_in: int, tokens_out: int) -> dict[str, int]:
    """Return the `usage` member of an answer."""
    total = tokens_in + tokens_out
    return {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": total}


def may_use(call: Call, model: Row) -> bool:
    """Tell whether the access rules of a model admit the caller.

    Without rules everybody may; a matching `deny` always wins; once there is an `allow`, one must
    match.
    """
    rules = call.table("model_access").find(model_id=model["id"])
    subjects = call.principal.subjects()
    effects = {r["effect"] for r in rules if (r["subject_type"], r["subject_id"]) in subjects}
    restricted = any(rule["effect"] == "allow" for rule in rules)
    return "deny" not in effects and ("allow" in effects or not restricted)


def find_model(call: Call, name: str) -> Row:
    """Return a model by slug or id, or one that a family publishes.

    Raises:
        PlatformError: `MODEL_NOT_FOUND`.
    """
    models = call.table("models")
    row = models.first(slug=name) or models.get(name)
    if row is not None:
        return row
    for family in call.platform.families:
        found = family.models(call, name) if family.models is not None else None
        if found is not None:
            return found
    raise not_found("MODEL")


def resolve(call: Call, name: str, modality: str) -> Target:
    """Return the model and the backend that answer a call.

    Raises:
        PlatformError: `MODEL_NOT_FOUND`, `MODEL_ACCESS_DENIED`, `VALIDATION_ERROR` for a model of
            another modality, `MODEL_UNAVAILABLE` without a usable backend.
    """
    model = find_model(call, name)
    base = find_model(call, model["base_slug"]) if "base_slug" in model else model
    if not may_use(call, base):
        raise PlatformError("MODEL_ACCESS_DENIED", f"Access to the model {name} is denied.")
    if base["modality"] != modality:
        refuse("model", f"is of modality {base['modality']}, not {modality}")
    usable = [row for row in call.table("backends").find(model_id=base["id"]) if is_usable(row)]
    if not usable:
        raise PlatformError("MODEL_UNAVAILABLE", f"The model {name} has no usable backend.")
    backend = min(usable, key=lambda row: int(row["priority"]))
    return Target({**base, **model} if base is not model else model, backend)


def is_usable(backend: Row) -> bool:
    """Tell whether a backend takes calls."""
    return bool(backend["status"] == "active" and backend["health_status"] != "unavailable")


async def complete(
    call: Call, name: str, messages: Sequence[Message], options: dict[str, Any] | None = None
) -> Completion:
    """Answer one chat turn and charge it.

    Args:
        call: the request it is part of; its caller pays.
        name: model slug or id.
        messages: the conversation; a published model's `system_prompt` comes before it.
        options: further fields of a chat request.

    Raises:
        PlatformError: as `resolve`, `BUDGET_EXCEEDED`, and the backend's failures when forwarded.
    """
    options = options or {}
    target = resolve(call, name, "chat")
    check_budgets(call)
    prompt = target.model.get("system_prompt")
    turn = [{"role": "system", "content": prompt}, *messages] if prompt else list(messages)
    if _is_forwarded(call, target):
        upstream = target.backend["upstream_model"]
        answer, latency = await forward_chat(call.platform, upstream, turn, options)
        choice = answer.choices[0]
        charge(call, target.charged, answer.prompt_tokens, answer.completion_tokens, latency)
        usage = usage_of(answer.prompt_tokens, answer.completion_tokens)
        return Completion(target.model["slug"], choice.message, choice.finish_reason, usage)
    made = echo(turn, options)
    message: Message = {"role": "assistant", "content": made.text}
    if made.tool_calls:
        message["tool_calls"] = made.tool_calls
    used_out = made.text or "".join(str(c["function"]["arguments"]) for c in made.tool_calls)
    tokens_in = sum(tokens_of(text_of(m.get("content"))) for m in turn)
    tokens_out = tokens_of(used_out)
    charge(call, target.charged, tokens_in, tokens_out, 1 + tokens_out)
    return Completion(
        target.model["slug"], message, made.finish_reason, usage_of(tokens_in, tokens_out)
    )


async def embed_texts(
    call: Call, name: str, texts: Sequence[str], dimensions: int | None = None
) -> tuple[list[list[float]], dict[str, int]]:
    """Return one vector per text and the usage, and charge it; raises as `complete`."""
    target = resolve(call, name, "embedding")
    check_budgets(call)
    if _is_forwarded(call, target):
        upstream = target.backend["upstream_model"]
        answer, latency = await forward_embed(call.platform, upstream, texts, dimensions)
        charge(call, target.charged, answer.prompt_tokens, 0, latency)
        return answer.vectors, usage_of(answer.prompt_tokens, 0)
    tokens = sum(tokens_of(text) for text in texts)
    charge(call, target.charged, tokens, 0)
    return [embed(text, dimensions or DIMENSIONS) for text in texts], usage_of(tokens, 0)


def _is_forwarded(call: Call, target: Target) -> bool:
    slug = str(target.model.get("base_slug", target.model["slug"]))
    return call.platform.config.inference_url is not None and not slug.startswith(OWN_MODELS)
