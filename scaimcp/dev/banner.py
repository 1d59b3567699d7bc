"""The text `scaimcp dev` shows once everything is ready."""

from __future__ import annotations

from collections.abc import Mapping

from scaimcp.dev.snippets import CLIENTS, person_token, vault_switch
from scaimcp.dev.standin import LOGINS

EXAMPLE_ROLE = "tenant_user"
ADMIN_ROLE = "tenant_admin"
OWN_KEY = "YOUR_SCAIGRID_API_KEY"


def banner(
    mcp_url: str,
    tokens: Mapping[str, str],
    *,
    platform_url: str,
    vault_url: str,
    kept: str,
    warn: bool,
) -> str:
    """Return what to connect to, with which token, and how, for every known client.

    Args:
        mcp_url: The endpoint of the gateway.
        tokens: Bearers of the stand-in by role; empty with a real platform.
        platform_url: The platform behind the gateway.
        vault_url: The stand-in ScaiVault; empty with a real platform.
        kept: What happens to the data, as part of a sentence.
        warn: Whether other machines can connect.
    """
    lines = ["", f"ScaiMCP is ready: {mcp_url}"]
    if tokens:
        lines.append(
            "This is a development set-up. The platform behind it is a stand-in, not ScaiGrid:"
        )
        lines.append(f"{platform_url}, with made-up tenants and publicly known keys; {kept}.")
        lines.append(
            f"So is the ScaiVault behind it: {vault_url}. Its tools are off at first, see below."
        )
    else:
        lines.append(f"This is a development set-up in front of {platform_url}; {kept}.")
    lines.append("Remote MCP servers on this machine may be registered, with plain HTTP.")
    if warn:
        lines.append("WARNING: other machines can reach this gateway, unencrypted.")
    if tokens:
        width = max(map(len, tokens))
        lines += ["", "Tokens by role:"]
        lines += [f"  {role:<{width}}  {token}" for role, token in tokens.items()]
        lines.append("Pages for browsers sign in at the stand-in: choose the user there.")
        lines += ["", "A signed-in user's token, in the place of an API key:"]
        lines.append(f"  {person_token(platform_url, LOGINS[EXAMPLE_ROLE])}")
        lines += ["", "ScaiVault's tools take such a token only. An administrator switches them"]
        lines.append("on, here read-only and with masked values:")
        lines.append(f"  {vault_switch(mcp_url, tokens.get(ADMIN_ROLE, OWN_KEY))}")
    example = tokens.get(EXAMPLE_ROLE, OWN_KEY)
    for client, snippet in CLIENTS.items():
        lines += ["", f"{client}:", *_indented(snippet(mcp_url, example))]
    return "\n".join([*lines, "", "Stop with Ctrl-C.", "", ""])


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]
