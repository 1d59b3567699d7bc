"""The gate over hand-made checks, the data file, and what the runner makes of the suite's files."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.clients.node import Finished
from tests.conformance.gate import (
    Excused,
    ExpectationError,
    Expected,
    Leg,
    coverage_problems,
    load,
    problems,
)
from tests.conformance.suite import DID_NOT_RUN, Check, parse_listing, read_checks

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"


def leg(*excused: Excused) -> Leg:
    return Leg(
        suite="1.0",
        spec_version="2026-07-28",
        required={"tools-list": ["listed", "named"], "ping": ["ping"]},
        exceptions=list(excused),
    )


def check(name: str, status: str = "SUCCESS", details: object = None) -> Check:
    return Check(id=name, status=status, error_message=f"about {name}", details=details)


def run(listed: str = "SUCCESS", named: str = "SUCCESS") -> dict[str, list[Check]]:
    return {"tools-list": [check("listed", listed), check("named", named)], "ping": [check("ping")]}


EXCUSED = Excused(scenario="tools-list", check="named", status="SKIPPED", reason="no names here")


def test_a_run_where_every_check_succeeds_has_no_problem() -> None:
    assert problems(leg(), run()) == []


@pytest.mark.parametrize("status", ["FAILURE", "WARNING", "SKIPPED", "INFO", "NEW_STATUS"])
def test_every_status_but_success_is_a_problem(status: str) -> None:
    assert problems(leg(), run(named=status)) == [f"tools-list/named: {status}: about named"]


def test_a_scenario_that_did_not_run_is_a_problem() -> None:
    results = run()
    del results["ping"]
    assert problems(leg(), results) == ["ping: did not run"]


def test_a_scenario_without_checks_did_not_run() -> None:
    assert problems(leg(), run() | {"ping": []}) == ["ping: did not run"]


def test_a_scenario_that_nobody_listed_is_a_problem() -> None:
    results = run() | {"prompts-list": [check("prompts-list")]}
    assert problems(leg(), results) == ["prompts-list: ran, but is not listed as required"]


def test_a_check_that_was_not_made_is_a_problem() -> None:
    results = run() | {"tools-list": [check("listed")]}
    assert problems(leg(), results) == ["tools-list/named: the check was not made"]


def test_a_check_that_nobody_listed_is_a_problem() -> None:
    results = run() | {"ping": [check("ping"), check("pong")]}
    assert problems(leg(), results) == ["ping/pong: the check is not listed"]


def test_an_exception_excuses_its_check() -> None:
    assert problems(leg(EXCUSED), run(named="SKIPPED")) == []


def test_an_exception_that_no_longer_occurs_is_a_problem() -> None:
    assert problems(leg(EXCUSED), run()) == [
        "tools-list/named: is excused as SKIPPED, which did not occur"
    ]


def test_an_exception_excuses_only_its_own_status() -> None:
    assert problems(leg(EXCUSED), run(named="FAILURE")) == [
        "tools-list/named: FAILURE: about named",
        "tools-list/named: is excused as SKIPPED, which did not occur",
    ]


def test_an_exception_excuses_only_its_own_check() -> None:
    assert problems(leg(EXCUSED), run(listed="SKIPPED", named="SKIPPED")) == [
        "tools-list/listed: SKIPPED: about listed"
    ]


def test_a_check_that_comes_twice_is_judged_twice() -> None:
    results = run() | {"ping": [check("ping"), check("ping", "WARNING")]}
    assert problems(leg(), results) == ["ping/ping: WARNING: about ping"]


def test_success_on_an_error_reply_is_a_problem() -> None:
    failed = check("ping", details={"result": {"isError": True, "content": []}})
    assert problems(leg(), run() | {"ping": [failed]}) == [
        "ping/ping: SUCCESS on a result with isError"
    ]


def test_the_error_scenario_may_succeed_on_an_error_reply() -> None:
    wanted = Leg("1.0", "2026-07-28", {"tools-call-error": ["e"]}, [])
    failed = check("e", details={"result": {"isError": True}})
    assert problems(wanted, {"tools-call-error": [failed]}) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"not_applicable": {"ping": "why"}}, "required and not applicable"),
        ({"not_applicable": {"sampling": " "}}, "not applicable without a reason"),
        ({"exceptions": [{"check": "other"}]}, "excused but not required"),
        ({"exceptions": [{"scenario": "other"}]}, "excused but not required"),
        ({"exceptions": [{"status": "SUCCESS"}]}, "unknown status SUCCESS"),
        ({"exceptions": [{"reason": ""}]}, "excused without a reason"),
        ({"exceptions": [{}, {"status": "INFO"}]}, "excused twice"),
    ],
)
def test_a_data_file_that_contradicts_itself_is_refused(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    excused = [msgspec.to_builtins(EXCUSED) | entry for entry in change.get("exceptions", [])]
    data = {
        "legs": [msgspec.to_builtins(leg()) | {"exceptions": excused}],
        "not_applicable": change.get("not_applicable", {}),
    }
    path = tmp_path / "expected.json"
    path.write_bytes(msgspec.json.encode(data))
    with pytest.raises(ExpectationError, match=said):
        load(path)


def test_a_scenario_that_a_suite_gains_has_to_be_decided_on() -> None:
    expected = Expected([leg()], {"sampling": "never asked"})
    listed = {leg().name: ["tools-list", "ping", "sampling", "brand-new"]}
    known = [*listed[leg().name], "extension"]
    assert coverage_problems(expected, listed, known) == [
        "1.0@2026-07-28: brand-new is not decided on",
        "brand-new is not decided on",
        "extension is not decided on",
    ]


def test_a_scenario_that_a_suite_loses_has_to_be_taken_out() -> None:
    expected = Expected([leg()], {"sampling": "never asked"})
    assert coverage_problems(expected, {leg().name: ["ping"]}, ["ping"]) == [
        "1.0@2026-07-28: tools-list is not in the suite",
        "sampling is not in any suite",
    ]


def test_the_data_file_is_sound() -> None:
    assert [leg.name for leg in load().legs] == [
        "0.2.0-alpha.12@2026-07-28",
        "0.2.0-alpha.12@2025-11-25",
        "0.1.16@2025-11-25",
    ]


def test_the_document_names_every_scenario_and_reason() -> None:
    text = DOCUMENT.read_text()
    expected = load()
    rows = [f"`{name}`" for each in expected.legs for name in each.required]
    rows += [f"| `{name}` | {reason} |" for name, reason in expected.not_applicable.items()]
    rows += [excused.reason for each in expected.legs for excused in each.exceptions]
    assert [row for row in rows if row not in text] == []


def test_the_checks_of_a_scenario_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "server-ping-2026"
    folder.mkdir()
    written = [{"id": "ping", "name": "Ping", "status": "SKIPPED", "errorMessage": "why", "x": 1}]
    (folder / "checks.json").write_bytes(msgspec.json.encode(written))
    assert read_checks(tmp_path, Finished(1, b"", "")) == [
        Check(id="ping", name="Ping", status="SKIPPED", error_message="why")
    ]


def test_a_scenario_that_left_nothing_is_a_failure_with_the_output(tmp_path: Path) -> None:
    (only,) = read_checks(tmp_path, Finished(1, b"Unknown scenario", " 'x'"))
    assert (only.id, only.status) == (DID_NOT_RUN, "FAILURE")
    assert only.error_message == "exit code 1: Unknown scenario 'x'"


def test_a_scenario_that_made_no_check_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "checks.json").write_text("[]")
    (only,) = read_checks(tmp_path, Finished(0, b"", ""))
    assert only.id == DID_NOT_RUN


def test_a_listing_is_read_with_and_without_revisions() -> None:
    listing = "Server scenarios (test):\n  - ping [2025-11-25]\n  - tools/x\nother - y\n"
    assert parse_listing(listing) == ["ping", "tools/x"]
