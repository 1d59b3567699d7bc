"""Tools that run models, at once or as batches. Data only. Spec: core-tools 1."""

from __future__ import annotations

from scaimcp.catalog.definition import PAGE, Rule, ToolDefinition, tool
from scaimcp.catalog.notation import arg
from scaimcp.catalog.results import EMBEDDINGS, IMAGES, an, audio, chat, fields, list_of

MODEL_SECONDS = 120.0

MAX_TOKENS = arg(
    "max_tokens:int(1–1000000)",
    "Upper limit of tokens in the reply; a reply cut by it ends with finish_reason length; the "
    "model's own limit when left out.",
)
TEMPERATURE = arg(
    "temperature:num(0–2)",
    "Randomness of the reply, 0 for the most predictable text; the model's default when left out.",
)
STOP = arg(
    "stop:list<str(1–64)>(≤4)",
    "Up to 4 strings that end the reply where they appear; nothing but the model's own end when "
    "left out.",
)
SEED = arg(
    "seed:int",
    "Whole number that makes repeated calls give the same reply where the model supports it; "
    "random when left out.",
)
METADATA = arg(
    "metadata:map",
    'Your own labels kept with the request, at most 64 keys, for example {"project": "q3"}; none '
    "when left out.",
)
TEXT_MODEL = arg(
    "model:str*",
    "Slug of a model with modality chat from models_list, for example scailabs/echo-1.",
)
MESSAGES = arg(
    "messages:list<{role:enum(system,user,assistant,tool)*, content:text*, name:str, "
    "image_urls:list<str(≤2048)>(≤8), tool_call_id:str, tool_calls:list<map>(≤32)}>(1–256)*",
    "The whole conversation, oldest message first, 1 to 256 messages; the model remembers nothing "
    "that is not in it.",
    {
        "role": "Who speaks: system for instructions, user, assistant for the model's earlier "
        "replies, tool for the result of a tool call.",
        "content": "Text of the message, 1 to 65,536 characters; never empty, even beside "
        "tool_calls.",
        "name": "Name of the speaker, or of the tool that answers; unnamed when left out.",
        "image_urls": "Up to 8 https links of images that belong to this message, for models that "
        "read images; no images when left out.",
        "tool_call_id": "Only for role tool: id of the tool call that this message answers.",
        "tool_calls": "Only for role assistant: the tool_calls of an earlier reply, copied "
        "unchanged.",
    },
)
CHAT_TOOLS = arg(
    "tools:list<map>(≤64)",
    "Functions the model may ask you to call, each as "
    '{"type": "function", "function": {"name": …, "parameters": …}}; none when left out.',
)
AUDIO_MODEL = arg(
    "model:str*",
    "Slug of a model with modality audio from models_list that transcribes speech.",
)
AUDIO_IN = arg(
    "audio_base64:str(1–33333336)*",
    "The recording as base64 in the standard alphabet without line breaks or data: prefix; at most "
    "25,000,000 bytes once decoded.",
)
AUDIO_TYPE = arg(
    "mime_type:enum(audio/mpeg,audio/wav,audio/ogg,audio/webm,audio/mp4)*",
    "Media type of the recording: audio/mpeg for mp3, audio/mp4 for m4a.",
)
GRANULARITIES = arg(
    "timestamp_granularities:list<enum(segment,word)>(≤2)",
    "Which timestamps to return, used with response_format verbose_json; none when left out.",
)
BATCH_REQUESTS = arg(
    "requests:list<{custom_id:str(1–64)*, endpoint:enum(chat,generate,embed)*, body:map*}>(1–100)",
    "The requests themselves, 1 to 100; give exactly one of input_file_url and requests.",
    {
        "custom_id": "Your own unique name of this request; the result line carries it.",
        "endpoint": "Kind of inference that this request runs: chat, generate or embed.",
        "body": 'Body of that inference call, for example {"model": "scailabs/echo-1", '
        '"messages": [{"role": "user", "content": "Hi"}]}.',
    },
)
BATCH_ID = arg(
    "batch_id:id*",
    "Identifier of the batch, for example bat_01J8, from inference_batch_create or "
    "inference_batch_list.",
)

