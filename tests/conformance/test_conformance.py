"""The official conformance suite against the gateway, every check judged (docs/conformance.md)."""

import asyncio
from typing import Protocol

import pytest

from tests.conformance.gate import Leg, coverage_problems, load, problems
from tests.conformance.suite import DID_NOT_RUN, list_scenarios, run_suite

pytestmark = pytest.mark.slow

EXPECTED = load()


class Gateway(Protocol):
    """A running gateway with the fixture tools of FIXTURES.md on loopback."""

    url: str
    token: str


async def test_every_scenario_of_the_installed_suites_is_decided_on() -> None:
    listings = await asyncio.gather(
        *(list_scenarios(leg.suite, leg.spec_version) for leg in EXPECTED.legs)
    )
    versions = sorted({leg.suite for leg in EXPECTED.legs})
    everything = await asyncio.gather(*(list_scenarios(version) for version in versions))
    listed = {leg.name: found for leg, found in zip(EXPECTED.legs, listings, strict=True)}
    known = [scenario for found in everything for scenario in found]
    assert coverage_problems(EXPECTED, listed, known) == []


@pytest.mark.parametrize("leg", EXPECTED.legs, ids=lambda leg: leg.name)
async def test_every_check_of_every_applicable_scenario_succeeds(
    leg: Leg, conformance_gateway: Gateway
) -> None:
    results = await run_suite(
        leg.suite,
        leg.spec_version,
        conformance_gateway.url,
        conformance_gateway.token,
        list(leg.required),
    )
    found = problems(leg, results)
    assert not found, "\n".join(found)


async def test_a_scenario_that_the_suite_does_not_know_is_a_failure() -> None:
    results = await run_suite("0.1.16", "2025-11-25", "http://127.0.0.1:9/mcp", "none", ["nothing"])
    assert [check.id for check in results["nothing"]] == [DID_NOT_RUN]
    assert "nothing" in (results["nothing"][0].error_message or "")


@pytest.mark.parametrize("suite", sorted({leg.suite for leg in EXPECTED.legs}))
async def test_a_wrong_bearer_fails_the_gate(suite: str, conformance_gateway: Gateway) -> None:
    leg = next(each for each in EXPECTED.legs if each.suite == suite)
    results = await run_suite(
        suite, leg.spec_version, conformance_gateway.url, "not-a-token", ["tools-list"]
    )
    statuses = {check.id: check.status for check in results["tools-list"]}
    assert statuses["tools-list"] == "FAILURE"
