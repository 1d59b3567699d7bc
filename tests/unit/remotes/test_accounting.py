"""What a call leaves behind: its outcome's name, its figures, its audit row."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.audit.buffer import AuditBuffer, BufferRules, CallRow
from scaimcp.credentials.errors import CredentialCorrupt, KeyUnavailable
from scaimcp.postgres import Database
from scaimcp.remotes.calls.accounting import Books, call_digest
from scaimcp.remotes.calls.offers import RemoteServer
from scaimcp.remotes.enumerations import ConsentTier
from scaimcp.remotes.rules.canonical import arguments_digest
from scaimcp.remotes.rules.consent_rules import read_arguments
from scaimcp.remotes.watching.targets import CredentialMissing
from scaimcp.telemetry import metrics
from scaimcp.types import RequestContext, Secret
from scaimcp.upstream.errors import (
    CircuitOpenError,
    EndpointForbiddenError,
    McpError,
    UpstreamTimeout,
)
from scaimcp.upstream.request import Ask, call_tool, complete, get_prompt, read_resource
from tests.fakes.callers import TOKEN, caller

VECTOR = b'{"title":"Hi","body":null,"n":1,"tags":["b","a"]}'
VECTOR_DIGEST = "a0474338041694b1c003f19a24b21757252de59be48823dc8647d87578b01368"
OK = msgspec.Raw(b'{"content":[],"isError":false}')


class Row(msgspec.Struct):
    """Of a server's row what accounting looks at."""

    id: str = "rs_1"
    tenant_id: str = "tnt_acme"
    endpoint_origin: str = "https://one.example:443"
    consent_tier: ConsentTier = ConsentTier.CONFIRM


SERVER = RemoteServer(cast(Any, Row()), cast(Any, None))
CONTEXT = RequestContext(
    "req_1", caller(), Secret(TOKEN), client_ip="192.0.2.9", user_agent="tests/1"
)


class Desk:
    """Accounts whose rows stay where they are."""

    def __init__(self, **rules: Any) -> None:
        self.buffer = AuditBuffer(cast(Database, None), BufferRules(**rules))
        self.books = Books(self.buffer)

    @property
    def rows(self) -> list[CallRow]:
        return list(self.buffer._waiting)

    def facts(self) -> dict[str, Any]:
        return self.rows[-1].describe()

    def call(
        self,
        ask: Ask | None = None,
        result: bytes | None = bytes(OK),
        error: BaseException | None = None,
        era: str | None = "modern",
    ) -> str:
        """Run one call; return the outcome by its audit row."""
        ask = ask or call_tool("search", VECTOR)
        try:
            with self.books.call(SERVER, ask, CONTEXT, lambda server: era) as account:
                with account.away():
                    pass
                if error is not None:
                    raise error
                account.result = msgspec.Raw(result) if result is not None else None
        except BaseException as caught:
            if caught is not error:
                raise
        return str(self.facts()["outcome"]) if self.rows else ""


@pytest.fixture
def desk() -> Desk:
    return Desk()


def counted(kind: str, outcome: str, era: str = "modern") -> float:
    metrics.flush()
    return float(metrics.REMOTE_CALLS.labels(kind, outcome, era)._value.get())


# --- outcomes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (b'{"content":[],"isError":false}', "ok"),
        (b'{"content":[]}', "ok"),
        (b'{"content":[], "isError" : true}', "tool_error"),
        (b'{"isError":true,"content":[]}', "tool_error"),
        (b'{"structuredContent":{"isError":true},"isError":false}', "ok"),
        (b'{"structuredContent":{"isError":false},"isError":true}', "tool_error"),
        (b'{"content":[{"type":"text","text":"\\"isError\\":true"}],"isError":false}', "ok"),
        (b'{"resultType":"input_required","inputRequests":{}}', "input_required"),
        (b'{"resultType":"complete","content":["input_required"]}', "ok"),
        (b'{"resultType":"task"}', "ok"),
        (b'{"isError":"true"}', "ok"),
        (None, "ok"),
    ],
)
def test_the_outcome_of_an_answer(desk: Desk, result: bytes | None, outcome: str) -> None:
    assert desk.call(result=result) == outcome


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (UpstreamTimeout("late"), "TimeoutError"),
        (McpError("no", jsonrpc_code=-1), "McpError"),
        (CircuitOpenError("open"), "CircuitOpenError"),
        (CredentialMissing(), "CredentialMissingError"),
        (CredentialCorrupt(), "CredentialCorruptError"),
        (KeyUnavailable("kek"), "KeyUnavailableError"),
        (EndpointForbiddenError("no", reason="private", address="10.0.0.1"),
         "EndpointForbiddenError"),
        (asyncio.CancelledError(), "cancelled"),
        (ZeroDivisionError("of our own"), "failed"),
    ],
)  # fmt: skip
def test_the_outcome_of_a_failure(desk: Desk, error: BaseException, outcome: str) -> None:
    assert desk.call(error=error) == outcome
    assert desk.rows[-1].status == "FAILURE"


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (b"{}", "SUCCESS"),
        (b'{"resultType":"input_required"}', "SUCCESS"),
        (b'{"isError":true}', "FAILURE"),
    ],
)
def test_success_is_what_came_as_it_was_wanted(desk: Desk, result: bytes, status: str) -> None:
    desk.call(result=result)
    assert desk.rows[-1].status == status


