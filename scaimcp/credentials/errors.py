"""Why a credential does not open: our fault, never the remote server's. Spec: remote-servers 4.

::

    GatewayError
    └── CredentialFailure       health_name, reason
        ├── KeyUnavailable      no loaded key opens it; another configuration may
        └── CredentialCorrupt   altered, or moved to another place; nothing opens it
"""

from __future__ import annotations

from scaimcp.errors import GatewayError


class CredentialFailure(GatewayError):
    """A sealed credential could not be opened or sealed.

    ``health_name`` is what a health check records and the code of a failed call, ``reason`` the
    label of the metric. ``field`` and ``key_id`` tell for the audit log which credential it was,
    "" where that is not known. Spec: remote-servers 7 and 10.
    """

    health_name = ""
    reason = ""
    field = ""
    key_id = ""


class KeyUnavailable(CredentialFailure):
    """The key that wraps this credential is not loaded, or is kept in an unknown way.

    ``key_id`` is for logs and counts; the message does not name it.
    """

    http_status = 503
    health_name = "KeyUnavailableError"
    reason = "key_unavailable"

    def __init__(self, key_id: str) -> None:
        super().__init__(
            "SCAILINK_KEY_UNAVAILABLE",
            "The key that seals this server's credentials is not available.",
            retry_after=5,
        )
        self.key_id = key_id


class CredentialCorrupt(CredentialFailure):
    """The stored bytes do not open in this place; retrying does not help. The row is kept."""

    health_name = "CredentialCorruptError"
    reason = "corrupt"

    def __init__(self) -> None:
        super().__init__(
            "INTERNAL_ERROR", "A stored credential cannot be read; set it again to replace it."
        )
