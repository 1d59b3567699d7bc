"""What a handshake client declared, sealed into its session id."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec
import pytest

from scaimcp.errors import RequestRefused
from scaimcp.sealing import Sealer
from scaimcp.server.revisions import V2025_03_26, V2025_06_18
from scaimcp.server.session import LIFE_SECONDS, Session, Sessions
from scaimcp.settings import load
from scaimcp.types import Caller, Grants

PATH = "/mcp"


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def sealer(seed: bytes = b"a", label: str = "session") -> Sealer:
    ring = load(
        {"SCAIMCP_STATE_KEYS": base64.b64encode(hashlib.sha256(seed).digest()).decode()}
    ).state_keys
    assert ring is not None
    return Sealer(ring, label)


def caller(user: str = "usr_1", tenant: str = "tnt_1") -> Caller:
    return Caller(b"k", user, tenant, "acme", "prt", Grants(frozenset(), frozenset()))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(sealer(), wall=clock)


def issue(sessions: Sessions, **changes: Any) -> str:
    given: dict[str, Any] = {
        "path": PATH,
        "revision": "2025-06-18",
        "client": {"name": "inspector"},
        "capabilities": {"elicitation": {}, "roots": {}, "unheard": {}},
        **changes,
    }
    return sessions.issue(caller(), **given)


def refused(sessions: Sessions, text: str, who: Caller | None = None, path: str = PATH) -> None:
    with pytest.raises(RequestRefused) as caught:
        sessions.read(text, who or caller(), path)
    assert (caught.value.code, caught.value.http_status) == ("NOT_FOUND", 404)


def test_a_session_gives_back_what_was_declared(sessions: Sessions, clock: Clock) -> None:
    session = sessions.read(issue(sessions), caller(), PATH)
    assert session is not None
    assert (session.revision, session.client_name) == ("2025-06-18", "inspector")
    assert session.capabilities == ("elicitation", "roots")
    assert session.made_at == int(clock.now)


def test_an_id_is_visible_ascii_and_never_the_same(sessions: Sessions) -> None:
    first, second = issue(sessions), issue(sessions)
    assert first != second
    assert all(0x21 <= ord(character) <= 0x7E for character in first)
    assert "inspector" not in first


@pytest.mark.parametrize("client", [{}, {"name": 5}, {"name": None}])
def test_a_client_need_not_say_its_name(sessions: Sessions, client: dict[str, Any]) -> None:
    session = sessions.read(issue(sessions, client=client), caller(), PATH)
    assert session is not None
    assert session.client_name == ""


def test_a_long_name_is_cut_so_that_the_header_stays_small(sessions: Sessions) -> None:
    text = issue(sessions, client={"name": "x" * 100_000})
    assert len(text) < 1_000
    assert sessions.read(text, caller(), PATH) is not None


@pytest.mark.parametrize("other", [caller(user="usr_2"), caller(tenant="tnt_2")])
def test_a_foreign_id_is_404(sessions: Sessions, other: Caller) -> None:
    refused(sessions, issue(sessions), other)


def test_an_id_of_another_endpoint_is_404(sessions: Sessions) -> None:
    refused(sessions, issue(sessions), path="/mcp/c/cfg_1")


def test_a_changed_id_is_404(sessions: Sessions) -> None:
    text = issue(sessions)
    for at in (0, 10, len(text) - 5):
        other = "A" if text[at] != "A" else "B"
        refused(sessions, text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize("text", ["", "abc", "x" * 5_000, "é"])
def test_nonsense_is_404(sessions: Sessions, text: str) -> None:
    refused(sessions, text)


def test_a_value_of_another_kind_or_key_is_404(sessions: Sessions) -> None:
    refused(sessions, sealer(label="cursor").seal(msgspec.msgpack.encode(["x"])))
    refused(sessions, sealer(seed=b"b").seal(b"x"))


def test_a_sealed_value_of_another_shape_is_404(sessions: Sessions) -> None:
    refused(sessions, sealer().seal(msgspec.msgpack.encode(["tnt_1", 5])))
    refused(sessions, sealer().seal(b"\xc1"))


def test_a_session_of_a_day_counts_and_an_older_one_is_as_if_absent(
    sessions: Sessions, clock: Clock
) -> None:
    text = issue(sessions)
    clock.now += LIFE_SECONDS
    assert isinstance(sessions.read(text, caller(), PATH), Session)
    clock.now += 1
    assert sessions.read(text, caller(), PATH) is None


@pytest.mark.parametrize(
    ("revision", "declared", "modes"),
    [
        ("2025-11-25", {"elicitation": {}}, {"form"}),
        ("2025-11-25", {"elicitation": {"form": {}, "url": {}}}, {"form", "url"}),
        ("2025-11-25", {"elicitation": {"url": {}}}, {"url"}),
        ("2025-11-25", {"elicitation": {"voice": {}}}, set()),
        ("2025-11-25", {"elicitation": True}, set()),
        ("2025-11-25", {}, set()),
        ("2025-06-18", {"elicitation": {}}, {"form"}),
        ("2025-06-18", {"elicitation": {"url": {}}}, {"form"}),
        ("2025-06-18", {"elicitation": None}, set()),
        ("2025-03-26", {"elicitation": {"form": {}}}, set()),
        ("2024-11-05", {"elicitation": {}}, set()),
        ("1999-01-01", {"elicitation": {}}, set()),
    ],
)
def test_a_session_knows_what_the_client_can_be_asked(
    sessions: Sessions, revision: str, declared: dict[str, Any], modes: set[str]
) -> None:
    text = issue(sessions, revision=revision, capabilities=declared)
    session = sessions.read(text, caller(), PATH)
    assert session is not None
    assert set(session.modes) == modes
    assert session.modes_in(V2025_06_18) == modes & {"form"}
    assert session.modes_in(V2025_03_26) == frozenset()


def test_a_session_of_an_older_version_asks_nothing(sessions: Sessions, clock: Clock) -> None:
    old = ("tnt_1", "usr_1", PATH, "2025-11-25", "x", ("elicitation",), int(clock.now), b"n")
    session = sessions.read(sealer().seal(msgspec.msgpack.encode(old)), caller(), PATH)
    assert session is not None
    assert session.modes == ()