# --- figures ----------------------------------------------------------------------------------


def test_a_call_is_counted_by_kind_outcome_and_era(desk: Desk) -> None:
    before = counted("tool", "ok"), counted("prompt", "ok", "legacy")
    desk.call()
    desk.call(get_prompt("greet", b"{}"), era="legacy")
    assert (counted("tool", "ok"), counted("prompt", "ok", "legacy")) == (
        before[0] + 1,
        before[1] + 1,
    )


def test_an_era_that_nobody_knows_is_counted_as_that(desk: Desk) -> None:
    before = counted("tool", "ok", "unknown")
    desk.call(era=None)
    desk.call(era="")
    assert counted("tool", "ok", "unknown") == before + 2


def total(metric: Any, *labels: str) -> tuple[float, float]:
    """How many were observed, and their sum."""
    metrics.flush()
    child = metric.labels(*labels)
    return sum(bucket.get() for bucket in child._buckets), child._sum.get()


async def test_the_gateways_own_time_is_without_the_servers(desk: Desk) -> None:
    ask = read_resource("note://one")
    whole = total(metrics.REMOTE_CALL_DURATION, "resource", "ok")
    own = total(metrics.REMOTE_OVERHEAD, "resource")
    with desk.books.call(SERVER, ask, CONTEXT, lambda server: None) as account:
        with account.away():
            await asyncio.sleep(0.05)
        account.result = OK
    after = total(metrics.REMOTE_CALL_DURATION, "resource", "ok")
    assert after[0] == whole[0] + 1
    assert after[1] - whole[1] >= 0.05
    mine = total(metrics.REMOTE_OVERHEAD, "resource")
    assert mine[0] == own[0] + 1
    assert 0 <= mine[1] - own[1] < after[1] - whole[1] - 0.045


def test_running_calls_are_counted_as_long_as_they_run(desk: Desk) -> None:
    metrics.flush()
    before = metrics.REMOTE_INFLIGHT._value.get()
    with desk.books.call(SERVER, call_tool("a", b"{}"), CONTEXT, lambda server: None) as account:
        metrics.flush()
        assert metrics.REMOTE_INFLIGHT._value.get() == before + 1
        account.result = OK
    metrics.flush()
    assert metrics.REMOTE_INFLIGHT._value.get() == before


# --- audit rows -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "action", "name"),
    [
        (call_tool("Search it", VECTOR), "remote_call.tool", "Search it"),
        (get_prompt("greet", VECTOR), "remote_call.prompt", "greet"),
        (read_resource("note://one"), "remote_call.resource", "note://one"),
    ],
)
def test_a_row_names_the_call_and_the_caller(desk: Desk, ask: Ask, action: str, name: str) -> None:
    desk.call(ask)
    (row,) = desk.rows
    assert (row.action, row.resource_type, row.resource_id) == (action, "remote_server", "rs_1")
    assert (row.tenant_id, row.actor_id, row.actor_type) == ("tnt_acme", "usr_1", "user")
    assert (row.request_id, row.ip_address, row.user_agent) == ("req_1", "192.0.2.9", "tests/1")
    facts = row.describe()
    assert set(facts) == {"name", "outcome", "duration_ms", "digest", "tier"}
    assert (facts["name"], facts["tier"], facts["outcome"]) == (name, "confirm", "ok")
    assert isinstance(facts["duration_ms"], int)


def test_a_completion_is_counted_and_leaves_no_row(desk: Desk) -> None:
    before = counted("completion", "ok")
    desk.call(complete(b"{}"))
    assert desk.rows == []
    assert counted("completion", "ok") == before + 1


