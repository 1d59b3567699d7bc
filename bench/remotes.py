"""What concerns remote servers: the gateways of three tenancies, and how discovery does.

``remote`` has one server of each kind, ``listing`` a thousand tools, ``crowded`` the whole crowd.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from pathlib import Path

import msgspec

from bench.load import Timing, call_model, call_remote, list_tools, measure, memory_of
from bench.peers import ENGINES, Peer, Stores, announced, gateway_settings, start_gateway
from bench.processes import python
from bench.remote_upstream import KINDS, TOOLS
from bench.tenancies import Tenancy, discover, found, tool_of

_LISTED = 50
_LOOK = Timing(1.0, 0.1)
_LOOKS = 5
# For a thousand servers: a burst would measure how many processes share the machine.
_SPREAD_SECONDS = 50.0


class Discovery(msgspec.Struct, frozen=True):
    """How one worker discovered the crowd; p99 in ms of a gateway before and meanwhile."""

    servers: int
    seconds: float
    p99_before: float
    p99_meanwhile: float


class Remotes(msgspec.Struct, frozen=True):
    """What was measured once; memory is MiB per 1,000 definitions."""

    discovery: Discovery
    definitions_mib: float


def start_remotes(
    stack: ExitStack, folder: Path, platform: Peer, stores: Stores, crowd: int
) -> tuple[list[Peer], Remotes]:
    """Register, discover, and start the gateways in front of it all.

    Args:
        stack: ends the processes.
        folder: for files.
        platform: the light platform.
        stores: the embedded servers.
        crowd: how many servers the largest tenant has.
    """
    upstream = announced(stack, folder, "remote-upstream", python("bench.remote_upstream"))
    few, listed, crowded = (
        found(stores, number, servers, upstream.url)
        for number, servers in ((1, len(KINDS)), (2, _LISTED), (3, crowd))
    )
    for tenancy in (few, listed):
        _discovered(folder, tenancy, platform)
    peers = [
        start_gateway(stack, folder, f"remote/{engine}", platform.url, few.stores, few.settings)
        for engine in ENGINES
    ]
    discovery = _watched(folder, crowded, platform, peers[0])
    for name, tenancy in (("listing/uvicorn", listed), ("crowded/uvicorn", crowded)):
        peers.append(
            start_gateway(stack, folder, name, platform.url, tenancy.stores, tenancy.settings)
        )
    return peers, Remotes(discovery, _memory(peers[0], peers[-1], platform, crowd))


def _discovered(folder: Path, tenancy: Tenancy, platform: Peer) -> None:
    with ExitStack() as stack:
        discover(stack, folder, tenancy, _worker_settings(tenancy, platform))


def _watched(folder: Path, crowded: Tenancy, platform: Peer, gateway: Peer) -> Discovery:
    """Discover the crowd while somebody else's gateway is in use."""

    def look() -> float:
        return measure(gateway, call_model(1), _LOOK, platform).answers.p99_ms

    before = [look() for _ in range(_LOOKS)]
    meanwhile: list[float] = []
    with ExitStack() as stack:
        seconds = discover(
            stack,
            folder,
            crowded,
            _worker_settings(crowded, platform),
            lambda: meanwhile.append(look()),
            _SPREAD_SECONDS * len(crowded.servers) / 1_000,
        )
    return Discovery(
        len(crowded.servers), seconds, statistics.median(before), statistics.median(meanwhile)
    )


def _memory(few: Peer, crowded: Peer, platform: Peer, crowd: int) -> float:
    """Return what 1,000 definitions weigh: two gateways that differ in nothing else."""
    timing = Timing(5.0, 0.0, answers=20)
    for peer in (few, crowded):
        for load in (list_tools(1), call_remote(tool_of("modern"), 1)):
            measure(peer, load, timing, platform)
    return (memory_of(crowded) - memory_of(few)) * 1_000 / (crowd * TOOLS)


def _worker_settings(tenancy: Tenancy, platform: Peer) -> dict[str, str]:
    return gateway_settings("uvicorn", 1, platform.url, tenancy.stores)
