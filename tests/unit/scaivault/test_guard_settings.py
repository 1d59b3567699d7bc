"""Guards are read from the environment and fail closed. Spec: scaivault 2.1, 2.7 (G03-G08, G41)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.errors import SettingsError
from scaimcp.scaivault.guard_settings import (
    OPERATOR_PREFIX,
    parse_guards,
    read_entries,
    read_groups,
)
from scaimcp.scaivault.guards import Guards

PATHS = "entry {} is not a valid path prefix"


def refusal(environment: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        parse_guards(environment)
    return caught.value.message


def test_without_variables_nothing_is_guarded() -> None:
    read = parse_guards({"PATH": "/bin", "SCAIMCP_URL": "x"})
    assert read.guards == Guards()
    assert read.warnings == ()


def test_every_guard_is_read() -> None:
    read = parse_guards(
        {
            "SCAIVAULT_READ_ONLY": "yes",
            "SCAIVAULT_MASK_VALUES": "On",
            "SCAIVAULT_ALLOWED_PATHS": "shared, app/,app",
            "SCAIVAULT_DENIED_PATHS": "app/root",
            "SCAIVAULT_TOOL_GROUPS": "secrets,\taudit",
            "SCAIVAULT_TENANT_ID": "tnt_a",
            "SCAIVAULT_PARTNER_ID": "ptn_a",
            "SCAIVAULT_URL": "https://vault.example",
            "SCAIVAULT_TOKEN_FILE": "/t",
        }
    )
    assert read.guards == Guards(
        read_only=True,
        mask_values=True,
        allowed=("app", "shared"),
        denied=("app/root",),
        groups=frozenset({"secrets", "audit"}),
        tenant_id="tnt_a",
        partner_id="ptn_a",
    )
    assert read.warnings == ()


@pytest.mark.parametrize("value", ["true", "1", "yes", "on", "TRUE", "Yes", "oN"])
def test_many_words_are_true(value: str) -> None:
    assert parse_guards({"SCAIVAULT_READ_ONLY": value}).guards.read_only


@pytest.mark.parametrize("value", ["false", "0", "no", "off", "FALSE", "Off"])
def test_many_words_are_false(value: str) -> None:
    assert not parse_guards({"SCAIVAULT_READ_ONLY": value}).guards.read_only


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("READ_ONLY", "treu", "is not true or false"),
        ("READ_ONLY", "", "is not true or false"),
        ("MASK_VALUES", " true", "is not true or false"),
        ("MASK_VALUES", "2", "is not true or false"),
        ("ALLOWED_PATHS", "app,*", PATHS.format(2)),
        ("ALLOWED_PATHS", "App", PATHS.format(1)),
        ("ALLOWED_PATHS", "/app", PATHS.format(1)),
        ("ALLOWED_PATHS", "../x", PATHS.format(1)),
        ("ALLOWED_PATHS", "a,,b", PATHS.format(2)),
        ("ALLOWED_PATHS", "", PATHS.format(1)),
        ("ALLOWED_PATHS", " ", PATHS.format(1)),
        ("ALLOWED_PATHS", "/", PATHS.format(1)),
        ("ALLOWED_PATHS", "a,", PATHS.format(2)),
        ("ALLOWED_PATHS", "app\n", PATHS.format(1)),
        ("DENIED_PATHS", "a,b,c/**", PATHS.format(3)),
        ("DENIED_PATHS", "", PATHS.format(1)),
        ("DENIED_PATHS", ",".join(f"a{n}" for n in range(201)), "has more than 200 entries"),
        ("TOOL_GROUPS", "secrets,vaults", "entry 2 is not a tool group"),
        ("TOOL_GROUPS", "Secrets", "entry 1 is not a tool group"),
        ("TOOL_GROUPS", "", "entry 1 is not a tool group"),
        ("TENANT_ID", "", "is not an id"),
        ("TENANT_ID", "a/b", "is not an id"),
        ("PARTNER_ID", "a b", "is not an id"),
    ],
)
def test_a_guard_that_cannot_be_read_ends_the_start(name: str, value: str, reason: str) -> None:
    assert refusal({f"SCAIVAULT_{name}": value}) == f"SCAIVAULT_{name} {reason}"


def test_two_hundred_entries_are_taken() -> None:
    paths = ",".join(f"a{n}" for n in range(200))
    allowed = parse_guards({"SCAIVAULT_ALLOWED_PATHS": paths}).guards.allowed
    assert allowed is not None
    assert len(allowed) == 200


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SCAIVAULT_READONLY", "READ_ONLY"),
        ("SCAIVAULT_READ_ONLYY", "READ_ONLY"),
        ("SCAIVAULT_RAED_ONLY", "READ_ONLY"),
        ("SCAIVAULT_READ_ONLY_MODE", "READ_ONLY"),
        ("SCAIVAULT_MCP_READ_ONLY", "READ_ONLY"),
        ("SCAIVAULT_read_only", "READ_ONLY"),
        ("scaivault_READ_ONLY", "READ_ONLY"),
        ("SCAIVAULT_MASK_VALUE", "MASK_VALUES"),
        ("SCAIVAULT_MASKED_VALUES", "MASK_VALUES"),
        ("SCAIVAULT_ALLOW_PATHS", "ALLOWED_PATHS"),
        ("SCAIVAULT_DENY_PATHS", None),
        ("SCAIVAULT_DENIEDPATH", "DENIED_PATHS"),
        ("SCAIVAULT_TENANT", "TENANT_ID"),
        ("SCAIVAULT_TENANT__ID", "TENANT_ID"),
        ("SCAIVAULT_PARTNERID", "PARTNER_ID"),
        ("SCAIVAULT_TOOLGROUP", "TOOL_GROUPS"),
        ("SCAIVAULT_GROUPS", None),
        ("SCAIVAULT_LOG", None),
        ("SCAIVAULT_", None),
    ],
)
def test_a_slip_in_a_guards_name_ends_the_start(name: str, meant: str | None) -> None:
    if meant is None:
        read = parse_guards({name: "x"})
        assert read.warnings == (f"These names are not known: {name}",)
    else:
        wanted = f"{name} is not known; did you mean SCAIVAULT_{meant}?"
        assert refusal({name: "hunter2"}) == wanted


def test_unknown_names_give_one_warning() -> None:
    read = parse_guards({"SCAIVAULT_Z": "hunter2", "SCAIVAULT_A": "", "SCAIVAULTZ": ""})
    assert read.warnings == ("These names are not known: SCAIVAULT_A, SCAIVAULT_Z",)


def test_guards_that_leave_nothing_give_a_warning() -> None:
    read = parse_guards({"SCAIVAULT_ALLOWED_PATHS": "app/root", "SCAIVAULT_DENIED_PATHS": "app"})
    assert len(read.warnings) == 1
    assert "no path is reachable" in read.warnings[0]


def test_the_operators_names_have_no_locks() -> None:
    names = {"READ_ONLY": "1", "ALLOWED_PATHS": "app", "TENANT_ID": "tnt_a"}
    read = parse_guards(
        {OPERATOR_PREFIX + name: value for name, value in names.items()}, OPERATOR_PREFIX
    )
    assert read.guards == Guards(read_only=True, allowed=("app",))
    assert parse_guards({"SCAIVAULT_READ_ONLY": "treu"}, OPERATOR_PREFIX).guards == Guards()


def test_lists_are_read_as_they_stand() -> None:
    assert read_entries([]) == ()
    assert read_entries(["b", "a/", "a"]) == ("a", "b")
    assert read_groups([]) == frozenset()
    with pytest.raises(ValueError, match="entry 1"):
        read_entries([" a"])


@given(st.dictionaries(st.sampled_from(["READ_ONLY", "ALLOWED_PATHS", "DENIED_PATHS",
                                        "TOOL_GROUPS", "TENANT_ID"]), st.text()))  # fmt: skip
def test_a_value_is_never_repeated_and_never_passed_over(values: dict[str, str]) -> None:
    environment = {f"SCAIVAULT_{name}": value for name, value in values.items()}
    try:
        guards = parse_guards(environment).guards
    except SettingsError as error:
        message = error.message
        assert any(message.startswith(name) for name in environment)
        return
    assert ("ALLOWED_PATHS" in values) == (guards.allowed is not None)
    assert ("DENIED_PATHS" in values) == bool(guards.denied)
    assert ("TOOL_GROUPS" in values) == (guards.groups is not None)
    assert ("TENANT_ID" in values) == bool(guards.tenant_id)
