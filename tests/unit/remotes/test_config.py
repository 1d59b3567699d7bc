"""The rules for remote servers that an operator's settings make."""

from __future__ import annotations

from typing import Any

import pytest

from scaimcp.errors import EndpointForbidden, SettingsError
from scaimcp.remotes.config import RemotePolicy, remote_policy
from scaimcp.remotes.enumerations import ToolChanges
from scaimcp.remotes.models import Quota
from scaimcp.remotes.rules.endpoint_policy import EndpointPolicy
from scaimcp.settings import load


def policy(**settings: str) -> RemotePolicy:
    return remote_policy(load({f"SCAIMCP_{name}": value for name, value in settings.items()}))


def test_without_settings_the_rules_are_those_of_the_contract() -> None:
    made, named = policy(), RemotePolicy(EndpointPolicy())
    fields = set(RemotePolicy.__struct_fields__) - {"endpoints"}
    assert {name: getattr(made, name) for name in fields} == {
        name: getattr(named, name) for name in fields
    }
    assert (made.register_seconds, made.refresh_seconds, made.discovery_seconds) == (4, 15, 30)


def test_settings_become_rules() -> None:
    made = policy(
        PUBLIC_URL="https://mcp.example.com",
        REMOTE_MAX_SERVERS_PER_TENANT="5",
        REMOTE_MAX_SERVERS_PER_USER="2",
        REMOTE_APPROVAL_REQUIRED="all",
        REMOTE_DEFAULT_TOOL_CHANGES="review",
        REMOTE_CALL_TIMEOUT_SECONDS="7",
        REMOTE_CA_BUNDLE="/ca.pem",
        REMOTE_ALLOWED_PRIVATE="10.0.0.0/8:8443",
    )
    assert made.quota == Quota(5, 2)
    assert made.default_tool_changes is ToolChanges.REVIEW
    assert (made.call_seconds, made.ca_bundle) == (7, "/ca.pem")
    made.endpoints.check("crm.example.com", 8443, ["10.1.2.3"])
    with pytest.raises(EndpointForbidden) as refused:
        made.endpoints.check_url("https://mcp.example.com/mcp")
    assert refused.value.reason == "own_origin"


@pytest.mark.parametrize(
    ("setting", "shared", "personal"),
    [("none", False, False), ("shared", True, False), ("all", True, True)],
)
def test_approval_is_for_those_the_operator_names(
    setting: str, shared: bool, personal: bool
) -> None:
    made = policy(REMOTE_APPROVAL_REQUIRED=setting)
    assert made.needs_approval(is_tenant_shared=True) is shared
    assert made.needs_approval(is_tenant_shared=False) is personal


@pytest.mark.parametrize(
    "bad",
    [
        {"REMOTE_ALLOWED_PRIVATE": "not a host!"},
        {"REMOTE_ALLOWED_PORTS": "all"},
        {"REMOTE_ALLOWED_PLAINTEXT_HOSTS": "a b"},
    ],
)
def test_a_list_that_cannot_be_read_is_named(bad: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as refused:
        policy(**bad)
    assert f"SCAIMCP_{next(iter(bad))}" in refused.value.message
