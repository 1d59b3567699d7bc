"""Tools for models, who may use them, and groups of them. Data only. Spec: core-tools 1."""

from __future__ import annotations

from scaimcp.catalog.definition import PAGE, ToolDefinition, tool
from scaimcp.catalog.notation import Argument, arg
from scaimcp.catalog.results import DELETED, an, list_of

MODEL_ID = arg(
    "model_id:str*",
    "Identifier or slug of the model, for example mdl_01J8 or openai/gpt-4o, from models_list.",
)
ACCESS_ID = arg(
    "access_id:id*",
    "Identifier of the access rule, for example mac_01J8, from model_access_list.",
)
GROUP_ID = arg(
    "group_id:id*",
    "Identifier of the model group, for example mgr_01J8, from model_groups_list.",
)


def _model_details(absent: str) -> tuple[Argument, ...]:
    """Return the arguments that creating and updating share; `absent` says what leaving out does.

    `absent` completes the sentences of those without a default of their own.
    """
    return (
        arg(
            "description:str(≤2000)",
            f"What the model is good for, up to 2,000 characters; {absent} when left out.",
        ),
        arg(
            "context_window:int(≥1)",
            f"Tokens that prompt and reply may have together, for example 128000; {absent} when "
            "left out.",
        ),
        arg(
            "max_output_tokens:int(≥1)",
            f"Most tokens of one reply, for example 8192; {absent} when left out.",
        ),
        arg(
            "input_price_per_mtok:money",
            "Price of one million input tokens as a decimal string, for example 2.50; "
            f"{absent} when left out.",
        ),
        arg(
            "output_price_per_mtok:money",
            "Price of one million output tokens as a decimal string, for example 10.00; "
            f"{absent} when left out.",
        ),
        arg(
            "default_params:map",
            "Inference parameters used when a call leaves them out, for example "
            f'{{"temperature": 0.2}}; {absent} when left out.',
        ),
    )


