"""`scaimcp dev` as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.dev.helpers import wait_until

COMMAND = (str(Path(sys.executable).with_name("scaimcp")), "dev", "--port", "0")
SECONDS = 60.0


class Dev:
    """A running `scaimcp dev`; a test that fails may leave it to `leave_nothing_running`."""

    started: ClassVar[list[Dev]] = []

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.ready_file = directory / f"ready-{len(self.started)}.json"
        self.out = directory / f"out-{len(self.started)}"
        self.begun = time.monotonic()
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [*COMMAND, "--ready-file", str(self.ready_file), *arguments],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self.started.append(self)

    def wait_ready(self) -> dict[str, Any]:
        wait_until(lambda: self.ready_file.exists() or self.process.poll() is not None, SECONDS)
        assert self.process.poll() is None, self.said
        self.seconds = time.monotonic() - self.begun
        document: dict[str, Any] = json.loads(self.ready_file.read_bytes())
        return document

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    @property
    def said(self) -> str:
        return self.out.read_text()


@pytest.fixture(autouse=True)
def leave_nothing_running() -> Iterator[None]:
    yield
    for dev in Dev.started:
        if dev.process.poll() is None:
            dev.end()
    Dev.started.clear()
