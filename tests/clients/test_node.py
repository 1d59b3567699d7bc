"""The harness for the foreign clients: which Node it takes, what it reads, how it ends."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.clients.node import (
    HERE,
    PACKAGES,
    Finished,
    NodeFailedError,
    NodeMissingError,
    Session,
    node,
    node_environment,
    package_file,
    parse_inspector,
    parse_version,
    pick_node,
    run_node,
    run_ts,
)

LOCK = HERE / "package-lock.json"


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "version"),
    [("v22.23.2\n", (22, 23)), ("v8.0.0", (8, 0)), ("node 22", (0, 0)), ("", (0, 0))],
)
def test_a_version_is_read(text: str, version: tuple[int, int]) -> None:
    assert parse_version(text) == version


def test_the_first_node_that_runs_and_is_new_enough_is_taken(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    old = script(tmp_path / "old", "echo v20.20.2")
    broken = script(tmp_path / "broken", "echo v99.0.0; exit 1")
    new = script(tmp_path / "new", "echo v22.19.0")
    newer = script(tmp_path / "newer", "echo v24.1.0")
    assert pick_node([absent, old, broken, new, newer]) == new
    assert pick_node([absent, old, broken]) is None


def test_a_package_that_is_not_installed_says_what_to_run() -> None:
    with pytest.raises(NodeMissingError, match="npm ci --prefix tests/clients"):
        package_file("no-such-package/index.js")


def test_a_node_process_gets_nothing_of_the_users_own_settings() -> None:
    environment = node_environment("/empty", {"MCP_TOKEN": "t"})
    assert environment["HOME"] == "/empty"
    assert environment["MCP_TOKEN"] == "t"
    kept = {"PATH"} | {"HOME", "TMPDIR", "NODE_COMPILE_CACHE", "NO_COLOR", "MCP_TOKEN"}
    assert environment.keys() == kept
    assert environment["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("done", "result", "error"),
    [
        (Finished(0, b'{"result":{"tools":[]}}\n', ""), {"tools": []}, None),
        (Finished(0, b'{"tools":[]}\n', "note\n"), {"tools": []}, None),
        (Finished(3, b"", 'x\n{"error":{"code":"auth_required"}}\n'), None, "auth_required"),
        (
            Finished(5, b'{"result":{"isError":true}}', '{"error":{"code":"e"}}'),
            {"isError": True},
            "e",
        ),
    ],
)
def test_inspectors_output_is_read(
    done: Finished, result: dict[str, Any] | None, error: str | None
) -> None:
    run = parse_inspector(done)
    assert (run.code, run.result) == (done.code, result)
    assert (run.error or {}).get("code") == error


def test_the_lock_file_names_no_host() -> None:
    text = LOCK.read_text()
    assert "://" not in text
    assert '"resolved"' not in text


def test_the_lock_file_pins_every_package_by_hash() -> None:
    packages = json.loads(LOCK.read_text())["packages"]
    assert [name for name, entry in packages.items() if name and "integrity" not in entry] == []


def test_the_manifest_names_exact_versions() -> None:
    manifest = json.loads((HERE / "package.json").read_text())
    versions = [*manifest["dependencies"].values(), *manifest["optionalDependencies"].values()]
    assert [version for version in versions if set(version) & set("^~><* ")] == []


@pytest.mark.slow
async def test_node_runs_with_input_and_environment() -> None:
    program = """
        process.stdin.on('data', (data) => process.stdout.write(process.env.A + data));
        process.stdin.on('end', () => { console.error('e'); process.exitCode = 4; });
    """
    done = await run_node(["-e", program], stdin=b"in", extra={"A": "a-"})
    assert done == Finished(4, b"a-in", "e\n")


@pytest.mark.slow
async def test_a_node_process_that_does_not_end_is_killed() -> None:
    with pytest.raises(TimeoutError):
        await run_node(["-e", "setInterval(() => {}, 1000)"], timeout=1)


@pytest.mark.slow
async def test_the_chosen_node_is_new_enough() -> None:
    assert pick_node([node()]) == node()
    assert PACKAGES.is_dir()


@pytest.mark.slow
async def test_a_script_that_cannot_run_says_why() -> None:
    with pytest.raises(NodeFailedError, match="Cannot find module"):
        await run_ts("absent.mjs", "http://127.0.0.1:9/mcp", [])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sdk_v1.mjs", "client_v2.mjs", "inspector.mjs"])
async def test_a_server_that_is_not_there_is_an_error_of_its_session(name: str) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    answers = await run_ts(name, f"http://127.0.0.1:{port}/mcp", [Session("a", "t", "legacy")])
    assert answers["a"].error is not None
    assert answers["a"].tools == []