TOOLS: tuple[ToolDefinition, ...] = (
    tool(
        "inference_chat",
        "Chat with a model",
        "Send a conversation to one model and get its complete reply; use it whenever text has to "
        "be written, answered or transformed by a named model from models_list; returns the reply "
        "text, the finish reason and token usage.",
        "POST /v1/inference/chat",
        (
            TEXT_MODEL,
            MESSAGES,
            MAX_TOKENS,
            TEMPERATURE,
            arg(
                "top_p:num(0–1)",
                "Share of the most probable tokens to choose from, an alternative to temperature; "
                "the model's default when left out.",
            ),
            STOP,
            SEED,
            CHAT_TOOLS,
            arg(
                "tool_choice:str(1–64)",
                "How to use tools: auto, none, required, or the name of one of them; the model "
                "decides when left out.",
            ),
            METADATA,
        ),
        permission="models:use",
        hints="O",
        result=chat("id, model, content, finish_reason, usage, tool_calls?"),
        body="chat",
        timeout_seconds=MODEL_SECONDS,
    ),
    tool(
        "inference_generate",
        "Complete a prompt",
        "Let one model continue a single plain prompt; use it for completions without roles or "
        "history, and inference_chat for conversations; returns the generated text, the finish "
        "reason and token usage.",
        "POST /v1/inference/generate",
        (
            TEXT_MODEL,
            arg("prompt:text*", "Text that the model continues, 1 to 65,536 characters."),
            MAX_TOKENS,
            TEMPERATURE,
            STOP,
            SEED,
        ),
        permission="models:use",
        hints="O",
        result=chat("id, model, content, finish_reason, usage"),
        timeout_seconds=MODEL_SECONDS,
    ),
    tool(
        "inference_embed",
        "Embed texts as vectors",
        "Turn up to 16 texts into embedding vectors; use it to compare, cluster or index texts by "
        "meaning; returns one vector per text in the order given, their length and token usage.",
        "POST /v1/inference/embed",
        (
            arg(
                "model:str*",
                "Slug of a model with modality embedding from models_list, for example "
                "scailabs/embed-det-1.",
            ),
            arg(
                "input:list<str(1–32000)>(1–16)*",
                "Texts to embed, 1 to 16 of up to 32,000 characters each; the answer keeps their "
                "order.",
            ),
            arg(
                "dimensions:int(8–4096)",
                "Length of the vectors, where the model can vary it; the model's own length when "
                "left out.",
            ),
        ),
        permission="models:use",
        hints="O",
        result=EMBEDDINGS,
        timeout_seconds=MODEL_SECONDS,
    ),
    tool(
        "inference_image_generate",
        "Generate images",
        "Create up to 4 images from a text prompt; use it when the user asks for a picture, with "
        "an image model from models_list; returns links that are valid for one hour, or the images "
        "themselves.",
        "POST /v1/inference/images/generate",
        (
            arg("model:str*", "Slug of a model with modality image from models_list."),
            arg(
                "prompt:str(1–4000)*",
                "What the picture shows, up to 4,000 characters; name subject, style and mood.",
            ),
            arg("n:int(1–4)=1", "Number of images, 1 to 4; 1 when left out."),
            arg(
                "size:enum(1024x1024,1792x1024,1024x1792)",
                "Width and height in pixels: square, wide or tall; 1024x1024 when left out.",
            ),
            arg(
                "quality:enum(standard,hd)",
                "Level of detail, hd costs more; standard when left out.",
            ),
            arg(
                "style:enum(vivid,natural)",
                "Look of the image: vivid is dramatic, natural is plain; vivid when left out.",
            ),
            arg(
                "response_format:enum(url,b64_json)=url",
                "url for links that are valid for one hour, b64_json for the images themselves as "
                "image content; url when left out.",
            ),
            METADATA,
        ),
        permission="models:use",
        hints="O",
        result=IMAGES,
        timeout_seconds=MODEL_SECONDS,
    ),
    tool(
        "inference_transcribe",
        "Transcribe with a model",
        "Turn recorded speech into text with an audio model; use it for recordings of up to 25 MB "
        "that you hold as base64; returns the transcript and, if asked for, language, duration and "
        "timestamps.",
        "POST /v1/inference/audio/transcribe",
        (
            AUDIO_MODEL,
            AUDIO_IN,
            AUDIO_TYPE,
            arg(
                "language:str(2–8)",
                "Spoken language as an ISO 639-1 code, for example de; detected when left out.",
            ),
            arg(
                "prompt:str(≤2000)",
                "Names, terms or preceding text that guide the spelling, up to 2,000 characters; "
                "no guidance when left out.",
            ),
            arg(
                "temperature:num(0–1)",
                "Randomness of the transcript, 0 for the most predictable; the model's default "
                "when left out.",
            ),
            arg(
                "response_format:enum(text,json,verbose_json,srt,vtt)=text",
                "Form of the transcript: text, json, verbose_json with segments, or subtitles as "
                "srt or vtt; text when left out.",
            ),
            GRANULARITIES,
        ),
        permission="models:use",
        hints="O",
        result=fields(
            "model, text, language?, duration_s?, segments?, words?", long_text=("text",)
        ),
        body="multipart",
        files=(("audio_base64", "file"),),
        timeout_seconds=MODEL_SECONDS,
    ),
    tool(
        "inference_synthesize",
        "Speak a text aloud",
        "Turn a text of up to 4,096 characters into spoken audio with an audio model; use it when "
        "the user wants to hear something; returns media type and size with the audio as content "
        "or as base64.",
        "POST /v1/inference/audio/synthesize",
        (
            arg(
                "model:str*",
                "Slug of a model with modality audio from models_list that speaks, for example "
                "scailabs/tone-1.",
            ),
            arg("input:str(1–4096)*", "Text to speak, 1 to 4,096 characters."),
            arg("voice:str", "Name of a voice of this model; its default voice when left out."),
            arg(
                "response_format:enum(mp3,opus,aac,flac,wav,pcm)=mp3",
                "Audio format of the result; mp3 when left out.",
            ),
            arg(
                "speed:num(0.25–4)",
                "Speaking rate as a factor, for example 1.5 for half as fast again; 1 when left "
                "out.",
            ),
            arg(
                "return_as:enum(content,base64)=content",
                "content for an audio block, base64 for the field audio_base64 in clients without "
                "audio content; content when left out.",
            ),
        ),
        permission="models:use",
        hints="O",
        result=audio("model, voice?, mime_type, size_bytes, audio_base64?"),
        timeout_seconds=MODEL_SECONDS,
    ),
    tool(
        "inference_batch_create",
        "Start an inference batch",
        "Queue many inference requests to be worked off within hours; use it when results may wait "
        "and there are too many for single calls; returns the batch, whose progress "
        "inference_batch_get shows.",
        "POST /v1/inference/batch",
        (
            arg(
                "input_file_url:str(≤2048)",
                "Link of a JSONL file of requests: a presigned https link, scaidrive://… or "
                "scaigrid://file/…; give exactly one of input_file_url and requests.",
            ),
            BATCH_REQUESTS,
            arg(
                "endpoint_completion_window:enum(24h,4h,1h)=24h",
                "Time within which the batch has to be finished; 24h when left out.",
            ),
            METADATA,
        ),
        permission="models:use",
        hints="O",
        result=an("Batch"),
        rules=(Rule("exactly_one", ("input_file_url", "requests")),),
        body="batch",
        timeout_seconds=MODEL_SECONDS,
    ),
    tool(
        "inference_batch_list",
        "List inference batches",
        "List the caller's inference batches page by page; use it to find a batch or to see which "
        "are still running; returns status, request counts and result file links of each batch.",
        "GET /v1/inference/batch",
        (
            *PAGE,
            arg(
                "status:enum(validating,in_progress,completed,failed,cancelling,cancelled,expired)",
                "Only batches in this state; batches in all states when left out.",
            ),
        ),
        permission="models:use",
        hints="R I",
        result=list_of("Batch"),
    ),
    tool(
        "inference_batch_get",
        "Get an inference batch",
        "Read one inference batch; use it to follow its progress and, once it is completed, to "
        "find its files; returns status, request counts and the links of output and error file.",
        "GET /v1/inference/batch/{batch_id}",
        (BATCH_ID,),
        permission="models:use",
        hints="R I",
        result=an("Batch"),
    ),
    tool(
        "inference_batch_cancel",
        "Cancel an inference batch",
        "Stop an inference batch that is not finished yet; use it when its results are no longer "
        "wanted, as requests not yet run are lost; returns the batch with its new status.",
        "POST /v1/inference/batch/{batch_id}/cancel",
        (BATCH_ID,),
        permission="models:use",
        hints="D I",
        result=an("Batch"),
    ),
)
