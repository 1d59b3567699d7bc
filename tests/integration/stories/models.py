"""models, model_access, model_groups, backends, providers, routing_policies."""

from tests.integration.stories.step import Step, Story, deleted, page

NEW = {
    "slug": "acme/new-1",
    "display_name": "New 1",
    "modality": "chat",
    "description": "A new one.",
    "context_window": 8192,
    "max_output_tokens": 1024,
    "input_price_per_mtok": "1.50",
    "output_price_per_mtok": "3",
    "default_params": {"temperature": 0.5},
    "status": "active",
}
CHANGES = {name: value for name, value in NEW.items() if name != "slug"}

MODELS = Story(
    "models",
    "super_admin",
    (
        Step(
            "models_list",
            "GET /v1/models?limit=1&modality=chat&status=active",
            {"limit": 1, "modality": "chat", "status": "active"},
            result={"items": [{"slug": "scailabs/echo-1"}], "has_more": True},
            keep={"cursor": "next_cursor"},
        ),
        Step(
            "models_list",
            "GET /v1/models?limit=1&cursor=$cursor&modality=chat&status=active",
            {"limit": 1, "cursor": "$cursor", "modality": "chat", "status": "active"},
            result=page({"slug": "scailabs/offline-1"}),
        ),
        Step(
            "models_list",
            "GET /v1/models?limit=25",
            role="tenant_viewer",
            result={"items": lambda rows: len(rows) == 7, "has_more": False},
        ),
        Step(
            "models_get",
            "GET /v1/models/scailabs%2Fecho-1",
            {"model": "scailabs/echo-1"},
            result={"id": "$echo", "slug": "scailabs/echo-1", "health_status": "healthy"},
        ),
        Step(
            "models_get",
            "GET /v1/models/$echo",
            {"model": "$echo"},
            role="tenant_user",
            result={"slug": "scailabs/echo-1"},
        ),
        Step(
            "models_create",
            "POST /v1/models",
            NEW,
            body=NEW,
            result={"slug": "acme/new-1", "input_price_per_mtok": "1.50"},
            keep={"model": "id"},
        ),
        Step(
            "models_update",
            "PUT /v1/models/$model",
            {"model_id": "acme/new-1", **CHANGES, "display_name": "Newer"},
            before=("GET /v1/models/acme%2Fnew-1",),
            body={**CHANGES, "display_name": "Newer"},
            result={"id": "$model", "display_name": "Newer"},
        ),
        Step(
            "models_update",
            "PUT /v1/models/$model",
            {"model_id": "$model", "status": "deprecated", "description": None},
            body={"status": "deprecated"},
            result={"status": "deprecated", "description": "A new one."},
        ),
        Step(
            "model_access_create",
            "POST /v1/models/$model/access",
            {"model_id": "acme/new-1", "subject_type": "tenant", "subject_id": "$acme"},
            before=("GET /v1/models/acme%2Fnew-1",),
            body={"subject_type": "tenant", "subject_id": "$acme", "effect": "allow"},
            result={"model_id": "$model", "effect": "allow"},
            keep={"access": "id"},
        ),
        Step(
            "model_access_list",
            "GET /v1/models/$model/access?limit=25",
            {"model_id": "$model"},
            result=page({"id": "$access", "subject_id": "$acme"}),
        ),
        Step(
            "model_access_delete",
            "DELETE /v1/models/$model/access/$access",
            {"model_id": "$model", "access_id": "$access"},
            result=deleted("$access"),
        ),
        Step(
            "models_delete",
            "DELETE /v1/models/$model",
            {"model_id": "acme/new-1"},
            before=("GET /v1/models/acme%2Fnew-1",),
            result={"deleted": True, "id": str},
        ),
    ),
)

GROUPS = Story(
    "model_groups",
    "super_admin",
    (
        Step(
            "model_groups_create",
            "POST /v1/model-groups",
            {
                "slug": "small",
                "display_name": "Small ones",
                "description": "Cheap.",
                "model_slugs": ["scailabs/echo-1"],
            },
            body={
                "slug": "small",
                "display_name": "Small ones",
                "description": "Cheap.",
                "model_slugs": ["scailabs/echo-1"],
            },
            result={"slug": "small", "model_slugs": ["scailabs/echo-1"]},
            keep={"models": "id"},
        ),
        Step(
            "model_groups_list",
            "GET /v1/model-groups?limit=25",
            role="tenant_viewer",
            result=page({"id": "$models"}),
        ),
        Step(
            "model_groups_get",
            "GET /v1/model-groups/$models",
            {"group_id": "$models"},
            role="partner_viewer",
            result={"display_name": "Small ones"},
        ),
        Step(
            "model_groups_update",
            "PUT /v1/model-groups/$models",
            {"group_id": "$models", "display_name": "None", "model_slugs": []},
            body={"display_name": "None", "model_slugs": []},
            result={"model_slugs": []},
        ),
        Step(
            "model_groups_delete",
            "DELETE /v1/model-groups/$models",
            {"group_id": "$models"},
            result=deleted("$models"),
        ),
    ),
)

