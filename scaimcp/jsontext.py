"""Look at JSON without decoding it. Pure."""

from __future__ import annotations

import re
from itertools import accumulate

# Possessive, so that a string of megabytes leaves no trail to go back on.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ALIKE = bytes.maketrans(b"{}", b"[]")
_RUNS = re.compile(rb"\[+|\]+")
# So many levels are cheaper taken away than counted: far fewer runs of brackets are left.
_PEELED = 4


def depth_exceeds(body: bytes, most: int) -> bool:
    """Tell whether brackets in `body` nest deeper than `most`; strings do not count."""
    if body.count(b"[") + body.count(b"{") <= most:
        return False
    left = _STRINGS.sub(b"", body).translate(_ALIKE, _NOT_BRACKETS)
    peeled = min(_PEELED, most)
    for _ in range(peeled):
        # Every round takes the innermost level away.
        left = left.replace(b"[]", b"")
    steps = (len(run) if run[0] == 0x5B else -len(run) for run in _RUNS.findall(left))
    return max(accumulate(steps), default=0) > most - peeled
