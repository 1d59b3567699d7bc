"""Every method and path of the contract, with its permission, is offered, and nothing else."""

import pytest
from aiohttp import FormData

from scaimcp.dev.platform.endpoint import Endpoint
from scaimcp.dev.platform.endpoints import FAMILIES
from tests.platform.conftest import World

# Methods, path and permission (`-`: any caller; Spec: scaigrid 10).
CORE = """
GET /v1/me -
POST /v1/inference/chat models:use
POST /v1/inference/generate models:use
POST /v1/inference/embed models:use
POST /v1/inference/images/generate models:use
POST /v1/inference/audio/transcribe models:use
POST /v1/inference/audio/synthesize models:use
POST GET /v1/inference/batch models:use
GET /v1/inference/batch/{batch_id} models:use
POST /v1/inference/batch/{batch_id}/cancel models:use
GET /v1/models models:list
GET /v1/models/{model} models:list
POST /v1/models models:manage
PUT DELETE /v1/models/{model_id} models:manage
GET POST /v1/models/{model_id}/access models:manage
DELETE /v1/models/{model_id}/access/{access_id} models:manage
GET /v1/model-groups models:list
GET /v1/model-groups/{group_id} models:list
POST /v1/model-groups models:manage
PUT DELETE /v1/model-groups/{group_id} models:manage
GET POST /v1/backends models:manage
GET PUT DELETE /v1/backends/{backend_id} models:manage
GET /v1/backends/{backend_id}/health models:manage
GET POST /v1/providers models:manage
GET PUT DELETE /v1/providers/{provider_id} models:manage
POST /v1/providers/{provider_id}/discover models:manage
GET /v1/routing-policies routing:view
GET /v1/routing-policies/{policy_id} routing:view
POST /v1/routing-policies routing:manage
PUT DELETE /v1/routing-policies/{policy_id} routing:manage
GET POST /v1/sessions models:use
GET PATCH DELETE /v1/sessions/{session_id} models:use
GET POST /v1/sessions/{session_id}/messages models:use
GET POST /v1/rooms models:use
GET PATCH DELETE /v1/rooms/{room_id} models:use
POST /v1/rooms/{room_id}/members models:use
DELETE /v1/rooms/{room_id}/members/{member_id} models:use
GET POST /v1/rooms/{room_id}/messages models:use
GET /v1/accounting/usage accounting:view_own
GET /v1/accounting/usage/summary accounting:view_own
GET /v1/accounting/export accounting:view_own
GET /v1/accounting/budgets accounting:view_own
GET /v1/accounting/budgets/{budget_id} accounting:view_own
POST /v1/accounting/budgets accounting:manage_budgets
PUT DELETE /v1/accounting/budgets/{budget_id} accounting:manage_budgets
GET /v1/users users:manage
GET DELETE /v1/users/{user_id} users:manage
PUT /v1/users/{user_id}/roles users:manage
GET PUT /v1/users/{user_id}/module-permissions users:manage
GET POST /v1/api-keys api_keys:manage
DELETE /v1/api-keys/{key_id} api_keys:manage
GET /v1/groups users:manage
GET /v1/groups/{group_id} users:manage
GET POST /v1/iam/custom-roles users:manage
GET PUT DELETE /v1/iam/custom-roles/{role_id} users:manage
GET POST /v1/role-mappings users:manage
DELETE /v1/role-mappings/{mapping_id} users:manage
GET POST /v1/webhooks webhooks:manage
GET PUT DELETE /v1/webhooks/{webhook_id} webhooks:manage
POST /v1/webhooks/{webhook_id}/test webhooks:manage
GET /v1/webhooks/{webhook_id}/deliveries webhooks:manage
GET /v1/modules modules:use
GET /v1/modules/{module_id} modules:use
POST /v1/modules/{module_id}/enable modules:manage
POST /v1/modules/{module_id}/disable modules:manage
GET PUT /v1/modules/{module_id}/config modules:manage
GET /v1/partners accounting:view_partner
GET /v1/partners/{partner_id} accounting:view_partner
POST /v1/partners admin:access
PUT /v1/partners/{partner_id} admin:access
GET /v1/tenants accounting:view_partner
GET /v1/tenants/{tenant_id} accounting:view_partner
POST /v1/tenants admin:access
PUT /v1/tenants/{tenant_id} admin:access
GET /v1/audit-log -
GET /v1/audit-log/export -
"""
# The same below `/v1/modules` (Spec: scaigrid 11).
MODULES = """
POST /scaibunker/bunkers scaibunker:create
GET /scaibunker/bunkers scaibunker:create
GET DELETE /scaibunker/bunkers/{bunker_id} scaibunker:create
POST /scaibunker/bunkers/{bunker_id}/pause scaibunker:create
POST /scaibunker/bunkers/{bunker_id}/resume scaibunker:create
POST /scaibunker/bunkers/{bunker_id}/snapshot scaibunker:create
POST /scaibunker/bunkers/{bunker_id}/exec scaibunker:execute
GET /scaimatrix/collections scaimatrix:view
GET /scaimatrix/collections/{collection_id} scaimatrix:view
POST /scaimatrix/collections scaimatrix:manage
GET /scaimatrix/collections/{collection_id}/documents scaimatrix:view
GET /scaimatrix/documents/{document_id} scaimatrix:view
POST /scaimatrix/collections/{collection_id}/documents scaimatrix:ingest
DELETE /scaimatrix/documents/{document_id} scaimatrix:ingest
POST /scaimatrix/collections/{collection_id}/search scaimatrix:search
POST /scaiskills/mcp/skills/list scaiskills:view
POST /scaiskills/mcp/skills/search scaiskills:view
POST /scaiskills/mcp/skills/view scaiskills:view
POST /scaiqueue/scopes scaiqueue:manage
POST /scaiqueue/scopes/{scope_id}/queues scaiqueue:manage
POST /scaiqueue/queues/{queue_id}/publish scaiqueue:publish
GET /scaiqueue/queues scaiqueue:consume
POST /scaiqueue/queues/{queue_id}/claim scaiqueue:consume
POST /scaiqueue/queues/{queue_id}/messages/{message_id}/complete scaiqueue:consume
POST /scaiqueue/queues/{queue_id}/messages/{message_id}/fail scaiqueue:consume
GET /scaipersona/personas scaipersona:view
GET /scaipersona/personas/{persona_id} scaipersona:view
POST /scaipersona/personas scaipersona:manage
PUT /scaipersona/personas/{persona_id} scaipersona:manage
GET /scaispeak/voices scaispeak:voice.read
GET /scaispeak/voices/{voice_id} scaispeak:voice.read
POST /scaispeak/voices/{voice_id}/preview scaispeak:voice.read
POST /scaispeak/speak scaispeak:synthesize
POST /scaiecho/transcribe scaiecho:transcribe
GET /scaiecho/transcribe/jobs/{job_id} scaiecho:transcribe
GET /scaimind/jobs scaimind:view
GET /scaimind/jobs/{job_id} scaimind:view
POST /scaimind/jobs scaimind:manage
GET /scaicore/cores scaicore:view
GET /scaicore/cores/{core_id} scaicore:view
GET /scaicore/events scaicore:view
GET /scaibot/bots scaibot:bots:read
GET /scaibot/bots/{bot_id} scaibot:bots:read
GET /{module_id}/mcp/tools modules:use
"""
# What the contract names elsewhere, and the addresses that answers lead to.
FURTHER = """
GET /v1/auth/me -
POST /v1/inference/embeddings models:use
GET /v1/modules/demo-notes/notes demo-notes:notes.read
POST /v1/modules/demo-notes/notes demo-notes:notes.write
GET /v1/modules/demo-notes/notes/{note_id} demo-notes:notes.read
"""
PUBLIC = {
    ("GET", "/health"),
    ("GET", "/health/ready"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/v1/scailink/auth/discover"),
    ("GET", "/.well-known/openid-configuration"),
    ("GET", "/v1/auth/authorize"),
    ("POST", "/v1/auth/token"),
    ("GET", "/v1/inference/images/files/{file_id}"),
    ("GET", "/v1/inference/batch/files/{file_id}"),
}
# Reads that are no GET, and the end of a sign-in.
UNAUDITED = {
    "/v1/auth/token",
    "/v1/modules/scaimatrix/collections/{collection_id}/search",
    "/v1/modules/scaiskills/mcp/skills/list",
    "/v1/modules/scaiskills/mcp/skills/search",
    "/v1/modules/scaiskills/mcp/skills/view",
}
Key = tuple[str, str]


def table(text: str, root: str = "") -> dict[Key, str]:
    """Return the permission of every method and path of a table."""
    found: dict[Key, str] = {}
    for line in text.strip().splitlines():
        *methods, path, permission = line.split()
        for method in methods:
            found[method, root + path] = "" if permission == "-" else permission
    return found


CONTRACT = table(CORE) | table(MODULES, "/v1/modules") | table(FURTHER)
OFFERED: dict[Key, Endpoint] = {
    (endpoint.method, endpoint.full_path): endpoint
    for family in FAMILIES
    for endpoint in family.endpoints
}


def request_of(key: Key) -> Key:
    """Return method and path of a request, every value filled in."""
    method, path = key
    parts = ["x" if part.startswith("{") else part for part in path.split("/")]
    return method, "/".join(parts).replace("/v1/modules/x/", "/v1/modules/scaimatrix/")


def test_the_tables_are_complete() -> None:
    assert (len(table(CORE)), len(table(MODULES))) == (107, 45)


def test_every_endpoint_of_the_contract_is_offered_and_no_other() -> None:
    assert set(CONTRACT) | PUBLIC == set(OFFERED)


def test_every_endpoint_demands_the_permission_of_the_contract() -> None:
    offered = {key: endpoint.permission for key, endpoint in OFFERED.items()}
    assert offered == {**CONTRACT, **dict.fromkeys(PUBLIC)}


def test_public_paths_are_no_part_of_the_tables() -> None:
    assert not PUBLIC & set(CONTRACT)


def test_every_change_is_audited_and_no_read_is() -> None:
    audited = {key for key, endpoint in OFFERED.items() if endpoint.audit is not None}
    changes = {(m, path) for m, path in OFFERED if m != "GET" and path not in UNAUDITED}
    assert audited == changes


@pytest.mark.parametrize("key", sorted(CONTRACT), ids=" ".join)
async def test_an_endpoint_checks_bearer_permission_and_fields(world: World, key: Key) -> None:
    method, path = request_of(key)
    missing = await world.anyone(method, path)
    assert (missing.status, missing.code) == (401, "AUTH_TOKEN_MISSING")
    if CONTRACT[key]:
        refused = await world.as_("no_roles")(method, path)
        assert refused.status == 403
    root = world.as_("super_admin")
    form = OFFERED[key].body.kind == "form"
    options = {"data": FormData({"a": "1"}, default_to_multipart=True)} if form else {}
    answer = await root(method, f"{path}?surplus=1", **options)
    assert "surplus" in answer.faults
    if form:
        assert "a" in answer.faults
    elif method != "GET" and OFFERED[key].body.kind == "json":
        assert "surplus" in (await root(method, path, {"surplus": 1})).faults