def test_without_a_buffer_calls_are_only_counted() -> None:
    before = counted("tool", "ok")
    desk = Desk()
    desk.books = Books()
    desk.call()
    assert desk.rows == []
    assert counted("tool", "ok") == before + 1


@pytest.mark.parametrize("ask", [call_tool("a", VECTOR), get_prompt("a", VECTOR)])
def test_the_digest_is_that_of_the_consent(desk: Desk, ask: Ask) -> None:
    desk.call(ask)
    assert desk.facts()["digest"] == VECTOR_DIGEST


def test_the_digest_covers_the_arguments_alone(desk: Desk) -> None:
    desk.call(call_tool("a", VECTOR, {"requestState": b'"s"', "inputResponses": b"{}"}))
    assert desk.facts()["digest"] == VECTOR_DIGEST


def test_a_resource_is_named_without_what_may_be_secret(desk: Desk) -> None:
    digests = set()
    for uri in ("https://u:pw@h.example/a?key=s3cret#x", "https://h.example/a?key=other"):
        desk.call(read_resource(uri))
        facts = desk.facts()
        assert facts["name"] == "https://h.example/a"
        digests.add(facts["digest"])
    assert len(digests) == 2


def test_a_uri_that_cannot_be_read_loses_its_query_too(desk: Desk) -> None:
    desk.call(read_resource("http://[broken/?key=s3cret"))
    assert desk.facts()["name"] == "http://[broken/"


def test_long_names_are_cut(desk: Desk) -> None:
    desk.call(call_tool("n" * 4_000, b"{}"))
    assert desk.facts()["name"] == "n" * 512


def test_neither_arguments_nor_bearer_are_in_a_row(desk: Desk) -> None:
    desk.call(call_tool("a", b'{"secret":"s3cret"}'), error=UpstreamTimeout("s3cret"))
    (row,) = desk.rows
    said = f"{msgspec.structs.replace(row, describe=dict)} {row.describe()}"
    assert "s3cret" not in said
    assert TOKEN not in said


def test_memory_that_runs_short_costs_the_digest_and_not_the_row() -> None:
    desk = Desk(most_bytes=10)
    desk.call()
    assert desk.rows[0].weight > 10
    desk.call()
    assert desk.rows[1].weight == 0
    assert [row.describe()["digest"] for row in desk.rows] == [VECTOR_DIGEST, None]


# --- digests ----------------------------------------------------------------------------------


def json_values() -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    return st.recursive(
        plain.filter(lambda value: value not in (float("inf"), float("-inf"))),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )


@given(st.dictionaries(st.text(), json_values(), max_size=5))
def test_quick_and_slow_digests_agree(value: dict[str, Any]) -> None:
    try:
        text = msgspec.json.encode(value)
    except (OverflowError, UnicodeEncodeError):
        return
    assert call_digest(text) == arguments_digest(read_arguments(text)).hex()


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1.0,"b":1e3,"c":-0.0}',
        b'{"a":12345678901234567890123,"b":9007199254740993}',
        b'{"a":"\\u00e9\\n\\u001f\\/"}',
        '{"é":1,"e":2,"\U0001f600":3,"\uffff":4}'.encode(),
        b'{"a":"\x7f\\t\\"\\\\"}',
        b" { } ",
    ],
)
def test_digests_agree_where_spelling_differs(text: bytes) -> None:
    assert call_digest(text) == arguments_digest(read_arguments(text)).hex()


def large(piece: bytes) -> bytes:
    return b'{"a":[' + b",".join([piece] * 30_000) + b"]}"


@pytest.mark.parametrize(
    ("text", "has_digest"),
    [
        (large(b"123"), True),
        (large(b'"text"'), True),
        (large(b"1.5"), False),
        (large('"é"'.encode()), False),
        (b'{"a":1.5,"a":2}', False),
        (b'{"a":"\\ud800"}', False),
        (b"[1.5]", False),
        (b"no json", False),
    ],
)
def test_a_digest_that_costs_much_or_means_nothing_is_left_out(
    text: bytes, has_digest: bool
) -> None:
    assert (call_digest(text) is not None) is has_digest


def test_deep_arguments_have_a_digest_or_none_but_never_fail() -> None:
    for opening in (b'{"a":' * 5_000, b'{"a":[1.5,' + b"[" * 5_000):
        closing = b"}" * 5_000 if opening.endswith(b":") else b"]" * 5_001 + b"}"
        inner = b"1" if opening.endswith(b":") else b""
        assert call_digest(opening + inner + closing) is None
