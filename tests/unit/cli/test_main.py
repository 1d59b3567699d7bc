"""Parsing of the command line, and exit codes."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from scaimcp import __version__
from scaimcp.cli.main import EXIT_SETTINGS, main
from scaimcp.settings import environment


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment():
        if name.startswith("SCAI"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """Commands set up the log for their process; give it back."""
    root, kept = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**kept)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A complete set of settings, of which nothing is reachable."""
    monkeypatch.setenv("SCAIMCP_PUBLIC_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SCAIMCP_DATABASE_URL", "postgresql://user:hidden@/x?host=/nowhere")
    monkeypatch.setenv("SCAIMCP_REDIS_URL", "unix:///nowhere/redis.sock")
    monkeypatch.setenv("SCAIMCP_STATE_KEYS", "b3duIGtleXMgYXJlIDMyIGJ5dGVzIGxvbmcsIG9rYXk=")
    return monkeypatch


def _refused(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    return refused.value.code


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert _refused("--version") == 0
    assert capsys.readouterr().out == f"scaimcp {__version__}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert _refused("--help") == 0
    said = capsys.readouterr().out
    for name in ("serve", "worker", "migrate", "keys", "dev", "smoke", "doctor", "catalog"):
        assert f"\n    {name} " in said


@pytest.mark.parametrize(
    "name", ["serve", "worker", "migrate", "keys", "dev", "smoke", "doctor", "catalog"]
)
def test_each_command_helps(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _refused(name, "--help") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: scaimcp {name}")
    # What workers are told is nobody else's business.
    assert "--sockets" not in said
    assert "--parent" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("fly",),
        ("serve", "--fast"),
        ("catalog", "--format", "xml"),
        ("smoke",),
        ("smoke", "http://h", "--era", "stone"),
        ("smoke", "http://h", "--token", "a", "--token-file", "b"),
        ("smoke", "http://h", "--timeout", "0"),
        ("smoke", "http://h", "--timeout", "soon"),
        ("migrate", "--to"),
    ],
)
def test_wrong_use_is_two(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert _refused(*arguments) == 2
    assert "usage: scaimcp" in capsys.readouterr().err


def test_arguments_come_from_the_process_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["scaimcp", "catalog"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("NAME ")


@pytest.mark.parametrize("name", ["serve", "worker", "migrate"])
def test_missing_settings_are_five(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name]) == EXIT_SETTINGS == 5
    said = capsys.readouterr().err
    assert said.startswith("scaimcp: missing setting: SCAIMCP_")
    assert said.count("\n") == 1


def test_an_unknown_setting_is_five(
    settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.setenv("SCAIMCP_DATABASE_URI", "x")
    assert main(["serve"]) == 5
    assert "did you mean SCAIMCP_DATABASE_URL?" in capsys.readouterr().err


def test_doctor_tells_settings_that_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 5
    said = capsys.readouterr().out
    assert said.startswith("FAIL     0 ms  settings: missing setting: SCAIMCP_PUBLIC_URL,")
    assert "-> see the settings page" in said


@pytest.mark.parametrize(
    ("url", "token", "said"),
    [
        ("gateway.example", "a", "takes an http or https URL"),
        ("ftp://gateway.example", "a", "takes an http or https URL"),
        ("http://user:word@gateway.example", "a", "takes an http or https URL"),
        ("http://gateway.example:99999", "a", "takes an http or https URL"),
        ("http://gateway.example", "", "the token is empty"),
        ("http://gateway.example", "two words", "holds what no bearer holds"),
        ("http://gateway.example", "ünderstood", "holds what no bearer holds"),
    ],
)
def test_smoke_refuses_what_it_cannot_use(
    url: str, token: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["smoke", url, "--token", token]) == 5
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_smoke_refuses_a_token_file_it_cannot_read(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    assert main(["smoke", "http://h", "--token-file", str(path)]) == 5
    assert "token" in capsys.readouterr().err


def test_smoke_reads_no_token_from_an_empty_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["smoke", "http://h", "--token-file", "-"]) == 5
    assert "the token is empty" in capsys.readouterr().err


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(io.StringIO):
        def readline(self, *_: object) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Interrupted())
    assert main(["smoke", "http://h", "--token-file", "-"]) == 130
