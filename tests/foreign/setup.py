"""A gateway in which every foreign server is registered, and pairs of clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.foreign.clients import Person, Place, Side, connected
from tests.foreign.comparing import Comparison, Difference
from tests.foreign.differences import MEANT
from tests.foreign.processes import HANDSHAKE, KINDS, MODERN, Foreign
from tests.integration.remotes.rest import ROLES, Registry

LATEST = HANDSHAKE[0]
JSON = dict[str, Any]
KEYS = {"tools": "name", "prompts": "name", "resources": "uri", "resourceTemplates": "uriTemplate"}
METHODS = {"resourceTemplates": "resources/templates/list"}


@dataclass(frozen=True)
class Case:
    """A server, and which revisions the client speaks directly and to the gateway."""

    server: str
    direct: str
    through: str

    @property
    def label(self) -> str:
        return f"{self.server} {self.direct}>{self.through}"


@dataclass
class Pair:
    """The same client twice: directly at a server and through the gateway."""

    case: Case
    direct: Side
    through: Side
    prefix: str
    resources: str
    comparison: Comparison
    wrong: list[tuple[str, Difference]] = field(default_factory=list)

    def compare(self, method: str, direct: Any, through: Any, about: str = "") -> None:
        """Keep what differs and is not meant to."""
        for one, why in self.comparison.judged(f"{method} {self.case.label}", direct, through):
            if why is None:
                self.wrong.append((f"{method} {about}".strip(), one))


@dataclass
class Setup:
    """A gateway with every foreign server registered, by name."""

    registry: Registry
    foreign: dict[str, Foreign]
    details: dict[str, JSON] = field(default_factory=dict)
    comparison: Comparison = field(default_factory=lambda: Comparison(MEANT))
    pairs: int = 0
    blocks: set[str] = field(default_factory=set)

    @property
    def token(self) -> str:
        return self.registry.world.tokens[ROLES["user"]]

    @asynccontextmanager
    async def pair(self, case: Case, *people: Person) -> AsyncIterator[Pair]:
        """Connect both clients; with two people each can ask one. Fails on what differs."""
        self.pairs += 1
        foreign, detail = self.foreign[case.server], self.details[case.server]
        straight = Place(foreign.url, foreign.kind.transport)
        gateway = Place(self.registry.world.mcp_url, token=self.token)
        first, second = people or (None, None)
        async with (
            connected(straight, case.direct, first) as direct,
            connected(gateway, case.through, second) as through,
        ):
            pair = Pair(
                case, direct, through, detail["name_prefix"],
                f"scailink://remote/tenant/{detail['slug']}/", self.comparison,
            )  # fmt: skip
            yield pair
        self.blocks.update(direct.wire.blocks, through.wire.blocks)
        assert pair.wrong == []


def cases() -> list[Case]:
    """Return every server in its revisions, and with a client of the other era at the gateway."""
    same = [Case(kind.name, one, one) for kind in KINDS for one in kind.revisions]
    crossing = [
        Case(kind.name, MODERN, LATEST)
        if MODERN in kind.revisions
        else Case(kind.name, LATEST, MODERN)
        for kind in KINDS
    ]
    return [*same, *crossing]


async def compare_lists(pair: Pair, what: str) -> dict[str, JSON]:
    """Compare a list; return the server's own definitions by name."""
    key, method = KEYS[what], METHODS.get(what, f"{what}/list")
    prefix = pair.prefix if key == "name" else pair.resources
    direct, through = await pair.direct.listed(what), await pair.through.listed(what)
    theirs = {item[key]: item for page in direct for item in page[what]}
    ours = {
        item[key].removeprefix(prefix): {**item, key: item[key].removeprefix(prefix)}
        for page in through
        for item in page[what]
        if item[key].startswith(prefix)
    }
    pair.compare(method, {what: theirs}, {what: ours})
    for page in (*direct, *through):
        page.pop("nextCursor", None)
        page[what] = []
    for page in through:
        pair.compare(method, direct[0], page, "the page itself")
    return theirs
