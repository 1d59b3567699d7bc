"""Glossary of the objects of the platform's modules, fields in their published order.

Data only. Spec: scaigrid 11; core-tools 2, column "Result".
"""

from __future__ import annotations

_CREATED = "When it was created, RFC 3339 UTC."
_METADATA = "Free key and value pairs kept with it."
_DESCRIPTION = "Text that explains what it is for."
_DISPLAY_NAME = "Name shown to people."
_SLUG = "Short unique name used in addresses and calls."

MODULE_OBJECTS: dict[str, dict[str, str]] = {
    "Bunker": {
        "id": "Identifier of the bunker, a sandbox that runs commands.",
        "name": "Name of the bunker.",
        "image": "Container image it runs.",
        "status": "pending, provisioning, running, paused or terminated.",
        "lifecycle_mode": "How long it is kept: ephemeral, session or persistent.",
        "network_profile": "What it may reach, for example isolated or allowlisted.",
        "cpu_millicores": "Processor share; 1000 is one core.",
        "memory_mb": "Memory in megabytes.",
        "disk_mb": "Disk space in megabytes.",
        "gpu_count": "Number of graphics processors.",
        "gpu_type": "Kind of graphics processor, if it has any.",
        "created_at": _CREATED,
        "expires_at": "When it is terminated by itself, RFC 3339 UTC.",
    },
    "Collection": {
        "id": "Identifier of the collection.",
        "name": "Name of the collection.",
        "description": _DESCRIPTION,
        "embedding_model": "Slug of the model that turns its texts into vectors.",
        "chunking_strategy": "How documents are split, for example fixed or markdown.",
        "chunk_size": "Length of one piece in tokens.",
        "chunk_overlap": "Tokens that neighbouring pieces share.",
        "graph_enabled": "True when a knowledge graph is built from the documents.",
        "document_count": "Number of documents.",
        "storage_bytes": "Space the collection takes in bytes.",
        "default_access": "Who may read it: tenant, or restricted to those named.",
        "user_permission": "What the caller may do with it: read, write or manage.",
        "created_at": _CREATED,
    },
    "Document": {
        "id": "Identifier of the document.",
        "collection_id": "Identifier of the collection it belongs to.",
        "name": "Name of the document.",
        "status": "pending, processing, chunking, embedding, indexed, failed or error.",
        "size_bytes": "Size of the document in bytes.",
        "chunk_count": "Number of pieces it was split into.",
        "error": "Why it could not be indexed; absent otherwise.",
        "metadata": _METADATA,
        "created_at": _CREATED,
    },
    "Skill": {
        "slug": "Name to give to skills_view.",
        "description": _DESCRIPTION,
        "visibility": "Who can see the skill, for example tenant.",
        "version": "Newest version of the skill.",
    },
    "Queue": {
        "id": "Identifier of the queue.",
        "scope_id": "Identifier of the scope it belongs to.",
        "slug": _SLUG,
        "display_name": _DISPLAY_NAME,
        "ordering": "Order in which messages are handed out: fifo, priority or deadline.",
        "consumer_mode": "competing: one consumer per message; broadcast: every consumer.",
        "depth": "Number of messages that wait.",
        "in_flight": "Number of messages that are claimed and not yet done.",
        "dead_letter_count": "Number of messages given up after too many failures.",
    },
    "Scope": {
        "id": "Identifier of the scope, which groups queues.",
        "slug": _SLUG,
        "display_name": _DISPLAY_NAME,
    },
    "Persona": {
        "id": "Identifier of the persona.",
        "name": "Name of the persona.",
        "slug": "Name to give to persona_invoke as persona_slug.",
        "model_slug": "Slug of the model behind the persona.",
        "published_model": "Model name under which the persona can be called in chat.",
        "rag_enabled": "True when it looks up documents before it answers.",
        "status": "draft, active or archived.",
        "created_at": _CREATED,
        "system_prompt": "Instructions of the persona, when one persona is asked for.",
        "settings": "Further settings, when one persona is asked for.",
    },
    "Voice": {
        "id": "Identifier of the voice, to give as voice_id.",
        "name": "Name of the voice.",
        "language": "Language it speaks, for example en-GB.",
        "gender": "How the voice sounds, for example female.",
        "scope": "Who owns it, for example platform or tenant.",
        "embedding_status": "Whether the voice is ready for use, for example ready.",
    },
    "Job": {
        "id": "Identifier of the training job.",
        "name": "Name of the training job.",
        "status": "State of the job, for example queued, running or failed.",
        "progress": "How far the job is.",
        "labels": "Free key and value pairs to find it by.",
        "created_at": _CREATED,
        "started_at": "When it began to run, RFC 3339 UTC; absent until then.",
        "finished_at": "When it ended, RFC 3339 UTC; absent until then.",
        "error": "Why it failed; absent otherwise.",
    },
    "Core": {
        "id": "Identifier of the core, an agent that runs on events.",
        "name": "Name of the core.",
        "runtime_mode": "When it runs, for example always on or per event.",
        "concurrency_mode": "Whether it handles several events at once.",
        "privilege_level": "How much it may do on the platform.",
        "status": "State of the core, for example running.",
        "created_at": _CREATED,
    },
    "Event": {
        "id": "Identifier of the event.",
        "core_id": "Identifier of the core it belongs to.",
        "type": "Type of the event.",
        "payload": "Content of the event.",
        "created_at": "When it happened, RFC 3339 UTC.",
    },
    "Bot": {
        "id": "Identifier of the bot, to add to a room as a member.",
        "name": "Name of the bot.",
        "slug": _SLUG,
        "model_slug": "Slug of the model behind the bot.",
        "status": "State of the bot, for example active.",
        "created_at": _CREATED,
    },
}
