"""The page on which a user decides a call, as HTML without scripts. Pure.

Every value is escaped, for HTML and against what hides or moves text. Spec: remote-servers 9.
"""

from __future__ import annotations

import json
from html import escape

import msgspec

from scaimcp.remotes.consent.approvals import ApprovalView
from scaimcp.remotes.enumerations import ApprovalState
from scaimcp.rest.page_html import HEADERS, link, note, page, safe

__all__ = ["HEADERS", "decided", "failed", "not_yours", "question", "sign_in"]

_WORDS = {
    ApprovalState.PENDING: "waits for your decision",
    ApprovalState.APPROVED: "is approved; repeat the call in your client",
    ApprovalState.DENIED: "is denied; it will not run",
    ApprovalState.CONSUMED: "was approved and has run",
    ApprovalState.EXPIRED: "is over: its time has run out",
}


def sign_in(message: str = "", *, address: str = "", takes_token: bool = True) -> str:
    """Return the page that asks who is there; it says nothing of the question.

    Args:
        message: what went wrong before, "" for nothing.
        address: where the platform's sign-in begins, "" where there is none.
        takes_token: whether a token can be pasted.
    """
    form = """<form method="post">
<label for="token">Your access token of the platform</label>
<input id="token" name="token" type="password" autocomplete="off" required autofocus>
<button>Show the call</button>
</form>"""
    return page(
        "Sign in",
        f"""{note(message)}
<p>A program asks for your consent to one call. Sign in to see it.</p>
{link(address, "Sign in with the platform")}
{form if takes_token else ""}""",
    )


def not_yours(address: str) -> str:
    """Return the page for a user whom nothing is asked here, or for whom nothing is there.

    Args:
        address: where somebody else signs in.
    """
    words = "Nothing is asked of you at this address. It may be for another user, or be wrong."
    return page("Consent to a call", note(words) + link(address, "Sign in as another user"))


def question(view: ApprovalView, ticket: str) -> str:
    """Return the page that shows a call and takes the decision.

    Args:
        view: the question.
        ticket: sealed; lets exactly this user decide exactly this question.
    """
    open_ = view.state is ApprovalState.PENDING and view.arguments is not None
    buttons = f"""<form method="post">
<input type="hidden" name="ticket" value="{escape(ticket)}">
<button name="decision" value="deny">Deny</button>
<button name="decision" value="approve">Approve once</button>
</form>"""
    return page("Consent to a call", _facts(view) + (buttons if open_ else _state(view)))


def decided(view: ApprovalView) -> str:
    """Return the page after a decision."""
    return page("Consent to a call", _state(view))


def failed(message: str) -> str:
    """Return the page of a refusal."""
    return page("Consent to a call", note(message))


def _facts(view: ApprovalView) -> str:
    rows = (
        ("Server", f"{view.server.name} ({view.server.host})"),
        ("Tool", view.tool),
        ("SHA-256 of the arguments", view.arguments_digest),
        ("Valid until", f"{view.expires_at:%Y-%m-%d %H:%M:%S %Z}"),
    )
    facts = "\n".join(f"<dt>{name}</dt><dd>{safe(value)}</dd>" for name, value in rows)
    return f"""<p>This call runs once if you approve it, with exactly these arguments.</p>
<dl>{facts}
<dt>Arguments{_cut(view)}</dt><dd><pre>{_arguments(view)}</pre></dd></dl>
"""


def _cut(view: ApprovalView) -> str:
    return " (only their beginning: they are too long)" if isinstance(view.arguments, str) else ""


def _arguments(view: ApprovalView) -> str:
    if view.arguments is None:
        return "not kept any more"
    if isinstance(view.arguments, str):
        return safe(view.arguments)
    value = msgspec.json.decode(view.arguments)
    lines = json.dumps(value, indent=2, ensure_ascii=False).split("\n")
    return "\n".join(safe(line) for line in lines)


def _state(view: ApprovalView) -> str:
    words = _WORDS[view.state]
    if view.state is ApprovalState.PENDING:
        words = "cannot be shown any more; repeat the call in your client"
    return f'<p class="note">The call of {safe(view.tool)} {words}.</p>'
