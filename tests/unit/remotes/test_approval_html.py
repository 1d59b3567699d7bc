"""The approval page as a text: nothing gets out of its place. Spec: remote-servers 9."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from scaimcp.remotes.consent.approvals import ApprovalView, ServerView
from scaimcp.remotes.enumerations import ApprovalState
from scaimcp.rest import approval_html as html

AT = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)
EVIL = "<script>alert(1)</script>\"'&\u202e"


class Read(HTMLParser):
    """Collects tags and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.tags if found == tag]


def view(arguments: Any = None, **changed: Any) -> ApprovalView:
    raw = msgspec.Raw(msgspec.json.encode({"title": "Hi"} if arguments is None else arguments))
    base = ApprovalView(
        "apr_1", ServerView("rs_1", "Acme", "mcp.acme.example"), "create_issue", raw, "ab" * 32,
        ApprovalState.PENDING, AT, AT,
    )  # fmt: skip
    return msgspec.structs.replace(base, **changed)


def test_a_question_shows_what_will_run_and_two_buttons() -> None:
    page = Read(html.question(view(), "ticket"))
    for shown in ("Acme (mcp.acme.example)", "create_issue", "ab" * 32, '"title": "Hi"'):
        assert shown in page.text
    assert [button["value"] for button in page.named("button")] == ["deny", "approve"]
    assert {"type": "hidden", "name": "ticket", "value": "ticket"} in page.named("input")


@pytest.mark.parametrize(
    "state", [one for one in ApprovalState if one is not ApprovalState.PENDING]
)
def test_a_question_that_is_over_has_no_buttons(state: ApprovalState) -> None:
    over = msgspec.structs.replace(view(state=state), arguments=None)
    page = Read(html.question(over, "ticket"))
    assert not page.named("button")
    assert "ticket" not in page.text
    assert "not kept any more" in page.text


def test_arguments_that_cannot_be_shown_cannot_be_approved() -> None:
    page = Read(html.question(msgspec.structs.replace(view(), arguments=None), "ticket"))
    assert not page.named("button")
    assert "repeat the call" in page.text


def test_of_long_arguments_the_beginning_is_shown_and_said_to_be_that() -> None:
    page = Read(html.question(msgspec.structs.replace(view(), arguments='{"t":"xxx'), "ticket"))
    assert "only their beginning" in page.text
    assert '{"t":"xxx' in page.text


def test_nothing_that_others_wrote_becomes_markup() -> None:
    evil = view(
        {EVIL: EVIL},
        server=ServerView("rs_1", EVIL, EVIL),
        tool=EVIL,
    )
    for text in (html.question(evil, '"><script>'), html.decided(evil), html.failed(EVIL)):
        page = Read(text)
        assert not page.named("script")
        assert "\u202e" not in text
    assert "<script>" in Read(html.question(evil, "")).text


def test_the_sign_in_says_nothing_of_any_question() -> None:
    page = Read(html.sign_in())
    (field,) = page.named("input")
    assert (field["type"], field["autocomplete"]) == ("password", "off")
    assert Read(html.sign_in("Not accepted.")).text.count("Not accepted.") == 1


def test_no_page_holds_a_script_or_reaches_elsewhere() -> None:
    policy = html.HEADERS["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self'" in policy
    assert "unsafe" not in policy
    for text in (html.sign_in(), html.question(view(), "t"), html.decided(view())):
        assert not [tag for tag, _ in Read(text).tags if tag in {"script", "img", "link", "a"}]
