"""A bounded load of everything that people do, and a journal of what was acknowledged to them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.faults.rig import MANAGER, OWNERS, Rig, eventually
from tests.integration.remotes.consenting import APPROVALS
from tests.integration.remotes.rest import ROOT, Rest, body
from tests.waiting import until
from tests.world import Called, Client, Reply

OK = "ok"
CUT = "cut"
CHANGES = 12
# One round of everybody; the manager decides on a change where others register and rotate.
MIX = ("remote", "list", "platform", "register", "own", "rest", "rotate", "own", "consent")
MANAGERS_MIX = ("remote", "list", "platform", "accept", "rest", "remote")


@dataclass
class Server:
    """A server that was acknowledged; `doubtful` values were sent later, and never answered."""

    id: str
    prefix: str
    value: str
    doubtful: list[str] = field(default_factory=list)


@dataclass
class Journal:
    """What people were told, by role where it is theirs.

    Attributes:
        doubtful: credential and upstream name of registrations without an answer, by name.
        approvals: state of each question that its user has decided.
        arguments: of the call that a question is about.
        pins: hash of each definition that was accepted.
        unsure: changes whose acceptance has no answer, by name.
        wrong: credentials that a server should not have seen.
    """

    servers: dict[str, dict[str, Server]]
    doubtful: dict[str, dict[str, str]]
    approvals: dict[str, dict[str, str]]
    arguments: dict[str, str] = field(default_factory=dict)
    pins: dict[str, str] = field(default_factory=dict)
    unsure: dict[str, dict[str, Any]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Shared:
    """The servers of the whole tenant that the load uses, as registered."""

    plain: dict[str, Any]
    asking: dict[str, Any]
    reviewed: dict[str, Any]


class Failed(Exception):
    """A request was answered with an error."""

    def __init__(self, word: str, retry_after: str | None = None) -> None:
        super().__init__(word)
        self.word = word
        self.retry_after = retry_after


class Load:
    """Some people who use the gateway at the same time, each one thing after the other.

    Attributes:
        phase: what is going on; the tally is kept by it. A request during which it changed
            counts for ``death``.
        tally: how often something ended in some way, by phase, kind and outcome.
        late: ``Retry-After`` of the answers with status 503.
    """

    def __init__(self, rig: Rig, shared: Shared, changes: list[dict[str, Any]]) -> None:
        self.rig = rig
        self.shared = shared
        self.changes = changes
        self.phase = "before"
        self.tally: Counter[tuple[str, str, str]] = Counter()
        self.late: Counter[str | None] = Counter()
        people: dict[str, Any] = {role: {} for role in OWNERS}
        self.journal = Journal(people, {role: {} for role in OWNERS}, {role: {} for role in OWNERS})
        self._numbers: Counter[str] = Counter()
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._stack = AsyncExitStack()

    # -- running ---------------------------------------------------------------------------------

    async def run(self, rounds: int = 1, phase: str | None = None) -> None:
        """Let everybody do some rounds at the same time."""
        self.phase = phase or self.phase
        async with asyncio.TaskGroup() as group:
            for role in OWNERS:
                group.create_task(self._person(role, MIX, rounds))
            group.create_task(self._person(MANAGER, MANAGERS_MIX, rounds))

    @asynccontextmanager
    async def during(self, rounds: int = 2) -> AsyncIterator[None]:
        """Let everybody work while the body runs, which begins in the middle of it."""
        before = self.tally.total()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.run(rounds))
            await until(lambda: self.tally.total() >= before + 2 * len(MIX))
            yield

    def outcomes(self, phase: str, *kinds: str) -> Counter[str]:
        """How requests of a phase ended, of these kinds or of all."""
        found: Counter[str] = Counter()
        for (when, kind, outcome), count in self.tally.items():
            if when == phase and (not kinds or kind in kinds):
                found[outcome] += count
        return found

    def failures(self, phase: str, *kinds: str) -> dict[str, int]:
        """The outcomes of a phase but for the good one."""
        return {word: n for word, n in self.outcomes(phase, *kinds).items() if word != OK}

    def report(self) -> str:
        """A table of the tally, for people."""
        lines = []
        for phase in dict.fromkeys(when for when, _, _ in self.tally):
            for kind in dict.fromkeys(kind for when, kind, _ in self.tally if when == phase):
                words = ", ".join(
                    f"{word} {count}" for word, count in self.outcomes(phase, kind).items()
                )
                lines.append(f"{phase:9} {kind:9} {words}")
        return "\n".join(lines)

    async def _person(self, role: str, mix: tuple[str, ...], rounds: int) -> None:
        deeds: dict[str, Callable[[str], Awaitable[None]]] = {
            "remote": self._remote, "list": self._list, "platform": self._platform,
            "register": self._register, "own": self._own, "rest": self._rest,
            "rotate": self._rotate, "consent": self._consent, "accept": self._accept,
        }  # fmt: skip
        for _ in range(rounds):
            for kind in mix:
                await self._counted(kind, deeds[kind](role))

    async def _counted(self, kind: str, work: Awaitable[None]) -> None:
        began, outcome = self.phase, OK
        try:
            await work
        except Failed as error:
            outcome = error.word
            if outcome == "SERVICE_UNAVAILABLE":
                self.late[error.retry_after] += 1
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            outcome = CUT
        self.tally[began if began == self.phase else "death", kind, outcome] += 1

    async def _http(self, role: str) -> aiohttp.ClientSession:
        if role not in self._sessions:
            connector = aiohttp.TCPConnector(limit=1)
            session = aiohttp.ClientSession(connector=connector)
            self._sessions[role] = await self._stack.enter_async_context(session)
        return self._sessions[role]

    async def client(self, role: str) -> Client:
        """A client on the one connection of somebody."""
        return self.rig.client(role, await self._http(role))

    async def rest(self, role: str) -> Rest:
        return Rest(await self.client(role))

    async def aclose(self) -> None:
        await self._stack.aclose()

    def number(self, role: str) -> int:
        """A number that nobody has used yet."""
        self._numbers[role] += 1
        return self._numbers[role]

    # -- what people do --------------------------------------------------------------------------

    async def _remote(self, role: str) -> None:
        word = f"{role}-{self.number(role)}"
        value = await self.call(role, f"{self.shared.plain['name_prefix']}echo", word)
        assert value == word

    async def _platform(self, role: str) -> None:
        called(await (await self.client(role)).call("me_get"))

    async def _list(self, role: str) -> None:
        reply = answered(await (await self.client(role)).rpc("tools/list"))
        names = {tool["name"] for tool in reply.result["tools"]}
        if not {f"{self.shared.plain['name_prefix']}echo", "me_get"} <= names:
            raise Failed("incomplete")

    async def _rest(self, role: str) -> None:
        answered(await (await self.rest(role)).get("?limit=5"))

    async def _register(self, role: str) -> None:
        name = f"{role} {self.number(role)}"
        value = f"{name} first".replace(" ", "-")
        self.journal.doubtful[role][name] = value
        reply = answered(await self.register(role, name, value))
        self.registered(role, reply.json["data"], value)

    async def register(self, role: str, name: str, value: str) -> Reply:
        """Send a registration with a credential."""
        url = self.rig.upstream.url(name.replace(" ", "-"))
        given = {"auth_type": "bearer", "credentials": {"authorization": value}}
        return await (await self.rest(role)).post(body=body(url, name, **given))

    def registered(self, role: str, data: Any, value: str) -> None:
        """Write down that a registration was acknowledged."""
        self.journal.doubtful[role].pop(data["name"], None)
        self.journal.servers[role][data["name"]] = Server(data["id"], data["name_prefix"], value)

    async def _rotate(self, role: str) -> None:
        servers = list(self.journal.servers[role].values())
        if not servers:
            return
        server = servers[self.number(role) % len(servers)]
        value = f"{role}-value-{self.number(role)}"
        server.doubtful.append(value)
        path = f"/{server.id}/credentials/authorization"
        answered(await (await self.rest(role)).put(path, {"value": value}))
        server.value = value
        server.doubtful.clear()

    async def _own(self, role: str) -> None:
        servers = list(self.journal.servers[role].values())
        if servers:
            await self.own(role, servers[self.number(role) % len(servers)])

    async def own(self, role: str, server: Server) -> None:
        """Call a server of one's own, and look which credential it saw."""
        word = f"{role}-own-{self.number(role)}"
        await self.call(role, f"{server.prefix}echo", word)
        seen = self.rig.upstream.tokens[word]
        if seen not in (server.value, *server.doubtful):
            self.journal.wrong.append(f"{server.prefix} saw {seen}, not {server.value}")

    async def _consent(self, role: str) -> None:
        number = self.number(role)
        word = f"{role}-asking-{number}"
        approval_id = await self.question(role, word)
        rest = await self.rest(role)
        path = f"{APPROVALS}/{approval_id}"
        digest = answered(await rest.get(path)).json["data"]["arguments_digest"]
        answered(await rest.post(f"{path}/approve", {"arguments_digest": digest}))
        self.journal.approvals[role][approval_id] = "approved"
        self.journal.arguments[approval_id] = word
        if number % 2:
            # Without an answer it may have been used up or not.
            self.journal.approvals[role][approval_id] = "unsure"
            assert await self.call(role, f"{self.shared.asking['name_prefix']}echo", word) == word
            self.journal.approvals[role][approval_id] = "consumed"

    async def question(self, role: str, word: str) -> str:
        """Call the tool whose user is asked; return the id of the question."""
        tool = f"{self.shared.asking['name_prefix']}echo"
        reply = answered(await (await self.client(role)).call(tool, {"q": word}))
        if Called(reply).code != "CONSENT_REQUIRED":
            raise Failed(Called(reply).code)
        return str(Called(reply).error["approval_id"])

    async def _accept(self, role: str) -> None:
        if not self.changes:
            return
        change = self.changes.pop()
        self.journal.unsure[change["name"]] = change
        await self.accept(role, change)

    async def accept(self, role: str, change: dict[str, Any]) -> None:
        """Accept a changed definition."""
        path = f"/{self.shared.reviewed['id']}/changes/{change['id']}/accept"
        answered(await (await self.rest(role)).post(path, {"new_hash": change["new_hash"]}))
        self.journal.pins[change["name"]] = change["new_hash"]
        del self.journal.unsure[change["name"]]

    async def call(self, role: str, tool: str, word: str) -> str:
        """Call a tool that says what it is told; return what it says."""
        reply = called(await (await self.client(role)).call(tool, {"q": word}))
        return str(reply.result["content"][0]["text"])


