"""All tools of ScaiVault, in published order. Spec: scaivault 1."""

from __future__ import annotations

from collections.abc import Mapping

from scaimcp.scaivault.records import ToolRecord
from scaimcp.scaivault.tools import (
    acme,
    audit,
    dynamic,
    federation,
    identity,
    pki,
    policies,
    rotation,
    secret_policies,
    secrets,
    subscriptions,
)

TOOLS: tuple[ToolRecord, ...] = (
    *secrets.TOOLS,
    *secret_policies.TOOLS,
    *policies.TOOLS,
    *rotation.TOOLS,
    *identity.TOOLS,
    *pki.TOOLS,
    *acme.TOOLS,
    *dynamic.TOOLS,
    *federation.TOOLS,
    *subscriptions.TOOLS,
    *audit.TOOLS,
)
BY_NAME: Mapping[str, ToolRecord] = {record.name: record for record in TOOLS}
