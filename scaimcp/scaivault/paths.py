"""Paths, prefixes, globs and names of ScaiVault. Pure.

A URL is built of `SafePath`, `SafeId` and `SafeName` only, and only the functions here make
those. Nothing is trimmed, decoded, case-folded or normalised: what does not match is refused.
Spec: scaivault 1 (shorthands), 2.3.
"""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache
from typing import Any

MOST_CHARS = 512
MOST_SEGMENTS = 10
PATH_PATTERN = r"^[a-z0-9_-]+(/[a-z0-9_-]+){0,9}$"
PREFIX_PATTERN = r"^([a-z0-9_-]+(/[a-z0-9_-]+){0,9}/?)?$"
GLOB_PATTERN = r"^([a-z0-9_?-]|\*)+(/([a-z0-9_?-]|\*)+){0,9}$"
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}$"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
IDENTITY_PATTERN = r"^(user|sa|group|system|dynamic):[A-Za-z0-9_.@+-]{1,128}$"

# A path that ends like this would turn one route into another.
_RESERVED_LAST = frozenset({"versions", "rotate", "metadata"})
_RESERVED = frozenset({"batch"})
# The same grammar, of which the matcher tries each part once.
_PATH_AT_ONCE = r"[a-z0-9_-]++(?:/[a-z0-9_-]++){0,9}+"
_PATH = re.compile(r"[a-z0-9_-]+(?:/[a-z0-9_-]+){0,9}", re.ASCII)
_ID = re.compile(ID_PATTERN[1:-1], re.ASCII)
_NAME = re.compile(NAME_PATTERN[1:-1], re.ASCII)
_IDENTITY = re.compile(IDENTITY_PATTERN[1:-1], re.ASCII)
_GLOB_SEGMENT = re.compile(r"[a-z0-9_?*-]+", re.ASCII)
_WILDCARD = re.compile(r"[*?]")


class SafePath(str):
    """A path of a secret that may stand in a URL as it is."""

    __slots__ = ()


class SafeId(str):
    """An id that may stand in a URL as it is."""

    __slots__ = ()


class SafeName(str):
    """A name that may stand in a URL as it is."""

    __slots__ = ()


def read_path(text: str) -> SafePath | None:
    """Return a path of a secret, None for anything else."""
    if len(text) > MOST_CHARS or not _PATH.fullmatch(text):
        return None
    if text in _RESERVED or text.rpartition("/")[2] in _RESERVED_LAST:
        return None
    return SafePath(text)


def read_prefix(text: str) -> str | None:
    """Return a prefix without its final ``/``, "" for everything, None for what is no prefix.

    A prefix may end like a route: it never stands in a URL's path.
    """
    plain = text.removesuffix("/")
    if not text:
        return ""
    if len(plain) > MOST_CHARS or not _PATH.fullmatch(plain):
        return None
    return plain


def read_glob(text: str) -> str | None:
    """Return a glob as it stands, None for what is none.

    ``*`` and ``?`` stand inside a segment, ``**`` is a whole one.
    """
    segments = text.split("/")
    if len(text) > MOST_CHARS or len(segments) > MOST_SEGMENTS:
        return None
    for segment in segments:
        if not _GLOB_SEGMENT.fullmatch(segment) or ("**" in segment and segment != "**"):
            return None
    return text


def read_id(text: str) -> SafeId | None:
    """Return an id, None for anything else."""
    return SafeId(text) if _ID.fullmatch(text) else None


def read_name(text: str) -> SafeName | None:
    """Return a name, None for anything else."""
    return SafeName(text) if _NAME.fullmatch(text) else None


def is_identity(text: str) -> bool:
    """Tell whether a text names an identity, such as ``sa:report-runner``."""
    return _IDENTITY.fullmatch(text) is not None


def covers(entry: str, path: str) -> bool:
    """Tell whether `entry` is `path` or stands above it, on segment boundaries.

    The empty entry stands above everything. Both are without a final ``/``.
    """
    return not entry or path == entry or path.startswith(f"{entry}/")


Entries = tuple[str, ...]


def is_within(path: str, allowed: Entries | None, denied: Entries) -> bool:
    """Tell whether a path is one, no denied entry covers it and an allowed one does.

    A path that ends like a route is one here.

    Args:
        path: without a final ``/``.
        allowed: None for no limit.
        denied: they win.
    """
    return len(path) <= MOST_CHARS and _within(allowed, denied).fullmatch(f"{path}\n") is not None


def are_within(paths: list[Any], allowed: Entries | None, denied: Entries) -> bool:
    """Tell whether all of many paths are texts and are within."""
    try:
        # No path holds the end of a line, so together they can be matched in one go.
        lines = "\n".join([*paths, ""])
    except TypeError:
        return False
    is_short = max(map(len, paths), default=0) <= MOST_CHARS
    is_each = lines.count("\n") == len(paths)
    return is_short and is_each and _all_within(allowed, denied).fullmatch(lines) is not None


@lru_cache(maxsize=64)
def _within(allowed: Entries | None, denied: Entries) -> re.Pattern[str]:
    return re.compile(_line_within(allowed, denied), re.ASCII)


@lru_cache(maxsize=64)
def _all_within(allowed: Entries | None, denied: Entries) -> re.Pattern[str]:
    return re.compile(f"(?:{_line_within(allowed, denied)})*+", re.ASCII)


def _line_within(allowed: Entries | None, denied: Entries) -> str:
    """Return the pattern of one path and the end of its line."""
    wanted = "" if allowed is None else f"(?={_covered(allowed)})"
    refused = f"(?!{_covered(denied)})" if denied else ""
    return f"{refused}{wanted}{_PATH_AT_ONCE}\n"


def _covered(entries: Entries) -> str:
    """Return the pattern of how a path begins that an entry covers; of nothing for no entry."""
    if "" in entries:
        return ""
    return f"(?:{'|'.join(map(re.escape, entries))})[/\n]" if entries else "(?!)"


def glob_base(glob: str) -> str:
    """Return the segments before the first one with a wildcard, "" if there are none."""
    base: list[str] = []
    for segment in glob.split("/"):
        if _WILDCARD.search(segment):
            break
        base.append(segment)
    return "/".join(base)


def glob_matches(glob: str, path: str) -> bool:
    """Tell whether a path lies in a glob.

    ``*`` is one segment or a part of one, ``?`` one character, ``**`` any number of segments,
    none included; but a leading ``**/`` stands for at least one. Spec: scaivault 7.
    """
    pattern, segments = glob.split("/"), path.split("/")
    least = 1 if pattern[0] == "**" and len(pattern) > 1 else 0
    # How many segments are used up, every way at once: globs that ScaiVault holds are anybody's,
    # and trying one way after another takes longer with each star.
    reached = {0}
    for wanted in pattern:
        if wanted == "**":
            reached = set(range(min(reached) + least, len(segments) + 1))
            least = 0
        else:
            reached = {
                here + 1
                for here in reached
                if here < len(segments) and re.match(translate(wanted), segments[here])
            }
        if not reached:
            return False
    return len(segments) in reached
