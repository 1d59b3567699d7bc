"""Prompts of ScaiVault: text only, no call and nothing out of the vault. Pure. Spec: scaivault 6.

`scaimcp.scaivault.prompt_texts` writes what they say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from scaimcp.scaivault.arguments import read_arguments
from scaimcp.scaivault.catalogue import TOOLS
from scaimcp.scaivault.errors import VaultError, invalid_arguments, path_denied
from scaimcp.scaivault.guards import Guards, passes
from scaimcp.scaivault.prompt_texts import Writer, investigation, migration, rotation
from scaimcp.scaivault.records import Group, Route, ToolRecord
from scaimcp.scaivault.shapes import IDENTITY, NAME, PATH, TIME, Member, Text, may, need
from scaimcp.scaivault.values import moment_of
from scaimcp.types import JsonObject

_PATHS = ("path", "prefix")
_MOST_FREE = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_NAMES_ONLY = "names only, without values"


class Prompt(msgspec.Struct, frozen=True):
    """One prompt.

    Args:
        name: as clients ask for it.
        title: for people.
        description: one sentence.
        group: tool group without which it does not exist.
        arguments: checked like those of a tool; strings all of them.
        write: makes the text.
    """

    name: str
    title: str
    description: str
    group: Group
    arguments: tuple[Member, ...]
    write: Writer


_ALL = (
    Prompt(
        "audit-investigation",
        "Investigate access to a secret",
        "Find out who has touched a secret, and whether that was right.",
        "audit",
        (
            need("path", PATH, "Path of the secret."),
            may("from", TIME, "Begin of the time in question, with a zone."),
            may("to", TIME, "Its end."),
            may("identity", IDENTITY, "Only what this identity did."),
        ),
        investigation,
    ),
    Prompt(
        "rotate-credential",
        "Rotate a credential",
        "Replace a credential step by step, with a way back.",
        "secrets",
        (
            need("path", PATH, "Path of the secret."),
            may("reason", Text(1, _MOST_FREE), "Why it is rotated, in one line."),
        ),
        rotation,
    ),
    Prompt(
        "migrate-from-env",
        "Move variables into ScaiVault",
        "Plan the move of environment variables into the vault, from their names only.",
        "secrets",
        (
            need("prefix", PATH, "Path below which the secrets are to be."),
            may("names", Text(1, 4_000), "Names of the variables, separated by commas; no values."),
            may("service", NAME, "The service that uses them."),
        ),
        migration,
    ),
)
PROMPTS: Mapping[str, Prompt] = {prompt.name: prompt for prompt in _ALL}


def is_prompt(name: str) -> bool:
    """Tell whether a prompt of this name exists at all."""
    return name in PROMPTS


def listed(guards: Guards) -> list[JsonObject]:
    """Return the prompts whose group is on, ready for the wire."""
    return [_definition(prompt) for prompt in _ALL if _exists(prompt, guards)]


def get(name: str, arguments: bytes, guards: Guards) -> JsonObject | None:
    """Return ``description`` and ``messages``; None where there is no such prompt.

    Args:
        name: of the prompt.
        arguments: JSON object of strings as the client sent it, b"" for none.
        guards: what holds.

    Raises:
        VaultError: INVALID_ARGUMENTS, INVALID_PATH, PATH_DENIED or MASK_MARKER_REFUSED.
    """
    prompt = PROMPTS.get(name)
    if prompt is None or not _exists(prompt, guards):
        return None
    given = _read(prompt, arguments)
    for argument in _PATHS:
        if argument in given and not passes(given[argument], guards):
            raise path_denied(argument)
    text = prompt.write(given, is_read_only=guards.read_only)
    return {
        "description": prompt.description,
        "messages": [{"role": "user", "content": {"type": "text", "text": text}}],
    }


def _exists(prompt: Prompt, guards: Guards) -> bool:
    return guards.groups is None or prompt.group in guards.groups


def _definition(prompt: Prompt) -> JsonObject:
    return {
        "name": prompt.name,
        "title": prompt.title,
        "description": prompt.description,
        "arguments": [
            {
                "name": member.name,
                "description": member.description,
                "required": member.is_required,
            }
            for member in prompt.arguments
        ],
    }


def _read(prompt: Prompt, arguments: bytes) -> dict[str, Any]:
    given = read_arguments(_record(prompt), arguments)
    if "reason" in given and _CONTROL.search(given["reason"]):
        raise invalid_arguments([("reason", "must be one line without control characters")])
    if "from" in given and "to" in given and moment_of(given["from"]) >= moment_of(given["to"]):
        raise invalid_arguments([("from", "must be before to")])
    if "names" in given:
        given["names"] = _variables(given["names"])
    return given


def _variables(names: str) -> list[str]:
    """Return names of variables; whatever else stands there might be a value.

    Raises:
        VaultError: INVALID_ARGUMENTS, which repeats nothing of it.
    """
    words = [word.strip(" ") for word in names.split(",")]
    if not all(_VARIABLE.fullmatch(word) for word in words):
        raise VaultError(
            "INVALID_ARGUMENTS",
            f"Argument names takes {_NAMES_ONLY}.",
            details=({"field": "names", "message": _NAMES_ONLY},),
        )
    return list(dict.fromkeys(words))


def _record(prompt: Prompt) -> ToolRecord:
    """Return a record whose arguments are the prompt's, for the tools' own check."""
    return msgspec.structs.replace(
        TOOLS[0],
        code="",
        name=prompt.name,
        route=Route("", ""),
        arguments=prompt.arguments,
        checks=(),
        special="",
    )
