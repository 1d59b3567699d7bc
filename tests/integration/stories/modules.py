"""The module tools; modules that are off at acme are switched on first."""

import base64

from tests.integration.stories.step import Step, Story, deleted, page

AUDIO = base64.b64encode(b"RIFF" + bytes(60)).decode()
BUNKER_ROOT = "/v1/modules/scaibunker/bunkers"
MATRIX = "/v1/modules/scaimatrix"
SKILLS = "/v1/modules/scaiskills/mcp/skills"
QUEUES = "/v1/modules/scaiqueue"
PERSONAS = "/v1/modules/scaipersona/personas"
SPEAK = "/v1/modules/scaispeak"
ECHO = "/v1/modules/scaiecho/transcribe"
HELLO = [{"role": "user", "content": "hello"}]
NEW_BUNKER = {
    "image": "python:3.12",
    "name": "lab",
    "lifecycle_mode": "session",
    "network_profile": "allowlisted",
    "network_allowlist": ["packages.example.com"],
    "cpu_millicores": 500,
    "memory_mb": 256,
    "disk_mb": 512,
    "gpu_count": 0,
    "max_lifetime_s": 3600,
    "idle_timeout_s": 600,
    "env_vars": {"MODE": "test"},
    "label_set": {"team": "a"},
}

BUNKER = Story(
    "scaibunker",
    "tenant_admin",
    (
        Step(
            "bunker_create",
            f"POST {BUNKER_ROOT}",
            NEW_BUNKER,
            body=NEW_BUNKER,
            result={"id": str, "name": "lab", "lifecycle_mode": "session"},
            keep={"bunker": "id"},
        ),
        Step(
            "bunker_get",
            f"GET {BUNKER_ROOT}/$bunker",
            {"bunker_id": "$bunker"},
            result={"id": "$bunker", "status": "running"},
            shift=60,
        ),
        Step(
            "bunker_list",
            f"GET {BUNKER_ROOT}?limit=25&status=running&lifecycle=session",
            {"status": "running", "lifecycle": "session"},
            result=page({"id": "$bunker"}),
        ),
        Step(
            "bunker_exec",
            f"POST {BUNKER_ROOT}/$bunker/exec",
            {"bunker_id": "$bunker", "command": "echo hi"},
            body={"command": "echo hi", "timeout_s": 60},
            result={"exit_code": 0, "stdout": "hi\n", "stderr": "", "timed_out": False},
        ),
        Step(
            "bunker_exec",
            f"POST {BUNKER_ROOT}/$bunker/exec",
            {
                "bunker_id": "$bunker",
                "command": "cat",
                "timeout_s": 5,
                "workdir": "/tmp",
                "env_vars": {"A": "1"},
                "stdin": "from standard input",
            },
            body={
                "command": "cat",
                "timeout_s": 5,
                "workdir": "/tmp",
                "env_vars": {"A": "1"},
                "stdin": "from standard input",
            },
            result={"stdout": "from standard input"},
        ),
        Step(
            "bunker_exec",
            f"POST {BUNKER_ROOT}/$bunker/exec",
            {"bunker_id": "$bunker", "command": "make coffee"},
            body=dict,
            result={"exit_code": 127},
        ),
        Step(
            "bunker_snapshot",
            f"POST {BUNKER_ROOT}/$bunker/snapshot",
            {"bunker_id": "$bunker", "name": "before"},
            body={"name": "before"},
            result={"snapshot_id": str, "bunker_id": "$bunker", "size_bytes": int},
        ),
        Step(
            "bunker_pause",
            f"POST {BUNKER_ROOT}/$bunker/pause",
            {"bunker_id": "$bunker"},
            result={"status": "paused"},
        ),
        Step(
            "bunker_resume",
            f"POST {BUNKER_ROOT}/$bunker/resume",
            {"bunker_id": "$bunker"},
            result={"status": "running"},
        ),
        Step(
            "bunker_terminate",
            f"DELETE {BUNKER_ROOT}/$bunker?snapshot=true",
            {"bunker_id": "$bunker", "snapshot": True},
            result={"id": "$bunker", "status": "terminated"},
        ),
    ),
)

