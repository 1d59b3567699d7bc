"""The official conformance suite against ``scaivault-mcp`` over streamable HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.server import serve_vault
from tests.conformance.gate import EXPECTED, Leg, load, problems
from tests.conformance.suite import Target, run_suite
from tests.integration.scaivault.child import web

pytestmark = pytest.mark.slow

VAULT = load(Path(__file__).resolve().parent / "vault_expected.json")
# Browsers' origins are refused unless named, and one scenario sends that of the server itself.
ORIGINS = "http://127.0.0.1:{port},http://localhost:{port}"


@pytest_asyncio.fixture(scope="module")
async def url() -> AsyncIterator[str]:
    async with (
        serve_vault(VaultConfig()) as vault,
        web("streamable-http", vault.url, MCP_ALLOWED_ORIGINS=ORIGINS) as running,
    ):
        yield running.url + "/mcp"


def test_every_scenario_of_the_gateways_run_is_decided_on() -> None:
    legs = {leg.name: leg for leg in VAULT.legs}
    for leg in load(EXPECTED).legs:
        decided = legs[leg.name].required.keys() | VAULT.not_applicable.keys()
        assert leg.required.keys() - decided == set(), leg.name


@pytest.mark.parametrize("leg", VAULT.legs, ids=lambda leg: leg.name)
async def test_every_check_of_every_applicable_scenario_succeeds(leg: Leg, url: str) -> None:
    target = Target(url, "none")
    results = await run_suite(leg.suite, leg.spec_version, target, list(leg.required))
    found = problems(leg, results)
    assert not found, "\n".join(found)
