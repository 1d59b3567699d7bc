"""``--check``: is the token good, do the locks fit, which guards hold? Spec: scaivault 4 (exit)."""

from __future__ import annotations

from typing import Any

from scaimcp.scaivault.catalogue import TOOLS
from scaimcp.scaivault.context_lock import ContextLock, Identity
from scaimcp.scaivault.errors import VaultError
from scaimcp.scaivault.guards import Guards, has_group
from scaimcp.scaivault.requests import VaultRequest
from scaimcp.vaultserver.environment import Config
from scaimcp.vaultserver.wiring import Parts, open_parts

_WHOAMI = VaultRequest("GET", "/v1/auth/whoami")
_REQUEST_ID = "check"
_LOCKED = "TENANT_LOCKED"


class CheckFailed(Exception):
    """The check did not pass; ``exit_code`` says why."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


async def check(config: Config) -> list[str]:
    """Return the lines of the summary.

    Raises:
        CheckFailed: with exit code 1, 2 or 3.
        SettingsError: the file of certificates cannot be used.
    """
    async with open_parts(config) as parts:
        try:
            known = await _whoami(config, parts)
        except VaultError as error:
            raise CheckFailed(exit_code_of(error), f"{error.code}: {error.message}") from None
    return summary(config, known)


def exit_code_of(error: VaultError) -> int:
    """Return 2 for a refused token, 3 for a refused access or lock, else 1."""
    status = getattr(error, "status", 0)
    if status == 401:
        return 2
    return 3 if status == 403 or error.code == _LOCKED else 1


async def _whoami(config: Config, parts: Parts) -> dict[str, Any]:
    """Ask whose the token is, with the headers of the lock, so that ScaiVault judges them too."""
    client = parts.client
    until = client.timing.monotonic() + config.timeout_seconds
    identity: Identity = parts.vault.holder.identity(_REQUEST_ID)
    headers = await ContextLock(client).check(identity, config.read.guards, until)
    answer = (await client.request(_WHOAMI, identity.token, headers, until)).decoded()
    return answer if isinstance(answer, dict) else {}


def summary(config: Config, known: dict[str, Any]) -> list[str]:
    """Return what the check found; of the guards everything but the denied paths' names."""
    guards: Guards = config.read.guards
    tools = sum(1 for record in TOOLS if has_group(record, guards))
    allowed = "all paths" if guards.allowed is None else ", ".join(guards.allowed) or "no path"
    told = {
        "ScaiVault": config.url,
        "identity": _shown(known, "identity_id", "id"),
        "tenant": guards.tenant_id or _shown(known, "tenant_id"),
        "partner": _shown(known, "partner_id"),
        "tools": f"{tools} of {len(TOOLS)}",
        "read-only": _yes(guards.read_only),
        "masked": _yes(guards.mask_values),
        "allowed": allowed,
        "denied": f"{len(guards.denied)} prefixes",
    }
    return [f"{name + ':':<11}{value}" for name, value in told.items()]


def _shown(known: dict[str, Any], *names: str) -> str:
    """Return a text of ScaiVault's, unless it could do something to a terminal."""
    for name in names:
        value = known.get(name)
        if isinstance(value, str) and value:
            return value[:128] if value.isprintable() else "(unprintable)"
    return "(not told)"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
