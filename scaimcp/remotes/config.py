"""What an operator may decide about remote servers, and the figures that are fixed.

Spec: remote-servers 13; register, Settings and Second step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from scaimcp.errors import SettingsError
from scaimcp.remotes.enumerations import ToolChanges
from scaimcp.remotes.models import Quota
from scaimcp.remotes.rules.endpoint_policy import EndpointPolicy
from scaimcp.settings import PREFIX, Settings


class RemotePolicy(msgspec.Struct, frozen=True):
    """The rules for remote servers of one deployment; durations are in seconds.

    Args:
        endpoints: which URLs and addresses may be used.
        approval_required: ``none``, ``shared`` or ``all``, see `needs_approval`.
        register_seconds: a discovery in a request that changes a server, DNS included.
        refresh_seconds: one that a manager asks for, where the request names no other.
        discovery_seconds: one that a job makes.
        most_arguments_bytes: JSON of the arguments of one call.
        ca_bundle: file of certificates trusted beside the system's, None for none.
    """

    endpoints: EndpointPolicy
    quota: Quota = Quota(100, 20)
    approval_required: str = "none"
    default_tool_changes: ToolChanges = ToolChanges.AUTO
    name_style: str = "auto"
    register_seconds: float = 4.0
    refresh_seconds: float = 15.0
    discovery_seconds: float = 30.0
    dns_seconds: float = 1.0
    discovery_interval: int = 900
    health_interval: int = 60
    call_seconds: float = 120.0
    call_seconds_most: float = 600.0
    most_arguments_bytes: int = 1024 * 1024
    most_result_bytes: int = 8 * 1024 * 1024
    per_server: int = 128
    per_caller: int = 32
    pool_sessions: int = 256
    pool_idle_seconds: float = 300.0
    hold_seconds: float = 120.0
    most_holds: int = 64
    consent_seconds: float = 600.0
    consent_allow_api_keys: bool = False
    approval_url_template: str = "{public_url}/approvals/{id}"
    ca_bundle: str | None = None

    def needs_approval(self, *, is_tenant_shared: bool) -> bool:
        """Tell whether a server is used only once a tenant manager has approved of it."""
        if self.approval_required == "shared":
            return is_tenant_shared
        return self.approval_required == "all"


def remote_policy(settings: Settings) -> RemotePolicy:
    """Return the rules that `settings` make.

    Raises:
        SettingsError: an entry of a list cannot be read; names the setting.
    """
    return RemotePolicy(
        endpoints=_endpoint_policy(settings),
        quota=Quota(settings.remote_max_servers_per_tenant, settings.remote_max_servers_per_user),
        approval_required=settings.remote_approval_required,
        default_tool_changes=ToolChanges(settings.remote_default_tool_changes),
        name_style=settings.remote_name_style,
        discovery_interval=settings.remote_discovery_interval_seconds,
        health_interval=settings.remote_health_interval_seconds,
        call_seconds=settings.remote_call_timeout_seconds,
        most_result_bytes=settings.remote_max_result_bytes,
        per_server=settings.remote_concurrency_per_server,
        per_caller=settings.remote_concurrency_per_caller,
        consent_allow_api_keys=settings.remote_consent_allow_api_keys,
        approval_url_template=settings.remote_approval_url_template,
        ca_bundle=settings.remote_ca_bundle,
    )


def _endpoint_policy(settings: Settings) -> EndpointPolicy:
    """Read each list by itself first, so that a refusal names the one it concerns."""
    lists: dict[str, tuple[str, ...]] = {
        "allowed_private": settings.remote_allowed_private,
        "denied_cidrs": settings.remote_denied_cidrs,
        "allowed_plaintext_hosts": settings.remote_allowed_plaintext_hosts,
        "allowed_ports": settings.remote_allowed_ports,
    }
    build: Callable[..., EndpointPolicy] = EndpointPolicy
    for name, entries in lists.items():
        one: dict[str, Any] = {name: entries}
        try:
            build(**one)
        except ValueError as error:
            raise SettingsError(f"{PREFIX}REMOTE_{name.upper()}: {error}") from None
    own = (settings.public_url,) if settings.public_url else ()
    return build(**lists, own_origins=own)
