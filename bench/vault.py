"""What concerns ``scaivault-mcp``: its start, its memory, and what its guards cost.

Start and memory are taken over stdio, before the stand-in vault; the guards over streamable HTTP,
two commands beside each other before the light vault, one of them with every guard on.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench import proc
from bench.peers import Peer, announced, free_port
from bench.processes import (
    BenchError,
    clean_environment,
    python,
    running,
    stop,
    wait_for_file,
    wait_for_listener,
)
from bench.vault_upstream import PARTNER, TENANT, TOKEN
from scaimcp.dev.vault.fixture import AGENT, DENIED_PATH

OPEN, GUARDED = "vault/open", "vault/guarded"
COMMAND = Path(sys.executable).with_name("scaivault-mcp")
# Every guard there is; what the bench asks for passes them all.
GUARDS = {
    "SCAIVAULT_READ_ONLY": "true",
    "SCAIVAULT_MASK_VALUES": "true",
    "SCAIVAULT_ALLOWED_PATHS": "integrations,reports,shared",
    "SCAIVAULT_DENIED_PATHS": "infra,integrations/root",
    "SCAIVAULT_TENANT_ID": TENANT,
    "SCAIVAULT_PARTNER_ID": PARTNER,
    "SCAIVAULT_TOOL_GROUPS": "secrets,audit",
}
_READ_PATH = "integrations/salesforce/oauth"
_CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("read_secret", {"path": _READ_PATH}),
    ("write_secret", {"path": "bench/made", "data": {"password": "made-by-the-bench"}}),
    ("get_secret_versions", {"path": _READ_PATH}),
    ("rotate_secret", {"path": "bench/made"}),
    ("delete_secret", {"path": "bench/made"}),
    ("get_policy", {"policy_id": "pol_everything"}),
    ("test_policy", {"identity_id": "sa:agent", "path": DENIED_PATH, "permission": "read"}),
    ("get_dynamic_engine", {"engine": "postgres-prod"}),
    ("list_dynamic_roles", {"engine": "postgres-prod"}),
    ("generate_credentials", {"engine": "postgres-prod", "role": "readonly"}),
    ("secret_audit_trail", {"path": _READ_PATH}),
)


class Vault(msgspec.Struct, frozen=True):
    """What was measured once.

    Args:
        starts: seconds from the start of a process to its answer to ``initialize``.
        rss_mib: resident memory at the end of a session over stdio.
        peak_mib: the most it ever was in that session.
        tools: how many different tools the session called.
        loaded_mib: the most that the guarded command ever held under load, over HTTP; None where
            it was not under load.
    """

    starts: tuple[float, ...]
    rss_mib: float
    peak_mib: float
    tools: int
    loaded_mib: float | None = None

    @property
    def median_start(self) -> float:
        """Return the median of the starts in seconds."""
        return statistics.median(self.starts)


# -- stdio ---------------------------------------------------------------------------------------


class Talk:
    """One client over stdio.

    Args:
        process: the command.
        log: what it has said on stderr.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._number = 0

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the result of one request.

        Raises:
            BenchError: the command has ended, or answered with an error.
        """
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"scaivault-mcp ended: {self._log.read_text(encoding='utf-8')}")
        answer = msgspec.json.decode(line)
        if answer.get("id") != self._number or "result" not in answer:
            raise BenchError(f"{method} was answered with {line[:300]!r}")
        result: dict[str, Any] = answer["result"]
        return result

    def greet(self) -> None:
        """Shake hands."""
        client = {"name": "bench", "version": "1"}
        self.ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=client)
        self._send({"method": "notifications/initialized"})

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Return what a tool returns.

        Raises:
            BenchError: it was refused or failed.
        """
        result = self.ask("tools/call", name=tool, arguments=arguments)
        text = result["content"][0]["text"]
        if result.get("isError"):
            raise BenchError(f"{tool} failed: {text[:300]}")
        decoded: dict[str, Any] = msgspec.json.decode(text)
        return decoded

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode({"jsonrpc": "2.0", **message}) + b"\n")
        self._process.stdin.flush()


