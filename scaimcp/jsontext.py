"""Look at JSON without decoding it. Pure."""

from __future__ import annotations

import re

# Possessive, so that a string of megabytes leaves no trail to go back on.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ALIKE = bytes.maketrans(b"{}", b"[]")


def depth_exceeds(body: bytes, most: int) -> bool:
    """Tell whether brackets in `body` nest deeper than `most`; strings do not count."""
    if body.count(b"[") + body.count(b"{") <= most:
        return False
    left = _STRINGS.sub(b"", body).translate(_ALIKE, _NOT_BRACKETS)
    for _ in range(most):
        # Every round takes the innermost level away; the decoder refuses what never closes.
        outer = left.replace(b"[]", b"")
        if len(outer) == len(left):
            return False
        left = outer
    return bool(left)
