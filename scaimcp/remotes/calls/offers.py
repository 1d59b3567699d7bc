"""What remote servers offer, per tenant and per caller: the one rule of lists and refusals. Pure.

Spec: remote-servers 3 (names), 8 (ladder, lists).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import msgspec

from scaimcp.credentials.store import StoredField
from scaimcp.errors import ToolError
from scaimcp.remotes.enumerations import CapabilityState, ConsentTier, Kind, Status
from scaimcp.remotes.models import Capability, ServerRow, ServerState, WithheldName
from scaimcp.remotes.rules.naming import canonical, parse, parse_resource, resource_prefix
from scaimcp.types import ContentKind, Listed, Listing, ModuleView, Snapshot, Tool

PERMISSION = "scailink:remote.use"
REMOTE_SERVERS = "ai.scailabs.scaimcp/remote_servers"
_VIEWS = 256
_MODULES = ModuleView(frozenset(), "remote")
_KINDS: dict[ContentKind, tuple[Kind, str]] = {
    "resources": (Kind.RESOURCE, "uri"),
    "resourceTemplates": (Kind.RESOURCE_TEMPLATE, "uriTemplate"),
    "prompts": (Kind.PROMPT, "name"),
}
_encode = msgspec.json.Encoder().encode
_definition = msgspec.json.Decoder(dict[str, Any]).decode
_serials = itertools.count(1)


class RemoteServer(msgspec.Struct, frozen=True):
    """A server with what a call needs: configuration, state, sealed credentials."""

    row: ServerRow
    state: ServerState
    fields: tuple[StoredField, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether it is called at all: active, and spoken to in a way this version knows."""
        row = self.row
        is_known = row.transport is not None and row.auth_type is not None
        return is_known and self.state.status is Status.ACTIVE

    @property
    def is_locked(self) -> bool:
        """Whether only people run its tools, one by one."""
        return self.row.consent_tier is ConsentTier.LOCKED

    @property
    def prefix(self) -> str:
        """What stands before its own URIs."""
        return resource_prefix(self.row.scope_key, self.row.slug)

    def named(self, kind: Kind, name: str) -> str:
        """Return what the caller knows one of its definitions by."""
        if kind in (Kind.RESOURCE, Kind.RESOURCE_TEMPLATE):
            return self.prefix + name
        return canonical(self.row.scope_key, self.row.slug, name)


class Offer(msgspec.Struct, frozen=True):
    """One definition in service; ``name`` is the server's own, ``tool`` only for tools."""

    server: RemoteServer
    kind: Kind
    name: str
    definition_hash: bytes
    listed: Listed
    tool: Tool | None = None


class Withheld(msgspec.Struct, frozen=True):
    """One definition that is stored and not in service."""

    server: RemoteServer
    kind: Kind
    names: tuple[str, ...]
    is_held: bool


class CallerOffers(msgspec.Struct, frozen=True):
    """What one caller can see; callers without servers of their own share one.

    Args:
        servers: by scope segment and slug.
        tools: as a source of tools gives them.
        listings: the other lists.
        prompts: prompts in service by canonical name and alias.
        withheld: what is kept back, by kind and every name.
    """

    servers: dict[tuple[str, str], RemoteServer]
    tools: Snapshot
    listings: dict[ContentKind, Listing]
    prompts: dict[str, Offer]
    withheld: dict[tuple[Kind, str], Withheld]

    def refusal(self, kind: Kind, name: str) -> ToolError | None:
        """Return why a name that is not in service is refused; None where it is not there."""
        found = parse_resource(name) if kind is Kind.RESOURCE else parse(name)
        server = self.servers.get((found.scope, found.slug)) if found else None
        withheld = self.withheld.get((kind, name))
        if withheld is not None:
            server = withheld.server
        if server is not None and not server.is_active:
            return unavailable(server)
        if withheld is None:
            return None
        return held() if withheld.is_held else locked()


