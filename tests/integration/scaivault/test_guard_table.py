"""The contract's table of guard cases, run as calls that the vault can count. Spec: scaivault 2.7.

One row: number, environment, call, how it ends, how many requests arrive. The pure part of the
table (`tests.unit.scaivault.guard_cases`) is run here once more through everything, because a
refusal is worth something only if nothing was sent before it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import msgspec
import pytest
import pytest_asyncio

from scaimcp.scaivault import prompts
from scaimcp.scaivault.catalogue import BY_NAME, TOOLS
from scaimcp.scaivault.completion import Completions
from scaimcp.scaivault.cursors import Cursors, process_ring
from scaimcp.scaivault.errors import MARKER, VaultError
from scaimcp.scaivault.guard_settings import PREFIX, parse_guards
from scaimcp.scaivault.guards import Guards
from scaimcp.scaivault.resources import Resources, Who, templates
from tests.integration.scaivault.cases import CASES, filled
from tests.integration.scaivault.child import Child, environment, started
from tests.integration.scaivault.desk import Desk, open_desk
from tests.integration.scaivault.world import furnish
from tests.unit.scaivault.guard_cases import CASES as PURE

PASSES, DENIED, INVALID_PATH = "passes", "PATH_DENIED", "INVALID_PATH"
LOCKED, NOT_FOUND = "TENANT_LOCKED", "TOOL_NOT_FOUND"
APP = {"ALLOWED_PATHS": "app"}
MASK = {"MASK_VALUES": "true"}
NAMES = {record.code: record.name for record in TOOLS}
# A window of two prefixes is asked for twice.
TWO_REQUESTS = "G20"


class Row(NamedTuple):
    """One guard case.

    Attributes:
        number: the contract's.
        environment: names without ``SCAIVAULT_``.
        call: tool, URI or prompt.
        arguments: of the call.
        expected: ``passes``, or the code of the refusal.
        calls: requests that arrive at the vault.
    """

    number: str
    environment: dict[str, str]
    call: str
    arguments: dict[str, Any]
    expected: str
    calls: int


def _tool(
    number: str, env: dict[str, str], tool: str, expected: str, arguments: dict[str, Any]
) -> Row:
    return Row(number, env, f"scaivault_{tool}", arguments, expected, int(expected == PASSES))


def _pure() -> list[Row]:
    rows = []
    for case in PURE:
        calls = 0 if case.expected != PASSES else 1 + (case.number == TWO_REQUESTS)
        name = NAMES[case.code]
        rows.append(Row(case.number, case.environment, name, case.arguments, case.expected, calls))
    return rows


_MARKED = {"path": "app/db", "data": {"p": MARKER}}
_WRITTEN = {"path": "app/db", "data": {"a": 1}}
_RULES = [{"path_pattern": "a", "permissions": ["read"]}]
_PARTNERS = {"name": "p", "rules": _RULES, "scope": "partner"}
TOOL_ROWS: list[Row] = [
    *_pure(),
    *[Row("G01", {"READ_ONLY": "true"}, record.name, {}, "READ_ONLY", 0)
      for record in TOOLS if record.tool_class != "read"],
    _tool("G02", {"READ_ONLY": "YES"}, "write_secret", "READ_ONLY", _WRITTEN),
    _tool("G50", MASK, "write_secret", "MASK_MARKER_REFUSED", _MARKED),
    _tool("G50", {}, "write_secret", "MASK_MARKER_REFUSED", _MARKED),
    # Only who asks is asked.
    Row("G53", {"TENANT_ID": "tnt_a"}, "scaivault_read_secret", {"path": "app/db"}, PASSES, 2),
    Row("G54", {"TENANT_ID": "tnt_b"}, "scaivault_read_secret", {"path": "app/db"},
        "tenant_access_denied", 2),
    _tool("G55", {"TENANT_ID": "tnt_a"}, "create_policy", LOCKED, _PARTNERS),
    Row("G56", {"PARTNER_ID": "ptn_other"}, "scaivault_read_secret", {"path": "app/db"}, LOCKED, 1),
    _tool("G57", {"TOOL_GROUPS": "secrets,audit"}, "list_cas", NOT_FOUND, {}),
]  # fmt: skip
SECRETS, TENANT_A = "scaivault://secrets/", "scaivault://secrets/tnt_a/"
URI_ROWS: list[Row] = [
    Row("G37", APP, f"{TENANT_A}infra/db", {}, DENIED, 0),
    Row("G37", APP, f"{TENANT_A}app/db", {}, PASSES, 2),
    Row("G37", APP, "scaivault://audit/tnt_a/infra/db", {}, DENIED, 0),
    *[Row("G38", APP, f"{SECRETS}{rest}", {}, INVALID_PATH, 0) for rest in
      ("tnt_a/app/%2e%2e/infra", "tnt_a//app/db", "tnt_a/app/db?x=1", "tnt_a/app/../infra",
       "tnt_a/app/db#x", "tnt_a/App/db")],
    Row("G55", {"TENANT_ID": "tnt_a"}, f"{SECRETS}tnt_b/app/db", {}, LOCKED, 0),
    Row("G57", {"TOOL_GROUPS": "secrets,audit"}, "scaivault://certificates/crt_1", {},
        NOT_FOUND, 0),
]  # fmt: skip
PROMPT_ROWS: list[Row] = [
    Row("G40", APP, "rotate-credential", {"path": "infra/db"}, DENIED, 0),
    Row("G40", APP, "audit-investigation", {"path": "infra/db"}, DENIED, 0),
    Row("G40", APP, "migrate-from-env", {"prefix": "infra"}, DENIED, 0),
    Row("G40", APP, "rotate-credential", {"path": "app/db"}, PASSES, 0),
]


def _id(row: Row) -> str:
    return f"{row.number}-{row.call.removeprefix('scaivault_')}-{row.expected}"


def guards_of(names: Mapping[str, str]) -> Guards:
    return parse_guards({PREFIX + name: value for name, value in names.items()}).guards


def _resources(desk: Desk) -> Resources:
    return Resources(desk.tools, Cursors(process_ring(b"k" * 32)))


@pytest_asyncio.fixture(scope="module")
async def one_desk() -> AsyncIterator[Desk]:
    async with open_desk() as running:
        yield running


@pytest_asyncio.fixture
async def cleared(one_desk: Desk) -> Desk:
    """Return a desk as if it were new: nothing is known of any token."""
    one_desk.served.vault.reset()
    one_desk.with_tools()
    for path in ("app/db", "app/pg/root"):
        await one_desk.secret(path)
    one_desk.forget()
    return one_desk


async def ended(call: Any) -> str:
    """Return how a call ends; what the vault itself does not find has passed the guards."""
    try:
        await call
    except VaultError as error:
        return PASSES if error.code.endswith("_not_found") else error.code
    return PASSES


@pytest.mark.parametrize("row", TOOL_ROWS, ids=_id)
async def test_a_tool_ends_as_the_table_says(cleared: Desk, row: Row) -> None:
    arguments = msgspec.json.encode(row.arguments)
    call = cleared.raw(row.call, arguments, guards_of(row.environment))
    assert await ended(call) == row.expected
    assert len(cleared.sent()) == row.calls


@pytest.mark.guard(2)
async def test_read_only_never_refuses_a_tool_that_reads(desk: Desk) -> None:
    ids, guards = await furnish(desk), guards_of({"READ_ONLY": "YES"})
    reading = [case for case in CASES if BY_NAME[f"scaivault_{case.tool}"].tool_class == "read"]
    assert len({case.tool for case in reading}) == 40
    for case in reading:
        await desk.call(case.tool, guards, **filled(case.arguments, ids))


@pytest.mark.parametrize("row", URI_ROWS, ids=_id)
async def test_a_resource_ends_as_the_table_says(cleared: Desk, row: Row) -> None:
    who = Who(cleared.identity, guards_of(row.environment))
    assert await ended(_resources(cleared).read(row.call, who)) == row.expected
    assert len(cleared.sent()) == row.calls


@pytest.mark.guard(39)
async def test_lists_and_completion_show_what_is_allowed_only(desk: Desk) -> None:
    for path in ("app/db", "app2/db", "infra/db"):
        await desk.secret(path)
    who, resources = Who(desk.identity, guards_of(APP)), _resources(desk)
    uris = [entry["uri"] for entry in (await resources.page(who)).resources]
    assert [uri for uri in uris if "/secrets/" in uri] == [f"{TENANT_A}app/db"]
    reference = {"type": "ref/resource", "uri": f"{SECRETS}{{tenant}}/{{+path}}"}
    for typed, expected in (("in", []), ("infra/", []), ("ap", ["app/db"]), ("", ["app/db"])):
        argument = {"name": "path", "value": typed}
        found = await Completions(resources).complete(reference, argument, who)
        assert found == {"values": expected, "hasMore": False}


@pytest.mark.parametrize("row", PROMPT_ROWS, ids=_id)
def test_a_prompt_ends_as_the_table_says(row: Row) -> None:
    arguments, guards = msgspec.json.encode(row.arguments), guards_of(row.environment)
    try:
        ending = PASSES if prompts.get(row.call, arguments, guards) else "none"
    except VaultError as error:
        ending = error.code
    assert ending == row.expected


@pytest.mark.guard(43)
async def test_nested_names_and_long_names_are_not_shown(desk: Desk) -> None:
    await desk.secret("app/db", {"outer": {"innermost": "x"}, "k" * 70: "x", "\u00e9": "x"})
    text = await desk.raw("scaivault_read_secret", b'{"path": "app/db"}', guards_of(MASK))
    data = msgspec.json.decode(text)["data"]
    assert data == {"outer": MARKER, f"{MARKER}1": MARKER, f"{MARKER}2": MARKER}
    assert b"innermost" not in text


@pytest.mark.guard(47)
async def test_a_resource_is_masked_as_its_tool_is(desk: Desk) -> None:
    ids, guards = await furnish(desk), guards_of(MASK)
    who, resources = Who(desk.identity, guards), _resources(desk)
    for uri, tool, arguments in (
        (f"{TENANT_A}app/db", "read_secret", {"path": "app/db"}),
        ("scaivault://policies/pol_everything", "get_policy", {"policy_id": "pol_everything"}),
    ):
        for _ in range(2):  # The first read is noted in what the second one shows.
            called = await desk.raw(f"scaivault_{tool}", msgspec.json.encode(arguments), guards)
        assert (await resources.read(uri, who))["text"] == called.decode()
    for held in (guards, Guards()):
        uri = f"scaivault://certificates/{ids['certificate']}"
        text = (await resources.read(uri, Who(desk.identity, held)))["text"]
        assert "BEGIN CERTIFICATE" in text
        assert "private_key" not in text
        assert "PRIVATE KEY" not in text


@pytest.mark.guard(57)
def test_groups_that_are_off_have_no_templates() -> None:
    named = [
        template["name"] for template in templates(guards_of({"TOOL_GROUPS": "secrets,audit"}))
    ]
    assert named == ["secrets", "audit"]


async def _codes(child: Child, *calls: tuple[str, dict[str, Any]]) -> list[str]:
    """Send calls as one batch; return the code of each, ``ok`` for a success."""
    batch = [
        {"jsonrpc": "2.0", "id": f"b{at}", "method": "tools/call",
         "params": {"name": f"scaivault_{name}", "arguments": arguments}}
        for at, (name, arguments) in enumerate(calls)
    ]  # fmt: skip
    await child.send(batch)
    answers = sorted(await child.receive(), key=lambda answer: answer["id"])
    texts = [answer["result"]["content"][0]["text"] for answer in answers]
    return [msgspec.json.decode(text).get("error", {}).get("code", "ok") for text in texts]


@pytest.mark.guard(57, 58)
async def test_calls_of_a_batch_are_judged_alone_and_groups_hide_tools(desk: Desk) -> None:
    for path in ("app/a", "infra/b"):
        await desk.secret(path)
    desk.forget()
    env = {"SCAIVAULT_ALLOWED_PATHS": "app", "SCAIVAULT_TOOL_GROUPS": "secrets,audit"}
    async with started(environment(desk.served.url, **env)) as child:
        await child.initialize("2025-03-26")
        assert len((await child.ask("tools/list"))["result"]["tools"]) == 11
        reads = [("read_secret", {"path": path}) for path in ("app/a", "infra/b", "app/a")]
        assert await _codes(child, *reads) == ["ok", DENIED, "ok"]
    assert desk.lines() == ["GET /v1/secrets/app/a"] * 2
