"""Paths, prefixes, globs and names of ScaiVault. Pure.

A URL is built of `SafePath`, `SafeId` and `SafeName` only, and only the functions here make
those. Nothing is trimmed, decoded, case-folded or normalised: what does not match is refused.
Spec: scaivault 1 (shorthands), 2.3.
"""

from __future__ import annotations

import re

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
    if pattern[0] == "**" and len(pattern) > 1:
        return any(_segments_match(pattern[1:], segments[at:]) for at in range(1, len(segments)))
    return _segments_match(pattern, segments)


def _segments_match(pattern: list[str], segments: list[str]) -> bool:
    if not pattern:
        return not segments
    if pattern[0] == "**":
        return any(_segments_match(pattern[1:], segments[at:]) for at in range(len(segments) + 1))
    if not segments or not _segment_matches(pattern[0], segments[0]):
        return False
    return _segments_match(pattern[1:], segments[1:])


def _segment_matches(pattern: str, segment: str) -> bool:
    parts = [re.escape(c) if c not in "*?" else {"*": ".*", "?": "."}[c] for c in pattern]
    return re.fullmatch("".join(parts), segment) is not None