BACKENDS = Story(
    "backends",
    "super_admin",
    (
        Step(
            "backends_create",
            "POST /v1/backends",
            {
                "name": "second",
                "provider_id": "$provider",
                "upstream_model": "echo",
                "model_id": "$echo",
                "connection_config": {"api_key": "very-secret", "region": "eu"},
                "priority": 7,
                "weight": 2,
                "status": "active",
            },
            body={
                "name": "second",
                "provider_id": "$provider",
                "upstream_model": "echo",
                "model_id": "$echo",
                "connection_config": {"api_key": "very-secret", "region": "eu"},
                "priority": 7,
                "weight": 2,
                "status": "active",
            },
            result={"connection_config": {"api_key": "***", "region": "eu"}, "priority": 7},
            keep={"backend": "id"},
        ),
        Step(
            "backends_list",
            "GET /v1/backends?limit=25&provider_id=$provider&model_id=$echo&health_status=healthy",
            {"provider_id": "$provider", "model_id": "$echo", "health_status": "healthy"},
            result=page({"id": "$echo_backend"}, {"id": "$backend"}),
        ),
        Step(
            "backends_get",
            "GET /v1/backends/$backend",
            {"backend_id": "$backend"},
            result={"name": "second"},
        ),
        Step(
            "backends_update",
            "PUT /v1/backends/$backend",
            {"backend_id": "$backend", "name": "third", "status": "disabled"},
            body={"name": "third", "status": "disabled"},
            result={"name": "third", "status": "disabled"},
        ),
        Step(
            "backends_health",
            "GET /v1/backends/$backend/health",
            {"backend_id": "$backend"},
            result={"backend_id": "$backend", "status": "unavailable", "error": str},
        ),
        Step(
            "backends_health",
            "GET /v1/backends/$echo_backend/health",
            {"backend_id": "$echo_backend"},
            result={"status": "healthy", "latency_ms": int, "checked_at": str},
        ),
        Step(
            "backends_delete",
            "DELETE /v1/backends/$backend",
            {"backend_id": "$backend"},
            result=deleted("$backend"),
        ),
    ),
)

PROVIDERS = Story(
    "providers",
    "super_admin",
    (
        Step(
            "providers_create",
            "POST /v1/providers",
            {
                "name": "Other",
                "provider_type": "openai",
                "base_url": "https://models.example/v1",
                "connection_config": {"api_key": "very-secret"},
                "status": "active",
            },
            body={
                "name": "Other",
                "provider_type": "openai",
                "base_url": "https://models.example/v1",
                "connection_config": {"api_key": "very-secret"},
                "status": "active",
            },
            result={"name": "Other", "provider_type": "openai", "backend_count": 0},
            keep={"other": "id"},
        ),
        Step(
            "providers_list",
            "GET /v1/providers?limit=25&provider_type=openai",
            {"provider_type": "openai"},
            result=page({"id": "$other"}),
        ),
        Step(
            "providers_get",
            "GET /v1/providers/$other",
            {"provider_id": "$other"},
            result={"base_url": "https://models.example/v1"},
        ),
        Step(
            "providers_update",
            "PUT /v1/providers/$other",
            {"provider_id": "$other", "name": "Renamed"},
            body={"name": "Renamed"},
            result={"name": "Renamed"},
        ),
        Step(
            "providers_discover",
            "POST /v1/providers/$provider/discover",
            {"provider_id": "$provider"},
            result={"provider_id": "$provider", "models": list},
        ),
        Step(
            "providers_delete",
            "DELETE /v1/providers/$other",
            {"provider_id": "$other"},
            result=deleted("$other"),
        ),
    ),
)

ROUTING = Story(
    "routing_policies",
    "super_admin",
    (
        Step(
            "routing_policies_create",
            "POST /v1/routing-policies",
            {
                "name": "cheap first",
                "model_id": "$echo",
                "strategy": "lowest_cost",
                "backend_ids": ["$echo_backend"],
                "fallback_model": "scailabs/legacy-0",
                "max_retries": 3,
                "status": "active",
            },
            body={
                "name": "cheap first",
                "model_id": "$echo",
                "strategy": "lowest_cost",
                "backend_ids": ["$echo_backend"],
                "fallback_model": "scailabs/legacy-0",
                "max_retries": 3,
                "status": "active",
            },
            result={"strategy": "lowest_cost", "max_retries": 3},
            keep={"policy": "id"},
        ),
        Step(
            "routing_policies_list",
            "GET /v1/routing-policies?limit=25&model_id=$echo",
            {"model_id": "$echo"},
            result={"items": lambda rows: any(row["name"] == "cheap first" for row in rows)},
        ),
        Step(
            "routing_policies_get",
            "GET /v1/routing-policies/$policy",
            {"policy_id": "$policy"},
            result={"id": "$policy"},
        ),
        Step(
            "routing_policies_update",
            "PUT /v1/routing-policies/$policy",
            {"policy_id": "$policy", "strategy": "weighted", "backend_ids": []},
            body={"strategy": "weighted", "backend_ids": []},
            result={"strategy": "weighted", "backend_ids": []},
        ),
        Step(
            "routing_policies_delete",
            "DELETE /v1/routing-policies/$policy",
            {"policy_id": "$policy"},
            result=deleted("$policy"),
        ),
    ),
)

STORIES = (MODELS, GROUPS, BACKENDS, PROVIDERS, ROUTING)
