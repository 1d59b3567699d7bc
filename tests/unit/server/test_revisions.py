"""Which revision a request speaks."""

import pytest

from scaimcp.server.revisions import (
    ASSUMED,
    HANDSHAKE,
    MODERN,
    SUPPORTED,
    V2024_11_05,
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
    negotiate,
    of_header,
)

NAMES = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")


def test_every_revision_is_offered_newest_first() -> None:
    assert SUPPORTED == ("2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
    assert tuple(HANDSHAKE) == NAMES
    assert tuple(MODERN) == ("2026-07-28",)


@pytest.mark.parametrize("name", NAMES)
def test_initialize_settles_on_the_revision_asked_for(name: str) -> None:
    assert negotiate(name).name == name


@pytest.mark.parametrize("name", ["2026-07-28", "1999-01-01", "", "2025-11-25 "])
def test_initialize_with_anything_else_settles_on_the_newest_handshake_revision(name: str) -> None:
    assert negotiate(name) is V2025_11_25


@pytest.mark.parametrize("name", [*NAMES, "2026-07-28"])
def test_the_header_decides(name: str) -> None:
    revision = of_header(name, "2025-06-18")
    assert revision is not None
    assert revision.name == name


def test_without_a_header_the_session_decides() -> None:
    assert of_header(None, "2024-11-05") is V2024_11_05


@pytest.mark.parametrize("settled", [None, "", "2026-07-28", "1999-01-01"])
def test_without_header_and_session_the_first_streamable_revision_is_assumed(
    settled: str | None,
) -> None:
    assert of_header(None, settled) is ASSUMED is V2025_03_26


@pytest.mark.parametrize("header", ["", "1999-01-01", "2026-07-28 ", "draft"])
def test_an_unknown_header_is_no_revision(header: str) -> None:
    assert of_header(header, "2025-11-25") is None


def test_what_each_revision_has() -> None:
    revisions = (V2024_11_05, V2025_03_26, V2025_06_18, V2025_11_25, V2026_07_28)
    assert [r.has_batches for r in revisions] == [False, True, False, False, False]
    assert [r.has_annotations for r in revisions] == [False, True, True, True, True]
    assert [r.has_structure for r in revisions] == [False, False, True, True, True]
    assert [r.is_modern for r in revisions] == [False, False, False, False, True]
