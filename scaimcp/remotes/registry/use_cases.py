"""The registry of remote servers, as REST uses it: one object for each group of use cases."""

from __future__ import annotations

import msgspec

from scaimcp.remotes.registry.keeping import ChangeDesk, CredentialKeeper
from scaimcp.remotes.registry.reading import ServerReader
from scaimcp.remotes.registry.service import RemoteServers
from scaimcp.remotes.registry.workings import Workings


class Registry(msgspec.Struct, frozen=True):
    """Use cases of remote-servers 1; there is none without a key that seals credentials.

    ``workings`` is what they work with.
    """

    workings: Workings
    servers: RemoteServers
    reader: ServerReader
    keeper: CredentialKeeper
    desk: ChangeDesk


def registry_of(workings: Workings) -> Registry:
    """Return the registry over opened parts."""
    reader = ServerReader(workings.database)
    return Registry(
        workings=workings,
        servers=RemoteServers(workings, reader),
        reader=reader,
        keeper=CredentialKeeper(workings, reader),
        desk=ChangeDesk(workings),
    )
