"""me, inference, inference_batch."""

import base64

from tests.integration.stories.step import Step, Story

AUDIO = base64.b64encode(b"RIFF" + bytes(60)).decode()
USAGE = {"prompt_tokens": int, "completion_tokens": int, "total_tokens": int}
HELLO = [{"role": "user", "content": "hello"}]
EMBED = {"model": "scailabs/embed-det-1", "input": ["a"]}
BATCH_LINE = (
    b'{"custom_id":"one","method":"POST","url":"/v1/inference/chat",'
    b'"body":{"model":"scailabs/echo-1","messages":[{"role":"user","content":"hello"}]}}\n'
)

ME = Story(
    "me",
    "tenant_user",
    (
        Step(
            "me_get",
            "GET /v1/me",
            result={
                "user": {"id": "$user", "email": "user@acme.test"},
                "tenant": {"id": "$acme", "slug": "acme"},
                "roles": ["tenant_user"],
                "module_permissions": list,
                "permissions_source": "me",
                "auth": {"method": "api_key", "api_key": {"prefix": str}},
            },
            is_cold=True,
        ),
        Step(
            "me_get",
            "GET /v1/me",
            role="super_admin",
            result={"roles": ["super_admin"], "module_permissions": ["*"]},
            is_cold=True,
        ),
    ),
)

CHAT = Story(
    "inference",
    "tenant_user",
    (
        Step(
            "inference_chat",
            "POST /v1/inference/chat",
            {"model": "scailabs/echo-1", "messages": HELLO},
            body={"model": "scailabs/echo-1", "messages": HELLO, "stream": False},
            result={
                "id": str,
                "model": "scailabs/echo-1",
                "content": "echo: hello",
                "finish_reason": "stop",
                "usage": USAGE,
            },
        ),
        Step(
            "inference_chat",
            "POST /v1/inference/chat",
            {
                "model": "scailabs/echo-1",
                "messages": [
                    {"role": "system", "content": "be brief"},
                    {
                        "role": "user",
                        "content": "see",
                        "name": "ann",
                        "image_urls": ["https://images.example/a.png"],
                    },
                ],
                "max_tokens": 5.0,
                "temperature": 0.5,
                "top_p": 1,
                "stop": ["END"],
                "seed": 7,
                "metadata": '{"trace": {"id": 1}}',
            },
            body={
                "model": "scailabs/echo-1",
                "messages": [
                    {"role": "system", "content": "be brief"},
                    {
                        "role": "user",
                        "name": "ann",
                        "content": [
                            {"type": "text", "text": "see"},
                            {
                                "type": "image_url",
                                "image_url": {"url": "https://images.example/a.png"},
                            },
                        ],
                    },
                ],
                "max_tokens": 5,
                "temperature": 0.5,
                "top_p": 1,
                "stop": ["END"],
                "seed": 7,
                "metadata": {"trace": {"id": 1}},
                "stream": False,
            },
            result={"content": "echo: see"},
        ),
        Step(
            "inference_chat",
            "POST /v1/inference/chat",
            {
                "model": "scailabs/echo-1",
                "messages": [{"role": "user", "content": 'call:look {"at":"sky"}'}],
                "tools": [{"type": "function", "function": {"name": "look", "parameters": {}}}],
                "tool_choice": "auto",
            },
            body=dict,
            result={
                "content": "",
                "finish_reason": "tool_calls",
                "tool_calls": [{"function": {"name": "look", "arguments": '{"at":"sky"}'}}],
            },
        ),
        Step(
            "inference_generate",
            "POST /v1/inference/generate",
            {"model": "scailabs/echo-1", "prompt": "once upon a time", "max_tokens": 2},
            body={"model": "scailabs/echo-1", "prompt": "once upon a time", "max_tokens": 2},
            result={"content": str, "finish_reason": "length", "usage": USAGE},
        ),
        Step(
            "inference_embed",
            "POST /v1/inference/embed",
            {"model": "scailabs/embed-det-1", "input": ["a cat", "a dog"], "dimensions": 8},
            body={
                "model": "scailabs/embed-det-1",
                "input": ["a cat", "a dog"],
                "dimensions": 8,
            },
            result={
                "model": "scailabs/embed-det-1",
                "dimensions": 8,
                "embeddings": [
                    {"index": 0, "embedding": lambda vector: len(vector) == 8},
                    {"index": 1, "embedding": list},
                ],
            },
        ),
    ),
)

