"""Slugs, canonical names and aliases of what remote servers offer. Pure.

Every name is a function of the display name, the owner and the upstream's own name alone, so
nothing is renamed when servers come and go. Spec: remote-servers 3.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Mapping
from typing import Literal

import msgspec

NameStyle = Literal["safe", "dotted"]

TENANT_SCOPE = "tenant"
MAX_NAME = 100
MAX_UPSTREAM_NAME = 256
MAX_CALLED_NAME = 512
_MAX_DOTTED = 128
_STEM, _SHORT_STEM, _SHORT = 33, 12, 35

# Unicode's White_Space; `str.split()` would also split at four control characters.
_SPACES = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_BIDIRECTIONAL = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_PLAIN_USER = re.compile(r"(?!tenant\Z|u-)[A-Za-z0-9_-]{1,64}\Z")
_SCOPE = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_SLUG = re.compile(r"(?=.{8,40}\Z)[a-z0-9]+(?:-[a-z0-9]+)*-[0-9a-f]{6}\Z")
_DOTTED = re.compile(r"[A-Za-z0-9_.-]{1,128}\Z")
_ALIAS = re.compile(r"r_[A-Za-z0-9_-]{1,46}\Z")
_RESOURCE = re.compile(r"scailink://remote/([^/]+)/([^/]+)/(.+)\Z", re.DOTALL)


class KnownClient(msgspec.Struct, frozen=True):
    """A client that refuses dots or long names, and where that is written down."""

    name: str
    source: str


KNOWN_CLIENTS: tuple[KnownClient, ...] = (
    KnownClient("claude-ai", "https://github.com/l22-io/orchard-mcp/issues/14"),
    KnownClient("claude-code", "https://github.com/microsoft/wassette/issues/56"),
    KnownClient("codex-mcp-client", "https://github.com/openai/codex/issues/8174"),
    KnownClient("cursor-vscode", "https://github.com/webstudio-is/webstudio/issues/5960"),
    KnownClient("Visual Studio Code", "https://github.com/microsoft/vscode/issues/308463"),
    KnownClient("gemini-cli-mcp-client", "https://github.com/google-gemini/gemini-cli/pull/602"),
)
_SAFE_CLIENTS = frozenset(client.name.lower() for client in KNOWN_CLIENTS)
_STYLES: Mapping[str, NameStyle] = {"safe": "safe", "dotted": "dotted"}


class ParsedName(msgspec.Struct, frozen=True, array_like=True):
    """Scope segment, slug and upstream name (or URI) of a canonical name."""

    scope: str
    slug: str
    name: str


def clean(name: str) -> str:
    """Return a display name as it is stored: NFC, single spaces, none at the ends."""
    return _SPACES.sub(" ", unicodedata.normalize("NFC", name)).strip(" ")


def name_fault(cleaned: str) -> str | None:
    """Return what is wrong with a cleaned display name as half a sentence, or None."""
    if not 1 <= len(cleaned) <= MAX_NAME:
        return f"must have 1 to {MAX_NAME} characters"
    kinds = [unicodedata.category(letter) for letter in cleaned]
    if {"Cc", "Cs"}.intersection(kinds) or not _BIDIRECTIONAL.isdisjoint(cleaned):
        return "must not hold control characters"
    if not any(kind[0] == "L" or kind == "Nd" for kind in kinds):
        return "must hold a letter or a digit"
    return None


def slug_of(cleaned: str) -> str:
    """Return the slug of a cleaned display name; 8 to 40 characters, the same for ever."""
    decomposed = unicodedata.normalize("NFKD", cleaned)
    kept = "".join(
        letter
        for letter in decomposed
        if letter.isascii() and unicodedata.category(letter)[0] != "M"
    )
    stem = re.sub("[^a-z0-9]+", "-", kept.lower()).strip("-")[:_STEM].rstrip("-")
    return f"{stem or 'server'}-{_sha256(cleaned).hexdigest()[:6]}"


def scope_key(user_id: str) -> str:
    """Return the scope segment of a user's personal servers."""
    if _PLAIN_USER.match(user_id):
        return user_id
    return f"u-{_sha256(user_id).hexdigest()[:16]}"


def canonical(scope: str, slug: str, name: str) -> str:
    """Return the canonical name of a tool or prompt."""
    return f"remote.{scope}.{slug}.{name}"


def parse(name: str) -> ParsedName | None:
    """Take a canonical name apart; None for every other name, aliases too.

    At most three splits: what the upstream calls its tool may hold dots.
    """
    pieces = name.split(".", 3)
    if len(pieces) < 4 or pieces[0] != "remote":
        return None
    return _parsed(*pieces[1:])


def is_alias(name: str) -> bool:
    """Tell whether a name has the form of an alias; it may still be nobody's."""
    return _ALIAS.match(name) is not None


def resource_prefix(scope: str, slug: str) -> str:
    """Return what stands before the upstream's own URIs and URI templates."""
    return f"scailink://remote/{scope}/{slug}/"


def parse_resource(uri: str) -> ParsedName | None:
    """Take the prefix off a resource's URI; None for URIs that have none."""
    found = _RESOURCE.match(uri)
    return _parsed(found[1], found[2], found[3]) if found else None


def alias(scope: str, slug: str, name: str) -> str:
    """Return the safe name: at most 48 characters, all of them letters, digits, ``_`` or ``-``."""
    stem = slug[:-7][:_SHORT_STEM].rstrip("-")
    short = re.sub("[^A-Za-z0-9-]+", "_", name).strip("_-")
    short = short[: _SHORT - len(stem)].rstrip("_-") or "tool"
    digest = base64.b32encode(_sha256(canonical(scope, slug, name)).digest())
    return f"r_{stem}__{short}_{digest[:8].decode('ascii').lower()}"


def listed_name(canonical_name: str, alias_name: str, style: NameStyle) -> str:
    """Return the name under which a definition is listed.

    The alias also stands in for canonical names that MCP's own rule for names does not allow.
    """
    is_listable = style == "dotted" and _DOTTED.match(canonical_name)
    return canonical_name if is_listable else alias_name


def style_for(names_option: str, client_name: str, setting: str) -> NameStyle:
    """Decide which form of names a client is shown.

    Args:
        names_option: ``names`` of the endpoint's URL, or "".
        client_name: ``clientInfo.name``, or "" where it is not known. A hint, never a right.
        setting: ``SCAIMCP_REMOTE_NAME_STYLE``.
    """
    if names_option in _STYLES:
        return _STYLES[names_option]
    lowered = client_name.strip().lower()
    if setting == "auto" and not {lowered, re.split(r"[ (]", lowered)[0]}.isdisjoint(_SAFE_CLIENTS):
        return "safe"
    return _STYLES.get(setting, "dotted")


def _parsed(scope: str, slug: str, name: str) -> ParsedName | None:
    if not name or not _SCOPE.match(scope) or not _SLUG.match(slug):
        return None
    return ParsedName(scope, slug, name)


def _sha256(text: str) -> hashlib._Hash:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass"))
