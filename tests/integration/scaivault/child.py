"""The command as a process: its environment, its lines, its end."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from scaimcp.dev.vault.fixture import AGENT
from scaimcp.dev.vault.server import Served
from tests.waiting import DEADLINE

ROOT = Path(__file__).resolve().parents[3]
COMMAND = (sys.executable, "-m", "scaimcp.scaivault")
MODERN = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}
AUTH_TOKEN = "inbound-token-of-thirty-two-characters"
SECRET = "integrations/stripe/api-key"
VALUE = "stripe-demo-key"
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
_CLIENT = {"name": "test", "version": "1"}
_HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": _CLIENT}
INITIALIZE: dict[str, Any] = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": _HELLO}
READ: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 2,
    "method": "tools/call",
    "params": {"name": "scaivault_read_secret", "arguments": {"path": SECRET}},
}
_KEPT = ("PATH", "HOME", "TMPDIR")
# More than any answer here.
_LINE_BYTES = 16 * 1024 * 1024


def environment(url: str = "http://127.0.0.1:9", **more: str | None) -> dict[str, str]:
    """Return the environment of a command; None takes a name out."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    given = {"PYTHONPATH": str(ROOT), "SCAIVAULT_URL": url, "SCAIVAULT_TOKEN": AGENT, **more}
    return {**kept, **{name: value for name, value in given.items() if value is not None}}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


async def run(*arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Ended:
    """Run the command to its end."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environment() if env is None else env),
        cwd=ROOT,
    )
    try:
        async with asyncio.timeout(DEADLINE):
            stdout, stderr = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ended(process.returncode or 0, stdout.decode(), stderr.decode())


class Child:
    """A running command."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.stderr = bytearray()
        self._number = 0

    async def send(self, message: Any) -> None:
        """Write a message, or bytes as they are, as one line."""
        line = message if isinstance(message, bytes) else msgspec.json.encode(message)
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        await self.process.stdin.drain()

    async def receive(self) -> Any:
        """Return the next message."""
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            line = await self.process.stdout.readline()
        assert line, self.stderr.decode()
        return msgspec.json.decode(line)

    async def ask(self, method: str, params: Any = None, **more: Any) -> Any:
        """Send a request and return its answer, whatever comes before it."""
        self._number += 1
        message = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params or {}}
        await self.send({**message, **more})
        while (answer := await self.receive()).get("id") != self._number:
            assert "method" in answer, answer
        return answer

    async def ask_modern(self, method: str, **params: Any) -> Any:
        """Send a request of 2026-07-28."""
        return await self.ask(method, {**params, "_meta": META})

    async def initialize(self, revision: str = "2025-11-25") -> Any:
        """Shake hands; return the result."""
        client = {"name": "test", "version": "1"}
        params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": client}
        result = (await self.ask("initialize", params))["result"]
        await self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return result

    async def call(self, tool: str, **arguments: Any) -> Any:
        """Call a tool by its name without ``scaivault_``; return the result."""
        params = {"name": f"scaivault_{tool}", "arguments": arguments}
        return (await self.ask("tools/call", params))["result"]

    async def said(self, text: str) -> str:
        """Wait until a text stands on stderr; return everything there."""
        async with asyncio.timeout(DEADLINE):
            while text.encode() not in self.stderr:  # noqa: ASYNC110 - a pipe has no event
                await asyncio.sleep(0.001)
        return self.stderr.decode()

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    async def ended(self) -> int:
        """Wait for the end; return the exit code, negative for a signal."""
        async with asyncio.timeout(DEADLINE):
            return await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@asynccontextmanager
async def started(env: Mapping[str, str], *arguments: str) -> AsyncIterator[Child]:
    """Start the command; it is killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env),
        cwd=ROOT,
        limit=_LINE_BYTES,
    )
    child = Child(process)

    async def collect() -> None:
        assert process.stderr is not None
        while chunk := await process.stderr.read(4096):
            child.stderr += chunk

    async with asyncio.TaskGroup() as group:
        group.create_task(collect())
        try:
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(15):
                    await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()


def has_arrived(served: Served) -> bool:
    """Tell whether every request for which a fault was queued has reached the vault."""
    return len(served.vault.faults) == 0


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that was free a moment ago: the command takes no 0."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@dataclass
class Web:
    """A command that serves HTTP."""

    child: Child
    url: str
    http: aiohttp.ClientSession

    async def post(
        self, body: Any, path: str = "/mcp", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a body; return status, headers by lower-case name, and the answer."""
        data = io.BytesIO(body if isinstance(body, bytes) else msgspec.json.encode(body))
        lines = {"content-type": "application/json", "accept": "application/json", **headers}
        async with self.http.post(self.url + path, data=data, headers=lines) as answer:
            found = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status, found, await answer.read()

    async def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        async with self.http.get(self.url + path, headers=headers) as answer:
            return answer.status, await answer.read()


@asynccontextmanager
async def web(transport: str, url: str, **more: str) -> AsyncIterator[Web]:
    """Start the command with a transport of HTTP, and wait until it listens.

    ``{port}`` in a value stands for its port.
    """
    host = more.get("MCP_HOST", "127.0.0.1").strip("[]")
    port = free_port(host)
    named = {name: value.replace("{port}", str(port)) for name, value in more.items()}
    env = environment(url, MCP_TRANSPORT=transport, PORT=str(port), **named)
    async with started(env) as child, aiohttp.ClientSession() as http:
        await child.said('"listening"')
        shown = f"[{host}]" if ":" in host else host
        yield Web(child, f"http://{shown}:{port}", http)


@dataclass
class EventStream:
    """An open ``GET /sse``."""

    running: Web
    answer: aiohttp.ClientResponse
    target: str = ""

    async def event(self) -> tuple[str, str]:
        """Return name and data of the next event; comments are passed over."""
        name = ""
        async with asyncio.timeout(DEADLINE):
            while line := (await self.answer.content.readline()).decode().strip():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                if line.startswith("data: "):
                    await self.answer.content.readline()
                    return name, line.removeprefix("data: ")
        return "", ""

    async def send(self, message: Any) -> int:
        """Post a message; return the status."""
        return (await self.running.post(message, self.target))[0]

    async def ask(self, message: Any) -> Any:
        assert await self.send(message) == 202
        name, data = await self.event()
        assert name == "message"
        return msgspec.json.decode(data)


@asynccontextmanager
async def opened(running: Web, **headers: str) -> AsyncIterator[EventStream]:
    timeout = aiohttp.ClientTimeout(total=None)
    async with running.http.get(
        running.url + "/sse", headers=headers, timeout=timeout, read_bufsize=2**22
    ) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        stream = EventStream(running, answer)
        name, stream.target = await stream.event()
        assert name == "endpoint"
        yield stream
