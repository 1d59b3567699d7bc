"""Which peers get which load, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from bench.load import (
    Load,
    call_model,
    call_models,
    call_remote,
    call_vault,
    get_model,
    list_tools,
)
from bench.remote_upstream import KINDS
from bench.tenancies import tool_of
from bench.vault import GUARDED, OPEN
from bench.vault_upstream import MARKER, ROWS, SECRET


class Entry(msgspec.Struct, frozen=True):
    """A load for one peer."""

    peer: str
    load: Load


class Group(msgspec.Struct, frozen=True):
    """Entries that are compared with each other, so they run one after the other."""

    name: str
    entries: tuple[Entry, ...]


class Schedule(msgspec.Struct, frozen=True):
    """How much is measured. ``total_seconds`` bounds the whole bench; ``crowd`` is how many servers
    the largest tenant has registered.
    """

    rounds: int
    seconds: float
    warm_seconds: float
    starts: int
    growth_calls: int
    with_dev: bool
    total_seconds: float
    crowd: int
    vault_rounds: int
    vault_starts: int


FULL = Schedule(
    3, 1.8, 0.4, 3, 200_000, with_dev=True, total_seconds=480, crowd=1_000, vault_rounds=5,
    vault_starts=10,
)  # fmt: skip
QUICK = Schedule(
    1, 1.0, 0.2, 1, 0, with_dev=False, total_seconds=100, crowd=100, vault_rounds=2, vault_starts=3
)


def _entries(load: Load, *peers: str) -> tuple[Entry, ...]:
    return tuple(Entry(peer, load) for peer in peers)


GROUPS: tuple[Group, ...] = (
    Group(
        "models_get c=16",
        _entries(
            call_model(16),
            "gateway/uvicorn",
            "forward/uvicorn",
            "bare/uvicorn",
            "gateway/hypercorn",
            "forward/hypercorn",
            "bare/hypercorn",
        ),
    ),
    *(
        Group(
            f"remote, {kind} c=16",
            (
                Entry("remote/uvicorn", call_remote(tool_of(kind), 16)),
                Entry("crowded/uvicorn", call_remote(tool_of(kind), 16)),
                Entry("forward/uvicorn", call_model(16)),
                Entry("remote/hypercorn", call_remote(tool_of(kind), 16)),
            ),
        )
        for kind in KINDS
    ),
    Group("tools/list, 1,000 remote c=16", _entries(list_tools(16), "listing/uvicorn")),
    Group("tools/list, 1,000 remote c=1", _entries(list_tools(1), "listing/uvicorn")),
    Group("models_list c=16", _entries(call_models(16), "gateway/uvicorn", "gateway/hypercorn")),
    Group(
        "tools/list c=16",
        (
            Entry("gateway/uvicorn", list_tools(16)),
            Entry("bytes/uvicorn", list_tools(16, checks_ids=False)),
            Entry("gateway/hypercorn", list_tools(16)),
            Entry("bytes/hypercorn", list_tools(16, checks_ids=False)),
        ),
    ),
    Group(
        "models_get c=1",
        (
            Entry("gateway/uvicorn", call_model(1)),
            Entry("direct", get_model(1)),
            Entry("forward/uvicorn", call_model(1)),
            Entry("nginx", get_model(1)),
        ),
    ),
    Group(
        "models_get c=64",
        (
            Entry("gateway/uvicorn", call_model(64)),
            Entry("direct", get_model(64)),
            Entry("forward/uvicorn", call_model(64)),
            Entry("gateway/hypercorn", call_model(64)),
            Entry("nginx", get_model(64)),
        ),
    ),
    Group(
        "models_get c=16, 2026-07-28",
        _entries(call_model(16, is_modern=True), "gateway/uvicorn"),
    ),
    Group(
        "models_get c=16, sessions",
        _entries(call_model(16, has_sessions=True), "gateway/uvicorn"),
    ),
    Group(
        "tools/list c=16, 2026-07-28",
        _entries(list_tools(16, is_modern=True), "gateway/uvicorn"),
    ),
)


_PREFIX = MARKER.rstrip("/")
VAULT_CALLS = {
    "read_secret": f'{{"path":"{SECRET}"}}',
    "list_secrets": f'{{"prefix":"{_PREFIX}","limit":{ROWS}}}',
    "query_audit": f'{{"path_prefix":"{_PREFIX}","limit":{ROWS}}}',
}


def vault_group(tool: str) -> str:
    """Return the name of the group in which a tool is called with guards and without."""
    return f"vault, {tool} c=4"


VAULT_GROUPS: tuple[Group, ...] = tuple(
    Group(vault_group(tool), _entries(call_vault(tool, arguments, 4), OPEN, GUARDED))
    for tool, arguments in VAULT_CALLS.items()
)


def runs(groups: Sequence[Group], rounds: int) -> Iterator[tuple[int, Group, Entry]]:
    """Yield every run: all groups in each round, the order within a group reversed each time.

    What drifts on the machine then hits the peers of a group alike.
    """
    for number in range(rounds):
        for group in groups:
            entries = group.entries if number % 2 == 0 else group.entries[::-1]
            for entry in entries:
                yield number, group, entry


def present(groups: Sequence[Group], peers: frozenset[str]) -> tuple[Group, ...]:
    """Leave out entries whose peer does not run here, and groups without entries."""
    kept = (
        Group(group.name, tuple(entry for entry in group.entries if entry.peer in peers))
        for group in groups
    )
    return tuple(group for group in kept if group.entries)
