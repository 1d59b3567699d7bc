"""Tools for backends, their providers and routing between them. Data only. Spec: core-tools 1."""

from __future__ import annotations

from scaimcp.catalog.definition import PAGE, ToolDefinition, tool
from scaimcp.catalog.notation import Argument, arg
from scaimcp.catalog.results import DELETED, an, fields, list_of

BACKEND_ID = arg(
    "backend_id:id*", "Identifier of the backend, for example bkd_01J8, from backends_list."
)
PROVIDER_ID = arg(
    "provider_id:id*", "Identifier of the provider, for example prv_01J8, from providers_list."
)
POLICY_ID = arg(
    "policy_id:id*",
    "Identifier of the routing policy, for example rtp_01J8, from routing_policies_list.",
)


def _backend_details(config: str, priority: str, weight: str, status: str) -> tuple[Argument, ...]:
    """Return what creating and updating a backend share; each text says what absence means."""
    return (
        arg(
            "connection_config:map",
            "Connection settings, such as timeouts or credentials of this backend; secret values "
            f"are never shown again; {config} when left out.",
        ),
        arg(
            "priority:int(0–1000)",
            f"Rank for strategy priority, the lowest number goes first; {priority} when left out.",
        ),
        arg(
            "weight:int(1–100)",
            f"Share of calls for strategy weighted, relative to the others; {weight} when left "
            "out.",
        ),
        arg(
            "status:enum(active,disabled)",
            f"Whether the backend takes calls; {status} when left out.",
        ),
    )


def _policy_details(
    backends: str, fallback: str, retries: str, status: str
) -> tuple[Argument, ...]:
    """Return what creating and updating a policy share; each text says what absence means."""
    return (
        arg(
            "backend_ids:list<id>(≤50)",
            f"Identifiers of the backends to choose from, in order, at most 50; {backends} when "
            "left out.",
        ),
        arg(
            "fallback_model:str",
            "Slug of the model to use when no backend answers, for example scailabs/echo-1; "
            f"{fallback} when left out.",
        ),
        arg(
            "max_retries:int(0–5)",
            f"Further attempts after a failed one, 0 to 5; {retries} when left out.",
        ),
        arg(
            "status:enum(active,disabled)",
            f"Whether the policy is in force; {status} when left out.",
        ),
    )