class TenantOffers:
    """What all servers of a tenant offer at one version.

    Args:
        tenant_id: whose.
        version: the catalogue version that it was read at.
        servers: every registered one.
        offers: definitions in service, in published order.
        withheld: all others.
    """

    __slots__ = ("_offers", "_owners", "_servers", "_views", "_withheld", "serial", "tenant_id",
                 "version")  # fmt: skip

    def __init__(
        self,
        tenant_id: str,
        version: int = 0,
        servers: Sequence[RemoteServer] = (),
        offers: Sequence[Offer] = (),
        withheld: Sequence[Withheld] = (),
    ) -> None:
        self.tenant_id = tenant_id
        self.version = version
        self.serial = next(_serials)
        self._servers = servers
        self._offers = offers
        self._withheld = withheld
        self._owners = {s.row.owner_user_id for s in servers if not s.row.is_tenant_shared}
        self._views: dict[str, CallerOffers] = {}

    def seen_by(self, user_id: str) -> CallerOffers:
        """Return what a user sees: the tenant's shared servers and their own."""
        whose = user_id if user_id in self._owners else ""
        view = self._views.get(whose)
        if view is None:
            if len(self._views) >= _VIEWS:
                self._views.clear()
            view = self._views[whose] = self._seen_by(whose)
        return view

    def _seen_by(self, owner: str) -> CallerOffers:
        servers = [
            s for s in self._servers if s.row.is_tenant_shared or s.row.owner_user_id == owner
        ]
        if not servers:
            return NOTHING
        ids = {server.row.id for server in servers}
        offers = [offer for offer in self._offers if offer.server.row.id in ids]
        withheld = [item for item in self._withheld if item.server.row.id in ids]
        return caller_offers((self.tenant_id, self.serial, owner), servers, offers, withheld)


class UnreadOffers(TenantOffers):
    """Stands for a tenant whose servers could not be read: nothing is listed, calls say why."""

    __slots__ = ()

    def seen_by(self, user_id: str) -> CallerOffers:
        """Return nothing, and that it is not known what there is."""
        return _UNREAD


def tenant_offers(
    tenant_id: str,
    version: int,
    servers: Sequence[RemoteServer],
    advertised: Iterable[Capability],
    withheld: Iterable[WithheldName],
) -> TenantOffers:
    """Arrange the rows of a tenant.

    Args:
        tenant_id: whose.
        version: the catalogue version.
        servers: every registered one.
        advertised: what active servers have in service, in published order.
        withheld: the names of all the rest.
    """
    by_id = {server.row.id: server for server in servers}
    offers: list[Offer] = []
    kept_back = [_withheld(by_id[item.server_id], item) for item in withheld
                 if item.server_id in by_id]  # fmt: skip
    for capability in advertised:
        server = by_id.get(capability.server_id)
        if server is None:
            continue
        if server.is_active and not server.is_locked:
            offers.append(_offer(server, capability))
        else:
            kept_back.append(_withheld(server, capability))
    return TenantOffers(tenant_id, version, servers, offers, kept_back)


def _withheld(server: RemoteServer, item: WithheldName | Capability) -> Withheld:
    name = server.named(item.kind, item.name)
    names = (name, item.alias) if item.alias else (name,)
    return Withheld(server, item.kind, names, item.state is not CapabilityState.ADVERTISED)


def _offer(server: RemoteServer, capability: Capability) -> Offer:
    definition = _definition(capability.definition)
    name = server.named(capability.kind, capability.name)
    alias = capability.alias or ""
    key = "name"
    for kind, member in _KINDS.values():
        if kind is capability.kind:
            key = member
    listed = Listed(key, name, definition, alias)
    plain = Offer(server, capability.kind, capability.name, capability.definition_hash, listed)
    if capability.kind is not Kind.TOOL:
        return plain
    return msgspec.structs.replace(plain, tool=_tool(plain, listed))


def _tool(offer: Offer, listed: Listed) -> Tool:
    definition = listed.definition
    annotations = definition.get("annotations") or {}
    return Tool(
        listed.name,
        definition.get("title") or annotations.get("title") or offer.name,
        definition.get("description") or "",
        definition["inputSchema"],
        definition.get("outputSchema"),
        annotations,
        {},
        PERMISSION,
        domain="remote",
        record=offer,
        alias=listed.alias,
        definition=definition,
    )


