"""The light vault, the guards it is asked under, and what is made of the figures."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bench.goals import Findings, errors_of, goals
from bench.load import Timing, command_line
from bench.peers import Peer
from bench.plan import FULL, QUICK, VAULT_CALLS, VAULT_GROUPS, runs, vault_group
from bench.processes import clean_environment
from bench.report import Facts, whole
from bench.vault import GUARDED, GUARDS, OPEN, Vault, command_settings
from bench.vault_upstream import MARKER, PARTNER, ROWS, SECRET, TENANT, TOKEN, Site
from scaimcp.scaivault.arguments import read_arguments
from scaimcp.scaivault.catalogue import TOOLS
from scaimcp.scaivault.context_lock import Identity, lock_headers, read_holder
from scaimcp.scaivault.guards import Guards, check_arguments, check_tool, passing_rows
from scaimcp.scaivault.lists import read_page
from scaimcp.scaivault.output import render
from scaimcp.scaivault.requests import request_of
from scaimcp.types import Secret
from scaimcp.vaultserver.environment import read_config
from tests.unit.bench.records import record

RECORDS = {tool.name.removeprefix("scaivault_"): tool for tool in TOOLS}
AUTHORIZATION = f"Bearer {TOKEN}".encode()


def unread(name: str) -> bytes:
    raise FileNotFoundError(name)


def guards(given: dict[str, str]) -> Guards:
    settings = command_settings(8123, "http://127.0.0.1:9", given)
    return read_config(settings, unread).read.guards


def get(path: str, authorization: bytes = AUTHORIZATION) -> tuple[int, Any]:
    answer = Site().answer(path.encode(), authorization, b"req_1", b"")
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), msgspec.json.decode(body)


def shown(tool: str, held: Guards) -> tuple[dict[str, Any], bytes]:
    """Return what a tool shows of the light vault's answer."""
    called, given = RECORDS[tool], VAULT_CALLS[tool].encode()
    check_tool(called, held)
    arguments = read_arguments(called, given)
    check_arguments(called, arguments, held)
    status, answer = get(request_of(called, arguments).target)
    assert status == 200
    if called.is_list:
        page = read_page(called, answer)
        assert not page.has_more
        answer = {"items": passing_rows(called, page.rows, held), "has_more": False}
    return render(called, answer, held)


def test_every_guard_is_on_in_one_command_and_none_in_the_other() -> None:
    on = guards(GUARDS)
    assert guards({}) == Guards()
    assert all(getattr(on, name) for name in Guards.__struct_fields__)


@pytest.mark.parametrize("tool", VAULT_CALLS)
def test_what_is_asked_for_passes_every_guard_whole(tool: str) -> None:
    free, _ = shown(tool, Guards())
    guarded, encoded = shown(tool, guards(GUARDS))
    assert guarded["masked"] is True
    assert len(free.get("items", [])) == len(guarded.get("items", []))
    assert MARKER.encode() in encoded


def test_lists_have_a_hundred_rows_and_a_secret_is_masked() -> None:
    for tool in ("list_secrets", "query_audit"):
        assert len(shown(tool, guards(GUARDS))[0]["items"]) == ROWS
    _, encoded = shown("read_secret", guards(GUARDS))
    assert b"sf-bench" not in encoded


def test_the_light_vault_knows_its_one_bearer_and_counts_what_it_is_asked() -> None:
    site = Site()
    assert get(f"/v1/secrets/{SECRET}", b"Bearer other")[0] == 401
    assert get("/v1/nowhere")[0] == 404
    site.answer(b"/v1/secrets/?limit=100", AUTHORIZATION, b"", b"")
    _, _, body = site.answer(b"/counts", b"", b"", b"").partition(b"\r\n\r\n")
    assert msgspec.json.decode(body) == {"/v1/secrets/": 1}


def test_the_token_belongs_to_the_locked_tenant_so_no_header_goes_with_it() -> None:
    holder = read_holder(get("/v1/auth/whoami")[1])
    assert (holder.tenant_id, holder.partner_id) == (TENANT, PARTNER)
    identity = Identity(token=Secret(TOKEN), key=b"")
    assert lock_headers(holder, identity, guards(GUARDS)) == {}


def test_the_load_names_tool_and_arguments() -> None:
    (group, *_) = VAULT_GROUPS
    peer = Peer(OPEN, "http://127.0.0.1:9", 1)
    command = command_line(peer, group.entries[0].load, Timing(1.5, 0.25))
    assert command[command.index("-t") + 1] == "scaivault_read_secret"
    assert msgspec.json.decode(command[command.index("-a") + 1]) == {"path": SECRET}


def test_the_two_commands_take_turns() -> None:
    order = [entry.peer for _, _, entry in runs(VAULT_GROUPS[:1], 2)]
    assert order == [OPEN, GUARDED, GUARDED, OPEN]


def test_the_part_for_the_vault_takes_less_than_ninety_seconds() -> None:
    count = sum(len(group.entries) for group in VAULT_GROUPS)
    for schedule in (FULL, QUICK):
        loaded = count * schedule.vault_rounds * (schedule.seconds + schedule.warm_seconds)
        assert loaded + schedule.vault_starts < 80


def findings(*extras: float) -> Findings:
    rows = []
    for number, extra in enumerate(extras):
        # The machine gets slower from round to round: the difference does not see it.
        for tool in VAULT_CALLS:
            group, plain = vault_group(tool), 0.5 + number
            rows.append(record(OPEN, plain, group=group, number=number))
            rows.append(record(GUARDED, plain + extra, group=group, number=number))
    return Findings(tuple(rows), 0, 0, vault=Vault((0.3, 0.7, 0.4), 60.0, 71.0, 36, 65.0))


def test_the_goals_of_the_vault_are_judged_by_their_own_figures() -> None:
    judged = {goal.what: goal.verdict for goal in goals(findings(0.125, 0.25, 0.125))}
    assert {what: verdict for what, verdict in judged.items() if verdict != "–"} == {
        "scaivault-mcp answers initialize, median": "ok",
        "the slowest of these starts": "over",
        "scaivault-mcp after a session (RSS)": "ok",
        "the most it ever held there": "over",
        "the most under load, streamable HTTP": "ok",
        "guards add to read_secret: CPU": "ok",
        "guards add to list_secrets: CPU": "ok",
        "guards add to query_audit: CPU": "ok",
    }
    over = {goal.what: goal.verdict for goal in goals(findings(0.25, 0.25, 0.125))}
    assert over["guards add to query_audit: CPU"] == "over"


def test_the_report_tells_of_starts_and_session_and_of_no_list() -> None:
    found = findings(0.125)
    text = whole(Facts("A Processor", 2, "6.1", "3.11.7", {}, 0.5), found, goals(found))
    assert "scaivault-mcp: 3 starts of 0.30 to 0.70 s; 36 tools called" in text
    assert "tools/list:" not in text
    assert errors_of(found.records) == []


def test_a_measured_command_inherits_nothing_of_the_vaults_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SCAIVAULT_READ_ONLY", "MCP_TRANSPORT", "PORT", "LOG_LEVEL"):
        monkeypatch.setenv(name, "x")
    kept = clean_environment({})
    assert not {"SCAIVAULT_READ_ONLY", "MCP_TRANSPORT", "PORT", "LOG_LEVEL"} & set(kept)