def answered(reply: Called | Reply) -> Reply:
    """Return an answer that is no error, or one of a tool."""
    reply = reply.reply if isinstance(reply, Called) else reply
    if reply.status >= 400:
        raise Failed(reply.word, reply.headers.get("retry-after"))
    return reply


def called(result: Called) -> Reply:
    """Return the answer of a call that went well."""
    reply = answered(result)
    if "error" in (reply.events[-1] if reply.is_stream else reply.json):
        raise Failed(reply.word)
    if result.is_error:
        raise Failed(result.code)
    return reply


@asynccontextmanager
async def prepare(rig: Rig) -> AsyncIterator[Load]:
    """Register what the load uses, with changes that wait for a word; the gateway runs."""
    plain = await rig.share(rig.upstream.url("plain"), "plain")
    asking = await rig.share(rig.upstream.url("asking"), "asking", consent_tier="confirm")
    reviewed = await rig.share(rig.changing.url("any"), "reviewed", tool_changes="review")
    rig.changing.offer(*(f"added_{at}" for at in range(CHANGES)))
    manager = rig.rest(MANAGER)
    assert (await manager.post(f"/{reviewed['id']}/refresh")).status == 200
    changes = (await manager.get(f"/{reviewed['id']}/changes?limit=200")).json["data"]["items"]
    assert len(changes) == CHANGES
    load = Load(rig, Shared(plain, asking, reviewed), changes)
    try:
        yield load
    finally:
        await load.aclose()
        with contextlib.suppress(OSError):
            print(load.report())


__all__ = ["CUT", "OK", "ROOT", "Failed", "Load", "eventually", "prepare"]
