"""Every tool against the stand-in: what arrives is what its record says. Spec: scaivault 1."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from scaimcp.dev.vault.fixture import AGENT
from scaimcp.scaivault.catalogue import TOOLS
from scaimcp.scaivault.guards import Guards
from tests.integration.scaivault.cases import CASES, Case, filled
from tests.integration.scaivault.desk import Desk
from tests.integration.scaivault.world import furnish

READ_ONLY = Guards(read_only=True)
# Several requests and a wait; it has tests of its own.
LONG = {"request_certificate"}
REFUSED = [record for record in TOOLS if record.tool_class != "read"]


def test_the_cases_name_every_tool() -> None:
    named = {f"scaivault_{case.tool}" for case in CASES} | {f"scaivault_{name}" for name in LONG}
    assert named == {record.name for record in TOOLS}
    assert len(TOOLS) == 67


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.tool)
async def test_a_tool_sends_what_its_record_says(desk: Desk, case: Case) -> None:
    ids = await furnish(desk)
    result = await desk.call(case.tool, **filled(case.arguments, ids))
    assert desk.lines() == list(filled(case.lines, ids))
    bodies = [row["body"] for row in desk.sent() if row["body"]]
    expected = [] if case.body is None else [filled(case.body, ids)]
    assert [msgspec.json.decode(body) for body in bodies] == expected
    missing = [name for name in case.shows if name not in result]
    assert not missing, result


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.tool)
async def test_a_request_carries_the_bearer_and_no_tenant(desk: Desk, case: Case) -> None:
    ids = await furnish(desk)
    await desk.call(case.tool, **filled(case.arguments, ids))
    digest = hashlib.sha256(AGENT.encode()).hexdigest()
    for row in desk.sent():
        headers = row["headers"]
        assert headers["authorization"] == f"sha256:{digest}"
        assert "x-tenant-id" not in headers
        assert headers["user-agent"] == "scaimcp/9.9"
        assert headers.get("content-type", "application/json") == "application/json"
        assert bool(row["body"]) == ("content-type" in headers)


@pytest.mark.parametrize("record", REFUSED, ids=lambda record: record.name)
async def test_read_only_refuses_before_it_looks_at_arguments(desk: Desk, record: object) -> None:
    name = record.name.removeprefix("scaivault_")  # type: ignore[attr-defined]
    error = await desk.refused(name, READ_ONLY)
    assert (error.code, desk.sent()) == ("READ_ONLY", [])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.tool)
async def test_read_only_lets_reading_pass(desk: Desk, case: Case) -> None:
    ids = await furnish(desk)
    record = next(record for record in TOOLS if record.name == f"scaivault_{case.tool}")
    if record.tool_class == "read":
        await desk.call(case.tool, READ_ONLY, **filled(case.arguments, ids))
    else:
        error = await desk.refused(case.tool, READ_ONLY, **filled(case.arguments, ids))
        assert error.code == "READ_ONLY"
