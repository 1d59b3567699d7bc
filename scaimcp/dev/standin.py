"""The stand-ins as `scaimcp dev` needs them: the platform's bearers, and running one alone.

Neither imports them: a stand-in brings an HTTP server and client, which would slow down every
start of `scaimcp dev` by half a second. A test compares the logins below with its seed.
"""

from __future__ import annotations

import hashlib
import runpy
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

PLATFORM_MODULE = "scaimcp.dev.platform"
VAULT_MODULE = "scaimcp.dev.vault"
LOGINS: Mapping[str, str] = MappingProxyType(
    {
        "super_admin": "root@platform.test",
        "tenant_admin": "admin@acme.test",
        "tenant_user": "user@acme.test",
        "tenant_viewer": "viewer@acme.test",
        "no_roles": "nobody@acme.test",
        "other_tenant_admin": "admin@globex.test",
    }
)


def standin_tokens() -> dict[str, str]:
    """Return the API keys of the stand-in's best-known users: role to key. Spec: scaigrid 12."""
    return {role: _api_key(login) for role, login in LOGINS.items()}


def run_standin(arguments: Sequence[str], module: str = PLATFORM_MODULE) -> int:
    """Run a stand-in in this process with its own command line; returns its exit code.

    Args:
        arguments: What follows ``scaimcp dev platform`` or ``scaimcp dev vault``.
        module: The package whose ``__main__`` runs.
    """
    sys.argv = [module, *arguments]
    # Runs under the name __main__, not beside a copy that somebody has imported.
    sys.modules.pop(f"{module}.__main__", None)
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
            return 1
        return ended.code or 0
    return 0


def _api_key(login: str) -> str:
    return f"sgk_{hashlib.sha256(f'standin:{login}'.encode()).hexdigest()[:40]}"
