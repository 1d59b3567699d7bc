"""Strategies for paths, globs, guards and results."""

from __future__ import annotations

from hypothesis import strategies as st

from scaimcp.scaivault.guards import Guards

# Few letters, so that paths meet often.
SEGMENTS = st.sampled_from(["a", "b", "ab", "a-b", "aa", "a_"])
PATHS = st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join)
ENTRIES = st.lists(PATHS, max_size=4).map(lambda entries: tuple(sorted(set(entries))))
GUARDS = st.builds(
    Guards,
    read_only=st.booleans(),
    mask_values=st.booleans(),
    allowed=st.none() | ENTRIES,
    denied=ENTRIES,
    groups=st.none() | st.frozensets(st.sampled_from(["secrets", "audit", "pki"])),
)
_GLOB_SEGMENTS = SEGMENTS | st.sampled_from(["*", "?", "**", "a*", "*b", "?b", "a?"])
GLOBS = st.lists(_GLOB_SEGMENTS, min_size=1, max_size=5).map("/".join)
# Whatever a client may send where a path belongs.
LIKE_PATHS = (
    PATHS
    | GLOBS
    | st.text(max_size=20)
    | st.text(alphabet="abAB/._-%2eEfF*?#;,\\ \n\x00\uff41\u0430\u2215\u202e", max_size=12)
    | st.builds(
        lambda path, tail: path + tail, PATHS, st.sampled_from(["/", "/..", "//a", "\n", "/../b"])
    )
)


@st.composite
def globs_over(draw: st.DrawFn, path: str) -> str:
    """Return a glob that matches a path: its first segments, then wildcards in place of others."""
    segments = path.split("/")
    kept = draw(st.integers(0, len(segments)))
    shape = [*segments[:kept], *(draw(_wildcards(segment)) for segment in segments[kept:])]
    at = draw(st.integers(1, len(shape)))
    # Any number of segments, none included; a leading one stands for one at least.
    tail = draw(st.sampled_from([shape[at:], ["**"], ["**", *shape[at:]]]))
    return "/".join([*shape[:at], *tail])


def _wildcards(segment: str) -> st.SearchStrategy[str]:
    return st.sampled_from(
        [segment, "*", "?" * len(segment), f"{segment[0]}*", f"*{segment[-1]}", f"{segment}*"]
    )


@st.composite
def guarded_globs(draw: st.DrawFn) -> tuple[Guards, str, str]:
    """Return limited guards, a glob, and a path that it matches; often the glob passes."""
    path = draw(PATHS)
    segments = path.split("/")
    above = "/".join(segments[: draw(st.integers(1, len(segments)))])
    denied = draw(ENTRIES)
    allowed = draw(st.just((above,)) | ENTRIES | (st.none() if denied else st.just(())))
    return Guards(allowed=allowed, denied=denied), draw(globs_over(path)), path
