"""Chat, generation and embeddings. Spec: scaigrid 10."""

from collections.abc import Iterable
from typing import Any

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, json_body
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.inference import complete, embed_texts

STOP = "max_tokens:int(>=1), temperature:num(0-2), stop:str|list<str>(1-4), seed:int"
MESSAGE = (
    "{role:enum(system,user,assistant,tool)*, content:text|list<map>(1-64)*, name:str,"
    "tool_call_id:str, tool_calls:list<map>(<=32)}"
)
CHAT = fields(
    f"model:str*, messages:list<{MESSAGE}>(1-256)*, top_p:num(0-1), stream:bool=false,"
    f"tools:list<map>(<=128), tool_choice, metadata:map, {STOP}"
)
GENERATE = fields(f"model:str*, prompt:text*, {STOP}")
EMBED = fields("model:str*, input:text|list<text>(1-2048)*, dimensions:int(8-4096)")


def _check_chat(body: dict[str, Any]) -> Iterable[tuple[str, str]]:
    if body["stream"]:
        yield "stream", "is not offered here: only whole answers are"
    for number, message in enumerate(body["messages"]):
        content = message["content"]
        for place, part in enumerate(content if isinstance(content, list) else ()):
            if part.get("type") not in ("text", "image_url"):
                yield f"messages[{number}].content[{place}].type", "must be text or image_url"


async def chat(call: Call) -> dict[str, Any]:
    """Answer a conversation."""
    done = await complete(call, call.body["model"], call.body["messages"], call.body)
    return {
        "id": call.platform.store.token("chat_"),
        "model": done.model,
        "created": int(call.platform.clock.now()),
        "choices": [{"index": 0, "message": done.message, "finish_reason": done.finish_reason}],
        "usage": done.usage,
    }


async def generate(call: Call) -> dict[str, Any]:
    """Continue a prompt."""
    prompt = [{"role": "user", "content": call.body["prompt"]}]
    done = await complete(call, call.body["model"], prompt, call.body)
    return {
        "id": call.platform.store.token("gen_"),
        "model": done.model,
        "text": done.message.get("content") or "",
        "finish_reason": done.finish_reason,
        "usage": done.usage,
    }


async def embed(call: Call) -> dict[str, Any]:
    """Return one vector per input."""
    given = call.body["input"]
    texts = [given] if isinstance(given, str) else given
    vectors, usage = await embed_texts(call, call.body["model"], texts, call.body.get("dimensions"))
    return {
        "model": call.body["model"],
        "data": [{"index": number, "embedding": vector} for number, vector in enumerate(vectors)],
        "usage": usage,
    }


ROOT, USE = "/v1/inference", "models:use"
EMBED_BODY = json_body(EMBED)

FAMILY = Family(
    endpoints=(
        Endpoint(
            "POST",
            f"{ROOT}/chat",
            USE,
            chat,
            body=json_body(CHAT, _check_chat),
            audit="inference.chat",
        ),
        Endpoint(
            "POST",
            f"{ROOT}/generate",
            USE,
            generate,
            body=json_body(GENERATE),
            audit="inference.generate",
        ),
        Endpoint("POST", f"{ROOT}/embed", USE, embed, body=EMBED_BODY, audit="inference.embed"),
        Endpoint(
            "POST", f"{ROOT}/embeddings", USE, embed, body=EMBED_BODY, audit="inference.embed"
        ),
    )
)