MEDIA = Story(
    "inference media",
    "tenant_user",
    (
        Step(
            "inference_image_generate",
            "POST /v1/inference/images/generate",
            {"model": "scailabs/pixel-1", "prompt": "a red square"},
            body={
                "model": "scailabs/pixel-1",
                "prompt": "a red square",
                "n": 1,
                "response_format": "url",
            },
            result={
                "model": "scailabs/pixel-1",
                "images": [{"index": 0, "url": str, "revised_prompt": "a red square"}],
            },
        ),
        Step(
            "inference_image_generate",
            "POST /v1/inference/images/generate",
            {
                "model": "scailabs/pixel-1",
                "prompt": "two",
                "n": 2,
                "size": "1792x1024",
                "quality": "hd",
                "style": "natural",
                "response_format": "b64_json",
                "metadata": {"k": "v"},
            },
            body={
                "model": "scailabs/pixel-1",
                "prompt": "two",
                "n": 2,
                "size": "1792x1024",
                "quality": "hd",
                "style": "natural",
                "response_format": "b64_json",
                "metadata": {"k": "v"},
            },
            result={
                "images": [
                    {"index": 0, "mime_type": "image/png", "size_bytes": int},
                    {"index": 1, "mime_type": "image/png", "size_bytes": int},
                ]
            },
            blocks=(
                {"type": "image", "mimeType": "image/png", "data": str},
                {"type": "image", "mimeType": "image/png", "data": str},
            ),
        ),
        Step(
            "inference_transcribe",
            "POST /v1/inference/audio/transcribe",
            {
                "model": "scailabs/scribe-1",
                "audio_base64": AUDIO,
                "mime_type": "audio/wav",
                "language": "en",
                "prompt": "names: Ann",
                "temperature": 0.25,
                "response_format": "verbose_json",
                "timestamp_granularities": ["segment", "word"],
            },
            body={
                "file": [{"filename": "file.wav", "content_type": "audio/wav", "size_bytes": 64}],
                "model": ["scailabs/scribe-1"],
                "language": ["en"],
                "prompt": ["names: Ann"],
                "temperature": ["0.25"],
                "response_format": ["verbose_json"],
                "timestamp_granularities[]": ["segment", "word"],
            },
            result={
                "model": "scailabs/scribe-1",
                "text": lambda text: text.startswith("audio 64 "),
                "language": "en",
                "segments": list,
                "words": list,
            },
        ),
        Step(
            "inference_synthesize",
            "POST /v1/inference/audio/synthesize",
            {"model": "scailabs/tone-1", "input": "good morning", "voice": "calm", "speed": 2},
            body={
                "model": "scailabs/tone-1",
                "input": "good morning",
                "voice": "calm",
                "response_format": "mp3",
                "speed": 2,
            },
            result={
                "model": "scailabs/tone-1",
                "voice": "calm",
                "mime_type": "audio/wav",
                "size_bytes": int,
            },
            blocks=({"type": "audio", "mimeType": "audio/wav", "data": str},),
        ),
        Step(
            "inference_synthesize",
            "POST /v1/inference/audio/synthesize",
            {"model": "scailabs/tone-1", "input": "hi", "return_as": "base64"},
            body={"model": "scailabs/tone-1", "input": "hi", "response_format": "mp3"},
            result={"audio_base64": str, "size_bytes": int},
        ),
    ),
)

BATCH = Story(
    "inference_batch",
    "tenant_user",
    (
        Step(
            "inference_batch_create",
            "POST /v1/inference/batch",
            {
                "requests": [
                    {
                        "custom_id": "one",
                        "endpoint": "chat",
                        "body": {"model": "scailabs/echo-1", "messages": HELLO},
                    }
                ],
                "metadata": {"why": "test"},
            },
            body={
                "input_file_base64": base64.b64encode(BATCH_LINE).decode(),
                "endpoint_completion_window": "24h",
                "metadata": {"why": "test"},
            },
            result={"id": str, "status": str, "request_counts": dict},
            keep={"batch": "id"},
        ),
        Step(
            "inference_batch_create",
            "POST /v1/inference/batch",
            {
                "input_file_url": "scaidrive://files/batch.jsonl",
                "endpoint_completion_window": "1h",
            },
            body={
                "input_file_url": "scaidrive://files/batch.jsonl",
                "endpoint_completion_window": "1h",
            },
            result={"id": str, "endpoint_completion_window": "1h"},
        ),
        Step(
            "inference_batch_create",
            "POST /v1/inference/batch",
            {"requests": [{"custom_id": "a", "endpoint": "embed", "body": EMBED}]},
            body={"input_file_base64": str, "endpoint_completion_window": "24h"},
            keep={"second": "id"},
        ),
        Step(
            "inference_batch_cancel",
            "POST /v1/inference/batch/$second/cancel",
            {"batch_id": "$second"},
            result={"id": "$second", "status": lambda s: s in ("cancelling", "cancelled")},
        ),
        Step(
            "inference_batch_list",
            "GET /v1/inference/batch?limit=1",
            {"limit": 1},
            result={"items": [dict], "has_more": True, "next_cursor": str},
            keep={"cursor": "next_cursor"},
        ),
        Step(
            "inference_batch_list",
            "GET /v1/inference/batch?limit=1&cursor=$cursor",
            {"limit": 1, "cursor": "$cursor"},
            result={"items": [dict], "has_more": True},
        ),
        Step(
            "inference_batch_get",
            "GET /v1/inference/batch/$batch",
            {"batch_id": "$batch"},
            result={"id": "$batch", "metadata": {"why": "test"}},
        ),
    ),
)

STORIES = (ME, CHAT, MEDIA, BATCH)
