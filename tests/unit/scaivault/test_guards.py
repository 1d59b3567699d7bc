"""What guards let pass. Spec: scaivault 2.2, 2.3, 2.7, 3 (guard layers)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from scaimcp.scaivault.arguments import read_arguments
from scaimcp.scaivault.catalogue import TOOLS
from scaimcp.scaivault.errors import VaultError
from scaimcp.scaivault.guard_settings import parse_guards
from scaimcp.scaivault.guards import (
    Guards,
    check_arguments,
    check_stored,
    check_tool,
    glob_passes,
    has_group,
    is_refused,
    leaves_tenant,
    meet,
    names_other_tenant,
    needs_stored,
    passes,
    row_passes,
    window,
)
from scaimcp.scaivault.records import ToolRecord
from tests.unit.scaivault.guard_cases import CASES, Case
from tests.unit.scaivault.samples import record_of

FREE = Guards()
APP = Guards(allowed=("app",))
ROOT = Guards(allowed=("app",), denied=("app/root",))
NO_INFRA = Guards(denied=("infra",))
CODES = pytest.mark.parametrize("record", TOOLS, ids=lambda record: record.code)


def guards_of(environment: dict[str, str]) -> Guards:
    names = {f"SCAIVAULT_{name}": value for name, value in environment.items()}
    return parse_guards(names).guards


def verdict(code: str, arguments: dict[str, Any], guards: Guards) -> str:
    """Pass steps 1 to 5 and tell how it ended."""
    record = record_of(code)
    try:
        check_tool(record, guards)
        check_arguments(record, read_arguments(record, json.dumps(arguments).encode()), guards)
    except VaultError as error:
        return error.code
    return "passes"


def label(case: Case) -> str:
    return f"{case.number}-{case.code}-{case.expected}"


@pytest.mark.parametrize("case", CASES, ids=label)
def test_a_case_of_the_contract_ends_as_it_says(case: Case) -> None:
    assert verdict(case.code, case.arguments, guards_of(case.environment)) == case.expected


@CODES
def test_read_only_refuses_all_but_reading_before_the_arguments(record: ToolRecord) -> None:
    guards = guards_of({"READ_ONLY": "YES"})
    found = verdict(record.code, {"nonsense": 1}, guards)
    assert found == ("INVALID_ARGUMENTS" if record.tool_class == "read" else "READ_ONLY")
    assert is_refused(record, guards) == (record.tool_class != "read")


@CODES
def test_a_group_that_is_off_has_no_tools(record: ToolRecord) -> None:
    guards = guards_of({"TOOL_GROUPS": "secrets,audit", "READ_ONLY": "1"})
    is_on = record.group in {"secrets", "audit"}
    assert has_group(record, guards) == is_on
    assert (verdict(record.code, {}, guards) == "TOOL_NOT_FOUND") == (not is_on)
    assert has_group(record, FREE)


def test_secrets_and_audit_are_eleven_tools() -> None:
    guards = guards_of({"TOOL_GROUPS": "secrets,audit"})
    assert sum(has_group(record, guards) for record in TOOLS) == 11


def test_the_refusal_is_worded_alike_for_denied_and_not_allowed_and_repeats_nothing() -> None:
    messages = set()
    for path in ("app/root/k", "infra/db"):
        with pytest.raises(VaultError) as caught:
            check_arguments(record_of("S1"), {"path": path}, ROOT)
        messages.add(caught.value.message)
    assert messages == {"Argument path is outside the paths this server may use."}


@pytest.mark.parametrize(
    ("code", "arguments", "name"),
    [
        ("AP3", {"rules": [{"path_pattern": "app/**"}, {"path_pattern": "x"}]},
         "rules[1].path_pattern"),
        ("SU3", {"paths": ["app/x", "**"]}, "paths[1]"),
        ("FE3", {"path_mapping": {"app/x": "a", "y": "b"}, "config": {}}, "path_mapping[1]"),
        ("DY3", {"config": {"a": 1, "other_path": "x"}}, "config.other_path"),
        ("DY3", {"config": {"OTHER_PATH": "x"}}, "config.OTHER_PATH"),
        ("AU1", {"path_prefix": "infra"}, "path_prefix"),
    ],
)  # fmt: skip
def test_the_refusal_names_the_argument(code: str, arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(VaultError, match=r"outside the paths") as caught:
        check_arguments(record_of(code), arguments, APP)
    assert caught.value.code == "PATH_DENIED"
    assert caught.value.message.startswith(f"Argument {name} is")


@pytest.mark.parametrize("path", ["App", "app/../x", 7, None, ["app"]])
def test_what_should_have_been_refused_before_is_refused_here(path: Any) -> None:
    with pytest.raises(VaultError) as caught:
        check_arguments(record_of("S1"), {"path": path}, FREE)
    assert caught.value.code == "INVALID_PATH"


@pytest.mark.parametrize(
    ("guards", "prefix", "expected"),
    [
        (FREE, "", ("",)),
        (FREE, "app/", ("app",)),
        (FREE, "App", ()),
        (FREE, None, ()),
        (APP, "", ("app",)),
        (APP, "app", ("app",)),
        (APP, "app/x/", ("app/x",)),
        (APP, "ap", ()),
        (APP, "infra", ()),
        (Guards(allowed=("app/api", "app/web")), "app", ("app/api", "app/web")),
        (Guards(allowed=("app/web", "app/api")), "app", ("app/api", "app/web")),
        (Guards(allowed=("app", "app/web", "b")), "", ("app", "b")),
        (Guards(allowed=("app", "app-x", "app/web")), "", ("app", "app-x")),
        (Guards(allowed=()), "", ()),
        (Guards(allowed=("app", "b"), denied=("b",)), "", ("app",)),
        (Guards(allowed=("app/root",), denied=("app",)), "", ()),
        (ROOT, "app", ("app",)),
        (ROOT, "app/root/x", ()),
        (NO_INFRA, "", ("",)),
        (NO_INFRA, "infra/", ()),
    ],
)
def test_a_listing_asks_for_its_window_only(
    guards: Guards, prefix: Any, expected: tuple[str, ...]
) -> None:
    assert window(prefix, guards) == expected


@pytest.mark.parametrize("value", [None, 7, "", "App", "app/../app", "app/", "/app", ["app"]])
def test_what_is_no_path_passes_only_where_nothing_is_limited(value: Any) -> None:
    assert passes(value, FREE)
    assert not passes(value, APP)
    assert not passes(value, NO_INFRA)


def test_a_row_may_end_like_a_route() -> None:
    assert passes("app/versions", APP)


@pytest.mark.parametrize("value", [None, 7, "App/*", "/app/**", "***", "", {"a": 1}])
def test_what_is_no_glob_passes_only_where_nothing_is_limited(value: Any) -> None:
    assert glob_passes(value, FREE)
    assert not glob_passes(value, APP)


def test_a_glob_fails_where_something_denied_lies_below_its_base() -> None:
    assert not glob_passes("app/*", ROOT)
    assert not glob_passes("**", NO_INFRA)
    assert glob_passes("app/rooted/**", ROOT)
    assert not glob_passes("app/root/x*", ROOT)


@pytest.mark.parametrize(
    ("allowed", "denied", "is_nothing"),
    [
        (None, ("a",), False),
        ((), (), True),
        (("app/root",), ("app",), True),
        (("app", "b"), ("app",), False),
    ],
)
def test_guards_know_when_nothing_is_reachable(
    allowed: tuple[str, ...] | None, denied: tuple[str, ...], is_nothing: bool
) -> None:
    assert Guards(allowed=allowed, denied=denied).is_nothing_reachable is is_nothing


# -- stored objects ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "stored", "name"),
    [
        ("FE5", {"path_mapping": {"app/**": "a", "infra/**": "b"}}, "backend_id"),
        ("FE5", {"path_mapping": {}}, "backend_id"),
        ("FE5", {"path_mapping": None}, "backend_id"),
        ("FE5", {}, "backend_id"),
        ("FE5", {"path_mapping": ["infra/**"]}, "backend_id"),
        ("SU4", {"paths": ["infra/**"]}, "subscription_id"),
        ("SU4", {"paths": ["app/**", 7]}, "subscription_id"),
        ("SU4", {"paths": "infra/**"}, "subscription_id"),
        ("SU4", {"paths": []}, "subscription_id"),
        ("SU4", {}, "subscription_id"),
    ],
)
def test_a_stored_object_outside_is_not_touched(
    code: str, stored: dict[str, Any], name: str
) -> None:
    with pytest.raises(VaultError) as caught:
        check_stored(record_of(code), stored, APP)
    assert caught.value.code == "PATH_DENIED"
    assert caught.value.message.startswith(f"Argument {name} is")
    check_stored(record_of(code), stored, FREE)


@pytest.mark.parametrize(
    ("code", "stored"),
    [("FE5", {"path_mapping": {"app/**": "a"}}), ("SU4", {"paths": ["app/**", "app/x"]})],
)
def test_a_stored_object_inside_may_be_changed(code: str, stored: dict[str, Any]) -> None:
    check_stored(record_of(code), stored, APP)


@CODES
def test_two_tools_read_first_and_only_under_path_guards(record: ToolRecord) -> None:
    assert needs_stored(record, NO_INFRA) == (record.code in {"FE5", "SU4"})
    assert not needs_stored(record, Guards(read_only=True, mask_values=True))


# -- rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "row", "guards", "is_shown"),
    [
        ("S4", {"path": "app/x"}, APP, True),
        ("S4", {"path": "infra/x"}, APP, False),
        ("S4", {"path": "app2/y"}, APP, False),
        ("S4", {"path": "App/y"}, NO_INFRA, False),
        ("S4", {}, NO_INFRA, False),
        ("S4", {}, FREE, True),
        ("S4", "app/x", APP, False),
        ("S4", "app/x", FREE, True),
        ("RO3", {"secret_path": "app/x"}, APP, True),
        ("RO3", {"secret_path": None}, NO_INFRA, False),
        ("AU1", {"secret_path": "infra/x"}, APP, False),
        ("AU1", {"secret_path": None}, APP, False),
        ("AU1", {}, NO_INFRA, True),
        ("AU1", {"secret_path": ""}, NO_INFRA, True),
        ("AU1", {"secret_path": ["infra"]}, NO_INFRA, False),
        ("AU4", {"secret_path": "infra/x"}, NO_INFRA, False),
        ("SU1", {"paths": ["infra/**", "app/**"]}, APP, True),
        ("SU1", {"paths": ["infra/**"]}, APP, False),
        ("SU1", {"paths": []}, APP, False),
        ("SU1", {}, APP, False),
        ("SU1", {}, FREE, True),
        ("AP1", {"id": "p"}, APP, True),
        ("AP1", "p", APP, True),
    ],
)
def test_a_row_outside_is_not_shown(code: str, row: Any, guards: Guards, is_shown: bool) -> None:
    assert row_passes(record_of(code), row, guards) is is_shown


# -- locks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tenant", "is_other"), [("tnt_a", False), (None, False), ("tnt_b", True), (7, True)]
)
def test_rows_of_another_tenant_are_not_shown(tenant: Any, is_other: bool) -> None:
    locked = Guards(tenant_id="tnt_a")
    row = {"path": "app/x", "tenant_id": tenant}
    assert names_other_tenant(row, locked) is is_other
    assert row_passes(record_of("S4"), row, locked) is not is_other
    assert row_passes(record_of("S4"), row, FREE)


@pytest.mark.parametrize(
    ("code", "scope", "leaves"),
    [
        ("AP1", "partner", True),
        ("AP3", "partner", True),
        ("AP1", "tenant", False),
        ("AP1", None, False),
        ("S1", "partner", False),
    ],
)
def test_a_locked_tenant_has_no_partner_scope(code: str, scope: str, leaves: bool) -> None:
    arguments = {"scope": scope} if scope else {}
    assert leaves_tenant(record_of(code), arguments, Guards(tenant_id="tnt_a")) is leaves
    assert not leaves_tenant(record_of(code), arguments, FREE)


# -- layers --------------------------------------------------------------------------------------


def test_layers_meet_in_the_deeper_path() -> None:
    met = meet(Guards(allowed=("app", "shared")), Guards(allowed=("infra", "shared/x")))
    assert met.allowed == ("shared/x",)
    assert passes("shared/x/k", met)
    assert not passes("app/k", met)


def test_layers_that_do_not_meet_leave_nothing() -> None:
    met = meet(Guards(allowed=("app",)), Guards(allowed=("infra",)))
    assert met.allowed == ()
    assert met.is_limited
    assert met.is_nothing_reachable
    assert not any(passes(path, met) for path in ("app", "infra", "x"))
    assert window("", met) == ()
    assert not glob_passes("app/**", met)


def test_layers_add_up_what_they_refuse() -> None:
    operator = Guards(read_only=True, mask_values=True, denied=("b",), groups=frozenset({"pki"}))
    met = meet(operator, Guards(denied=("a",), groups=frozenset({"pki", "audit"})))
    assert met == Guards(
        read_only=True, mask_values=True, denied=("a", "b"), groups=frozenset({"pki"})
    )
    assert meet(operator, Guards()) == operator
    assert meet(Guards(), operator) == operator


def test_groups_that_do_not_meet_leave_no_tool() -> None:
    met = meet(Guards(groups=frozenset({"pki"})), Guards(groups=frozenset({"audit"})))
    assert not any(has_group(record, met) for record in TOOLS)


def test_the_locks_are_the_operators() -> None:
    locked = Guards(tenant_id="tnt_a", partner_id="ptn_a")
    assert meet(locked, Guards()) == locked
    assert meet(Guards(), replace(locked)) == Guards()
