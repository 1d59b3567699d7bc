"""The order of the runs, and the command line of each."""

from __future__ import annotations

from bench.load import PROGRAM, Timing, call_model, call_models, command_line, get_model, list_tools
from bench.peers import ENGINES, Peer, Stores, gateway_settings, list_request
from bench.plan import FULL, GROUPS, QUICK, Entry, Group, present, runs
from scaimcp.settings import load

PEER = Peer("gateway/uvicorn", "http://127.0.0.1:9", 1)
TIMING = Timing(1.5, 0.25)


def group(name: str, *peers: str) -> Group:
    return Group(name, tuple(Entry(peer, call_model(16)) for peer in peers))


def after(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


def test_the_order_within_a_group_turns_round_with_every_round() -> None:
    groups = (group("a", "x", "y"), group("b", "z"))
    order = [(number, g.name, entry.peer) for number, g, entry in runs(groups, 2)]
    assert order == [
        (0, "a", "x"), (0, "a", "y"), (0, "b", "z"),
        (1, "a", "y"), (1, "a", "x"), (1, "b", "z"),
    ]  # fmt: skip


def test_peers_that_do_not_run_are_left_out_and_so_are_empty_groups() -> None:
    groups = (group("a", "x", "nginx"), group("b", "nginx"))
    kept = present(groups, frozenset({"x"}))
    assert [(g.name, [e.peer for e in g.entries]) for g in kept] == [("a", ["x"])]


def test_every_gateway_is_compared_with_its_floor_in_the_same_group() -> None:
    by_name = {g.name: {entry.peer for entry in g.entries} for g in GROUPS}
    for engine in ENGINES:
        assert {f"gateway/{engine}", f"forward/{engine}"} <= by_name["models_get c=16"]
        assert {f"gateway/{engine}", f"bytes/{engine}"} <= by_name["tools/list c=16"]
    for name in ("models_get c=1", "models_get c=64"):
        assert {"gateway/uvicorn", "direct"} <= by_name[name]


def test_the_rounds_fit_into_the_time_that_is_promised() -> None:
    count = sum(len(g.entries) for g in GROUPS)
    for schedule in (FULL, QUICK):
        loaded = count * schedule.rounds * (schedule.seconds + schedule.warm_seconds)
        assert loaded < schedule.total_seconds * 0.6


def test_a_call_names_tool_arguments_and_bearer() -> None:
    command = command_line(PEER, call_model(16), TIMING)
    assert command[0] == str(PROGRAM)
    assert after(command, "-u") == "http://127.0.0.1:9/mcp"
    assert (after(command, "-c"), after(command, "-d"), after(command, "-w")) == (
        "16", "1.50", "0.25",
    )  # fmt: skip
    assert after(command, "-t") == "models_get"
    assert after(command, "-a") == '{"model":"scailabs/echo-1"}'
    assert after(command, "-H").startswith("Authorization: Bearer sgk_")
    assert not {"-M", "-s", "-I", "-n"} & set(command)


def test_the_direct_call_is_the_rest_request_behind_the_tool() -> None:
    command = command_line(PEER, get_model(1), TIMING)
    assert after(command, "-u") == "http://127.0.0.1:9/v1/models/scailabs%2Fecho-1"
    assert after(command, "-m") == "get"
    assert "-t" not in command


def test_switches_are_given_where_the_load_has_them() -> None:
    assert "-M" in command_line(PEER, call_model(1, is_modern=True), TIMING)
    assert "-s" in command_line(PEER, call_model(1, has_sessions=True), TIMING)
    assert "-I" in command_line(PEER, list_tools(1, checks_ids=False), TIMING)
    assert after(command_line(PEER, call_models(1), TIMING), "-t") == "models_list"
    assert after(command_line(PEER, list_tools(1), Timing(1, 0, answers=9)), "-n") == "9"


def test_the_gateway_takes_the_settings_of_the_bench() -> None:
    stores = Stores("postgresql://p@/p", "unix:///r")
    settings = load(gateway_settings("hypercorn", 8123, "http://127.0.0.1:9", stores))
    assert settings.server_engine == "hypercorn"
    assert settings.server_bind == ("127.0.0.1:8123",)
    assert settings.platform_url == "http://127.0.0.1:9"
    assert settings.state_keys is not None


def test_the_list_is_asked_for_as_the_load_generator_does() -> None:
    body, headers = list_request()
    assert b'"method":"tools/list"' in body
    assert headers["MCP-Protocol-Version"] == "2025-11-25"
