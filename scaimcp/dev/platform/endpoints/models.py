"""Models, who may use them, and model groups. Spec: scaigrid 10."""

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.errors import conflict, invalid, not_found
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.inference import is_usable, may_use
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.store import Row

PAGE = fields("@page")
MODEL_FIELDS = fields(
    "slug:str*, display_name:str*, description:str(<=2000),"
    "modality:enum(chat,embedding,image,audio)*,"
    "context_window:int(>=1), max_output_tokens:int(>=1), input_price_per_mtok:money,"
    "output_price_per_mtok:money, default_params:map, status:enum(active,deprecated)=active"
)
ACCESS_FIELDS = (
    "subject_type:enum(partner,tenant,group,user)*, subject_id:id*, effect:enum(allow,deny)=allow"
)
GROUP_FIELDS = fields(
    "slug:slug(1-64)*, display_name:str*, description:str(<=2000), model_slugs:list<str>(<=200)"
)
ABSENT_MODEL: Row = {
    "description": None,
    "context_window": None,
    "max_output_tokens": None,
    "input_price_per_mtok": "0",
    "output_price_per_mtok": "0",
    "default_params": {},
}
HEALTH_ORDER = ("healthy", "degraded", "unhealthy", "unavailable")
_model = view(
    "id slug display_name description modality context_window max_output_tokens"
    " input_price_per_mtok output_price_per_mtok default_params status created_at updated_at"
)
_access = view("id model_id subject_type subject_id effect created_at")
_group = view("id slug display_name description model_slugs created_at")


def show_model(call: Call, row: Row) -> Row:
    """Return a model with the state of its backends: its health is that of the best one."""
    backends = call.table("backends").find(model_id=row["id"])
    states = [backend["health_status"] for backend in backends if backend["status"] == "active"]
    best = [state for state in HEALTH_ORDER if state in states]
    return {
        **_model(row),
        "health_status": best[0] if best else "unavailable",
        "active_backend_count": sum(map(is_usable, backends)),
        "total_backend_count": len(backends),
    }


def _by_slug_or_id(call: Call, name: str) -> Row:
    models = call.table("models")
    row = models.first(slug=name) or models.get(name)
    if row is None or not (may_use(call, row) or call.holds("models:manage")):
        raise not_found("MODEL")
    return row


def _by_id(call: Call) -> Row:
    row = call.table("models").get(call.params["model_id"])
    if row is None:
        raise not_found("MODEL")
    return row


def list_models(call: Call) -> Reply:
    """List the models the caller may see."""
    rows = call.table("models").find(
        **{k: call.query[k] for k in ("modality", "status") if k in call.query}
    )
    if not call.holds("models:manage"):
        rows = [row for row in rows if may_use(call, row)]
    return shape_a(call, rows, lambda row: show_model(call, row))


def get_model(call: Call) -> Row:
    """Return one model by slug or id."""
    return show_model(call, _by_slug_or_id(call, call.params["model"]))


def create_model(call: Call) -> Row:
    """Add a model; it is unavailable until a backend is mapped."""
    if call.table("models").first(slug=call.body["slug"]):
        raise conflict("The slug is taken.", "SLUG_CONFLICT")
    row = call.created("models", {**ABSENT_MODEL, **call.body, "updated_at": call.now()})
    return show_model(call, row)


def update_model(call: Call) -> Row:
    """Change the given fields."""
    row = _by_id(call)
    changed = call.table("models").update(row["id"], {**call.body, "updated_at": call.now()})
    return show_model(call, changed)


def delete_model(call: Call) -> None:
    """Remove a model without backends, with its access rules."""
    row = _by_id(call)
    if call.table("backends").find(model_id=row["id"]):
        raise conflict("Backends are mapped to the model.", "MODEL_IN_USE")
    for rule in call.table("model_access").find(model_id=row["id"]):
        call.table("model_access").delete(rule["id"])
    call.table("models").delete(row["id"])


def list_access(call: Call) -> Reply:
    """List the access rules of a model."""
    return shape_a(call, call.table("model_access").find(model_id=_by_id(call)["id"]), _access)


