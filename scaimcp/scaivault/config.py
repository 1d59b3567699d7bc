"""What an operator decides about the module in the gateway. Spec: scaivault 2.1, 3."""

from __future__ import annotations

import msgspec

from scaimcp.scaivault.guard_settings import OPERATOR_PREFIX, parse_guards
from scaimcp.scaivault.guards import Guards
from scaimcp.settings import Settings

_LISTS = ("allowed_paths", "denied_paths", "tool_groups")


class VaultPolicy(msgspec.Struct, frozen=True):
    """The operator's layer.

    Args:
        guards: what no tenant can loosen.
        url: ScaiVault's origin; "" where the module does not exist.
        timeout_seconds: for one answer.
        connect_seconds: for a new connection.
        ca_file: certificates trusted beside the system's, None for none.
        result_chars: of one result's JSON text.
        warnings: about guards that leave nothing, each one line.
    """

    guards: Guards
    url: str = ""
    timeout_seconds: float = 30.0
    connect_seconds: float = 5.0
    ca_file: str | None = None
    result_chars: int = 48_000
    warnings: tuple[str, ...] = ()


def vault_policy(settings: Settings) -> VaultPolicy:
    """Return the operator's layer; its guards are read whether the module exists or not.

    Raises:
        SettingsError: a guard cannot be read; names the setting and an entry's number.
    """
    given = {f"scaivault_{name}": getattr(settings, f"scaivault_{name}") for name in _LISTS}
    flags = {
        name: str(getattr(settings, name)).lower()
        for name in ("scaivault_read_only", "scaivault_mask_values")
    }
    texts = {name: text for name, text in given.items() if text is not None}
    prefix = OPERATOR_PREFIX.removesuffix("SCAIVAULT_")
    read = parse_guards(
        {prefix + name.upper(): text for name, text in {**texts, **flags}.items()},
        OPERATOR_PREFIX,
    )
    return VaultPolicy(
        read.guards,
        settings.scaivault_url or "",
        settings.scaivault_timeout_seconds,
        settings.scaivault_connect_timeout_seconds,
        settings.scaivault_ca_file,
        settings.limits_result_chars,
        read.warnings,
    )