NEW_COLLECTION = {
    "name": "Rulebook",
    "embedding_model": "scailabs/embed-det-1",
    "description": "How we work",
    "chunking_strategy": "paragraph",
    "chunk_size": 256,
    "chunk_overlap": 0,
    "graph_enabled": False,
    "default_access": "tenant",
    "metadata": {"v": 1},
}
COLLECTIONS = Story(
    "scaimatrix",
    "tenant_admin",
    (
        Step(
            "matrix_collections_create",
            f"POST {MATRIX}/collections",
            NEW_COLLECTION,
            body=NEW_COLLECTION,
            result={"name": "Rulebook", "document_count": 0},
            keep={"collection": "id"},
        ),
        Step(
            "matrix_collections_list",
            f"GET {MATRIX}/collections?limit=25",
            role="tenant_viewer",
            result={"items": lambda rows: "Rulebook" in {row["name"] for row in rows}},
        ),
        Step(
            "matrix_collections_get",
            f"GET {MATRIX}/collections/$collection",
            {"collection_id": "$collection"},
            role="extra_permissions",
            result={"embedding_model": "scailabs/embed-det-1"},
        ),
        Step(
            "matrix_ingest_document",
            f"POST {MATRIX}/collections/$collection/documents",
            {
                "collection_id": "$collection",
                "name": "holidays.txt",
                "text": "Everyone has thirty days of holiday.",
                "metadata": {"year": 2026},
            },
            body={
                "file": [{"filename": "file.txt", "content_type": "text/plain", "size_bytes": 36}],
                "name": ["holidays.txt"],
                "metadata": ['{"year":2026}'],
            },
            result={"name": "holidays.txt", "collection_id": "$collection"},
            keep={"document": "id"},
        ),
        Step(
            "matrix_ingest_document",
            f"POST {MATRIX}/collections/$collection/documents",
            {
                "collection_id": "$collection",
                "name": "tools.md",
                "content_base64": base64.b64encode(b"# Tools").decode().rstrip("="),
                "mime_type": "text/markdown",
            },
            body={
                "file": [{"filename": "file.md", "content_type": "text/markdown", "size_bytes": 7}],
                "name": ["tools.md"],
            },
            result={"name": "tools.md"},
        ),
        Step(
            "matrix_documents_list",
            f"GET {MATRIX}/collections/$collection/documents?limit=25&status=indexed",
            {"collection_id": "$collection", "status": "indexed"},
            result=page({"id": "$document"}, {"name": "tools.md"}),
            shift=60,
        ),
        Step(
            "matrix_documents_get",
            f"GET {MATRIX}/documents/$document",
            {"document_id": "$document"},
            result={"status": "indexed", "metadata": {"year": 2026}},
        ),
        Step(
            "matrix_search",
            f"POST {MATRIX}/collections/$collection/search",
            {"collection_id": "$collection", "query": "days of holiday"},
            body={"query": "days of holiday", "top_k": 5, "search_type": "semantic"},
            role="extra_permissions",
            result={"results": lambda rows: rows[0]["document_id"] and rows[0]["score"] > 0},
        ),
        Step(
            "matrix_documents_delete",
            f"DELETE {MATRIX}/documents/$document",
            {"document_id": "$document"},
            result=deleted("$document"),
        ),
    ),
)

SKILL_TOOLS = Story(
    "scaiskills",
    "tenant_viewer",
    (
        Step(
            "skills_list",
            f"POST {SKILLS}/list",
            {"limit": 1},
            body={"limit": 1},
            result={"items": [{"slug": str, "version": str}]},
            keep={"skill": "items.0.slug"},
        ),
        Step(
            "skills_search",
            f"POST {SKILLS}/search",
            {"query": "$skill"},
            body={"query": "$skill", "limit": 10},
            result={"items": list},
        ),
        Step(
            "skills_view",
            f"POST {SKILLS}/view",
            {"slug": "$skill"},
            body={"slug": "$skill"},
            result={"slug": "$skill", "content": str},
        ),
    ),
)

