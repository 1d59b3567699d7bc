"""The frame of every page for browsers: HTML without scripts, and its headers. Pure.

Every value is escaped, for HTML and against what hides or moves text.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape

from scaimcp.remotes.rules.consent_rules import visible

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


def page(title: str, body: str) -> str:
    """Return a whole page; `title` and `body` are HTML."""
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


def note(message: str) -> str:
    """Return a paragraph that stands out, nothing for an empty message."""
    return f'<p class="note">{safe(message)}</p>' if message else ""


def link(address: str, words: str) -> str:
    """Return a paragraph with one link, nothing for an empty address."""
    return f'<p><a href="{escape(address)}">{safe(words)}</a></p>' if address else ""


def safe(text: str) -> str:
    """Return a text of anybody's as HTML."""
    return escape(visible(text))
