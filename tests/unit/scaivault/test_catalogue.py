"""The catalogue agrees with the contract's table, cell by cell. Spec: scaivault 1, 3."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from scaimcp.scaivault import known
from scaimcp.scaivault.catalogue import BY_NAME, TOOLS
from scaimcp.scaivault.masking import fields_of
from scaimcp.scaivault.records import GROUPS, PathCheck, ToolRecord
from scaimcp.scaivault.secret_names import names_secret
from tests.unit.scaivault.notation import argument, plain

_FILE = Path(__file__).parents[2] / "data" / "scaivault_tools.json"
TABLE: list[dict[str, Any]] = json.loads(_FILE.read_text("utf-8"))
CELLS = {row["code"]: row for row in TABLE}
# What a procedure of its own makes of an argument.
OWN = {
    "S1": {"field"},
    "S3": {"confirm"},
    "S6": {"rotation_policy_id"},
    "S7": {"within_days", "include_expired"},
    "PK2": {"include_pem"},
    "PK5": {"include_pem"},
    "PK8": {"certificate_id", "certificate_pem", "hostname", "at"},
    "PK9": {"within"},
    "AC6": {"wait_seconds"},
    "DY10": {"within"},
    "FE6": {"backend_id"},
    "AU4": {"min_failures"},
}
# Paging that a procedure does by itself.
PAGING = {"limit", "cursor", "expiring_within"}


def by_code(code: str) -> ToolRecord:
    return next(record for record in TOOLS if record.code == code)


def spelled(check: PathCheck) -> str:
    return f"{'stored ' * check.is_pre_read}{check.kind} {check.where}".strip()


def names_in(template: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", template)


def test_the_tools_stand_in_the_order_of_the_table() -> None:
    assert [(record.code, record.name) for record in TOOLS] == [
        (row["code"], row["name"]) for row in TABLE
    ]
    assert list(BY_NAME) == [row["name"] for row in TABLE]


@pytest.mark.parametrize("record", TOOLS, ids=lambda record: record.code)
def test_a_tool_agrees_with_its_row(record: ToolRecord) -> None:
    row = CELLS[record.code]
    assert record.group == row["group"]
    assert record.tool_class == row["class"]
    assert record.hints == row["hints"]
    assert [argument(member) for member in record.arguments] == [
        plain(cell) for cell in row["arguments"]
    ]
    assert [spelled(check) for check in record.checks] == row["checks"]
    mask = record.mask
    assert list(mask.hidden) == row["mask"]["hidden"]
    assert list(mask.dropped) == row["mask"]["dropped"]
    assert list(mask.kept) == row["mask"]["kept"]
    assert mask.is_swept == row["mask"]["swept"]
    assert record.fields.split() == " ".join(row["fields"]).split()


@pytest.mark.parametrize("record", TOOLS, ids=lambda record: record.code)
def test_a_tool_calls_the_route_of_its_row(record: ToolRecord) -> None:
    row, route = CELLS[record.code], record.route
    assert route.method == row["method"]
    assert re.sub(r"\{\w+\}", "{}", route.path) == re.sub(r"\{\w+\}", "{}", row["path"])
    assert set(row["query"]) <= set(route.query)
    if route.method:
        assert record.is_list == row["is_list"]


@pytest.mark.parametrize("record", TOOLS, ids=lambda record: record.code)
def test_every_argument_travels_once(record: ToolRecord) -> None:
    route = record.route
    travelling = [*names_in(route.path), *route.query, *(route.body or ())]
    assert len(set(travelling)) == len(travelling)
    given = {member.name for member in record.arguments}
    assert given - set(travelling) == OWN.get(record.code, set())
    assert set(travelling) - given <= (PAGING if record.special else set())
    if route.method == "GET":
        assert route.body is None


@pytest.mark.parametrize("record", TOOLS, ids=lambda record: record.code)
def test_what_stands_in_a_path_is_required_and_safe(record: ToolRecord) -> None:
    members = {member.name: member for member in record.arguments}
    for name in names_in(record.route.path):
        assert argument(members[name]).removeprefix(f"{name}:") in {"path*", "id*", "name*"}


@pytest.mark.parametrize("record", TOOLS, ids=lambda record: record.code)
def test_every_path_argument_is_held_against_the_guards(record: ToolRecord) -> None:
    cells = " ".join(argument(member) for member in record.arguments)
    checked = {check.kind for check in record.checks if not check.is_pre_read}
    for form in ("path", "prefix", "glob"):
        if re.search(rf":\[?{form}\b|\{{{form}:", cells):
            assert form in checked


@pytest.mark.parametrize("record", TOOLS, ids=lambda record: record.code)
def test_a_description_is_short_and_tells_class_and_secrets(record: ToolRecord) -> None:
    text = record.description
    assert 0 < len(text) <= 300
    assert re.match(r"[A-Z][a-z]+ ", text)
    assert re.search(r"secret|credential|values are (data|generated)|value", text)
    if record.tool_class != "read":
        assert f"class {record.tool_class}" in text
    if record.tool_class == "issue" and record.code != "AC6":
        assert "lost" in text


@pytest.mark.parametrize("code", ["S1", "FE6", "AU1"])
def test_what_holds_foreign_text_says_that_it_is_data(code: str) -> None:
    assert re.search(
        r"data.*(never|not).*instructions|never instructions", by_code(code).description
    )


@pytest.mark.parametrize("record", TOOLS, ids=lambda record: record.code)
def test_hints_follow_the_class(record: ToolRecord) -> None:
    assert (record.hints[0] == "1") == (record.tool_class == "read")
    assert (record.hints[1] == "1") <= (record.tool_class != "read")
    if record.tool_class == "delete":
        assert record.hints[1] == "1"


@pytest.mark.parametrize("record", TOOLS, ids=lambda record: record.code)
def test_only_documented_routes_must_exist(record: ToolRecord) -> None:
    if record.route.method:
        assert record.is_partial == (CELLS[record.code]["source"] != "doc")


def test_the_counts_are_those_of_the_contract() -> None:
    assert Counter(record.tool_class for record in TOOLS) == {
        "read": 40,
        "write": 17,
        "delete": 6,
        "issue": 4,
    }
    assert [Counter(record.group for record in TOOLS)[group] for group in GROUPS] == [
        7, 5, 4, 3, 8, 9, 6, 10, 6, 5, 4,
    ]  # fmt: skip
    assert Counter(record.permission for record in TOOLS) == {
        "read": 33,
        "audit": 4,
        "write": 6,
        "delete": 4,
        "issue": 3,
        "admin": 17,
    }
    assert Counter(row["source"] for row in TABLE) == {"doc": 29, "partial": 28, "decided": 10}


PERMISSIONS = {
    "audit": "AU1 AU2 AU3 AU4",
    "write": "S2 S6 AC4 AC5 DY8 SU3",
    "delete": "S3 PK7 DY9 SU4",
    "issue": "PK6 AC6 DY6",
    "admin": "SP3 AP3 RO2 SA1 SA2 SA3 SA4 SA5 SA6 SA7 SA8 PK3 AC2 DY3 DY5 FE3 FE5",
}


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_a_permission_has_the_tools_of_the_contract(permission: str) -> None:
    held = {record.code for record in TOOLS if record.permission == permission}
    assert held == set(PERMISSIONS[permission].split())


def test_lists_take_the_containers_of_the_contract() -> None:
    for record in TOOLS:
        if record.is_list:
            assert "data" in record.container
    assert by_code("S4").container == ("secrets", "data")
    assert "policies" in by_code("AP1").container
    assert "logs" in by_code("AU1").container


def test_a_swept_result_lists_no_field_that_the_sweep_would_hide() -> None:
    for record in TOOLS:
        if not record.mask.is_strict:
            names = re.findall(r"[^\s\[\]{}]+", record.fields)
            assert [name for name in names if names_secret(name)] == [], record.code


def test_the_masked_fields_of_a_tool_are_listed_ones() -> None:
    for record in TOOLS:
        listed = fields_of(record.fields, record.mask).children or {}
        for where in record.mask.hidden:
            assert where.split(".")[0].removesuffix("[]") in listed, record.code


def test_the_fixed_words_are_the_documented_ones() -> None:
    assert len(known.AUDIT_ACTIONS) == len(set(known.AUDIT_ACTIONS)) == 22
    assert len(known.GENERATORS) == 9
    assert set(known.POLICY_TYPES) == {"password", "api_key", "oauth_client", "ssh_key", "custom"}
    assert all(re.fullmatch(r"[a-z]+(\.[a-z]+)+", event) for event in known.EVENTS)
    # Of the events of dynamic leases the reference gives no names.
    families = {event.partition(".")[0] for event in known.EVENTS}
    assert families == {"secret", "policy", "rotation", "certificate"}
