"""Open a server's sealed credentials for one outbound request. Spec: remote-servers 4, 5."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from scaimcp.credentials.envelope import Place, unseal
from scaimcp.credentials.errors import CredentialFailure
from scaimcp.credentials.keys import KeyWrapper
from scaimcp.credentials.store import StoredField
from scaimcp.remotes.enumerations import AuthType
from scaimcp.remotes.models import ServerRow
from scaimcp.types import Secret
from scaimcp.upstream.request import Opener, Target

AUTHORIZATION = "authorization"
_SEALED = (AuthType.BEARER, AuthType.API_KEY_HEADER)
_UNSEALED = (AuthType.NONE, AuthType.PER_USER)


class CredentialMissing(CredentialFailure):
    """A server needs a credential that is not stored; nothing is sent without it."""

    http_status = 409
    health_name = "CredentialMissingError"
    reason = "missing"

    def __init__(self) -> None:
        super().__init__(
            "SCAILINK_CREDENTIALS_REQUIRED", "The server needs a credential that is not stored."
        )


async def open_target(
    keys: KeyWrapper,
    row: ServerRow,
    fields: Sequence[StoredField],
    *,
    user_id: str | None = None,
    hops: int = 1,
) -> Target:
    """Open the credentials of `row` and return where one request goes and as whom.

    Make it for that request and drop it with it (I4).

    Args:
        keys: unwraps the data keys.
        row: the server.
        fields: its sealed credentials.
        user_id: the caller's; sent only where the server asks for it. None in jobs.
        hops: gateways on the way, this one included.

    Raises:
        CredentialMissing: a required one is not stored, or the authentication is unknown.
        KeyUnavailable: a key is not loaded.
        CredentialCorrupt: a stored value does not open here.
    """
    values = [(field.field, await unseal(keys, _place(row, field), field.sealed)) for field in
              _used(row, fields)]  # fmt: skip
    if row.auth_type is AuthType.BEARER:
        values = [(name, Secret(f"Bearer {value.reveal()}")) for name, value in values]
    forwarded = user_id if row.forward_user_id else None
    return Target(row.endpoint_url, tuple(values), forwarded, hops)


def opener(
    keys: KeyWrapper,
    row: ServerRow,
    fields: Sequence[StoredField],
    *,
    user_id: str | None = None,
    hops: int = 1,
) -> Opener:
    """Return what opens the credentials anew for each request of a session.

    Arguments and errors as for `open_target`.
    """
    return partial(open_target, keys, row, fields, user_id=user_id, hops=hops)


def _used(row: ServerRow, fields: Sequence[StoredField]) -> Sequence[StoredField]:
    """Return the fields that go out.

    Raises:
        CredentialMissing: as for `open_target`.
    """
    if row.auth_type in _UNSEALED:
        return ()
    if row.auth_type is AuthType.BEARER:
        fields = [field for field in fields if field.field == AUTHORIZATION]
    if row.auth_type not in _SEALED or not fields:
        raise CredentialMissing
    return fields


def _place(row: ServerRow, field: StoredField) -> Place:
    return Place(row.tenant_id, row.id, field.field, row.endpoint_origin)
