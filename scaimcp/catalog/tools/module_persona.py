"""Tools of the module for personas, scaipersona.

Data only. Spec: core-tools 2, scaigrid 11.
"""

from __future__ import annotations

from scaimcp.catalog.definition import PAGE, tool
from scaimcp.catalog.notation import arg
from scaimcp.catalog.results import an, chat, list_of

_PERSONAS = "/v1/modules/scaipersona/personas"
_PERSONA_ID = arg("persona_id:id*", "Identifier of the persona, from persona_list.")
_SETTINGS = (
    ("rag_enabled:bool", "True to look up documents before it answers", "false"),
    (
        "rag_strategy:enum(single_step,multi_step,agentic)",
        "How documents are looked up: once, in several steps, or as the model decides",
        "single_step",
    ),
    ("rag_top_k:int(1–50)", "Number of passages to look up, from 1 to 50", "5"),
    ("rag_min_score:num(0–1)", "Lowest score of a passage to be used, 0 to 1", "no bound"),
    (
        "default_params:map",
        'Parameters for the model, for example {"temperature": 0.2}',
        "none",
    ),
    (
        "status:enum(draft,active,archived)",
        "State of the persona; only active ones can be invoked",
        "draft",
    ),
    ("metadata:map", 'Free pairs kept with it, for example {"team": "sales"}', "none"),
)
_ON_CREATE = tuple(
    arg(notation, f"{text}; {default} when absent.") for notation, text, default in _SETTINGS
)
_ON_UPDATE = tuple(
    arg(notation, f"{text}; unchanged when absent.") for notation, text, _ in _SETTINGS
)

TOOLS = (
    tool(
        "persona_list",
        "List personas",
        "List the personas of the caller's tenant page by page; use it to find the slug to give "
        "to persona_invoke; returns name, slug, model and status of each.",
        f"GET {_PERSONAS}",
        PAGE,
        permission="scaipersona:view",
        hints="R I",
        result=list_of("Persona"),
        module_id="scaipersona",
    ),
    tool(
        "persona_get",
        "Show a persona",
        "Show one persona with its instructions; use it before persona_update or to see how a "
        "persona behaves; returns its model, system prompt, settings and status.",
        f"GET {_PERSONAS}/{{persona_id}}",
        (_PERSONA_ID,),
        permission="scaipersona:view",
        hints="R I",
        result=an("Persona"),
        module_id="scaipersona",
    ),
    tool(
        "persona_create",
        "Create a persona",
        "Create a persona, a model with its own instructions and documents; use it for a role that "
        "is needed again and again; returns the persona, callable once it is active.",
        f"POST {_PERSONAS}",
        (
            arg("name:str*", "Name of the persona, for example Contract reviewer."),
            arg("model_slug:str*", "Slug of the model behind it, from models_list."),
            arg(
                "slug:str(1–64)",
                "Short name for persona_invoke, for example contracts; made from name if absent.",
            ),
            arg("system_prompt:text", "Instructions the model always gets; none when absent."),
            *_ON_CREATE,
        ),
        permission="scaipersona:manage",
        hints="",
        result=an("Persona"),
        module_id="scaipersona",
    ),
    tool(
        "persona_update",
        "Change a persona",
        "Change one persona; use it to adjust instructions or model, or to activate or archive it; "
        "arguments left out stay as they are; returns the persona as it is now.",
        f"PUT {_PERSONAS}/{{persona_id}}",
        (
            _PERSONA_ID,
            arg("name:str", "New name of the persona; unchanged when absent."),
            arg(
                "model_slug:str", "Slug of another model, from models_list; unchanged when absent."
            ),
            arg("system_prompt:text", "New instructions; unchanged when absent."),
            *_ON_UPDATE,
        ),
        permission="scaipersona:manage",
        hints="I",
        result=an("Persona"),
        module_id="scaipersona",
    ),
    tool(
        "persona_invoke",
        "Ask a persona",
        "Send a conversation to one active persona and get its complete reply; use it when a "
        "persona fits better than a plain model; returns reply text, finish reason and usage.",
        "POST /v1/inference/chat",
        (
            arg("persona_slug:str(1–64)*", "Slug of the persona, from persona_list."),
            arg(
                "messages:list<{role:enum(user,assistant)*, content:text*}>(1–256)*",
                "The conversation, oldest message first; the last one is to be answered.",
                {
                    "role": "Who speaks: user or assistant; the persona has its own system text.",
                    "content": "Text of the message, at most 65,536 characters.",
                },
            ),
            arg(
                "max_tokens:int(1–1000000)",
                "Most tokens of the reply; the persona's own limit when absent.",
            ),
        ),
        permission="models:use",
        hints="O",
        result=chat("id, model, content, finish_reason, usage"),
        module_id="scaipersona",
        body="persona",
        timeout_seconds=120.0,
    ),
)
