"""Who may see and do what with registered servers: one table for all use cases. Pure.

Spec: remote-servers 1 (permissions, isolation, views).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import msgspec

from scaimcp.auth.permissions import holds
from scaimcp.errors import RequestRefused
from scaimcp.remotes.models import ServerRow, Visibility
from scaimcp.types import Caller

USE = "scailink:remote.use"
OWN = "scailink:remote.manage_own"
TENANT = "scailink:remote.manage_tenant"


class View(Enum):
    """How much of a server somebody sees."""

    MANAGER = "manager"
    READER = "reader"
    GOVERNANCE = "governance"


class Deed(Enum):
    """What somebody wants to do with a server."""

    READ = "read"
    EDIT = "edit"
    GOVERN = "govern"
    APPROVE = "approve"


# Without any of these there is no row to which the deed could be done.
_NEEDED: Mapping[Deed, tuple[str, ...]] = {
    Deed.READ: (USE, OWN, TENANT),
    Deed.EDIT: (OWN, TENANT),
    Deed.GOVERN: (OWN, TENANT),
    Deed.APPROVE: (TENANT,),
}


class Actor(msgspec.Struct, frozen=True):
    """Somebody of one tenant, and which of the three permissions they hold."""

    tenant_id: str
    user_id: str
    use: bool = False
    own: bool = False
    tenant: bool = False

    @property
    def visibility(self) -> Visibility:
        """Which rows are there for this actor; all others are missing."""
        return Visibility(
            self.tenant_id,
            self.user_id,
            own=self.use or self.own,
            shared=self.use or self.tenant,
            others=self.tenant,
        )


def actor_of(caller: Caller) -> Actor:
    """Return what a caller is here; unresolved permissions open nothing."""
    use, own, tenant = (
        holds(caller.grants, permission, is_guarded=True) for permission in (USE, OWN, TENANT)
    )
    return Actor(caller.tenant_id, caller.user_id, use, own, tenant)


def admit(actor: Actor, deed: Deed) -> None:
    """Refuse somebody for whom no row at all could do.

    Raises:
        RequestRefused: 403.
    """
    held = {USE: actor.use, OWN: actor.own, TENANT: actor.tenant}
    if not actor.tenant_id or not any(held[permission] for permission in _NEEDED[deed]):
        raise denied(" or ".join(_NEEDED[deed]))


def admit_new(actor: Actor, *, is_tenant_shared: bool) -> None:
    """Refuse a registration.

    Raises:
        RequestRefused: 403.
    """
    if not actor.tenant_id or not (actor.tenant if is_tenant_shared else actor.own):
        raise denied(TENANT if is_tenant_shared else OWN)


def view_of(actor: Actor, row: ServerRow) -> View:
    """Return how much of a visible row the actor sees."""
    if row.is_tenant_shared:
        return View.MANAGER if actor.tenant else View.READER
    return View.MANAGER if row.owner_user_id == actor.user_id else View.GOVERNANCE


def may(actor: Actor, row: ServerRow, deed: Deed) -> bool:
    """Tell whether the actor may do `deed` to a visible row."""
    if deed is Deed.READ:
        return True
    if deed is Deed.APPROVE or row.is_tenant_shared:
        return actor.tenant
    if row.owner_user_id == actor.user_id:
        return actor.own
    return deed is Deed.GOVERN and actor.tenant


def demand(actor: Actor, row: ServerRow, deed: Deed) -> None:
    """Refuse a deed to a row that can be seen.

    Raises:
        RequestRefused: 403.
    """
    if not may(actor, row, deed):
        needed = TENANT if row.is_tenant_shared or deed is Deed.APPROVE else OWN
        raise denied(needed)


def denied(permission: str) -> RequestRefused:
    """Return the refusal of somebody who lacks `permission`."""
    return RequestRefused("AUTHZ_PERMISSION_DENIED", f"This needs {permission}.", http_status=403)