@contextmanager
def talking(url: str, log: Path) -> Iterator[tuple[Talk, int]]:
    """Start the installed command over stdio; yield the client and the process id."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [COMMAND],
            env=clean_environment({"SCAIVAULT_URL": url, "SCAIVAULT_TOKEN": AGENT}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    with process:
        try:
            yield Talk(process, log), process.pid
        finally:
            stop(process)


def starts(url: str, folder: Path, times: int) -> tuple[float, ...]:
    """Return the seconds of so many starts, each of a fresh process."""
    seconds = []
    for _ in range(times):
        began = time.monotonic()
        with talking(url, folder / "vault-start.log") as (talk, _pid):
            talk.greet()
            seconds.append(time.monotonic() - began)
    return tuple(seconds)


def session(url: str, folder: Path) -> tuple[proc.Resident, int]:
    """Hold a whole session; return the memory at its end and how many tools were called."""
    with talking(url, folder / "vault-session.log") as (talk, pid):
        talk.greet()
        called = _every_kind(talk)
        return proc.resident(pid), called


def _every_kind(talk: Talk) -> int:
    """Ask for everything that a client can ask for; return how many tools were called."""
    listed = talk.ask("tools/list")["tools"]
    plain = [tool["name"] for tool in listed if not tool["inputSchema"].get("required")]
    # Exactly one of two arguments is needed, none is marked as required.
    plain.remove("scaivault_validate_certificate")
    for tool in plain:
        talk.call(tool)
    for name, arguments in _CALLS:
        talk.call(f"scaivault_{name}", **arguments)
    authority = talk.call("scaivault_create_root_ca", name="bench", common_name="Bench CA")
    shown = talk.call("scaivault_get_ca", ca_id=authority["id"], include_pem=True)
    pem = shown["certificate_pem"]
    talk.call("scaivault_validate_certificate", certificate_pem=pem)
    talk.ask("resources/list")
    talk.ask("resources/templates/list")
    talk.ask("resources/read", uri="scaivault://guards")
    talk.ask("prompts/list")
    talk.ask("prompts/get", name="rotate-credential", arguments={"path": _READ_PATH})
    return len({*plain, *(name for name, _ in _CALLS)}) + 3


# -- streamable HTTP -----------------------------------------------------------------------------


def start_commands(stack: ExitStack, folder: Path) -> list[Peer]:
    """Start the light vault and two commands in front of it; the vault comes first."""
    upstream = announced(stack, folder, "vault-upstream", python("bench.vault_upstream"))
    commands = [
        _start_command(stack, folder, name, upstream.url, guards)
        for name, guards in ((OPEN, {}), (GUARDED, GUARDS))
    ]
    return [upstream, *commands]


def command_settings(port: int, url: str, guards: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command over streamable HTTP."""
    own = {
        "SCAIVAULT_URL": url,
        "SCAIVAULT_TOKEN": TOKEN,
        "MCP_TRANSPORT": "streamable-http",
        "PORT": str(port),
    }
    return {**own, **guards}


def _start_command(
    stack: ExitStack, folder: Path, name: str, url: str, guards: Mapping[str, str]
) -> Peer:
    port, log = free_port(), folder / f"{name.replace('/', '-')}.log"
    settings = command_settings(port, url, guards)
    process = stack.enter_context(running([str(COMMAND)], log, settings))
    wait_for_listener(port, process, log)
    return Peer(name, f"http://127.0.0.1:{port}", process.pid)


def measure_once(folder: Path, times: int) -> Vault:
    """Measure starts and memory before a stand-in vault of its own."""
    with ExitStack() as stack:
        ready, log = folder / "stand-in.ready", folder / "stand-in.log"
        command = python("scaimcp.dev.vault", "--port", "0", "--ready-file", str(ready))
        process = stack.enter_context(running(command, log))
        url = _url_in(wait_for_file(ready, process, log))
        memory, tools = session(url, folder)
        return Vault(starts(url, folder, times), memory.now, memory.peak, tools)


def _url_in(ready: str) -> str:
    return str(msgspec.json.decode(ready, type=dict[str, Any])["url"])
