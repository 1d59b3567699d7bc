"""`scaimcp dev` as a newcomer gets it: real gateway, worker, platform, databases."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from scaimcp.dev.platform import SEED_LOGINS
from scaimcp.dev.standin import LOGINS
from tests.dev.helpers import is_gone, wait_until
from tests.dev.running import COMMAND, SECONDS, Dev, leave_nothing_running

__all__ = ["leave_nothing_running"]

pytestmark = pytest.mark.slow
PROCESSES = {"gateway", "worker", "platform", "vault", "postgres", "redis"}


def _rpc(
    url: str, token: str | None, method: str, params: dict[str, Any]
) -> tuple[int, Any, dict[str, str]]:
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2025-06-18",
    }
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response), dict(response.headers)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal), dict(refusal.headers)


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as response:
        return json.load(response)


def _names(document: dict[str, Any], role: str) -> list[str]:
    token = document["tokens"][role]
    status, body, _ = _rpc(document["mcp_url"], token, "tools/list", {})
    assert status == 200, body
    return [tool["name"] for tool in body["result"]["tools"]]


def _assert_gone(document: dict[str, Any]) -> None:
    wait_until(lambda: all(is_gone(pid) for pid in document["pids"].values()))


def test_a_newcomer_gets_a_gateway_that_works_and_leaves_nothing(open_dir: Path) -> None:
    dev = Dev(open_dir, "--ephemeral")
    document = dev.wait_ready()
    print(f"ready after {dev.seconds:.2f} s")
    assert set(document["tokens"]) == set(LOGINS)
    assert set(document["pids"]) == PROCESSES
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", document["rest_url"])
    assert document["mcp_url"] == f"{document['rest_url']}/mcp"
    assert document["metrics_url"] == f"{document['rest_url']}/metrics"
    assert _get(f"{document['platform_url']}/health")["status"]
    assert _get(f"{document['vault_url']}/v1/health")["status"] == "healthy"
    ready = _get(f"{document['rest_url']}/readyz")
    assert ready == {
        "status": "ok",
        "parts": {"postgres": "ok", "redis": "ok", "platform": "ok"},
    }
    _assert_all_roles_are_served(document)
    status, _, headers = _rpc(document["mcp_url"], None, "tools/list", {})
    assert status == 401
    assert "resource_metadata=" in headers["www-authenticate"]
    assert all(token in dev.said for token in document["tokens"].values())
    assert dev.end() == 0
    _assert_gone(document)
    assert not dev.ready_file.exists()
    assert "Traceback" not in dev.said


def _assert_all_roles_are_served(document: dict[str, Any]) -> None:
    for role, token in document["tokens"].items():
        assert "me_get" in _names(document, role)
        call = {"name": "me_get", "arguments": {}}
        status, body, _ = _rpc(document["mcp_url"], token, "tools/call", call)
        assert status == 200
        assert body["result"]["isError"] is False, body
        user = body["result"]["structuredContent"]["user"]
        assert user["email"] == SEED_LOGINS[role]


def test_who_may_not_read_module_states_sees_the_modules_all_the_same(open_dir: Path) -> None:
    dev = Dev(open_dir, "--ephemeral")
    document = dev.wait_ready()
    # First of all callers, so that nobody else's answer is remembered.
    assert "skills_list" in _names(document, "tenant_viewer")
    assert dev.end() == 0


def test_the_smoke_test_passes(open_dir: Path) -> None:
    dev = Dev(open_dir, "--ephemeral")
    document = dev.wait_ready()
    token = document["tokens"]["tenant_user"]
    done = subprocess.run(
        [COMMAND[0], "smoke", document["rest_url"], "--token-file", "-"],
        input=f"{token}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert token not in done.stdout
    assert len(re.findall(r"^ok  +\d+ ms  ", done.stdout, re.MULTILINE)) == 8
    assert dev.end() == 0


def test_a_second_start_says_who_holds_the_data_and_a_warm_start_keeps_it(
    open_dir: Path,
) -> None:
    data = open_dir / "data"
    dev = Dev(open_dir, "--data-dir", str(data))
    document = dev.wait_ready()
    second = Dev(open_dir, "--data-dir", str(data))
    assert second.process.wait(SECONDS) == 1
    assert f"process {dev.process.pid} uses the data directory {data}" in second.said
    assert "Traceback" not in second.said
    assert dev.end() == 0
    _assert_gone(document)
    warm = Dev(open_dir, "--data-dir", str(data))
    again = warm.wait_ready()
    print(f"warm start: {warm.seconds:.2f} s")
    assert again["tokens"] == document["tokens"]
    assert "me_get" in _names(again, "tenant_user")
    assert warm.end() == 0


def test_a_kill_leaves_no_process(open_dir: Path) -> None:
    dev = Dev(open_dir, "--ephemeral")
    document = dev.wait_ready()
    place = Path(document["database_url"].partition("host=")[2])
    dev.end(signal.SIGKILL)
    _assert_gone(document)
    wait_until(lambda: not place.exists())


def test_a_call_that_runs_is_answered_before_the_end(open_dir: Path) -> None:
    dev = Dev(open_dir, "--ephemeral")
    document = dev.wait_ready()
    rules = json.dumps([{"path": "/v1/models", "latency_ms": 800}]).encode()
    request = urllib.request.Request(
        f"{document['platform_url']}/__standin/faults", rules, method="PUT"
    )
    with urllib.request.urlopen(request, timeout=10):
        pass
    parts = urlsplit(document["mcp_url"])
    caller = http.client.HTTPConnection(parts.netloc, timeout=30)
    token = document["tokens"]["tenant_user"]
    params = {"name": "models_list", "arguments": {}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    headers = {
        "content-type": "application/json",
        "accept": "application/json",
        "authorization": f"Bearer {token}",
    }
    caller.request("POST", "/mcp", body, headers)
    # Once a later request has been answered, that one is being worked on.
    _names(document, "tenant_user")
    assert dev.end() == 0
    with caller.getresponse() as response:
        assert (response.status, b'"isError":false' in response.read()) == (200, True)
    caller.close()
    _assert_gone(document)
