"""Personas: models with a system prompt, published for chat. Spec: scaigrid 11."""

import re

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.errors import conflict, refuse
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.samples import insert_samples
from scaimcp.dev.platform.state import Platform
from scaimcp.dev.platform.store import Row, TableSpec

MODULE_ID = "scaipersona"
VIEW, MANAGE = "scaipersona:view", "scaipersona:manage"
PUBLISHED = re.compile(r"tenant/([^/]+)/([^/]+)")
SLUG_LENGTH = 64
# Shown as one object in the detail.
SETTINGS: Row = {
    "rag_strategy": "single_step",
    "rag_top_k": 5,
    "rag_min_score": None,
    "rag_context_template": None,
    "rag_status_messages": None,
    "status_messages_mode": None,
    "default_params": {},
    "metadata": {},
}
PERSONA = fields(
    "name:str*, model_slug:str*, slug:slug(1-64), system_prompt:text, rag_enabled:bool=false,"
    "rag_strategy:enum(single_step,multi_step,agentic)=single_step, rag_top_k:int(1-50)=5,"
    "rag_min_score:num(0-1), rag_context_template:text, rag_status_messages,"
    "status_messages_mode, default_params:map, status:enum(draft,active,archived)=draft,"
    "metadata:map"
)
_persona = view("id name slug model_slug published_model rag_enabled status created_at")
_settings = view(" ".join(SETTINGS))


def _show(call: Call, row: Row) -> Row:
    tenant = call.table("tenants").get(row["tenant_id"])
    home = "" if tenant is None else tenant["slug"]
    return _persona({**row, "published_model": f"tenant/{home}/{row['slug']}"})


def _detail(call: Call, row: Row) -> Row:
    return {
        **_show(call, row),
        "system_prompt": row.get("system_prompt"),
        "settings": _settings(row),
    }


def _find(call: Call) -> Row:
    return call.find("personas", call.params["persona_id"], "PERSONA")


def _check(call: Call, tenant_id: str, own_id: str | None = None) -> None:
    """Refuse a model that cannot chat (422) and a slug that is taken (409)."""
    body = call.body
    if "model_slug" in body:
        model = call.table("models").first(slug=body["model_slug"])
        if model is None or model["modality"] != "chat":
            refuse("model_slug", "is not a chat model")
    if "slug" in body:
        other = call.table("personas").first(tenant_id=tenant_id, slug=body["slug"])
        if other is not None and other["id"] != own_id:
            raise conflict("The slug is taken.", "SLUG_CONFLICT")


def _slug_of(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:SLUG_LENGTH] or "persona"


def list_personas(call: Call) -> Reply:
    """List the tenant's personas."""
    return shape_a(
        call,
        call.rows("personas"),
        lambda row: _show(call, row),
        newest_first=call.query["order"] == "desc",
    )


def get(call: Call) -> Row:
    """Return one persona with prompt and settings."""
    return _detail(call, _find(call))


def create(call: Call) -> Row:
    """Add a persona; without a slug it gets one made from its name."""
    tenant_id = call.tenant_id
    call.body.setdefault("slug", _slug_of(call.body["name"]))
    _check(call, tenant_id)
    row = {**SETTINGS, "system_prompt": None, **call.body, "tenant_id": tenant_id}
    return _detail(call, call.created("personas", row))


def update(call: Call) -> Row:
    """Change the given fields."""
    row = _find(call)
    _check(call, row["tenant_id"], row["id"])
    return _detail(call, call.table("personas").update(row["id"], call.body))


def published(call: Call, name: str) -> Row | None:
    """Return the model an active persona is published as, within the caller's walls."""
    found = PUBLISHED.fullmatch(name)
    tenant = call.table("tenants").first(slug=found[1]) if found else None
    if found is None or tenant is None or not call.sees_tenant(tenant["id"]):
        return None
    row = call.table("personas").first(tenant_id=tenant["id"], slug=found[2], status="active")
    if row is None or not call.platform.module_active(MODULE_ID, tenant):
        return None
    return {"slug": name, "base_slug": row["model_slug"], "system_prompt": row["system_prompt"]}


def _seed(platform: Platform) -> None:
    start = {**SETTINGS, "model_slug": "scailabs/echo-1", "rag_enabled": False}
    helper = {
        **start,
        "name": "Helper",
        "slug": "helper",
        "system_prompt": "You are a helpful colleague.",
        "status": "active",
    }
    draft = {
        **start,
        "name": "Lawyer",
        "slug": "lawyer",
        "system_prompt": "You read contracts.",
        "status": "draft",
    }
    insert_samples(platform, "personas", "acme", [helper, draft])
    insert_samples(platform, "personas", "globex", [helper])


PERSONAS, ONE = "/personas", "/personas/{persona_id}"

FAMILY = Family(
    tables=(TableSpec("personas", "per_", ("tenant_id",)),),
    seed=_seed,
    models=published,
    endpoints=(
        Endpoint(
            "GET",
            PERSONAS,
            VIEW,
            list_personas,
            module=MODULE_ID,
            query=fields("@page, order:enum(asc,desc)=asc"),
        ),
        Endpoint("GET", ONE, VIEW, get, module=MODULE_ID),
        Endpoint(
            "POST",
            PERSONAS,
            MANAGE,
            create,
            module=MODULE_ID,
            body=json_body(PERSONA),
            audit="scaipersona.persona.create",
        ),
        Endpoint(
            "PUT",
            ONE,
            MANAGE,
            update,
            module=MODULE_ID,
            body=json_body(PERSONA.partial()),
            audit="scaipersona.persona.update",
        ),
    ),
)
