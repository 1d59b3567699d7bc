"""`scaimcp dev` from outside: a real process with tiny children (`tests.dev.driver`)."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from scaimcp.dev.command import add_arguments, main, options_from
from scaimcp.dev.plan import DevOptions
from scaimcp.dev.platform import seed
from scaimcp.dev.standin import LOGINS, run_standin, standin_tokens
from tests.dev.driver import TOKENS
from tests.dev.helpers import ROOT, is_gone, wait_until

pytestmark = pytest.mark.slow

DRIVER = (sys.executable, "-m", "tests.dev.driver")


class Dev:
    """A running `scaimcp dev`; a test that fails may leave it to `leave_nothing_running`."""

    started: ClassVar[list[Dev]] = []

    def __init__(self, directory: Path, *arguments: str, **environment: str) -> None:
        self.ready_file = directory / "ready.json"
        self.out, self.err = directory / "out", directory / "err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [*DRIVER, "--ready-file", str(self.ready_file), *arguments],
                cwd=ROOT,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self.started.append(self)

    def wait_ready(self) -> dict[str, Any]:
        wait_until(lambda: self.ready_file.exists() or self.process.poll() is not None, 30)
        assert self.process.poll() is None, self.err.read_text()
        document: dict[str, Any] = json.loads(self.ready_file.read_bytes())
        return document

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    @property
    def said(self) -> str:
        return self.err.read_text()


def _get(url: str) -> dict[str, str]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: dict[str, str] = json.load(answer)
        return body


def _assert_gone(document: dict[str, Any]) -> None:
    wait_until(lambda: all(is_gone(pid) for pid in document["pids"].values()))


@pytest.fixture(autouse=True)
def leave_nothing_running() -> Iterator[None]:
    yield
    for dev in Dev.started:
        if dev.process.poll() is None:
            dev.end()
    Dev.started.clear()


@pytest.fixture
def data(open_dir: Path) -> Path:
    return open_dir / "data"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_serves_until_a_signal_and_ends_quietly(open_dir: Path, number: int) -> None:
    dev = Dev(open_dir, "--ephemeral", "--port", "0")
    document = dev.wait_ready()
    origin = document["rest_url"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", origin)
    assert document["mcp_url"] == f"{origin}/mcp"
    assert document["metrics_url"] == f"{origin}/metrics"
    assert document["tokens"] == TOKENS
    assert set(document["pids"]) == {
        "gateway", "worker", "platform", "vault", "postgres", "redis",
    }  # fmt: skip
    assert dev.ready_file.stat().st_mode & 0o777 == 0o600
    wait_until(lambda: "Stop with Ctrl-C." in dev.out.read_text())
    assert dev.end(number) == 0
    assert all(is_gone(pid) for pid in document["pids"].values())
    assert not dev.ready_file.exists()
    place = Path(document["database_url"].partition("host=")[2]).parents[1]
    assert not place.exists()
    assert sorted(dev.said.splitlines()) == [
        "gateway  | gateway serves",
        "migrate  | schema is in place",
    ]


def test_children_get_the_settings_and_none_of_the_parents(open_dir: Path, data: Path) -> None:
    arguments = ("--data-dir", str(data), "--port", "0")
    dev = Dev(open_dir, *arguments, SCAIMCP_LOG_LEVEL="debug", SCAIGRID_HOST="x")
    document = dev.wait_ready()
    settings = _get(f"{document['rest_url']}/")
    assert settings["SCAIMCP_PUBLIC_URL"] == document["rest_url"]
    assert settings["SCAIMCP_DATABASE_URL"] == document["database_url"]
    assert settings["SCAIMCP_REDIS_URL"] == document["redis_url"]
    assert settings["SCAIMCP_PLATFORM_URL"] == document["platform_url"]
    assert settings["SCAIMCP_SCAIVAULT_URL"] == document["vault_url"]
    assert settings["SCAIMCP_STATE_KEYS"] == (data / "state.key").read_text().strip()
    assert settings["SCAIMCP_ENCRYPTION_LOCAL_KEK"] == (data / "kek.key").read_text().strip()
    assert not {"SCAIMCP_LOG_LEVEL", "SCAIGRID_HOST"} & set(settings)
    assert _get(document["platform_url"]) == {}
    dev.end()
    assert (data / "platform.sqlite").exists()


def test_a_second_start_says_who_holds_the_directory(open_dir: Path, data: Path) -> None:
    arguments = ("--data-dir", str(data), "--port", "0")
    dev = Dev(open_dir, *arguments)
    port = dev.wait_ready()["rest_url"].rpartition(":")[2]
    other = open_dir / "other"
    other.mkdir()
    second = Dev(other, "--data-dir", str(data), "--port", port)
    assert second.process.wait(30) == 1
    assert f"process {dev.process.pid} uses the data directory {data}" in second.said
    assert "Traceback" not in second.said
    assert dev.end() == 0


def test_a_kill_leaves_no_process_and_no_lock(open_dir: Path, data: Path) -> None:
    arguments = ("--data-dir", str(data), "--port", "0")
    dev = Dev(open_dir, *arguments)
    document = dev.wait_ready()
    dev.end(signal.SIGKILL)
    _assert_gone(document)
    again = Dev(open_dir, *arguments)
    wait_until(lambda: _is_new(again, document), 30)
    assert again.end() == 0


def _is_new(dev: Dev, earlier: dict[str, Any]) -> bool:
    """Whether the ready file is the new one; the old one is removed at the start."""
    return dev.ready_file.exists() and json.loads(dev.ready_file.read_bytes()) != earlier


@pytest.mark.parametrize("name", ["gateway", "worker", "platform", "redis"])
def test_a_child_that_dies_ends_the_rest_with_a_message(open_dir: Path, name: str) -> None:
    dev = Dev(open_dir, "--ephemeral", "--port", "0")
    document = dev.wait_ready()
    os.kill(document["pids"][name], signal.SIGKILL)
    assert dev.process.wait(30) == 1
    assert f"scaimcp dev: {name} ended unexpectedly (SIGKILL); stopping the others" in dev.said
    assert "Traceback" not in dev.said
    _assert_gone(document)
    assert not dev.ready_file.exists()


def test_a_migration_that_fails_ends_it_with_its_output(open_dir: Path) -> None:
    dev = Dev(open_dir, "--ephemeral", "--port", "0", "--platform-rate-limits")
    assert dev.process.wait(30) == 1
    assert "migrate  | no such schema" in dev.said
    assert "migrate ended unexpectedly (exit code 1)" in dev.said
    assert not dev.ready_file.exists()


def test_a_signal_while_starting_ends_it_quietly(open_dir: Path, data: Path) -> None:
    dev = Dev(open_dir, "--data-dir", str(data), "--port", "0")
    wait_until((data / "lock").exists)
    wait_until((data / "platform.json").exists)
    assert dev.end() == 0
    assert "Traceback" not in dev.said
    assert not dev.ready_file.exists()


def test_a_real_platform_needs_no_stand_in(open_dir: Path) -> None:
    url = "https://grid.example.com"
    dev = Dev(open_dir, "--ephemeral", "--port", "0", "--platform-url", f"{url}/")
    document = dev.wait_ready()
    assert document["tokens"] == {}
    assert set(document["pids"]) == {"gateway", "worker", "postgres", "redis"}
    assert document["platform_url"] == url
    assert _get(document["rest_url"])["SCAIMCP_PLATFORM_URL"] == url
    assert dev.end() == 0


def test_all_addresses_are_served_with_a_warning(open_dir: Path) -> None:
    dev = Dev(open_dir, "--ephemeral", "--port", "0", "--host", "0.0.0.0")
    document = dev.wait_ready()
    wait_until(lambda: "Stop with Ctrl-C." in dev.out.read_text())
    assert "WARNING: other machines" in dev.out.read_text()
    assert document["rest_url"].startswith("http://127.0.0.1:")
    assert dev.end() == 0


def test_a_taken_port_is_told_before_anything_starts(open_dir: Path, data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        dev = Dev(open_dir, "--data-dir", str(data), "--port", str(port))
        assert dev.process.wait(30) == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in dev.said
    assert not (data / "postgres").exists()


def test_it_starts_again_on_the_same_data(open_dir: Path, data: Path) -> None:
    arguments = ("--data-dir", str(data), "--port", "0")
    first = Dev(open_dir, *arguments)
    first.wait_ready()
    first.end()
    second = Dev(open_dir, *arguments)
    second.wait_ready()
    assert second.end() == 0


def test_data_goes_to_the_users_directory_by_default(open_dir: Path) -> None:
    dev = Dev(open_dir, "--port", "0", XDG_DATA_HOME=str(open_dir))
    dev.wait_ready()
    assert dev.end() == 0
    assert (open_dir / "scaimcp" / "dev" / "state.key").exists()


def test_it_goes_on_when_nobody_reads_its_output(open_dir: Path) -> None:
    ready = open_dir / "ready.json"
    process = subprocess.Popen(
        [*DRIVER, "--ephemeral", "--port", "0", "--ready-file", str(ready)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    process.stderr.close()
    wait_until(ready.exists, 30)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_lines_that_nobody_reads_do_not_spoil_the_exit_code() -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import sys; from scaimcp.dev.command import _log\n"
            "sys.stdin.read()\nfor _ in range(3): _log('x' * 10_000)",
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    process.stderr.close()
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(30) == 0


def _options(*arguments: str) -> DevOptions:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return options_from(parser.parse_args(arguments))


def test_without_arguments_the_defaults_hold() -> None:
    assert _options() == DevOptions()


def test_all_arguments_are_read() -> None:
    read = _options(
        *("--host", "[::1]", "--port", "0", "--data-dir", "/d", "--ready-file", "/r"),
        "--platform-rate-limits",
    )
    expected = DevOptions(
        host="::1",
        port=0,
        data_dir=Path("/d"),
        ready_file=Path("/r"),
        platform_rate_limits=True,
    )
    assert read == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ("--port", "65536"),
        ("--port", "-1"),
        ("--port", "http"),
        ("--ephemeral", "--data-dir", "/d"),
        ("--platform-url", "ftp://grid"),
        ("--platform-url", "grid.example"),
        ("--platform-url", "https://user:secret@grid.example"),
        ("--platform-url", "https://grid.example", "--platform-rate-limits"),
    ],
)
def test_nonsense_is_refused(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        _options(*arguments)
    assert refused.value.code == 2
    assert "secret" not in capsys.readouterr().err.partition("error:")[2]


def test_arguments_after_platform_belong_to_the_stand_in() -> None:
    options = _options("platform", "--port", "0", "--rate-limits")
    assert options.platform_arguments == ("--port", "0", "--rate-limits")
    assert _options("platform").platform_arguments == ()


def test_arguments_after_vault_belong_to_the_other_stand_in() -> None:
    options = _options("vault", "--port", "0")
    assert options.vault_arguments == ("--port", "0")
    assert options.platform_arguments is None


def test_the_command_runs_the_stand_in_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["pytest"])
    assert main(_options("platform", "--help")) == 0
    assert "stand-in" in capsys.readouterr().out
    assert main(_options("vault", "--help")) == 0
    assert "stand-in vault" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "expected", "said"),
    [("", 0, ""), ("raise SystemExit(4)", 4, ""), ("raise SystemExit('why')", 1, "why\n")],
)
def test_the_exit_code_of_the_stand_in_is_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    code: str,
    expected: int,
    said: str,
) -> None:
    name = f"stand_in_{expected}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__main__.py").write_text(
        f"import sys\nassert sys.argv[1:] == ['a']\n{code}"
    )
    (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["pytest"])
    assert run_standin(["a"], name) == expected
    assert capsys.readouterr().err == said


def test_tokens_are_those_of_the_stand_ins_seed() -> None:
    assert {role: seed.SEED_LOGINS[role] for role in LOGINS} == dict(LOGINS)
    assert standin_tokens() == {role: seed.api_key(login) for role, login in LOGINS.items()}
