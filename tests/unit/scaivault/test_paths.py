"""Grammar of paths, prefixes, globs and names. Spec: scaivault 1, 2.3, 2.7 (G10-G18), 10."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.scaivault import paths

PATHS = st.from_regex(r"[a-c_-]{1,3}(/[a-c0-9]{1,3}){0,4}", fullmatch=True)
BAD = {
    "two dots": "app/../infra/db",
    "one dot": "app/./db",
    "empty segment": "app//db",
    "leading slash": "/app/db",
    "final slash": "app/db/",
    "encoded dots": "app/%2e%2e/infra",
    "encoded slash": "app%2Fdb",
    "twice encoded": "app/%252e%252e/x",
    "capitals": "INFRA/db",
    "one capital": "Infra/db",
    "full width": "\uff49nfra/db",
    "Cyrillic": "\u0456nfra/db",
    "division slash": "infra\u2215db",
    "newline": "app/db\n",
    "NUL": "app/db\x00",
    "blank": " app/db",
    "bidirectional": "app/\u202edb",
    "star": "app/*",
    "stars": "**",
    "question mark": "app/d?",
    "query": "app/db?version=1",
    "fragment": "app/db#x",
    "parameter": "app/db;v",
    "backslash": "app\\db",
    "comma": "app/a,infra/b",
    "empty": "",
    "eleven segments": "/".join("a" * 11),
    "too long": "a" * 513,
    "versions": "app/versions",
    "rotate": "app/db/rotate",
    "metadata": "metadata",
    "batch": "batch",
    "Arabic digit": "app/\u0661",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_what_is_no_path_is_refused_as_it_stands(text: str) -> None:
    assert paths.read_path(text) is None


@pytest.mark.parametrize(
    "text",
    ["app", "app/db", "a" * 512, "/".join("a" * 10), "app/batch", "versions/x", "-/_", "0"],
)
def test_a_path_is_kept_as_it_stands(text: str) -> None:
    found = paths.read_path(text)
    assert found == text
    assert isinstance(found, paths.SafePath)


@given(st.text())
def test_only_the_grammar_makes_a_path(text: str) -> None:
    if paths.read_path(text) is not None:
        assert re.fullmatch(r"[a-z0-9_-]+(/[a-z0-9_-]+){0,9}", text, re.ASCII)
        assert len(text) <= 512
        assert text.split("/")[-1] not in {"versions", "rotate", "metadata"}


@pytest.mark.parametrize(
    ("text", "prefix"),
    [("", ""), ("app", "app"), ("app/", "app"), ("app/versions", "app/versions")],
)
def test_a_prefix_loses_its_final_slash(text: str, prefix: str) -> None:
    assert paths.read_prefix(text) == prefix


@pytest.mark.parametrize("text", ["/", "//", "app//", "/app", "App", "app/*", "a" * 513, " "])
def test_what_is_no_prefix_is_refused(text: str) -> None:
    assert paths.read_prefix(text) is None


@pytest.mark.parametrize(
    "text", ["**", "app/**", "app/*/db", "ap?/db", "a*b/**/c", "app/db", "?", "a*" * 256]
)
def test_a_glob_is_kept_as_it_stands(text: str) -> None:
    assert paths.read_glob(text) == text


@pytest.mark.parametrize(
    "text",
    ["***", "a**", "**a", "/app/**", "app/", "", "a//b", "A/*", "/".join("*" * 11), "a" * 513,
     "app/[a]", "app/{a,b}", "!a"],
)  # fmt: skip
def test_what_is_no_glob_is_refused(text: str) -> None:
    assert paths.read_glob(text) is None


@pytest.mark.parametrize("text", ["..", "a/b", "a%2fb", "a" * 129, "", ".a", "a b", "a\n", "é"])
def test_what_is_no_id_is_refused(text: str) -> None:
    assert paths.read_id(text) is None


def test_an_id_is_kept() -> None:
    assert paths.read_id("sa_1:x@y.z-9") == "sa_1:x@y.z-9"
    assert paths.read_id("a" * 128) == "a" * 128


@pytest.mark.parametrize("text", ["two words", "a" * 65, "", "-a", "a.b", "a:b", "a\n"])
def test_what_is_no_name_is_refused(text: str) -> None:
    assert paths.read_name(text) is None


def test_a_name_is_kept() -> None:
    assert paths.read_name("Web_1-a") == "Web_1-a"


@pytest.mark.parametrize("text", ["user:a", "sa:b.c@d+e-f_g", "group:1", "system:x", "dynamic:y"])
def test_an_identity_has_a_kind_and_a_name(text: str) -> None:
    assert paths.is_identity(text)


@pytest.mark.parametrize("text", ["user:", "User:a", "robot:a", "a", "sa:a/b", "sa:" + "a" * 129])
def test_what_is_no_identity_is_refused(text: str) -> None:
    assert not paths.is_identity(text)


@pytest.mark.parametrize(
    ("entry", "path", "is_covered"),
    [
        ("app", "app", True),
        ("app", "app/x", True),
        ("app", "app2", False),
        ("app", "application/x", False),
        ("app", "ap", False),
        ("app/x", "app", False),
        ("", "anything", True),
    ],
)
def test_an_entry_covers_itself_and_what_is_below(entry: str, path: str, is_covered: bool) -> None:
    assert paths.covers(entry, path) is is_covered


@given(PATHS, PATHS)
def test_covering_is_by_segments(entry: str, path: str) -> None:
    wanted = entry.split("/")
    assert paths.covers(entry, path) == (path.split("/")[: len(wanted)] == wanted)


@pytest.mark.parametrize(
    ("glob", "base"),
    [("app/**", "app"), ("**", ""), ("app/d?/x", "app"), ("app/db", "app/db"), ("a/b/*/c", "a/b")],
)
def test_the_base_of_a_glob_ends_before_its_first_wildcard(glob: str, base: str) -> None:
    assert paths.glob_base(glob) == base


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("app/**", "app/x/y", True),
        ("app/**", "app", True),
        ("app/**", "app2/x", False),
        ("**/db", "app/db", True),
        ("**/db", "db", False),
        ("**", "a/b", True),
        ("app/*", "app/x", True),
        ("app/*", "app/x/y", False),
        ("app/d?", "app/db", True),
        ("app/d?", "app/d", False),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("a/x*y", "a/x/y", False),
        ("a", "a/b", False),
        ("**/**", "a", True),
        ("*b/**", "a", False),
        ("a/**/*/z", "a/z", False),
        ("a*c*e", "abcde", True),
    ],
)
def test_a_glob_matches_segment_by_segment(glob: str, path: str, matches: bool) -> None:
    assert paths.glob_matches(glob, path) is matches


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("*a" * 255 + "b", "a" * 512),
        ("*?" * 255 + "b", "a" * 512),
        ("/".join([*["**"] * 9, "x"]), "/".join("a" * 10)),
    ],
)
def test_a_glob_of_many_stars_comes_to_an_end(glob: str, path: str) -> None:
    # Tried one way after another, the first would outlast everybody who waits for it.
    assert paths.read_glob(glob) == glob
    assert not paths.glob_matches(glob, path)


@given(PATHS)
def test_a_path_is_a_glob_that_matches_itself_only(path: str) -> None:
    assert paths.read_glob(path) == path
    assert paths.glob_matches(path, path)
    assert not paths.glob_matches(path, f"{path}/x")