TOOLS: tuple[ToolDefinition, ...] = (
    tool(
        "models_list",
        "List models",
        "List the models the caller may see, page by page; use it before any inference tool to "
        "find a valid model slug; returns slug, modality, context window, status and health of "
        "each model.",
        "GET /v1/models",
        (
            *PAGE,
            arg(
                "modality:enum(chat,embedding,image,audio)",
                "Only models for this kind of work; models of every kind when left out.",
            ),
            arg(
                "status:enum(active,deprecated)",
                "Only models with this status; both when left out.",
            ),
        ),
        permission="models:list",
        hints="R I",
        result=list_of("Model"),
    ),
    tool(
        "models_get",
        "Get a model",
        "Read one model by slug or identifier; use it to check limits, prices, default parameters "
        "and health before calling a model; returns all of the model's fields.",
        "GET /v1/models/{model}",
        (
            arg(
                "model:str*",
                "Slug or identifier of the model, for example openai/gpt-4o or mdl_01J8, from "
                "models_list.",
            ),
        ),
        permission="models:list",
        hints="R I",
        result=an("Model"),
    ),
    tool(
        "models_create",
        "Create a model",
        "Add a model to the catalogue under a new slug; use it before mapping backends to the "
        "model with backends_create; returns the new model with its identifier.",
        "POST /v1/models",
        (
            arg(
                "slug:str*",
                "Unique name that callers use, for example openai/gpt-4o; it cannot be changed "
                "later.",
            ),
            arg("display_name:str*", "Name shown to people, for example GPT-4o."),
            arg(
                "modality:enum(chat,embedding,image,audio)*",
                "Kind of work that the model does; it decides which inference tools accept it.",
            ),
            *_model_details("not set"),
            arg(
                "status:enum(active,deprecated)",
                "active, or deprecated for a model that should no longer be chosen; active when "
                "left out.",
            ),
        ),
        permission="models:manage",
        hints="",
        result=an("Model"),
    ),
    tool(
        "models_update",
        "Update a model",
        "Change fields of one model, leaving the others as they are; use it to correct texts, "
        "limits or prices, or to mark a model as deprecated; returns the model as it is now.",
        "PUT /v1/models/{model_id}",
        (
            MODEL_ID,
            arg("display_name:str", "New name shown to people; unchanged when left out."),
            arg(
                "modality:enum(chat,embedding,image,audio)",
                "New kind of work that the model does; unchanged when left out.",
            ),
            *_model_details("unchanged"),
            arg(
                "status:enum(active,deprecated)",
                "active, or deprecated for a model that should no longer be chosen; unchanged "
                "when left out.",
            ),
        ),
        permission="models:manage",
        hints="I",
        result=an("Model"),
        resolves_model=True,
    ),
    tool(
        "models_delete",
        "Delete a model",
        "Delete one model for good; use it only after its backends are gone, as a model with "
        "mapped backends is refused; returns a confirmation with the model's identifier.",
        "DELETE /v1/models/{model_id}",
        (MODEL_ID,),
        permission="models:manage",
        hints="D I",
        result=DELETED,
        resolves_model=True,
    ),
    tool(
        "model_access_list",
        "List model access rules",
        "List the rules that allow or deny one model to partners, tenants, groups and users; use "
        "it to find out who can use the model; returns subject and effect of each rule.",
        "GET /v1/models/{model_id}/access",
        (MODEL_ID, *PAGE),
        permission="models:manage",
        hints="R I",
        result=list_of("ModelAccess"),
        resolves_model=True,
    ),
    tool(
        "model_access_create",
        "Add a model access rule",
        "Allow or deny one model to a partner, tenant, group or user; use it to open a model to "
        "someone or to shut someone out; returns the new access rule.",
        "POST /v1/models/{model_id}/access",
        (
            MODEL_ID,
            arg(
                "subject_type:enum(partner,tenant,group,user)*",
                "Kind of subject that the rule is about.",
            ),
            arg(
                "subject_id:id*",
                "Identifier of that partner, tenant, group or user, for example tnt_01J8.",
            ),
            arg(
                "effect:enum(allow,deny)=allow",
                "Whether the subject may use the model; allow when left out.",
            ),
        ),
        permission="models:manage",
        hints="",
        result=an("ModelAccess"),
        resolves_model=True,
    ),
    tool(
        "model_access_delete",
        "Delete a model access rule",
        "Remove one access rule of a model; use it to take back an allowance or a denial that "
        "model_access_list shows; returns a confirmation with the rule's identifier.",
        "DELETE /v1/models/{model_id}/access/{access_id}",
        (MODEL_ID, ACCESS_ID),
        permission="models:manage",
        hints="D I",
        result=DELETED,
        resolves_model=True,
    ),
    tool(
        "model_groups_list",
        "List model groups",
        "List named groups of models page by page; use it to see how models are bundled or to find "
        "a group's identifier; returns slug, name and member models of each group.",
        "GET /v1/model-groups",
        PAGE,
        permission="models:list",
        hints="R I",
        result=list_of("ModelGroup"),
    ),
    tool(
        "model_groups_get",
        "Get a model group",
        "Read one group of models; use it to see which models belong to it, for example before "
        "model_groups_update; returns slug, name, description and member slugs.",
        "GET /v1/model-groups/{group_id}",
        (GROUP_ID,),
        permission="models:list",
        hints="R I",
        result=an("ModelGroup"),
    ),
    tool(
        "model_groups_create",
        "Create a model group",
        "Bundle models under one name; use it when several models are to be handled together; "
        "returns the new model group with its identifier.",
        "POST /v1/model-groups",
        (
            arg(
                "slug:str(1–64)*",
                "Unique short name of lower-case letters, digits, dot, dash and underscore, for "
                "example fast-chat; cannot be changed later.",
            ),
            arg("display_name:str*", "Name shown to people, for example Fast chat models."),
            arg(
                "description:str(≤2000)",
                "What the group is for, up to 2,000 characters; not set when left out.",
            ),
            arg(
                "model_slugs:list<str>(≤200)",
                "Slugs of the member models, at most 200; an empty group when left out.",
            ),
        ),
        permission="models:manage",
        hints="",
        result=an("ModelGroup"),
    ),
    tool(
        "model_groups_update",
        "Update a model group",
        "Change name, description or members of one model group; use it after model_groups_get, "
        "as a given member list replaces the old one; returns the group as it is now.",
        "PUT /v1/model-groups/{group_id}",
        (
            GROUP_ID,
            arg("display_name:str", "New name shown to people; unchanged when left out."),
            arg(
                "description:str(≤2000)",
                "New description, up to 2,000 characters; unchanged when left out.",
            ),
            arg(
                "model_slugs:list<str>(≤200)",
                "Slugs of all members from now on, at most 200, replacing the old list; unchanged "
                "when left out.",
            ),
        ),
        permission="models:manage",
        hints="I",
        result=an("ModelGroup"),
    ),
    tool(
        "model_groups_delete",
        "Delete a model group",
        "Delete one group of models for good; use it when the bundle is no longer needed, as the "
        "models themselves stay; returns a confirmation with the group's identifier.",
        "DELETE /v1/model-groups/{group_id}",
        (GROUP_ID,),
        permission="models:manage",
        hints="D I",
        result=DELETED,
    ),
)
