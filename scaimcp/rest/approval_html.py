"""The page on which a user decides a call, as HTML without scripts. Pure.

Every value is escaped, for HTML and against what hides or moves text. Spec: remote-servers 9.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape

import msgspec

from scaimcp.remotes.approvals import ApprovalView
from scaimcp.remotes.consent_rules import visible
from scaimcp.remotes.enumerations import ApprovalState

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}
h1{font-size:1.4rem}
dt{font-weight:600;margin-top:.8rem}
dd{margin:0;overflow-wrap:anywhere}
pre{white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid;padding:.8rem;margin:.3rem 0}
input{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;margin:.3rem 0 1rem}
button{font:inherit;padding:.5rem 1.4rem;margin-right:.8rem}
.note{border-left:4px solid;padding:.2rem .8rem}
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
_WORDS = {
    ApprovalState.PENDING: "waits for your decision",
    ApprovalState.APPROVED: "is approved; repeat the call in your client",
    ApprovalState.DENIED: "is denied; it will not run",
    ApprovalState.CONSUMED: "was approved and has run",
    ApprovalState.EXPIRED: "is over: its time has run out",
}


def sign_in(note: str = "") -> str:
    """Return the page that asks who is there; it says nothing of the question."""
    return _page(
        "Sign in",
        f"""{_note(note)}
<p>A program asks for your consent to one call. Sign in to see it.</p>
<form method="post">
<label for="token">Your access token of the platform</label>
<input id="token" name="token" type="password" autocomplete="off" required autofocus>
<button>Show the call</button>
</form>""",
    )


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
    return _page("Consent to a call", _facts(view) + (buttons if open_ else _state(view)))


def decided(view: ApprovalView) -> str:
    """Return the page after a decision."""
    return _page("Consent to a call", _state(view))


def failed(message: str) -> str:
    """Return the page of a refusal."""
    return _page("Consent to a call", _note(message))


def _facts(view: ApprovalView) -> str:
    rows = (
        ("Server", f"{view.server.name} ({view.server.host})"),
        ("Tool", view.tool),
        ("SHA-256 of the arguments", view.arguments_digest),
        ("Valid until", f"{view.expires_at:%Y-%m-%d %H:%M:%S %Z}"),
    )
    facts = "\n".join(f"<dt>{name}</dt><dd>{_safe(value)}</dd>" for name, value in rows)
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
        return _safe(view.arguments)
    value = msgspec.json.decode(view.arguments)
    lines = json.dumps(value, indent=2, ensure_ascii=False).split("\n")
    return "\n".join(_safe(line) for line in lines)


def _state(view: ApprovalView) -> str:
    words = _WORDS[view.state]
    if view.state is ApprovalState.PENDING:
        words = "cannot be shown any more; repeat the call in your client"
    return f'<p class="note">The call of {_safe(view.tool)} {words}.</p>'


def _note(message: str) -> str:
    return f'<p class="note">{_safe(message)}</p>' if message else ""


def _safe(text: str) -> str:
    return escape(visible(text))


def _page(title: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""
