"""A tenant's own layer of guards, and the operator's. Spec: scaivault 2.1, 3."""

from __future__ import annotations

from typing import Any

import pytest

from scaimcp.errors import SettingsError
from scaimcp.scaivault.config import vault_policy
from scaimcp.scaivault.guards import Guards
from scaimcp.scaivault.profile import (
    FIRST,
    GuardProfile,
    ProfileInvalid,
    described,
    profile_of,
    read_profile,
)
from scaimcp.scaivault.records import GROUPS
from scaimcp.settings import load

NO_PREFIX = "is not a valid path prefix"


def faults(given: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(ProfileInvalid) as failure:
        read_profile(given)
    return [(fault["field"], fault["message"]) for fault in failure.value.faults]


def test_the_first_profile_is_closed() -> None:
    assert described(FIRST) == {
        "enabled": False,
        "read_only": True,
        "mask_values": True,
        "allowed_paths": None,
        "denied_paths": [],
        "tool_groups": None,
    }
    assert read_profile({}) == FIRST


def test_a_profile_is_stored_as_it_is_read() -> None:
    profile = read_profile(
        {
            "enabled": True,
            "read_only": False,
            "mask_values": False,
            "allowed_paths": ["shared/", "app", "app"],
            "denied_paths": ["app/root"],
            "tool_groups": ["audit", "secrets", "audit"],
        }
    )
    assert profile.allowed_paths == ("app", "shared")
    assert profile.tool_groups == ("secrets", "audit")
    assert read_profile(described(profile)) == profile
    assert profile.guards == Guards(
        allowed=("app", "shared"),
        denied=("app/root",),
        groups=frozenset({"secrets", "audit"}),
    )


def test_empty_lists_mean_nothing_and_never_all() -> None:
    profile = read_profile({"allowed_paths": [], "tool_groups": []})
    assert profile.guards.allowed == ()
    assert profile.guards.groups == frozenset()
    assert profile.guards.is_nothing_reachable


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"allowed_paths": ["app", "App"]}, ("allowed_paths", f"entry 2 {NO_PREFIX}")),
        ({"allowed_paths": [""]}, ("allowed_paths", f"entry 1 {NO_PREFIX}")),
        ({"denied_paths": ["a"] * 201}, ("denied_paths", "has more than 200 entries")),
        ({"denied_paths": None}, ("denied_paths", "must be an array of strings")),
        ({"denied_paths": {"a": 1}}, ("denied_paths", "must be an array of strings")),
        ({"tool_groups": ["secrets", "x"]}, ("tool_groups", "entry 2 is not a tool group")),
        ({"tool_groups": [True]}, ("tool_groups", "must be an array of strings")),
        ({"enabled": "true"}, ("enabled", "must be true or false")),
        ({"mask_values": 0}, ("mask_values", "must be true or false")),
        ({"tenant_id": "tnt_b"}, ("tenant_id", "is not known")),
    ],
)
def test_what_cannot_be_read_is_named(given: dict[str, Any], expected: tuple[str, str]) -> None:
    assert faults(given) == [expected]


def test_every_fault_is_told() -> None:
    assert [field for field, _ in faults({"x" * 99: 1, "enabled": 1, "read_only": 2})] == [
        "x" * 64, "enabled", "read_only",
    ]  # fmt: skip


def test_guards_are_shown_as_a_profile() -> None:
    guards = Guards(read_only=True, denied=("a",), groups=frozenset(GROUPS))
    assert profile_of(guards, enabled=True) == GuardProfile(
        enabled=True, mask_values=False, denied_paths=("a",), tool_groups=GROUPS
    )
    assert profile_of(Guards(), enabled=False).tool_groups is None


# -- the operator's layer ------------------------------------------------------------------------


def policy(**names: str) -> Any:
    return vault_policy(load({f"SCAIMCP_SCAIVAULT_{name}": text for name, text in names.items()}))


def test_without_settings_there_is_no_module_and_no_guard() -> None:
    found = policy()
    assert found.url == ""
    assert found.guards == Guards()
    assert (found.timeout_seconds, found.connect_seconds, found.ca_file) == (30, 5, None)
    assert found.warnings == ()


def test_the_operators_guards_are_read_like_those_of_the_command() -> None:
    found = policy(
        URL="https://vault.example/",
        READ_ONLY="Yes",
        MASK_VALUES="off",
        ALLOWED_PATHS="shared, app/",
        DENIED_PATHS="app/root",
        TOOL_GROUPS="audit, pki",
    )
    assert found.url == "https://vault.example"
    assert found.guards == Guards(
        read_only=True,
        allowed=("app", "shared"),
        denied=("app/root",),
        groups=frozenset({"audit", "pki"}),
    )


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("ALLOWED_PATHS", "app,*", "entry 2 is not a valid path prefix"),
        ("ALLOWED_PATHS", "a,,b", "entry 2 is not a valid path prefix"),
        ("DENIED_PATHS", "../x", "entry 1 is not a valid path prefix"),
        ("TOOL_GROUPS", "secrets,all", "entry 2 is not a tool group"),
    ],
)
def test_g41_a_guard_that_cannot_be_read_stops_the_start(name: str, text: str, words: str) -> None:
    with pytest.raises(SettingsError) as failure:
        policy(**{name: text})
    assert failure.value.message == f"SCAIMCP_SCAIVAULT_{name} {words}"


def test_g08_guards_that_leave_nothing_are_warned_of() -> None:
    found = policy(ALLOWED_PATHS="app/root", DENIED_PATHS="app")
    assert found.warnings == ("With these allowed and denied paths no path is reachable",)
