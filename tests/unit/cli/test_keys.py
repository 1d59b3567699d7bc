"""``scaimcp keys``: options, settings and what is printed without a database."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from scaimcp.cli.main import main
from scaimcp.credentials.keys import new_key
from scaimcp.settings import environment, load, parse_keys

KEK = "SCAIMCP_ENCRYPTION_LOCAL_KEK"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in environment():
        if name.startswith("SCAI"):
            monkeypatch.delenv(name)
    root, kept = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield monkeypatch
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**kept)


def test_generate_prints_one_key_and_needs_no_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "generate"]) == 0
    assert main(["keys", "generate", "--id", "2026-11"]) == 0
    said = capsys.readouterr()
    plain, named = said.out.splitlines()
    assert parse_keys(f"{named},{plain}").ids[0] == "2026-11"
    assert said.err == ""


def test_what_generate_prints_is_a_key_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["keys", "generate"])
    file = tmp_path / "kek"
    file.touch(0o600)
    file.write_text(capsys.readouterr().out)
    ring = load({f"{KEK}_FILE": str(file)}).encryption_local_kek
    assert ring is not None
    assert len(ring.ids) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("turn",),
        ("generate", "--id", "Not An Id"),
        ("rotate", "--batch", "0"),
        ("rotate", "--batch", "10001"),
        ("rotate", "--batch", "many"),
        ("rotate", "--max-per-second", "-1"),
        ("rotate", "--max-per-second", "0.5"),
        ("rotate", "--deks"),
        ("check", "--dry-run"),
    ],
)
def test_wrong_use_is_two(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["keys", *arguments])
    assert refused.value.code == 2
    assert "usage: scaimcp" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["rotate", "check"])
def test_without_database_and_key_it_is_five(
    action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", action]) == 5
    said = capsys.readouterr().err
    assert said == f"scaimcp: missing setting: SCAIMCP_DATABASE_URL, {KEK}\n"


@pytest.mark.parametrize("action", ["rotate", "check"])
def test_a_database_that_is_away_is_one_and_names_no_address(
    action: str, no_settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    no_settings.setenv("SCAIMCP_DATABASE_URL", "postgresql://u:hidden@/x?host=/nowhere")
    no_settings.setenv(KEK, new_key())
    assert main(["keys", action]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("scaimcp: The database failed (")
    assert said.out == ""
    assert "hidden" not in said.err + said.out
