"""The official conformance suite against the gateway, every check judged (docs/conformance.md)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.conformance.gate import Leg, coverage_problems, load, problems
from tests.conformance.suite import DID_NOT_RUN, Target, list_scenarios, run_suite
from tests.fakes import fixtures_source as fixtures
from tests.world import MODERN, Client

pytestmark = pytest.mark.slow

EXPECTED = load()


@pytest_asyncio.fixture(scope="module")
async def client(conformance_gateway: Target) -> AsyncIterator[Client]:
    """Yield a client with the suite's token."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        url = conformance_gateway.url.removesuffix("/mcp")
        yield Client(http, url, conformance_gateway.token, MODERN)


async def first_page(client: Client, method: str, member: str, key: str = "name") -> list[str]:
    page: dict[str, Any] = (await client.rpc(method)).result
    assert "nextCursor" not in page
    return [item[key] for item in page[member]]


async def test_the_first_pages_hold_fixtures_the_module_and_remote_servers(
    client: Client, conformance_gateway: Target
) -> None:
    """What the suite reads of each list: the module comes before the fixtures."""
    tools = await first_page(client, "tools/list", "tools")
    assert {*fixtures.CONTENT, "scaivault_read_secret"} <= set(tools)
    prompts = await first_page(client, "prompts/list", "prompts")
    assert {"rotate-credential", *fixtures.ARGUMENTS} <= set(prompts)
    assert set(conformance_gateway.names.values()) <= {*tools, *prompts}
    uris = await first_page(client, "resources/list", "resources", "uri")
    assert uris == ["scaivault://guards", *fixtures.STATIC]
    templates = await first_page(
        client, "resources/templates/list", "resourceTemplates", "uriTemplate"
    )
    assert templates[-1] == fixtures.TEMPLATE
    assert [uri.partition(":")[0] for uri in templates[:-1]] == ["scaivault"] * 5


async def test_the_suites_completion_has_values(client: Client) -> None:
    """The suite would be content with an empty list."""
    params = {
        "ref": {"type": "ref/prompt", "name": "test_prompt_with_arguments"},
        "argument": {"name": "arg1", "value": "test"},
    }
    found = (await client.rpc("completion/complete", params)).result["completion"]
    assert found["values"] == ["test one", "test two"]


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
    leg: Leg, conformance_gateway: Target
) -> None:
    results = await run_suite(leg.suite, leg.spec_version, conformance_gateway, list(leg.required))
    found = problems(leg, results)
    assert not found, "\n".join(found)


async def test_a_scenario_that_the_suite_does_not_know_is_a_failure() -> None:
    target = Target("http://127.0.0.1:9/mcp", "none")
    results = await run_suite("0.1.16", "2025-11-25", target, ["nothing"])
    assert [check.id for check in results["nothing"]] == [DID_NOT_RUN]
    assert "nothing" in (results["nothing"][0].error_message or "")


@pytest.mark.parametrize("suite", sorted({leg.suite for leg in EXPECTED.legs}))
async def test_a_wrong_bearer_fails_the_gate(suite: str, conformance_gateway: Target) -> None:
    leg = next(each for each in EXPECTED.legs if each.suite == suite)
    stranger = replace(conformance_gateway, token="not-a-token")
    results = await run_suite(suite, leg.spec_version, stranger, ["tools-list"])
    statuses = {check.id: check.status for check in results["tools-list"]}
    assert statuses["tools-list"] == "FAILURE"
