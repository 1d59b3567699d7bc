"""What is measured: the gateway on either server, its floors, the platform itself, nginx."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import msgspec

from bench.answers import BEARER
from bench.processes import (
    exchange,
    python,
    running,
    wait_for_file,
    wait_for_listener,
    wait_for_ready,
)

ENGINES = ("uvicorn", "hypercorn")
_NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
{user}
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  upstream platform {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      proxy_pass http://platform;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }}
  }}
}}
"""


class Stores(msgspec.Struct, frozen=True):
    """Where PostgreSQL and Redis are."""

    database_url: str
    redis_url: str


class Peer(msgspec.Struct, frozen=True):
    """A running process under load. ``url`` is its origin."""

    name: str
    url: str
    pid: int


def list_request(revision: str = "2025-11-25") -> tuple[bytes, dict[str, str]]:
    """Return body and headers of one tools/list."""
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}'
    headers = {
        "Authorization": f"Bearer {BEARER}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": revision,
    }
    return body, headers


def start_upstream(stack: ExitStack, folder: Path) -> Peer:
    """Start the light platform."""
    return announced(stack, folder, "direct", python("bench.upstream"))


def start_floor(stack: ExitStack, folder: Path, kind: str, engine: str, upstream: str) -> Peer:
    """Start a floor; ``bytes`` reads what `save_list` has written."""
    command = python("bench.floors", kind, "--engine", engine, "--upstream", upstream)
    if kind == "bytes":
        command += ["--body", str(_list_file(folder))]
    return announced(stack, folder, f"{kind}/{engine}", command)


def save_list(folder: Path, gateway: Peer) -> tuple[int, int]:
    """Keep the gateway's full tools/list for the floor; return its bytes and its tools."""
    body, headers = list_request()
    answer = exchange(f"{gateway.url}/mcp", body=body, headers=headers)
    _list_file(folder).write_bytes(answer)
    decoded = msgspec.json.decode(answer)
    return len(answer), len(decoded["result"]["tools"])


def gateway_settings(engine: str, port: int, upstream: str, stores: Stores) -> dict[str, str]:
    """Return the settings of a gateway in front of the light platform, all else by default."""
    return {
        "SCAIMCP_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SCAIMCP_SERVER_BIND": f"127.0.0.1:{port}",
        "SCAIMCP_SERVER_ENGINE": engine,
        "SCAIMCP_DATABASE_URL": stores.database_url,
        "SCAIMCP_REDIS_URL": stores.redis_url,
        "SCAIMCP_STATE_KEYS": base64.b64encode(secrets.token_bytes(32)).decode(),
        "SCAIMCP_PLATFORM_URL": upstream,
        "SCAIMCP_SERVER_DRAIN_SECONDS": "2",
        "SCAIMCP_LOG_LEVEL": "warning",
    }


def start_gateway(
    stack: ExitStack,
    folder: Path,
    name: str,
    upstream: str,
    stores: Stores,
    more: Mapping[str, str] | None = None,
) -> Peer:
    """Start ``scaimcp serve`` and wait until it is ready.

    Args:
        stack: ends it.
        folder: for its log.
        name: of the peer, ending in ``/`` and the engine.
        upstream: origin of the platform.
        stores: PostgreSQL and Redis.
        more: further settings.
    """
    port, engine = free_port(), name.rpartition("/")[2]
    log = folder / f"{name.replace('/', '-')}.log"
    settings = gateway_settings(engine, port, upstream, stores) | dict(more or {})
    process = stack.enter_context(running(python("scaimcp", "serve"), log, settings))
    url = f"http://127.0.0.1:{port}"
    wait_for_ready(url, process, log)
    return Peer(name, url, process.pid)


def start_nginx(stack: ExitStack, folder: Path, upstream: str) -> Peer | None:
    """Start nginx as a reverse proxy to the platform; None where it is not installed."""
    program = shutil.which("nginx")
    if program is None:
        return None
    port, home, log = free_port(), folder / "nginx", folder / "nginx.log"
    home.mkdir()
    config = home / "nginx.conf"
    config.write_text(
        _NGINX.format(
            folder=home,
            port=port,
            upstream=upstream.removeprefix("http://"),
            user="user root;" if os.geteuid() == 0 else "",
        ),
        encoding="utf-8",
    )
    command = [program, "-p", str(home), "-c", str(config)]
    process = stack.enter_context(running(command, log))
    url = f"http://127.0.0.1:{port}"
    wait_for_listener(port, process, log)
    return Peer("nginx", url, process.pid)


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def announced(stack: ExitStack, folder: Path, name: str, command: list[str]) -> Peer:
    """Start a process that writes its URL into a ready file."""
    stem = name.replace("/", "-")
    ready, log = folder / f"{stem}.ready", folder / f"{stem}.log"
    process = stack.enter_context(running([*command, "--ready-file", str(ready)], log))
    url = wait_for_file(ready, process, log)
    port = int(url.rpartition(":")[2])
    wait_for_listener(port, process, log)
    return Peer(name, url, process.pid)


def _list_file(folder: Path) -> Path:
    return folder / "tools-list.json"
