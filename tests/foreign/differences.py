"""The differences that are meant, one reason each. Data.

A comparison is called ``<method> <server> <revision directly>><revision through the gateway>``,
and ``wrong <what>`` in place of the method where the question is a mistake. Everything that is not
here is a defect of the gateway; what is here and never comes up does not belong here.
"""

from __future__ import annotations

from tests.foreign.comparing import Meant

_OWN = r"ai\.scailabs\.scaimcp~1"
_INFO = r"io\.modelcontextprotocol~1serverInfo"
_META = "(/result)?/_meta/"
_LIST = r"\S+/list .*"
_MODERN = r".*>2026-07-28"
_CROSSING = r".* 2025-11-25>2026-07-28"
_BACK = r".* 2026-07-28>2025-11-25"
_BEFORE_STRUCTURE = r"\S+/list .*>(2025-03-26|2024-11-05)"
_BEFORE_ANNOTATIONS = r"\S+/list .*>2024-11-05"
_DEFINITION = r"/(tools|prompts|resources|resourceTemplates)/[^/]+"
_NONE = "absent"

MEANT: tuple[Meant, ...] = (
    # -- every answer
    Meant("every result carries the gateway's request id", ".*", f"{_META}{_OWN}request_id", _NONE),
    Meant("to clients the gateway is the server", _MODERN, f"{_META}{_INFO}(/.*)?"),
    Meant(
        "a result of the handshake era becomes one of 2026-07-28",
        _CROSSING, "(/result)?/resultType", _NONE, "complete",
    ),
    Meant(
        "a result of 2026-07-28 loses what the handshake era lacks",
        _BACK, f"{_META}{_INFO}|(/result)?/(resultType|ttlMs|cacheScope)", through=_NONE,
    ),
    # -- lists
    Meant("lists say which servers hide something", _LIST, f"{_META}{_OWN}remote_servers", _NONE),
    Meant(
        "how long a list of many servers keeps is the gateway's to say",
        f"\\S+/list {_MODERN}", "/(ttlMs|cacheScope)", through="60000|private",
    ),
    Meant("nothing here runs tasks", "tools/list .*", "/tools/[^/]+/execution", through=_NONE),
    Meant(
        "a tool that runs only as a task is dropped",
        "tools/list everything.*", "/tools/simulate-research-query", through=_NONE,
    ),
    Meant(
        "one list for all clients: what servers offer only to some is decided at discovery",
        "tools/list everything.*", "/tools/trigger-(url-elicitation|elicitation-request)",
    ),
    Meant(
        "members that came with 2025-06-18",
        _BEFORE_STRUCTURE, f"{_DEFINITION}/(title|outputSchema|icons|_meta/.*)", through=_NONE,
    ),
    Meant(
        "annotations came with 2025-03-26",
        _BEFORE_ANNOTATIONS, f"{_DEFINITION}/annotations", through=_NONE,
    ),
    # -- results
    Meant(
        "URIs of the server can be read with this before them",
        "(tools/call|resources/read|prompts/get) .*", f"{_META}{_OWN}resource_prefix",
        _NONE, "scailink://remote/tenant/.*/",
    ),
    Meant(
        "nobody else writes members that are the gateway's",
        "tools/call sdk.*", f"{_META}{_OWN}forged", through=_NONE,
    ),
    Meant(
        "what was read for one caller is not shared, and kept only as the server says",
        f"resources/read {_CROSSING}", "/result/(ttlMs|cacheScope)", _NONE, "0|private",
    ),
    Meant(
        "completion is served from 2025-03-26 on, where its capability came",
        "completion/complete .*>2024-11-05", "/(result|error)", through=f"{_NONE}|.*-32601.*",
    ),
    # -- errors
    Meant(
        "an error of the protocol is a failed call, whatever it says",
        "tools/call sdk.*", "/(result|error)",
        f"{_NONE}|.*-32050.*not today.*", f"{_NONE}|.*McpError.*not today.*-32050.*",
    ),
    Meant(
        "the gateway's own object stands in the data of an error",
        r"(resources/read|wrong \S+) .*", "/error/data(/error|/uri)?",
        through=f"{_NONE}|.*'code': 'McpError'.*",
    ),
    Meant(
        "the gateway knows which tools there are",
        "wrong no-such-tool .*", "/result/content/0/text", through=".*TOOL_NOT_FOUND.*",
    ),
    Meant(
        "to clients of 2026-07-28 an unknown tool is an error of the protocol",
        f"wrong no-such-tool {_MODERN}", "/(result|error)",
        through=f"{_NONE}|.*-32602.*TOOL_NOT_FOUND.*",
    ),
    Meant(
        "before 2026-07-28 a missing resource has a number of its own",
        "wrong resource .*>202[45].*", "/error/code", "-32602", "-32002",
    ),
    Meant(
        "the gateway knows which prompts there are",
        "wrong prompt .*", "/error/(message|code|data)",
        through="There is no such prompt.|-32602|.*'code': .*",
    ),
    Meant(
        "an error of a prompt has one of two numbers",
        "wrong arguments sdk.*", "/error/code", "0", "-32603",
    ),
    Meant(
        "the server says less in 2026-07-28, which the gateway speaks with it",
        "wrong arguments sdk .*>202[45].*", "/error/message", through="Internal server error",
    ),
)  # fmt: skip