QUEUE = Story(
    "scaiqueue",
    "tenant_admin",
    (
        Step(
            "queue_scopes_create",
            f"POST {QUEUES}/scopes",
            {"slug": "billing", "display_name": "Billing"},
            body={"slug": "billing", "display_name": "Billing"},
            result={"slug": "billing"},
            keep={"scope": "id"},
        ),
        Step(
            "queue_create",
            f"POST {QUEUES}/scopes/$scope/queues",
            {
                "scope_id": "$scope",
                "slug": "invoices",
                "display_name": "Invoices",
                "ordering": "priority",
                "consumer_mode": "competing",
            },
            body={
                "slug": "invoices",
                "display_name": "Invoices",
                "ordering": "priority",
                "consumer_mode": "competing",
            },
            result={"scope_id": "$scope", "ordering": "priority"},
            keep={"queue": "id"},
        ),
        Step(
            "queue_list",
            f"GET {QUEUES}/queues?limit=25&scope_id=$scope",
            {"scope_id": "$scope"},
            result=page({"id": "$queue"}),
        ),
        Step(
            "queue_publish",
            f"POST {QUEUES}/queues/$queue/publish",
            {
                "queue_id": "$queue",
                "payload": {"invoice": 7},
                "priority": 9,
                "idempotency_key": "invoice-7",
            },
            body={"payload": {"invoice": 7}, "priority": 9, "idempotency_key": "invoice-7"},
            result={"message_id": str, "is_duplicate": False},
        ),
        Step(
            "queue_publish",
            f"POST {QUEUES}/queues/$queue/publish",
            {"queue_id": "$queue", "payload": {"invoice": 7}, "idempotency_key": "invoice-7"},
            body={"payload": {"invoice": 7}, "idempotency_key": "invoice-7"},
            result={"is_duplicate": True},
        ),
        Step(
            "queue_claim",
            f"POST {QUEUES}/queues/$queue/claim",
            {"queue_id": "$queue"},
            body={"limit": 1, "lease_s": 60},
            result={"items": [{"payload": {"invoice": 7}, "message_id": str}]},
            keep={"message": "items.0.message_id"},
        ),
        Step(
            "queue_fail",
            f"POST {QUEUES}/queues/$queue/messages/$message/fail",
            {"queue_id": "$queue", "message_id": "$message", "reason": "later"},
            body={"reason": "later", "requeue": True},
            result={"message_id": "$message", "status": str},
        ),
        Step(
            "queue_claim",
            f"POST {QUEUES}/queues/$queue/claim",
            {"queue_id": "$queue", "limit": 10, "lease_s": 5},
            body={"limit": 10, "lease_s": 5},
            result={"items": [{"message_id": "$message"}]},
        ),
        Step(
            "queue_complete",
            f"POST {QUEUES}/queues/$queue/messages/$message/complete",
            {"queue_id": "$queue", "message_id": "$message", "result": {"paid": True}},
            body={"result": {"paid": True}},
            result={"message_id": "$message", "status": str},
        ),
    ),
)

