"""Ids: prefix + 26 lower-case Crockford base32 characters of a UUIDv7. Spec: register, Names."""

from __future__ import annotations

import os
import random
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
# Ids are names, not secrets: a seeded generator per process is enough and costs no system call.
_RANDOM = random.Random(os.urandom(16))  # noqa: S311
os.register_at_fork(after_in_child=lambda: _RANDOM.seed(os.urandom(16)))


def new_id(prefix: str) -> str:
    """Return a new id such as ``req_01jz8xq5k2m3n4p5q6r7s8t9va``; sorts by time of making."""
    value = (
        ((time.time_ns() // 1_000_000) & 0xFFFFFFFFFFFF) << 80
        | 0x7 << 76
        | _RANDOM.getrandbits(12) << 64
        | 0x2 << 62
        | _RANDOM.getrandbits(62)
    )
    pairs = _PAIRS
    return prefix + "".join([pairs[(value >> shift) & 1023] for shift in range(120, -1, -10)])
