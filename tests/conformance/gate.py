"""Judge the checks of a conformance run against `expected.json`.

The file names, for every suite version and protocol revision that is run (a leg), the scenarios
that apply with the ids of their checks, and the checks that may end otherwise than in SUCCESS,
with a reason. Everything the run shows beyond that, or short of it, is a problem, an exception
that is no longer needed included.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tests.conformance.suite import Check

EXPECTED = Path(__file__).resolve().parent / "expected.json"
STATUSES = ("FAILURE", "WARNING", "SKIPPED", "INFO")
ERROR_SCENARIOS = ("tools-call-error",)


class ExpectationError(ValueError):
    """`expected.json` contradicts itself; the text names the entry."""


class Excused(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A check that may end in `status` in every place where it does not succeed."""

    scenario: str
    check: str
    status: str
    reason: str


class Leg(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run: a suite version at a protocol revision.

    `required` maps each scenario that applies to the ids of all its checks.
    """

    suite: str
    spec_version: str
    required: dict[str, list[str]]
    exceptions: list[Excused]

    @property
    def name(self) -> str:
        """Return `<suite>@<revision>`."""
        return f"{self.suite}@{self.spec_version}"


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The data file: the legs, and why each other scenario does not apply to this server."""

    legs: list[Leg]
    not_applicable: dict[str, str]


def load(path: Path = EXPECTED) -> Expected:
    """Read and check the data file.

    Raises:
        ExpectationError: A contradiction, an unknown status or an empty reason.
    """
    expected = msgspec.json.decode(path.read_bytes(), type=Expected)
    for leg in expected.legs:
        check_leg(leg, expected.not_applicable)
    for scenario, reason in expected.not_applicable.items():
        if not reason.strip():
            raise ExpectationError(f"{scenario} is not applicable without a reason")
    return expected


def check_leg(leg: Leg, not_applicable: Mapping[str, str]) -> None:
    """Refuse a leg that contradicts itself or the list of what does not apply.

    Raises:
        ExpectationError: See `load`.
    """
    for scenario in sorted(leg.required.keys() & not_applicable.keys()):
        raise ExpectationError(f"{leg.name}: {scenario} is required and not applicable")
    seen: set[tuple[str, str]] = set()
    for excused in leg.exceptions:
        where = f"{leg.name}: {excused.scenario}/{excused.check}"
        if excused.check not in leg.required.get(excused.scenario, []):
            raise ExpectationError(f"{where} is excused but not required")
        if excused.status not in STATUSES:
            raise ExpectationError(f"{where} has the unknown status {excused.status}")
        if not excused.reason.strip():
            raise ExpectationError(f"{where} is excused without a reason")
        if (excused.scenario, excused.check) in seen:
            raise ExpectationError(f"{where} is excused twice")
        seen.add((excused.scenario, excused.check))


def problems(leg: Leg, results: Mapping[str, Sequence[Check]]) -> list[str]:
    """List everything in which a run departs from its leg; empty means conformant."""
    found = [
        f"{scenario}: ran, but is not listed as required"
        for scenario in results
        if scenario not in leg.required
    ]
    used: set[Excused] = set()
    for scenario, ids in leg.required.items():
        checks = results.get(scenario, ())
        if not checks:
            found.append(f"{scenario}: did not run")
            continue
        found += id_problems(scenario, ids, checks)
        found += status_problems(leg, scenario, checks, used)
    found += [
        f"{excused.scenario}/{excused.check}: is excused as {excused.status}, which did not occur"
        for excused in leg.exceptions
        if excused not in used
    ]
    return found


def id_problems(scenario: str, ids: Sequence[str], checks: Sequence[Check]) -> list[str]:
    """Compare the ids of the checks that were made with those that are listed."""
    made = {check.id for check in checks}
    missing = [f"{scenario}/{name}: the check was not made" for name in ids if name not in made]
    unknown = [f"{scenario}/{name}: the check is not listed" for name in sorted(made - set(ids))]
    return missing + unknown


def status_problems(
    leg: Leg, scenario: str, checks: Sequence[Check], used: set[Excused]
) -> list[str]:
    """List the checks that neither succeeded nor are excused; adds to `used` what excused one."""
    excuses = {excused.check: excused for excused in leg.exceptions if excused.scenario == scenario}
    found: list[str] = []
    for check in checks:
        excused = excuses.get(check.id)
        if check.status != "SUCCESS" and (excused is None or excused.status != check.status):
            said = check.error_message or check.name
            found.append(f"{scenario}/{check.id}: {check.status}: {said}")
        elif check.status != "SUCCESS" and excused is not None:
            used.add(excused)
        elif scenario not in ERROR_SCENARIOS and is_error_reply(check):
            found.append(f"{scenario}/{check.id}: SUCCESS on a result with isError")
    return found


def is_error_reply(check: Check) -> bool:
    """Tell whether a check was made on a failed tool call; some are content with any text."""
    details = check.details if isinstance(check.details, dict) else {}
    result = details.get("result")
    return isinstance(result, dict) and result.get("isError") is True


def coverage_problems(
    expected: Expected, listed: Mapping[str, Sequence[str]], known: Sequence[str]
) -> list[str]:
    """Compare the data file with what the installed suites can run.

    Args:
        expected: The data file.
        listed: Leg name to the scenarios that the suite lists at the leg's revision.
        known: All server scenarios of all installed suites, extensions included.

    Returns:
        Scenarios that nobody decided on, and entries for scenarios that do not exist.
    """
    found: list[str] = []
    decided = set(expected.not_applicable)
    for leg in expected.legs:
        here = set(listed[leg.name])
        undecided = sorted(here - leg.required.keys() - decided)
        found += [f"{leg.name}: {scenario} is not decided on" for scenario in undecided]
        gone = [scenario for scenario in leg.required if scenario not in here]
        found += [f"{leg.name}: {scenario} is not in the suite" for scenario in gone]
        decided |= leg.required.keys()
    found += [f"{scenario} is not decided on" for scenario in sorted(set(known) - decided)]
    stale = sorted(set(expected.not_applicable) - set(known))
    return found + [f"{scenario} is not in any suite" for scenario in stale]
