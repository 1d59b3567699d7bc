"""Keep secrets out of what is written or answered. Spec: core-tools 7."""

from __future__ import annotations

import re

# After "bearer" a plain word is no token: tokens are long or hold a digit or a sign.
_SECRETS = re.compile(
    r"sgk_[A-Za-z0-9_-]{4,}"
    # Not where it is part of a name or path.
    r"|(?<![A-Za-z0-9_/-])(?:skt_|scai_live_)[A-Za-z0-9_-]{6,}"
    r"|eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)?"
    r"|(?i:bearer\s+)(?=[A-Za-z]{16}|[A-Za-z]*[0-9._~+/=-][A-Za-z0-9._~+/=-])"
    r"[A-Za-z0-9._~+/=-]{4,}"
    r"|(?<=://)[^\s/?#:@\"]*:[^\s/?#@\"]+(?=@)"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
MESSAGE_CHARS = 500


def redact(text: str) -> str:
    """Replace API keys, JWTs, bearer headers and passwords in URLs by ``[redacted]``.

    Known by their looks; the result holds nothing that a second pass would replace.
    """
    return _SECRETS.sub("[redacted]", text)


def clean_message(text: str, most: int = MESSAGE_CHARS) -> str:
    """Return `text` fit for a caller: one line, redacted, at most `most` characters."""
    return redact(_CONTROL.sub(" ", text)).strip()[:most]