def create_access(call: Call) -> object:
    """Add an access rule."""
    return _access(call.created("model_access", {"model_id": _by_id(call)["id"], **call.body}))


def delete_access(call: Call) -> None:
    """Remove an access rule."""
    rule = call.table("model_access").get(call.params["access_id"])
    if rule is None or rule["model_id"] != _by_id(call)["id"]:
        raise not_found("MODEL_ACCESS")
    call.table("model_access").delete(rule["id"])


def list_groups(call: Call) -> Reply:
    """List the model groups."""
    return shape_a(call, call.table("model_groups").all(), _group)


def _group_row(call: Call) -> Row:
    row = call.table("model_groups").get(call.params["group_id"])
    if row is None:
        raise not_found("MODEL_GROUP")
    return row


def _check_slugs(call: Call) -> None:
    models = call.table("models")
    unknown = [
        (f"model_slugs[{number}]", "is not a model")
        for number, slug in enumerate(call.body.get("model_slugs", ()))
        if models.first(slug=slug) is None
    ]
    if unknown:
        raise invalid(*unknown)


def get_group(call: Call) -> object:
    """Return one model group."""
    return _group(_group_row(call))


def create_group(call: Call) -> object:
    """Add a model group."""
    if call.table("model_groups").first(slug=call.body["slug"]):
        raise conflict("The slug is taken.", "SLUG_CONFLICT")
    _check_slugs(call)
    return _group(
        call.created("model_groups", {"description": None, "model_slugs": [], **call.body})
    )


def update_group(call: Call) -> object:
    """Change the given fields; `model_slugs` replaces the set."""
    row = _group_row(call)
    _check_slugs(call)
    return _group(call.table("model_groups").update(row["id"], call.body))


def delete_group(call: Call) -> None:
    """Remove a model group."""
    call.table("model_groups").delete(_group_row(call)["id"])


MODEL, MODELS = "/v1/models/{model_id}", "/v1/models"
ACCESS, GROUPS, GROUP = f"{MODEL}/access", "/v1/model-groups", "/v1/model-groups/{group_id}"
LIST, MANAGE = "models:list", "models:manage"
MODEL_QUERY = PAGE + fields(
    "modality:enum(chat,embedding,image,audio), status:enum(active,deprecated)"
)

FAMILY = Family(
    endpoints=(
        Endpoint("GET", MODELS, LIST, list_models, query=MODEL_QUERY),
        Endpoint("GET", "/v1/models/{model}", LIST, get_model),
        Endpoint(
            "POST", MODELS, MANAGE, create_model, body=json_body(MODEL_FIELDS), audit="model.create"
        ),
        Endpoint(
            "PUT",
            MODEL,
            MANAGE,
            update_model,
            body=json_body(MODEL_FIELDS.partial("slug")),
            audit="model.update",
        ),
        Endpoint("DELETE", MODEL, MANAGE, delete_model, audit="model.delete"),
        Endpoint("GET", ACCESS, MANAGE, list_access, query=PAGE),
        Endpoint(
            "POST",
            ACCESS,
            MANAGE,
            create_access,
            body=json_body(ACCESS_FIELDS),
            audit="model_access.create",
        ),
        Endpoint(
            "DELETE", f"{ACCESS}/{{access_id}}", MANAGE, delete_access, audit="model_access.delete"
        ),
        Endpoint("GET", GROUPS, LIST, list_groups, query=PAGE),
        Endpoint("GET", GROUP, LIST, get_group),
        Endpoint(
            "POST",
            GROUPS,
            MANAGE,
            create_group,
            body=json_body(GROUP_FIELDS),
            audit="model_group.create",
        ),
        Endpoint(
            "PUT",
            GROUP,
            MANAGE,
            update_group,
            body=json_body(GROUP_FIELDS.partial("slug")),
            audit="model_group.update",
        ),
        Endpoint("DELETE", GROUP, MANAGE, delete_group, audit="model_group.delete"),
    )
)