NEW_PERSONA = {
    "name": "Guide",
    "model_slug": "scailabs/echo-1",
    "slug": "guide",
    "system_prompt": "You guide.",
    "rag_enabled": True,
    "rag_strategy": "single_step",
    "rag_top_k": 3,
    "rag_min_score": 0.25,
    "default_params": {"temperature": 0.1},
    "status": "active",
    "metadata": {"owner": "docs"},
}
PERSONA = Story(
    "scaipersona",
    "tenant_admin",
    (
        Step(
            "persona_create",
            f"POST {PERSONAS}",
            NEW_PERSONA,
            body=NEW_PERSONA,
            result={"slug": "guide", "published_model": "tenant/acme/guide"},
            keep={"persona": "id"},
        ),
        Step(
            "persona_list",
            f"GET {PERSONAS}?limit=25",
            role="tenant_viewer",
            result={"items": lambda rows: any(row["slug"] == "guide" for row in rows)},
        ),
        Step(
            "persona_get",
            f"GET {PERSONAS}/$persona",
            {"persona_id": "$persona"},
            role="tenant_viewer",
            result={"system_prompt": "You guide."},
        ),
        Step(
            "persona_invoke",
            "POST /v1/inference/chat",
            {"persona_slug": "guide", "messages": HELLO, "max_tokens": 100},
            body={
                "model": "tenant/acme/guide",
                "messages": HELLO,
                "max_tokens": 100,
                "stream": False,
            },
            role="tenant_user",
            result={"content": "echo: hello", "finish_reason": "stop"},
        ),
        Step(
            "persona_update",
            f"PUT {PERSONAS}/$persona",
            {"persona_id": "$persona", "status": "archived", "rag_enabled": False},
            body={"status": "archived", "rag_enabled": False},
            result={"status": "archived"},
        ),
    ),
)

VOICES = Story(
    "scaispeak",
    "tenant_admin",
    (
        Step(
            "speak_voices_list",
            f"GET {SPEAK}/voices?limit=1&embedding_status=ready&q=a",
            {"limit": 1, "embedding_status": "ready", "q": "a"},
            result={"items": [{"id": str, "language": str}]},
            keep={"voice": "items.0.id"},
        ),
        Step(
            "speak_voices_get",
            f"GET {SPEAK}/voices/$voice",
            {"voice_id": "$voice"},
            role="tenant_viewer",
            result={"id": "$voice"},
        ),
        Step(
            "speak_voices_preview",
            f"POST {SPEAK}/voices/$voice/preview",
            {"voice_id": "$voice", "text": "hello"},
            body={"text": "hello"},
            role="tenant_viewer",
            result={"voice_id": "$voice", "mime_type": str, "size_bytes": int},
            blocks=({"type": "audio", "mimeType": str, "data": str},),
        ),
        Step(
            "speak_synthesize",
            f"POST {SPEAK}/speak",
            {
                "text": "good morning",
                "voice_id": "$voice",
                "language": "en",
                "format": "wav",
                "speed": 1.5,
                "return_as": "base64",
            },
            body={
                "text": "good morning",
                "voice_id": "$voice",
                "language": "en",
                "format": "wav",
                "speed": 1.5,
            },
            result={"voice_id": "$voice", "audio_base64": str, "duration_ms": int},
        ),
        Step(
            "speak_synthesize",
            f"POST {SPEAK}/speak",
            {"text": "hi", "voice_id": "$voice"},
            body={"text": "hi", "voice_id": "$voice", "format": "mp3"},
            result={"size_bytes": int},
            blocks=({"type": "audio", "mimeType": str, "data": str},),
        ),
    ),
)

HEARING = Story(
    "scaiecho",
    "tenant_admin",
    (
        Step(
            "echo_transcribe",
            f"POST {ECHO}",
            {
                "audio_base64": AUDIO,
                "mime_type": "audio/mpeg",
                "language_hint": "en",
                "temperature": 0.5,
            },
            body={
                "file": [{"filename": "file.mp3", "content_type": "audio/mpeg", "size_bytes": 64}],
                "language_hint": ["en"],
                "temperature": ["0.5"],
                "force_async": ["false"],
            },
            result={"job_id": str, "transcript": str, "audio_bytes": 64},
        ),
        Step(
            "echo_transcribe",
            f"POST {ECHO}",
            {"audio_base64": AUDIO, "mime_type": "audio/ogg", "force_async": True},
            body={
                "file": [{"filename": "file.ogg", "content_type": "audio/ogg", "size_bytes": 64}],
                "force_async": ["true"],
            },
            result={"job_id": str, "status": str},
            keep={"job": "job_id"},
        ),
        Step(
            "echo_jobs_get",
            f"GET {ECHO}/jobs/$job",
            {"job_id": "$job"},
            result={"job_id": "$job", "status": str, "transcript": str},
            shift=60,
        ),
    ),
)

