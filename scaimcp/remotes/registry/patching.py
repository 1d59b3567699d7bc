"""What a PATCH makes of a server's row. Pure. Spec: remote-servers 1 (PATCH rules)."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from scaimcp.remotes import refusals
from scaimcp.remotes.enumerations import AuthType
from scaimcp.remotes.models import ServerRow
from scaimcp.remotes.registry.fields import Changes, Credentials, Faults, read_credentials
from scaimcp.remotes.rights import Actor
from scaimcp.remotes.rules.endpoint_policy import Endpoint

_WITH_CREDENTIALS = (AuthType.BEARER, AuthType.API_KEY_HEADER)
# These make another server of it for those who connect.
_CONNECTING = frozenset({"auth_type", "credentials", "endpoint_url", "transport"})


class Patch(msgspec.Struct, frozen=True):
    """A changed row, not yet written.

    Args:
        row: as it will be.
        changed: the fields that really change, credentials whenever they are named.
        credentials: the new set in the place of the old one, None to leave it.
        is_new_origin: the endpoint is another host.
        is_waiting: so the server waits for approval again.
    """

    row: ServerRow
    changed: frozenset[str]
    credentials: Credentials | None = None
    is_new_origin: bool = False
    is_waiting: bool = False

    @property
    def is_other(self) -> bool:
        """The server is to be discovered anew."""
        return not _CONNECTING.isdisjoint(self.changed)


def patched(
    row: ServerRow,
    body: Changes,
    endpoint: Endpoint | None,
    *,
    needs_approval: bool,
    actor: Actor,
) -> Patch:
    """Apply `body` to `row`.

    Args:
        row: as it is.
        body: what is to change.
        endpoint: the checked URL, if `body` names one.
        needs_approval: servers of this kind need one.
        actor: who changes it; a tenant manager's own change counts as approved.

    Raises:
        RequestRefused: 422, with ``SCAILINK_CREDENTIALS_REQUIRED`` where stored secrets would
            go to another host or as another kind.
    """
    values = body.named
    values.pop("credentials", None)
    if endpoint is not None:
        values["endpoint_url"] = endpoint.url
    changed = {name for name, value in values.items() if value != getattr(row, name)}
    is_new_origin = endpoint is not None and endpoint.origin != row.endpoint_origin
    auth_type = values.get("auth_type", row.auth_type)
    given = _credentials(body, auth_type, is_replaced=is_new_origin or "auth_type" in changed)
    if given is not None:
        changed.add("credentials")
    after = msgspec.structs.replace(row, **values)
    if endpoint is not None:
        after = msgspec.structs.replace(after, endpoint_origin=endpoint.origin)
    if is_new_origin:
        approved_by = actor.user_id if needs_approval and actor.tenant else None
        after = msgspec.structs.replace(after, approved_by=approved_by)
    after = msgspec.structs.replace(
        after,
        config_version=row.config_version + (not _CONNECTING.isdisjoint(changed)),
        credential_version=row.credential_version + (given is not None),
    )
    is_waiting = is_new_origin and needs_approval and not actor.tenant
    return Patch(after, frozenset(changed), given, is_new_origin, is_waiting)


def _credentials(
    body: Changes, auth_type: AuthType | None, *, is_replaced: bool
) -> Credentials | None:
    """Return the new set, None where the old one stays."""
    if body.credentials is not UNSET and auth_type is not None:
        faults = Faults()
        given = read_credentials(auth_type, body.credentials, faults)
        faults.check()
        return given
    if not is_replaced:
        return None
    if auth_type in _WITH_CREDENTIALS:
        raise refusals.credentials_required()
    return {}
