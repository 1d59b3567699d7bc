"""Paths whose segments hold slashes."""

from __future__ import annotations

import pytest

from scaimcp.rest.edge import with_whole_segments


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/v1/servers/rs_1", "/v1/servers/rs_1"),
        (b"/v1/servers/rs%2F1", "/v1/servers/rs%2F1"),
        (b"/v1/servers/%2f%2F?q=%2F", "/v1/servers/%2F%2F"),
        (b"/v1/servers/a%2Fb%20c/pins", "/v1/servers/a%2Fb c/pins"),
        (b"/v1/servers/a%2Fb/tools/x%2Fy/invoke", "/v1/servers/a%2Fb/tools/x/y/invoke"),
        (b"/v1/servers/%2F%FF", "/v1/servers/%2F\ufffd"),
    ],
)
def test_an_encoded_slash_separates_nothing(raw: bytes, path: str) -> None:
    scope = with_whole_segments({"raw_path": raw, "path": "/v1/servers/rs_1", "x": 1})
    assert (scope["path"], scope["x"]) == (path, 1)


@pytest.mark.parametrize("raw", [b"/v1/tools/a%2Fb", b"/v1/x?next=%2F", b"", None])
def test_other_paths_stay_as_they_were_decoded(raw: bytes | None) -> None:
    scope = {"raw_path": raw, "path": "/decoded"}
    assert with_whole_segments(scope) is scope