def caller_offers(
    identity: Any,
    servers: Sequence[RemoteServer],
    offers: Sequence[Offer],
    withheld: Sequence[Withheld],
) -> CallerOffers:
    """Arrange what a caller sees.

    Args:
        identity: equal for callers who see the same.
        servers: the visible ones.
        offers: their definitions in service, in published order.
        withheld: their other definitions.
    """
    hidden = Counter((item.server.row.id, item.kind) for item in withheld)
    is_failing = any(server.state.status is Status.ERROR for server in servers)
    kept_back = {(item.kind, name): item for item in withheld for name in item.names}
    tools = tuple(offer.tool for offer in offers if offer.tool is not None)
    by_name = {name: tool for tool in reversed(tools) for name in (tool.alias, tool.name) if name}
    prompts = {
        name: offer
        for offer in offers
        if offer.kind is Kind.PROMPT
        for name in (offer.listed.alias, offer.listed.name)
        if name
    }
    listings: dict[ContentKind, Listing] = {
        content: Listing(
            (identity, content),
            tuple(offer.listed for offer in offers if offer.kind is kind),
            _note(servers, hidden, kind),
            is_failing,
        )
        for content, (kind, _) in _KINDS.items()
    }
    snapshot = Snapshot(identity, tools, by_name, _MODULES)
    visible = {(server.row.scope_key, server.row.slug): server for server in servers}
    seen = CallerOffers(visible, snapshot, listings, prompts, kept_back)
    finished = msgspec.structs.replace(
        snapshot,
        withheld=partial(seen.refusal, Kind.TOOL),
        note=_note(servers, hidden, Kind.TOOL),
        is_failing=is_failing,
    )
    return msgspec.structs.replace(seen, tools=finished)


def _note(servers: Iterable[RemoteServer], hidden: Counter[tuple[str, Kind]], kind: Kind) -> bytes:
    """Return the servers that hide something of a kind, as a member of ``_meta``."""
    rows = [
        {
            "slug": server.row.slug,
            "status": server.state.status.value,
            "last_health_status": server.state.last_health_status,
            "hidden": hidden[server.row.id, kind],
        }
        for server in servers
        if not server.is_active or hidden[server.row.id, kind]
    ]
    return b'"%b":%b' % (REMOTE_SERVERS.encode(), _encode(rows))


def unavailable(server: RemoteServer) -> ToolError:
    """Return the refusal of everything that a server out of service has."""
    state = server.state
    reason: str = state.status.value
    if state.status is Status.ERROR:
        reason = state.status_reason or state.last_health_status or reason
    elif state.status is Status.ACTIVE:
        reason = "unusable"
    return ToolError(
        "REMOTE_SERVER_UNAVAILABLE",
        f"The server {server.row.slug} is not in service: {reason}.",
        members={"reason": reason},
    )


def held() -> ToolError:
    """Return the refusal of a definition that waits for a decision."""
    return ToolError("TOOL_HELD", "Its definition has changed and waits for a manager's decision.")


def locked() -> ToolError:
    """Return the refusal of what only people run."""
    return ToolError("TOOL_LOCKED", "The server is locked: a person has to run this by hand.")


def denied() -> ToolError:
    """Return the refusal of callers who may not use remote servers."""
    return ToolError("PERMISSION_DENIED", f"Remote servers need {PERMISSION}.")


def unread() -> ToolError:
    """Return the refusal of everything while nothing is known of the tenant's servers."""
    return ToolError(
        "DatabaseError", "The registry cannot be read; nothing was called.", retry_after=5
    )


def _refuse_unread(name: str) -> ToolError | None:
    return unread() if name.startswith(("remote.", "r_")) else None


def _refuse_all(name: str) -> ToolError | None:
    return denied() if name.startswith("remote.") else None


NOTHING = caller_offers("remote: none", (), (), ())
NOBODY = msgspec.structs.replace(
    NOTHING,
    tools=msgspec.structs.replace(NOTHING.tools, key="remote: denied", withheld=_refuse_all),
)
_UNREAD = msgspec.structs.replace(
    NOTHING,
    tools=msgspec.structs.replace(NOTHING.tools, key="remote: unread", withheld=_refuse_unread),
)
