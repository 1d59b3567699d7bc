"""Which era a server speaks: the ladder of probes, and lists read on what it finds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.outbound import GuardedHttp
from scaimcp.upstream.errors import ProtocolError, UpstreamError
from scaimcp.upstream.lists import Budget, Listed, read_list
from scaimcp.upstream.opening import open_session
from scaimcp.upstream.request import Handshake
from tests.integration.rawserver import Play, RawServer, Writer, reply, reset, serve_raw
from tests.integration.upstream.support import guarded, opener, opening, sdk

Answer = tuple[int, Any]


def told(versions: list[str]) -> Answer:
    return 200, {"result": {"supportedVersions": versions, "capabilities": {"tools": {}}}}


def shaken(version: str, **more: Any) -> Answer:
    return 200, {"result": {"protocolVersion": version, "capabilities": {}, **more}}


def failed(code: int, status: int = 400, message: str = "no", **data: Any) -> Answer:
    error = {"code": code, "message": message} | ({"data": data} if data else {})
    return status, {"error": error}


class Scripted:
    """A server that answers each MCP method as it is told, each time anew."""

    def __init__(self, raw: RawServer) -> None:
        self.raw = raw
        self.answers: dict[str, list[Answer | Play]] = {}
        self.lines: tuple[str, ...] = ()
        self.get: Play = reply(405)
        raw.default = self.play
        self.url = f"{raw.url}/mcp"

    async def play(self, writer: Writer) -> None:
        request = self.raw.seen[-1]
        if request.method != "POST":
            await (self.get if request.method == "GET" else reply(200))(writer)
            return
        message = msgspec.json.decode(request.body)
        if "id" not in message:
            await reply(202)(writer)
            return
        script = self.answers.get(message["method"], [(404, b"")])
        answer = script.pop(0) if len(script) > 1 else script[0]
        if callable(answer):
            await answer(writer)
            return
        status, body = answer
        if isinstance(body, dict):
            body = {"jsonrpc": "2.0", "id": message["id"], **body}
        await reply(status, body, *self.lines)(writer)

    @property
    def methods(self) -> list[str]:
        """What came, MCP methods and other verbs."""
        return [
            msgspec.json.decode(r.body)["method"] if r.method == "POST" else r.method
            for r in self.raw.seen
        ]


@pytest_asyncio.fixture(scope="module")
async def http() -> AsyncIterator[GuardedHttp]:
    async with guarded() as http:
        yield http


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Scripted]:
    async with serve_raw() as raw:
        yield Scripted(raw)


async def opened(http: GuardedHttp, server: Scripted, **more: Any) -> Handshake:
    async with open_session(http.session, opening(server.url, **more)) as session:
        return session.handshake


async def refused(http: GuardedHttp, server: Scripted, **more: Any) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await opened(http, server, **more)
    return caught.value


FALLING_BACK: dict[str, Answer] = {
    "method not found": failed(-32601, 404),
    "method not found with 200": failed(-32601, 200),
    "no session": failed(-32000, 400, "Server not initialized"),
    "no body": (404, b""),
    "not allowed": (405, b""),
    "HTML": (200, b"<html>"),
    "only legacy versions offered": told(["2025-11-25"]),
    "only legacy versions supported": failed(-32022, supported=["2025-11-25", "2025-06-18"]),
    "a description that is none": (200, {"result": {"supportedVersions": 5}}),
}


@pytest.mark.parametrize("name", list(FALLING_BACK))
@pytest.mark.parametrize("version", ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"])
async def test_any_other_answer_leads_to_initialize(
    http: GuardedHttp, server: Scripted, name: str, version: str
) -> None:
    server.answers = {"server/discover": [FALLING_BACK[name]], "initialize": [shaken(version)]}
    handshake = await opened(http, server)
    assert (handshake.era, handshake.version) == ("legacy", version)
    assert server.methods == ["server/discover", "initialize", "notifications/initialized"]
    assert server.raw.seen[-1].headers["mcp-protocol-version"] == version
    assert "mcp-protocol-version" not in server.raw.seen[1].headers


@pytest.mark.parametrize(
    ("answer", "is_told"),
    [
        (told(["2026-07-28", "2025-11-25"]), True),
        (failed(-32020), False),
        (failed(-32021), False),
        (failed(-32022, supported=["2026-07-28"]), False),
    ],
)
async def test_what_only_modern_servers_answer_settles_the_era(
    http: GuardedHttp, server: Scripted, answer: Answer, is_told: bool
) -> None:
    server.answers = {"server/discover": [answer]}
    handshake = await opened(http, server)
    assert (handshake.era, handshake.version) == ("modern", "2026-07-28")
    assert (handshake.capabilities is not None) is is_told
    assert server.methods == ["server/discover"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((401, b""), "AuthenticationError"),
        ((403, b""), "AuthenticationError"),
        ((500, b""), "RemoteServerError"),
        ((429, b""), "RateLimitedError"),
        ((302, b""), "RedirectError"),
        (told(["2030-01-01"]), "UnsupportedProtocolVersionError"),
        (failed(-32022, supported=["2030-01-01"]), "UnsupportedProtocolVersionError"),
        (failed(-32022, supported=5), "UnsupportedProtocolVersionError"),
    ],
)
async def test_what_no_other_era_would_change_is_final(
    http: GuardedHttp, server: Scripted, answer: Answer, code: str
) -> None:
    server.answers = {"server/discover": [answer]}
    assert (await refused(http, server)).code == code
    assert server.methods == ["server/discover"]


async def silence(writer: Writer) -> None:
    await asyncio.Event().wait()


async def test_two_seconds_of_silence_lead_to_initialize(
    http: GuardedHttp, server: Scripted
) -> None:
    server.answers = {"server/discover": [silence], "initialize": [shaken("2025-11-25")]}
    assert (await opened(http, server)).era == "legacy"


@pytest.mark.parametrize("era", [None, "legacy", "modern"])
async def test_all_of_it_has_one_deadline(
    http: GuardedHttp, server: Scripted, era: str | None
) -> None:
    server.answers = {"server/discover": [silence], "initialize": [silence]}
    error = await refused(http, server, seconds=0.2, era=era)
    assert (error.code, error.message) == (
        "TimeoutError",
        "The server did not answer within 0.2 s.",
    )


async def test_a_remembered_legacy_server_is_asked_its_own_way_first(
    http: GuardedHttp, server: Scripted
) -> None:
    server.lines = ("Mcp-Session-Id: s1",)
    server.answers = {"initialize": [shaken("2025-11-25")]}
    handshake = await opened(http, server, era="legacy")
    assert handshake.session_id == "s1"
    assert server.methods == ["initialize", "notifications/initialized", "DELETE"]


@pytest.mark.row(50)
@pytest.mark.parametrize(
    "answer",
    [failed(-32022, supported=["2026-07-28"]), failed(-32602), (404, b""), shaken("2026-07-28")],
)
async def test_a_server_that_turned_modern_overnight_is_noticed(
    http: GuardedHttp, server: Scripted, answer: Answer
) -> None:
    server.answers = {"initialize": [answer], "server/discover": [told(["2026-07-28"])]}
    handshake = await opened(http, server, era="legacy")
    assert handshake.era == "modern"
    assert handshake.capabilities is not None


@pytest.mark.row(50)
async def test_a_server_that_turned_legacy_overnight_is_noticed(
    http: GuardedHttp, server: Scripted
) -> None:
    server.answers = {"initialize": [shaken("2025-06-18")]}
    assert (await opened(http, server, era="modern")).version == "2025-06-18"


async def test_a_modern_server_slow_to_describe_itself_names_its_version_on_initialize(
    http: GuardedHttp, server: Scripted
) -> None:
    server.answers = {"initialize": [failed(-32022, supported=["2026-07-28"])]}
    handshake = await opened(http, server)
    assert (handshake.era, handshake.capabilities) == ("modern", None)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (shaken("2020-01-01"), "UnsupportedProtocolVersionError"),
        (shaken("2025-11-25", capabilities=5), "ProtocolError"),
        (failed(-32603), "McpError"),
        ((404, b""), "RemoteClientError"),
        ((401, b""), "AuthenticationError"),
        ((500, b""), "RemoteServerError"),
    ],
)
@pytest.mark.parametrize("era", [None, "legacy"])
async def test_a_server_of_no_era_fails_with_what_it_said_last(
    http: GuardedHttp, server: Scripted, answer: Answer, code: str, era: str | None
) -> None:
    server.answers = {"initialize": [answer]}
    assert (await refused(http, server, era=era)).code == code


async def test_a_malformed_session_id_is_refused(http: GuardedHttp, server: Scripted) -> None:
    server.lines = ("Mcp-Session-Id: a b",)
    server.answers = {"initialize": [shaken("2025-11-25")]}
    assert isinstance(await refused(http, server), ProtocolError)


async def test_an_http_sse_server_is_recognised_in_the_error(http: GuardedHttp) -> None:
    async with sdk("sse") as fleet:
        with pytest.raises(UpstreamError) as caught:
            async with open_session(http.session, opening(fleet.url)):
                pass
    assert caught.value.message.endswith("This looks like HTTP+SSE; set transport to sse.")


@pytest.mark.parametrize(
    "get",
    [
        reply(200, b"event: ping\ndata: x\n\n", content_type="text/event-stream"),
        reply(200, b"", content_type="text/event-stream"),
        reply(200, b"{}"),
        reset(),
        silence,
    ],
)
async def test_other_servers_get_no_such_hint(
    http: GuardedHttp, server: Scripted, get: Play
) -> None:
    server.get = get
    assert "HTTP+SSE" not in (await refused(http, server)).message


@pytest.mark.parametrize("first", [reply(502), reply(503), reply(504), reset()])
@pytest.mark.parametrize("method", ["server/discover", "initialize", "tools/list"])
async def test_what_changes_nothing_is_tried_once_more(
    http: GuardedHttp, server: Scripted, first: Play, method: str
) -> None:
    server.answers = {"tools/list": [(200, {"result": {"tools": [{"name": "a"}]}})]}
    if method == "initialize":
        server.answers["initialize"] = [first, shaken("2025-11-25", capabilities={"tools": {}})]
    else:
        server.answers["server/discover"] = [told(["2026-07-28"])]
        server.answers[method] = [first, *server.answers[method]]
    async with open_session(http.session, opening(server.url)) as session:
        assert len((await read_list(session, opener(server.url), "tool")).items) == 1
    assert server.methods.count(method) == 2


async def test_a_second_failure_is_final(http: GuardedHttp, server: Scripted) -> None:
    server.answers = {"server/discover": [(503, b"")]}
    assert (await refused(http, server)).code == "RemoteServerError"
    assert server.methods == ["server/discover"] * 2


Pages = Callable[[str | None], Any]


@pytest_asyncio.fixture
async def paged(http: GuardedHttp, server: Scripted) -> Any:
    """Read the tools of a server whose pages a function makes."""

    async def read(pages: Pages, budget: Budget | None = None, kind: str = "tool") -> Listed:
        async def play(writer: Writer) -> None:
            message = msgspec.json.decode(server.raw.seen[-1].body)
            made = pages(message["params"].get("cursor"))
            body = made if isinstance(made, bytes) else msgspec.json.encode(made)
            await reply(200, b'{"id":%d,"result":%b}' % (message["id"], body))(writer)

        capabilities = {"tools": {}, "resources": {}, "prompts": {}}
        result = {"supportedVersions": ["2026-07-28"], "capabilities": capabilities}
        server.answers = {"server/discover": [(200, {"result": result})]}
        for method in ("tools/list", "resources/list", "prompts/list", "resources/templates/list"):
            server.answers[method] = [play]
        async with open_session(http.session, opening(server.url)) as session:
            return await read_list(session, opener(server.url), kind, budget)

    return read


def tools(first: int, count: int) -> list[dict[str, str]]:
    return [{"name": f"t{at}"} for at in range(first, first + count)]


async def test_pages_are_joined_in_order(paged: Any) -> None:
    following = {None: "b", "b": "é c", "é c": None}
    listed = await paged(lambda at: {"tools": tools(0, 2), "nextCursor": following[at]})
    assert (len(listed.items), listed.pages, listed.surplus, listed.is_cut) == (6, 3, 0, False)


@pytest.mark.row(41)
@pytest.mark.parametrize(
    ("kind", "member", "most"),
    [
        ("tool", "tools", 512),
        ("resource", "resources", 2_000),
        ("resource_template", "resourceTemplates", 200),
        ("prompt", "prompts", 256),
    ],
)
async def test_what_is_over_the_limit_of_its_kind_is_counted(
    paged: Any, kind: str, member: str, most: int
) -> None:
    def pages(at: str | None) -> Any:
        return {member: tools(0, 5_000), "nextCursor": "x" if at is None else ""}

    listed = await paged(pages, None, kind)
    assert (len(listed.items), listed.surplus) == (most, 10_000 - most)
    assert msgspec.json.decode(listed.items[-1])["name"] == f"t{most - 1}"


@pytest.mark.row(41)
async def test_endless_pages_stop_at_fifty(paged: Any) -> None:
    listed = await paged(lambda at: {"tools": tools(0, 1), "nextCursor": f"{at}x"})
    assert (listed.pages, listed.is_cut) == (50, True)


@pytest.mark.row(41)
async def test_a_repeated_cursor_is_a_loop(paged: Any) -> None:
    following = {None: "a", "a": "b", "b": "a"}
    with pytest.raises(UpstreamError) as caught:
        await paged(lambda at: {"tools": [], "nextCursor": following[at]})
    assert caught.value.code == "PaginationLoopError"


async def test_a_page_over_four_megabytes_is_too_large(paged: Any) -> None:
    page = b'{"tools":[' + b" " * (4 * 1024 * 1024) + b"]}"
    with pytest.raises(UpstreamError) as caught:
        await paged(lambda at: page)
    assert caught.value.code == "ResponseTooLargeError"


async def test_all_lists_of_a_discovery_share_sixteen_megabytes(paged: Any) -> None:
    budget = Budget()
    page = {"tools": [{"name": "x" * 3_000_000}], "nextCursor": "on"}
    with pytest.raises(UpstreamError) as caught:
        await paged(lambda at: page | {"nextCursor": f"{at}x"}, budget)
    assert caught.value.code == "ResponseTooLargeError"
    assert budget.left < 0


@pytest.mark.parametrize(
    "page", [{"tools": 5}, {"tools": [], "nextCursor": 5}, b'{"tools":{}}', {"nextCursor": {}}]
)
async def test_a_malformed_page_is_a_protocol_error(paged: Any, page: Any) -> None:
    with pytest.raises(ProtocolError):
        await paged(lambda at: page)


async def test_one_broken_definition_does_not_spoil_its_page(paged: Any) -> None:
    page = b'{"tools":[{"name":"\\ud800"},{"name":"a","x":%b%b}]}' % (b"[" * 200, b"]" * 200)
    listed = await paged(lambda at: page)
    assert msgspec.json.decode(listed.items[0]) == {"name": "\0"}
    assert len(listed.items) == 2


async def test_a_list_that_the_server_does_not_have_is_empty(
    http: GuardedHttp, server: Scripted
) -> None:
    server.answers = {
        "server/discover": [told(["2026-07-28"])],
        "tools/list": [failed(-32601, 404)],
    }
    async with open_session(http.session, opening(server.url)) as session:
        assert (await read_list(session, opener(server.url), "tool")).pages == 0
        assert (await read_list(session, opener(server.url), "prompt")).pages == 0
        assert server.methods == ["server/discover", "tools/list"]
        server.answers["tools/list"] = [failed(-32603, 200)]
        with pytest.raises(UpstreamError):
            await read_list(session, opener(server.url), "tool")