TOOLS: tuple[ToolDefinition, ...] = (
    tool(
        "backends_list",
        "List backends",
        "List the backends that serve models, page by page; use it to see which upstream models "
        "stand behind a model or which backends are ill; returns provider, model, priority and "
        "health of each backend.",
        "GET /v1/backends",
        (
            *PAGE,
            arg(
                "provider_id:id",
                "Only backends of this provider, for example prv_01J8; of all when left out.",
            ),
            arg(
                "model_id:id",
                "Only backends mapped to this model, for example mdl_01J8; all when left out.",
            ),
            arg(
                "health_status:enum(healthy,degraded,unhealthy,unavailable)",
                "Only backends in this state of health; in every state when left out.",
            ),
        ),
        permission="models:manage",
        hints="R I",
        result=list_of("Backend"),
    ),
    tool(
        "backends_get",
        "Get a backend",
        "Read one backend; use it to check how it is connected and weighted before changing it; "
        "returns all of its fields, with secret connection values masked.",
        "GET /v1/backends/{backend_id}",
        (BACKEND_ID,),
        permission="models:manage",
        hints="R I",
        result=an("Backend"),
    ),
    tool(
        "backends_create",
        "Create a backend",
        "Connect an upstream model of a provider and optionally map it to a model of the "
        "catalogue; use it after providers_discover, which finds upstream names; returns the new "
        "backend.",
        "POST /v1/backends",
        (
            arg("name:str*", "Name shown to people, for example OpenAI EU gpt-4o."),
            PROVIDER_ID,
            arg(
                "upstream_model:str*",
                "Name of the model at the provider, for example gpt-4o, from providers_discover.",
            ),
            arg(
                "model_id:id",
                "Model that the backend serves, for example mdl_01J8; unmapped when left out.",
            ),
            *_backend_details("the provider's settings apply", "100", "1", "active"),
        ),
        permission="models:manage",
        hints="O",
        result=an("Backend"),
    ),
    tool(
        "backends_update",
        "Update a backend",
        "Change fields of one backend, leaving the others as they are; use it to remap, reweight, "
        "enable or disable it; returns the backend as it is now.",
        "PUT /v1/backends/{backend_id}",
        (
            BACKEND_ID,
            arg("name:str", "New name shown to people; unchanged when left out."),
            arg(
                "upstream_model:str",
                "New name of the model at the provider; unchanged when left out.",
            ),
            arg(
                "model_id:id",
                "Model that the backend serves from now on, for example mdl_01J8; unchanged when "
                "left out.",
            ),
            *_backend_details("unchanged", "unchanged", "unchanged", "unchanged"),
        ),
        permission="models:manage",
        hints="I O",
        result=an("Backend"),
    ),
    tool(
        "backends_delete",
        "Delete a backend",
        "Delete one backend for good; use it when the upstream model is no longer to be called, "
        "or backends_update to switch it off for a while; returns a confirmation with its "
        "identifier.",
        "DELETE /v1/backends/{backend_id}",
        (BACKEND_ID,),
        permission="models:manage",
        hints="D I",
        result=DELETED,
    ),
    tool(
        "backends_health",
        "Check a backend's health",
        "Probe one backend at its provider now; use it when calls to a model fail or are slow; "
        "returns its state of health, the latency in milliseconds and the error if there is one.",
        "GET /v1/backends/{backend_id}/health",
        (BACKEND_ID,),
        permission="models:manage",
        hints="R I O",
        result=fields("backend_id, status, latency_ms, checked_at, error?"),
    ),
    tool(
        "providers_list",
        "List providers",
        "List the connected model providers page by page; use it to find the provider of a new "
        "backend; returns type, base address, status and backend count of each provider.",
        "GET /v1/providers",
        (
            *PAGE,
            arg(
                "provider_type:enum(openai,anthropic,azure,mistral,qwen,google,scaiinfer,custom)",
                "Only providers of this type; of every type when left out.",
            ),
        ),
        permission="models:manage",
        hints="R I",
        result=list_of("Provider"),
    ),
    tool(
        "providers_get",
        "Get a provider",
        "Read one model provider; use it to check its address, status and number of backends "
        "before changing or deleting it; returns all of its fields.",
        "GET /v1/providers/{provider_id}",
        (PROVIDER_ID,),
        permission="models:manage",
        hints="R I",
        result=an("Provider"),
    ),
    tool(
        "providers_create",
        "Create a provider",
        "Connect a model provider with its address and credentials; use it before backends_create "
        "when the provider is not in providers_list; returns the new provider.",
        "POST /v1/providers",
        (
            arg("name:str*", "Name shown to people, for example OpenAI EU."),
            arg(
                "provider_type:enum(openai,anthropic,azure,mistral,qwen,google,scaiinfer,custom)*",
                "Type of the provider, which decides the protocol spoken; it cannot be changed "
                "later.",
            ),
            arg(
                "base_url:str(≤2048)",
                "Address of the provider's API, for example https://api.example.com/v1; the "
                "type's usual address when left out.",
            ),
            arg(
                "connection_config:map",
                'Connection settings and credentials, for example {"api_key": "…"}; secret values '
                "are never shown again; none when left out.",
            ),
            arg(
                "status:enum(active,disabled)",
                "Whether its backends take calls; active when left out.",
            ),
        ),
        permission="models:manage",
        hints="O",
        result=an("Provider"),
    ),
    tool(
        "providers_update",
        "Update a provider",
        "Change name, address, credentials or status of one provider; use it to replace a "
        "credential or to switch the provider off; returns the provider as it is now.",
        "PUT /v1/providers/{provider_id}",
        (
            PROVIDER_ID,
            arg("name:str", "New name shown to people; unchanged when left out."),
            arg(
                "base_url:str(≤2048)",
                "New address of the provider's API; unchanged when left out.",
            ),
            arg(
                "connection_config:map",
                "New connection settings and credentials; secret values are never shown again; "
                "unchanged when left out.",
            ),
            arg(
                "status:enum(active,disabled)",
                "Whether its backends take calls; unchanged when left out.",
            ),
        ),
        permission="models:manage",
        hints="I O",
        result=an("Provider"),
    ),
    tool(
        "providers_delete",
        "Delete a provider",
        "Delete one model provider for good; use it only after its backends are deleted, as a "
        "provider with backends is refused; returns a confirmation with its identifier.",
        "DELETE /v1/providers/{provider_id}",
        (PROVIDER_ID,),
        permission="models:manage",
        hints="D I",
        result=DELETED,
    ),
    tool(
        "providers_discover",
        "Discover a provider's models",
        "Ask one provider which models it offers; use it before backends_create to find valid "
        "upstream model names; returns name, modality, context window and mapping state of each "
        "model.",
        "POST /v1/providers/{provider_id}/discover",
        (PROVIDER_ID,),
        permission="models:manage",
        hints="I O",
        result=fields("provider_id, models"),
    ),
    tool(
        "routing_policies_list",
        "List routing policies",
        "List the policies that choose a backend for each call, page by page; use it to see how "
        "calls to a model are spread; returns strategy, backends and status of each policy.",
        "GET /v1/routing-policies",
        (
            *PAGE,
            arg(
                "model_id:id",
                "Only policies of this model, for example mdl_01J8; of all models when left out.",
            ),
        ),
        permission="routing:view",
        hints="R I",
        result=list_of("RoutingPolicy"),
    ),
    tool(
        "routing_policies_get",
        "Get a routing policy",
        "Read one routing policy; use it to check strategy, fallback and retries, for example "
        "before changing them; returns all of the policy's fields.",
        "GET /v1/routing-policies/{policy_id}",
        (POLICY_ID,),
        permission="routing:view",
        hints="R I",
        result=an("RoutingPolicy"),
    ),
    tool(
        "routing_policies_create",
        "Create a routing policy",
        "Define how calls to one model are spread over its backends; use it when a model has "
        "several backends or needs a fallback; returns the new routing policy.",
        "POST /v1/routing-policies",
        (
            arg("name:str*", "Name shown to people, for example Cheapest first."),
            arg(
                "model_id:id*",
                "Model whose calls the policy routes, for example mdl_01J8; cannot be changed "
                "later.",
            ),
            arg(
                "strategy:enum(priority,weighted,round_robin,least_latency,lowest_cost)*",
                "How a backend is chosen: by priority, by weight, in turn, by latency or by cost.",
            ),
            *_policy_details("all of the model's backends", "none", "1", "active"),
        ),
        permission="routing:manage",
        hints="",
        result=an("RoutingPolicy"),
    ),
    tool(
        "routing_policies_update",
        "Update a routing policy",
        "Change fields of one routing policy, leaving the others as they are; use it to adjust "
        "strategy, backends, fallback or status; returns the policy as it is now.",
        "PUT /v1/routing-policies/{policy_id}",
        (
            POLICY_ID,
            arg("name:str", "New name shown to people; unchanged when left out."),
            arg(
                "strategy:enum(priority,weighted,round_robin,least_latency,lowest_cost)",
                "How a backend is chosen: by priority, by weight, in turn, by latency or by cost; "
                "unchanged when left out.",
            ),
            *_policy_details("unchanged", "unchanged", "unchanged", "unchanged"),
        ),
        permission="routing:manage",
        hints="I",
        result=an("RoutingPolicy"),
    ),
    tool(
        "routing_policies_delete",
        "Delete a routing policy",
        "Delete one routing policy for good; use it when the model is to be routed by the "
        "platform's default again; returns a confirmation with the policy's identifier.",
        "DELETE /v1/routing-policies/{policy_id}",
        (POLICY_ID,),
        permission="routing:manage",
        hints="D I",
        result=DELETED,
    ),
)