NEW_JOB = {
    "name": "tune",
    "training_config": {"epochs": 1},
    "data_config": {"files": ["a"]},
    "resource_config": {"gpus": 1},
    "output_config": {"slug": "acme/tuned"},
    "scheduling_config": {"priority": 1},
    "labels": {"team": "a"},
}
TRAINING = Story(
    "scaimind",
    "tenant_admin",
    (
        Step(
            "mind_jobs_create",
            "POST /v1/modules/scaimind/jobs",
            NEW_JOB,
            body=NEW_JOB,
            result={"name": "tune", "status": str},
            keep={"job": "id"},
        ),
        Step(
            "mind_jobs_create",
            "POST /v1/modules/scaimind/jobs",
            {"name": "b", "training_config": {}, "data_config": {}, "resource_config": {}},
            body={"name": "b", "training_config": {}, "data_config": {}, "resource_config": {}},
        ),
        Step(
            "mind_jobs_list",
            "GET /v1/modules/scaimind/jobs?page_size=1",
            {"limit": 1},
            role="tenant_viewer",
            result={"items": [dict], "has_more": True, "total_count": 4, "next_cursor": str},
            keep={"cursor": "next_cursor"},
        ),
        Step(
            "mind_jobs_list",
            "GET /v1/modules/scaimind/jobs?page_size=25&page_token=$cursor",
            {"cursor": "$cursor"},
            role="tenant_viewer",
            result={"items": lambda rows: len(rows) == 3, "has_more": False},
        ),
        Step(
            "mind_jobs_list",
            "GET /v1/modules/scaimind/jobs?page_size=25&status=queued&status=cancelled",
            {"status": ["queued", "cancelled"]},
            result={"items": lambda rows: {row["status"] for row in rows} == {"queued"}},
        ),
        Step(
            "mind_jobs_get",
            "GET /v1/modules/scaimind/jobs/$job",
            {"job_id": "$job"},
            result={"id": "$job", "labels": {"team": "a"}},
        ),
    ),
    modules=("scaimind",),
)

CORES = Story(
    "scaicore",
    "tenant_viewer",
    (
        Step(
            "core_list",
            "GET /v1/modules/scaicore/cores?limit=1",
            {"limit": 1},
            result={"items": [{"id": str, "runtime_mode": str}]},
            keep={"core": "items.0.id"},
        ),
        Step(
            "core_get",
            "GET /v1/modules/scaicore/cores/$core",
            {"core_id": "$core"},
            result={"id": "$core"},
        ),
        Step(
            "core_events_list",
            "GET /v1/modules/scaicore/events?limit=25&core_id=$core&since=2020-01-01T00%3A00%3A00Z",
            {"core_id": "$core", "since": "2020-01-01T00:00:00Z"},
            result={"items": lambda rows: {row["core_id"] for row in rows} != set()},
        ),
    ),
    modules=("scaicore",),
)

BOTS = Story(
    "scaibot",
    "tenant_viewer",
    (
        Step(
            "bot_list",
            "GET /v1/modules/scaibot/bots?limit=25",
            result={"items": lambda rows: rows[0]["slug"]},
            keep={"bot": "items.0.id"},
        ),
        Step(
            "bot_get",
            "GET /v1/modules/scaibot/bots/$bot",
            {"bot_id": "$bot"},
            result={"id": "$bot"},
        ),
    ),
    modules=("scaibot",),
)

STORIES = (
    BUNKER,
    COLLECTIONS,
    SKILL_TOOLS,
    QUEUE,
    PERSONA,
    VOICES,
    HEARING,
    TRAINING,
    CORES,
    BOTS,
)
