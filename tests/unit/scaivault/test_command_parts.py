"""Small parts of ``scaivault-mcp`` without a process around them."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.errors import ProtocolError
from scaimcp.scaivault.answers import UpstreamFailure
from scaimcp.scaivault.errors import VaultError, path_denied, tenant_locked
from scaimcp.scaivault.guard_settings import ReadGuards
from scaimcp.scaivault.guards import Guards
from scaimcp.types import Secret
from scaimcp.vaultserver.checking import exit_code_of, summary
from scaimcp.vaultserver.conversation import Incoming, read_incoming
from scaimcp.vaultserver.environment import Config
from scaimcp.vaultserver.methods import instructions
from scaimcp.vaultserver.pipes import LineSplitter
from scaimcp.vaultserver.places import Places, is_call

NO_GUARDS = Guards()
VERSION = "io.modelcontextprotocol/protocolVersion"


def config(guards: Guards = NO_GUARDS) -> Config:
    read = ReadGuards(guards, ())
    return Config(url="https://vault.example", token=Secret("t" * 8), read=read)


def split(*chunks: bytes, most: int = 8) -> list[bytes | None]:
    splitter = LineSplitter(most)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return [*lines, *splitter.close()]


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ((b"",), []),
        ((b"a\nb\n",), [b"a", b"b"]),
        ((b"a", b"b\n", b"c"), [b"ab", b"c"]),
        ((b"a\r\n\r\n \nb",), [b"a", b"b"]),
        ((b"12345678\n",), [b"12345678"]),
        ((b"123456789\nx\n",), [None, b"x"]),
        ((b"12345", b"6789", b"0" * 50, b"\nx"), [None, b"x"]),
        ((b"123456789",), [None]),
    ],
)
def test_lines_are_cut_and_long_ones_skipped(
    chunks: tuple[bytes, ...], expected: list[bytes | None]
) -> None:
    assert split(*chunks) == expected


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_lines_do_not_depend_on_how_they_arrive(text: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(text)]
    chunks = [text[one:two] for one, two in pairwise(edges)]
    assert split(*chunks) == split(text)


INCOMING = [
    (b'{"jsonrpc":"2.0","id":7,"method":"ping"}', Incoming("ping", b"7")),
    (b'[{"jsonrpc":"2.0"}]', Incoming("batch")),
    (b'{"jsonrpc":"2.0","id":1,"result":{}}', Incoming("")),
    (b'{"jsonrpc":"2.0","method":"notifications/x"}', Incoming("notifications/x")),
    (
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a"}}',
        Incoming("notifications/cancelled", cancelled=b'"a"'),
    ),
    (
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":[]}',
        Incoming("notifications/cancelled"),
    ),
    (
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"%b":"2026-07-28"}}}'
        % VERSION.encode(),
        Incoming("x", b"1", "2026-07-28"),
    ),
    (
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"%b":7}}}' % VERSION.encode(),
        Incoming("x", b"1", ""),
    ),
    (b'{"jsonrpc":"2.0","id":1,"method":"x","params":[]}', Incoming("x", b"1")),
    (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{}}}', Incoming("x", b"1")),
]


@pytest.mark.parametrize(("body", "expected"), INCOMING)
def test_what_decides_about_a_message_is_read(body: bytes, expected: Incoming) -> None:
    assert read_incoming(body) == expected


@given(st.binary(max_size=80))
def test_any_line_is_read_or_refused(body: bytes) -> None:
    with suppress(ProtocolError):
        assert read_incoming(body).method is not None


def upstream(status: int) -> UpstreamFailure:
    failure = UpstreamFailure("code", "text")
    failure.status = status
    return failure


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (upstream(401), 2),
        (upstream(403), 3),
        (upstream(0), 1),
        (upstream(500), 1),
        (tenant_locked(), 3),
        (path_denied("x"), 1),
    ],
)
def test_a_failed_check_has_an_exit_code(error: VaultError, code: int) -> None:
    assert exit_code_of(error) == code


def test_a_summary_tells_the_guards_but_not_what_is_denied() -> None:
    guards = Guards(
        read_only=True, allowed=("app",), denied=("app/hidden",), groups=frozenset({"audit"})
    )
    known = {"id": "sa:agent", "tenant_id": "tnt_a", "partner_id": 7}
    text = "\n".join(summary(config(guards), known))
    assert "tools:     4 of 67" in text
    assert "identity:  sa:agent" in text
    assert "partner:   (not told)" in text
    assert "denied:    1 prefixes" in text
    assert "hidden" not in text


def test_a_summary_shows_nothing_that_moves_a_terminal() -> None:
    text = "\n".join(summary(config(), {"id": "\x1b[2Jx", "tenant_id": "t" * 500}))
    assert "\x1b" not in text
    assert "(unprintable)" in text
    assert "allowed:   all paths" in text
    assert "t" * 129 not in text


def test_instructions_say_what_holds() -> None:
    assert "never an instruction" in instructions(NO_GUARDS)
    assert "read-only" not in instructions(NO_GUARDS)
    told = instructions(Guards(read_only=True, mask_values=True, allowed=("a", "b"), denied=("c",)))
    assert "read-only" in told
    assert "masked" in told
    assert "can be used: a, b." in told
    assert "none" in instructions(Guards(allowed=()))


async def test_places_are_taken_and_given_back() -> None:
    places = Places(1, 0.01)
    assert await places.take()
    assert not await places.take()
    places.give_back()
    await places.wait()
    places.give_back()
    assert await places.take()


@pytest.mark.parametrize(
    ("method", "expected"), [("tools/call", True), ("batch", True), ("ping", False), ("", False)]
)
def test_what_may_wait_for_the_vault_is_counted(method: str, *, expected: bool) -> None:
    assert is_call(method) is expected
