"""`scaimcp serve` as a process, seen from outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from scaimcp.dev.platform import Served
from tests.dev.helpers import ROOT, is_gone
from tests.serving.raw import TOKEN, Line
from tests.world import Client, gateway_environment

SECONDS = 60.0


async def until(condition: Callable[[], Any], seconds: float = SECONDS) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        await asyncio.sleep(0.01)


class Gateway:
    """One running `scaimcp serve`."""

    def __init__(self, process: subprocess.Popen[bytes], errors: Path, platform: Served) -> None:
        self.process = process
        self.platform = platform
        self._errors = errors
        self.started_at = time.monotonic()

    @property
    def said(self) -> str:
        """Everything on standard error so far."""
        return self._errors.read_text()

    @property
    def log(self) -> list[dict[str, Any]]:
        """The log's lines; another line that is no JSON fails the test."""
        lines = self.said.splitlines()
        return [json.loads(line) for line in lines if not line.startswith("scaimcp: ")]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of one event."""
        return [line for line in self.log if line.get("event") == event]

    @property
    def listening(self) -> dict[str, Any]:
        """What it said when the sockets were open."""
        return self.logged("listening")[0]

    @property
    def url(self) -> str:
        """The first address."""
        return str(self.listening["addresses"][0])

    @property
    def metrics_url(self) -> str:
        return str(self.listening["metrics"][0])

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def wait_listening(self) -> None:
        """Wait until the sockets are open."""
        await until(lambda: self._has_ended or '"listening"' in self.said)
        assert not self._has_ended, self.said

    @property
    def _has_ended(self) -> bool:
        return self.process.poll() is not None

    async def wait_started(self, count: int = 1) -> None:
        """Wait until `count` processes have started serving."""
        await until(lambda: self._has_ended or self.said.count('"gateway started"') >= count)
        assert not self._has_ended, self.said

    def send(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    async def ended(self, seconds: float = SECONDS) -> int:
        """Wait for the end and return the exit code."""
        await until(lambda: self.process.poll() is not None, seconds)
        return self.process.returncode

    async def stop(self, number: int = signal.SIGTERM) -> int:
        self.send(number)
        return await self.ended()

    def workers(self) -> list[int]:
        """The process ids of the workers that live."""
        listed = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line.split(None, 1) for line in listed.stdout.splitlines()]
        found = [int(pid) for pid, command in lines if "--sockets" in command]
        return [pid for pid in found if not is_gone(pid)]

    async def fault(self, *rules: Mapping[str, Any]) -> None:
        """Let the platform misbehave; no rule mends it. Forgets past calls."""
        async with aiohttp.ClientSession() as http:
            place = f"{self.platform.url}/__standin/faults"
            async with http.put(place, json=list(rules)) as response:
                assert response.status == 200, await response.text()
            async with http.delete(f"{self.platform.url}/__standin/calls") as response:
                assert response.status == 204, await response.text()


class Launcher:
    """Starts gateways with the module's platform and stores."""

    def __init__(self, platform: Served, database: str, redis: str, place: Path) -> None:
        self.platform = platform
        self.place = place
        self._stores = (database, redis)
        self._running: list[Gateway] = []
        self._lines: list[Line] = []

    def environment(self, **settings: str | None) -> dict[str, str]:
        """The environment of a gateway; None takes a setting away."""
        stores = self._stores
        settings = {"SERVER_BIND": "127.0.0.1:0", **settings}
        given = {name: value for name, value in settings.items() if value is not None}
        env = gateway_environment(80, self.platform.url, *stores, **given)
        for name, value in settings.items():
            if value is None:
                env.pop(f"SCAIMCP_{name}", None)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SCAI")}
        return {**kept, **env}

    def start(self, *arguments: str, **settings: str | None) -> Gateway:
        """Start a gateway and return at once."""
        errors = self.place / f"errors-{len(self._running)}"
        with errors.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments, "-m", "scaimcp", "serve"],
                cwd=ROOT,
                env=self.environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        gateway = Gateway(process, errors, self.platform)
        self._running.append(gateway)
        return gateway

    async def __call__(self, **settings: str | None) -> Gateway:
        """Start a gateway and wait until it serves."""
        gateway = self.start(**settings)
        await gateway.wait_listening()
        await gateway.wait_started(int(settings.get("SERVER_WORKERS") or 1))
        return gateway

    async def line(self, port: int) -> Line:
        """Open a connection; it is closed at the end of the test."""
        line = await Line.open(port)
        self._lines.append(line)
        return line

    async def refused(self, **settings: str | None) -> tuple[int, str]:
        """Start a gateway that must end by itself; return exit code and what it said."""
        gateway = self.start(**settings)
        return await gateway.ended(), gateway.said

    async def aclose(self) -> None:
        """Stop what runs; a gateway that does not end well fails the test."""
        failed = []
        for line in self._lines:
            await line.close()
        for gateway in self._running:
            if gateway.process.poll() is None:
                await gateway.fault()
                gateway.send()
                try:
                    failed += [gateway.said] if await gateway.ended() != 0 else []
                except AssertionError:
                    gateway.process.kill()
                    gateway.process.wait()
                    raise
            failed += [gateway.said] if "Traceback" in gateway.said else []
        assert not failed, failed


@asynccontextmanager
async def client(gateway: Gateway, token: str | None = TOKEN, **more: Any) -> AsyncIterator[Client]:
    """A raw MCP client of a gateway; `more` goes to the connector (``ssl``, ``path``)."""
    path = more.pop("path", None)
    connector = aiohttp.UnixConnector(path) if path else aiohttp.TCPConnector(**more)
    url = "http://localhost" if path else gateway.url
    async with aiohttp.ClientSession(connector=connector) as http:
        yield Client(http, url, token)


async def me(http: Client) -> str:
    """Call `me_get` and return the user's login."""
    value = (await http.call("me_get")).value
    return str(value["user"]["email"])
