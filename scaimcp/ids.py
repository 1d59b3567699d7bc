"""Ids: prefix + 26 lower-case Crockford base32 characters of a UUIDv7. Spec: register, Names."""

from __future__ import annotations

import os
import random
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]


class _Ids:
    """Makes ids; time is written once a millisecond, randomness drawn once in a thousand ids.

    RFC 9562, 6.2, method 1: the last bits count up from a random start.
    """

    def __init__(self) -> None:
        self._random = random.Random()  # noqa: S311 - names, not secrets
        self.renew()

    def renew(self) -> None:
        """Begin anew, as a forked process must: its ids are not its parent's."""
        self._random.seed(os.urandom(16))
        self._time, self._moment = -1, ""
        self._count, self._middle = 0, ""

    def next(self) -> str:
        """Return the 26 characters of an id."""
        now = time.time_ns() // 1_000_000
        if now != self._time:
            self._time, self._moment = now, _written(now & 0xFFFFFFFFFFFF, 5)
        if not self._count & _COUNTED:
            draw = self._random.getrandbits
            # Version, 12 random bits, variant, random bits above the counter's.
            high = 0x7 << 76 | draw(12) << 64 | 0x2 << 62 | draw(62 - 20) << 20
            self._middle = _written(high >> 20, 6)
            self._count = draw(19) & ~_COUNTED
        self._count += 1
        count = self._count
        return self._moment + self._middle + _PAIRS[count >> 10] + _PAIRS[count & 1023]


def _written(value: int, pairs: int) -> str:
    return "".join([_PAIRS[(value >> 10 * at) & 1023] for at in range(pairs - 1, -1, -1)])


_COUNTED = 1023
_IDS = _Ids()
os.register_at_fork(after_in_child=_IDS.renew)


def new_id(prefix: str) -> str:
    """Return a new id such as ``req_01jz8xq5k2m3n4p5q6r7s8t9va``; sorts by time of making."""
    return prefix + _IDS.next()


def random_id(prefix: str) -> str:
    """Return an id that nobody can guess: 128 random bits, and nothing of the time of making."""
    return prefix + _written(int.from_bytes(os.urandom(16), "big"), 13)
