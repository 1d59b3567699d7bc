"""The decision table of consent, its sealed state, the question. Spec: remote-servers 9."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec
import pytest

from scaimcp.errors import ProtocolError, ToolError
from scaimcp.remotes.approval_models import Binding
from scaimcp.remotes.consent.consent_events import FORM, consent_event
from scaimcp.remotes.consent.shown_arguments import KEPT_BYTES, MAX_BYTES, ShownArguments
from scaimcp.remotes.consent.state_sealing import MAX_CHARS, MAX_UPSTREAM_BYTES, RequestStates
from scaimcp.remotes.rules import consent_rules as rules
from scaimcp.remotes.rules.canonical import arguments_digest
from scaimcp.remotes.rules.consent_rules import Verdict, judge
from scaimcp.remotes.rules.request_state import CallBinding, RequestState, Stage
from scaimcp.sealing import Sealer
from scaimcp.settings import KeyRing
from scaimcp.types import Caller
from tests.fakes.callers import Clock, caller


def ring(*names: str) -> KeyRing:
    return KeyRing(names, tuple(hashlib.sha256(name.encode()).digest() for name in names))


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


BINDING = CallBinding("rs_1", "create_issue", digest("arguments"), digest("definition"))
OTHERS = {
    "server": msgspec.structs.replace(BINDING, server_id="rs_2"),
    "tool": msgspec.structs.replace(BINDING, tool="delete_issue"),
    "arguments": msgspec.structs.replace(BINDING, arguments_digest=digest("others")),
    "configuration": msgspec.structs.replace(BINDING, config_version=2),
    "definition": msgspec.structs.replace(BINDING, definition_hash=digest("changed")),
}
YES = {"action": "accept", "content": {"approve": True}}


def state(stage: Stage, binding: CallBinding = BINDING) -> RequestState:
    return RequestState(binding, stage, "apr_1", 2000.0)


def answer(value: Any, name: str = rules.CONSENT) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(msgspec.json.encode(value))}


# --- the table --------------------------------------------------------------------------------

# tier asks?, stage of the state (None: no state), answer (None: none), verdict
TABLE: list[tuple[bool, Stage | None, Any, Verdict]] = [
    (True, None, None, Verdict.ASK),
    (True, None, YES, Verdict.ASK),
    (True, Stage.ASKED, None, Verdict.ASK),
    (True, Stage.ASKED, YES, Verdict.TAKE),
    (True, Stage.ASKED, {"action": "decline"}, Verdict.DENY),
    (True, Stage.ASKED, {"action": "cancel"}, Verdict.DENY),
    (True, Stage.ASKED, {"action": "accept"}, Verdict.DENY),
    (True, Stage.ASKED, {"action": "accept", "content": {"approve": False}}, Verdict.DENY),
    (True, Stage.OPEN, YES, Verdict.ASK),
    (True, Stage.CONSENTED, None, Verdict.CONTINUE),
    (True, Stage.CONSENTED, {"action": "decline"}, Verdict.CONTINUE),
    (False, None, None, Verdict.START),
    (False, None, YES, Verdict.START),
    (False, Stage.ASKED, YES, Verdict.START),
    (False, Stage.OPEN, YES, Verdict.RESUME),
    (False, Stage.CONSENTED, None, Verdict.RESUME),
]


@pytest.mark.parametrize(("is_asking", "stage", "given", "expected"), TABLE)
def test_the_table_decides(
    is_asking: bool, stage: Stage | None, given: Any, expected: Verdict
) -> None:
    found = judge(
        BINDING,
        state(stage) if stage else None,
        answer(given) if given is not None else {},
        is_asking=is_asking,
    )
    assert found is expected


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("what", OTHERS)
def test_another_call_is_asked_again_whatever_was_answered(stage: Stage, what: str) -> None:
    assert judge(BINDING, state(stage, OTHERS[what]), answer(YES), is_asking=True) is Verdict.ASK
    assert judge(BINDING, state(stage, OTHERS[what]), {}, is_asking=False) is Verdict.START


@pytest.mark.parametrize("stage", list(Stage))
def test_a_state_whose_time_is_over_asks_again(stage: Stage) -> None:
    found = judge(BINDING, state(stage), answer(YES), is_asking=True, is_over=True)
    assert found is Verdict.ASK


def test_an_answer_by_another_name_is_no_consent() -> None:
    found = judge(BINDING, state(Stage.ASKED), answer(YES, "Consent"), is_asking=True)
    assert found is Verdict.ASK


@pytest.mark.parametrize(
    "given",
    [
        {"action": "accept", "content": {"approve": 1}},
        {"action": "accept", "content": {"approve": "true"}},
        {"action": "accept", "content": [True]},
        {"action": "Accept", "content": {"approve": True}},
        {"content": {"approve": True}},
        {"action": ["accept"], "content": {"approve": True}},
        True,
        None,
        "accept",
    ],
)
def test_only_a_plain_yes_is_a_yes(given: Any) -> None:
    assert not rules.says_yes(msgspec.Raw(msgspec.json.encode(given)))


def test_what_is_no_json_is_no_yes() -> None:
    assert not rules.says_yes(msgspec.Raw(b"\xff"))
    assert rules.says_yes(msgspec.Raw(msgspec.json.encode(YES)))


# --- the arguments ----------------------------------------------------------------------------


def test_the_digest_of_the_vector() -> None:
    read = rules.read_arguments(b'{"title":"Hi","body":null,"n":1,"tags":["b","a"]}')
    expected = "a0474338041694b1c003f19a24b21757252de59be48823dc8647d87578b01368"
    assert arguments_digest(read).hex() == expected


@pytest.mark.parametrize("given", [b"[]", b"1", b"null", b'"x"', b"{", b'{"a":NaN}', b"\xff{}"])
def test_arguments_that_are_no_object_are_invalid_params(given: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        rules.read_arguments(given)
    assert caught.value.number == -32602


def test_absent_arguments_are_an_empty_object() -> None:
    assert rules.read_arguments(b"") == {}


@pytest.mark.parametrize(
    "given", [b'{"a":1,"a":2}', b'{"o":{"b":1,"b":1}}', b'{"l":[{"":1,"":2}]}']
)
def test_a_member_that_stands_twice_is_refused(given: bytes) -> None:
    with pytest.raises(ToolError) as caught:
        rules.read_arguments(given)
    assert caught.value.code == "INVALID_ARGUMENTS"


# --- the question -----------------------------------------------------------------------------


def ask(arguments: Any, tool: str = "create_issue") -> str:
    return rules.question("Acme", "mcp.acme.example", tool, arguments, digest("d"))


def test_the_question_names_server_host_tool_and_arguments() -> None:
    text = ask({"title": "Hi", "n": 1})
    assert "Acme (mcp.acme.example)" in text
    assert '"create_issue"' in text
    assert '{"title": "Hi", "n": 1}' in text
    assert digest("d").hex() not in text


def test_long_arguments_are_cut_and_their_digest_is_shown() -> None:
    text = ask({"title": "x" * 5000})
    shown = text.split("\n")[1]
    assert len(shown) == rules.SHOWN_CHARS + 1
    assert text.endswith(digest("d").hex())


@pytest.mark.parametrize("hidden", ["\u202e", "\u200b", "\u2066", "\x07", "\u2028", "\U000e0041"])
def test_nothing_hidden_reaches_the_reader(hidden: str) -> None:
    text = rules.question(
        f"A{hidden}", f"h{hidden}", f"t{hidden}", {f"k{hidden}": f"v{hidden}"}, b""
    )
    assert hidden not in text
    assert text.count("\n") == 1


def test_what_is_seen_stays_as_it_is() -> None:
    assert rules.visible("Zürich 東京 مرحبا 🙂") == "Zürich 東京 مرحبا 🙂"
    assert rules.visible("a\u202eb\x1b\U000e0041") == "a\\u202eb\\u001b\\udb40\\udc41"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://mcp.example.com:443", "mcp.example.com"),
        ("https://mcp.example.com:8443", "mcp.example.com:8443"),
        ("http://mcp.example.com:80", "mcp.example.com"),
        ("http://127.0.0.1:4430", "127.0.0.1:4430"),
    ],
)
def test_the_host_is_shown_with_an_unusual_port(origin: str, host: str) -> None:
    assert rules.host_of(origin) == host


def test_the_form_has_one_required_boolean_without_a_default() -> None:
    requests = msgspec.json.decode(rules.form("really?"))
    assert list(requests) == ["consent"]
    request = requests["consent"]
    assert request["method"] == "elicitation/create"
    assert (request["params"]["mode"], request["params"]["message"]) == ("form", "really?")
    schema = request["params"]["requestedSchema"]
    assert schema["required"] == ["approve"]
    assert schema["properties"]["approve"]["type"] == "boolean"
    assert "default" not in schema["properties"]["approve"]


# --- the sealed state -------------------------------------------------------------------------


def states(clock: Clock, *names: str) -> RequestStates:
    return RequestStates(Sealer(ring(*(names or ("one",))), "request-state"), 600.0, wall=clock)


def sealed(made: RequestStates, who: Caller | None = None, **more: Any) -> str:
    return made.seal(who or caller(), "tools/call", BINDING, Stage.ASKED, **more)


def refused(made: RequestStates, text: str, who: Caller | None = None, method: str = "") -> None:
    with pytest.raises(ProtocolError) as caught:
        made.open(who or caller(), method or "tools/call", text)
    assert (caught.value.number, caught.value.code) == (-32602, "")
    assert caught.value.message == "The request state does not serve here; call again without it."


def test_a_state_opens_for_whom_it_was_sealed() -> None:
    made = states(Clock(1000.0))
    text = made.seal(
        caller(), "tools/call", BINDING, Stage.OPEN, upstream_state="theirs", hold="replica/1"
    )
    assert text.startswith("v1.")
    found = made.open(caller(), "tools/call", text)
    assert (found.binding, found.stage) == (BINDING, Stage.OPEN)
    assert (found.upstream_state, found.hold) == ("theirs", "replica/1")
    assert found.expires_at == 1600.0
    assert found.nonce.startswith("apr_")
    assert len(found.nonce) == 30


def test_two_states_have_two_nonces() -> None:
    made = states(Clock())
    opened = [made.open(caller(), "tools/call", sealed(made)) for _ in range(2)]
    assert opened[0].nonce != opened[1].nonce


@pytest.mark.row(61)
@pytest.mark.parametrize(
    "who",
    [
        caller(user_id="usr_2"),
        caller(tenant_id="tnt_other"),
        caller(tenant_id="tnt_acmeu", user_id="sr_1"),
    ],
)
def test_a_state_of_another_caller_is_refused(who: Caller) -> None:
    made = states(Clock())
    refused(made, sealed(made), who)


def test_another_bearer_of_the_same_user_may_go_on() -> None:
    made = states(Clock())
    assert made.open(caller(token="sgk_" + "b" * 40), "tools/call", sealed(made))


def test_a_state_serves_for_no_other_method() -> None:
    made = states(Clock())
    refused(made, sealed(made), method="invoke")


@pytest.mark.row(61)
def test_every_changed_character_is_refused() -> None:
    made = states(Clock())
    text = sealed(made)
    for at in range(len(text)):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        refused(made, changed)


@pytest.mark.parametrize("text", ["", "v1.", "v2.AAAA", "v1." + "A" * MAX_CHARS, "v1.é", "AAAA"])
def test_what_is_no_state_is_refused(text: str) -> None:
    refused(states(Clock()), text)


def test_a_state_under_an_unknown_key_is_refused() -> None:
    refused(states(Clock()), sealed(states(Clock(), "two")))


def test_an_older_key_of_the_ring_still_opens() -> None:
    text = sealed(states(Clock(), "one"))
    assert states(Clock(), "two", "one").open(caller(), "tools/call", text)


def test_a_session_id_or_a_cursor_is_no_state() -> None:
    text = Sealer(ring("one"), "session").seal(msgspec.msgpack.encode(state(Stage.ASKED)))
    refused(states(Clock()), f"v1.{text}")


def test_a_sealed_value_of_another_form_is_refused() -> None:
    made = states(Clock())
    bound = b"\x00\x08tnt_acme\x00\x05usr_1\x00\x0atools/call"
    forged = Sealer(ring("one"), "request-state").seal(msgspec.msgpack.encode(1), bound)
    refused(made, f"v1.{forged}")


def test_a_state_is_over_after_ten_minutes() -> None:
    clock = Clock(1000.0)
    made = states(clock)
    found = made.open(caller(), "tools/call", sealed(made))
    clock.forward(599)
    assert not made.is_over(found)
    clock.forward(1)
    assert made.is_over(found)


def test_the_largest_upstream_state_fits() -> None:
    made = states(Clock())
    text = sealed(made, upstream_state="x" * MAX_UPSTREAM_BYTES)
    assert len(text) <= MAX_CHARS
    found = made.open(caller(), "tools/call", text)
    assert found.upstream_state == "x" * MAX_UPSTREAM_BYTES


def test_a_state_tells_nothing_to_its_holder() -> None:
    text = sealed(states(Clock()), upstream_state="SECRET")
    raw = base64.urlsafe_b64decode(text.removeprefix("v1.") + "==")
    assert b"create_issue" not in raw
    assert b"SECRET" not in raw


# --- arguments that are shown -----------------------------------------------------------------


def shown() -> ShownArguments:
    return ShownArguments(Sealer(ring("one"), "short-lived"))


def test_arguments_are_shown_as_they_are() -> None:
    kept = shown().seal("tnt_acme", "apr_1", {"b": 1, "a": "ü"})
    assert "ü".encode() not in kept
    found = shown().open("tnt_acme", "apr_1", kept)
    assert found is not None
    assert (found.text, found.is_complete) == ('{"b":1,"a":"ü"}', True)


def test_of_long_arguments_the_beginning_is_kept() -> None:
    kept = shown().seal("tnt_acme", "apr_1", {"t": "ü" * MAX_BYTES})
    found = shown().open("tnt_acme", "apr_1", kept)
    assert found is not None
    assert not found.is_complete
    assert KEPT_BYTES - 1 <= len(found.text.encode()) <= KEPT_BYTES


@pytest.mark.parametrize(
    ("tenant", "approval"), [("tnt_acme", "apr_2"), ("tnt_other", "apr_1"), ("", "apr_1tnt")]
)
def test_arguments_of_one_question_do_not_open_for_another(tenant: str, approval: str) -> None:
    kept = shown().seal("tnt_acme", "apr_1", {})
    assert shown().open(tenant, approval, kept) is None


@pytest.mark.parametrize("kept", [None, b"", b"junk", b"\xff\xfe"])
def test_what_was_erased_or_damaged_is_not_shown(kept: bytes | None) -> None:
    assert shown().open("tnt_acme", "apr_1", kept) is None


def test_a_sealed_value_that_is_no_text_is_not_shown() -> None:
    forged = Sealer(ring("one"), "short-lived").seal(b"\x01", b"apr_1tnt_acme").encode()
    assert shown().open("tnt_acme", "apr_1", forged) is None


# --- the audit row ----------------------------------------------------------------------------


def test_the_audit_row_has_names_and_hashes_only() -> None:
    owned = Binding("tnt_acme", "usr_1", "rs_1", "create_issue", digest("a"), digest("d"))
    event = consent_event("consume", "apr_1", owned, FORM)
    assert (event.tenant_id, event.action, event.resource_id) == (
        "tnt_acme",
        "consent.consume",
        "rs_1",
    )
    assert event.data == {
        "approval_id": "apr_1",
        "tool": "create_issue",
        "digest": digest("a").hex(),
        "mode": "form",
    }
