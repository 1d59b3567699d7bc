"""How ``scaivault-mcp`` starts, and how it says that it will not. Spec: scaivault 4, 10."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from scaimcp import __version__
from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.fixture import AGENT, AGENT_Y, NO_SCOPES
from scaimcp.dev.vault.server import Served, serve_vault
from scaimcp.vaultserver.command import HELP
from tests.integration.rawserver import reply, serve_raw
from tests.integration.scaivault.child import AUTH_TOKEN, environment, run
from tests.integration.scaivault.test_tls import own_certificate

pytestmark = pytest.mark.slow

UNKNOWN = "These names are not known: SCAIVAULT_COLOUR"
SECRET = "hunter2-hunter2-hunter2-hunter2-hunter2"


@pytest_asyncio.fixture(scope="module")
async def vault() -> AsyncIterator[Served]:
    async with serve_vault(VaultConfig()) as served:
        yield served


@pytest.mark.parametrize("word", ["--help", "-h"])
async def test_help_needs_no_environment_and_prints_no_value(word: str) -> None:
    env = environment(SCAIVAULT_TOKEN=SECRET, MCP_AUTH_TOKEN="short", PORT="abc")
    ended = await run(word, env=env)
    assert (ended.code, ended.stdout, ended.stderr) == (0, HELP, "")


async def test_the_version_is_printed() -> None:
    ended = await run("--version", env=environment(SCAIVAULT_TOKEN=None))
    assert (ended.code, ended.stdout) == (0, f"scaivault-mcp {__version__}\n")


START_ERRORS: dict[str, tuple[dict[str, str | None], tuple[str, ...], int, str]] = {
    "no token": ({"SCAIVAULT_TOKEN": None}, (), 2, "SCAIVAULT_TOKEN"),
    "empty token": ({"SCAIVAULT_TOKEN": ""}, (), 2, "SCAIVAULT_TOKEN"),
    "token with a blank": ({"SCAIVAULT_TOKEN": f"{SECRET} x"}, (), 5, "SCAIVAULT_TOKEN"),
    "token with a newline": ({"SCAIVAULT_TOKEN": f"{SECRET}\nx"}, (), 5, "SCAIVAULT_TOKEN"),
    "short token": ({"SCAIVAULT_TOKEN": "hunter2"}, (), 5, "SCAIVAULT_TOKEN"),
    "both tokens": (
        {"SCAIVAULT_TOKEN": SECRET, "SCAIVAULT_TOKEN_FILE": "/x"},
        (),
        5,
        "cannot both be set",
    ),
    "no file": (
        {"SCAIVAULT_TOKEN": None, "SCAIVAULT_TOKEN_FILE": "/no/hunter2"},
        (),
        2,
        "SCAIVAULT_TOKEN_FILE",
    ),
    "a folder": (
        {"SCAIVAULT_TOKEN": None, "SCAIVAULT_TOKEN_FILE": "/"},
        (),
        2,
        "SCAIVAULT_TOKEN_FILE",
    ),
    "another transport": ({"MCP_TRANSPORT": "http"}, (), 5, "MCP_TRANSPORT"),
    "port 0": ({"PORT": "0"}, (), 5, "PORT"),
    "port 70000": ({"PORT": "70000"}, (), 5, "PORT"),
    "port abc": ({"PORT": "abc"}, (), 5, "PORT"),
    "another option port": ({}, ("--port", "0"), 5, "PORT"),
    "an option for a token": ({}, (f"--token={SECRET}",), 5, "--help"),
    "a shortened option": ({}, ("--transp", "sse"), 5, "--help"),
    "open to all": (
        {"MCP_TRANSPORT": "sse", "MCP_HOST": "0.0.0.0"},
        (),
        5,
        "MCP_AUTH_TOKEN",
    ),
    "short auth token": ({"MCP_AUTH_TOKEN": "hunter2-aa"}, (), 5, "MCP_AUTH_TOKEN"),
    "the same token twice": (
        {"MCP_AUTH_TOKEN": SECRET, "SCAIVAULT_TOKEN": SECRET},
        (),
        5,
        "must differ",
    ),
    "plain http": ({"SCAIVAULT_URL": "http://hunter2.example"}, (), 5, "SCAIVAULT_URL"),
    "ftp": ({"SCAIVAULT_URL": "ftp://hunter2.example"}, (), 5, "SCAIVAULT_URL"),
    "a user": ({"SCAIVAULT_URL": "https://hunter2@vault.example"}, (), 5, "SCAIVAULT_URL"),
    "a query": ({"SCAIVAULT_URL": "https://vault.example?hunter2"}, (), 5, "SCAIVAULT_URL"),
    "a guard": ({"SCAIVAULT_READ_ONLY": "hunter2"}, (), 5, "SCAIVAULT_READ_ONLY"),
    "an empty guard": ({"SCAIVAULT_DENIED_PATHS": ""}, (), 5, "SCAIVAULT_DENIED_PATHS"),
    "a guard's entry": (
        {"SCAIVAULT_ALLOWED_PATHS": "app/,/hunter2"},
        (),
        5,
        "SCAIVAULT_ALLOWED_PATHS entry 2 is not a valid path prefix",
    ),
    "nearly a guard": ({"SCAIVAULT_READONLY": "true"}, (), 5, "did you mean"),
    "certificates": ({"SCAIVAULT_CA_FILE": "/no/hunter2"}, (), 5, "SCAIVAULT_CA_FILE"),
}


@pytest.mark.parametrize(
    ("more", "options", "code", "words"), START_ERRORS.values(), ids=START_ERRORS
)
async def test_a_start_that_cannot_be_is_one_line_without_the_value(
    more: dict[str, str | None], options: tuple[str, ...], code: int, words: str
) -> None:
    ended = await run(*options, env=environment(**more))
    assert (ended.code, ended.stdout) == (code, "")
    assert ended.stderr.startswith("scaivault-mcp: ")
    assert ended.stderr.count("\n") == 1
    assert words in ended.stderr
    assert "hunter2" not in ended.stderr


async def test_a_token_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("x" * 16_385)
    ended = await run(env=environment(SCAIVAULT_TOKEN=None, SCAIVAULT_TOKEN_FILE=str(file)))
    assert ended.code == 2


async def test_an_unknown_name_is_only_warned_of() -> None:
    ended = await run(env=environment(SCAIVAULT_COLOUR="hunter2"))
    assert ended.code == 0
    first = msgspec.json.decode(ended.stderr.splitlines()[0])
    assert (first["level"], first["event"]) == ("warning", UNKNOWN)
    assert "hunter2" not in ended.stderr


async def test_a_check_warns_in_words(vault: Served) -> None:
    ended = await run("--check", env=environment(vault.url, SCAIVAULT_COLOUR="hunter2"))
    assert (ended.code, ended.stderr) == (0, f"scaivault-mcp: warning: {UNKNOWN}\n")


async def test_a_port_in_use_is_a_failure() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = await run("--transport", "sse", "--port", port, env=environment())
    assert (ended.code, ended.stdout) == (1, "")
    assert f"cannot listen on port {port}" in ended.stderr


async def test_a_good_check_prints_a_summary(vault: Served) -> None:
    env = environment(
        vault.url,
        SCAIVAULT_READ_ONLY="true",
        SCAIVAULT_ALLOWED_PATHS="app/",
        SCAIVAULT_DENIED_PATHS="app/hidden",
        SCAIVAULT_TENANT_ID="tnt_a",
    )
    ended = await run("--check", env=env)
    assert ended.code == 0, ended.stderr
    assert "sa:agent" in ended.stdout
    assert "tnt_a" in ended.stdout
    assert "67 of 67" in ended.stdout
    assert "hidden" not in ended.stdout
    assert AGENT not in ended.stdout + ended.stderr


CHECKS = {
    "a refused token": ({"SCAIVAULT_TOKEN": "sgk_not_for_vaults"}, 2),
    "another partner": ({"SCAIVAULT_PARTNER_ID": "ptn_other"}, 3),
    "a tenant that the vault refuses": (
        {"SCAIVAULT_TENANT_ID": "tnt_a", "SCAIVAULT_TOKEN": AGENT_Y},
        3,
    ),
    "a caller without scopes": ({"SCAIVAULT_TOKEN": NO_SCOPES}, 0),
}


@pytest.mark.parametrize(("more", "code"), CHECKS.values(), ids=CHECKS)
async def test_a_check_tells_by_its_exit_code(
    vault: Served, more: dict[str, str], code: int
) -> None:
    ended = await run("--check", env=environment(vault.url, **more))
    assert ended.code == code, ended.stderr
    assert more.get("SCAIVAULT_TOKEN", AGENT) not in ended.stdout + ended.stderr


async def test_a_check_of_a_vault_that_is_down_is_a_failure() -> None:
    ended = await run("--check", env=environment())
    assert (ended.code, ended.stdout) == (1, "")
    assert "UPSTREAM_UNREACHABLE" in ended.stderr


async def test_the_inbound_token_may_come_from_a_file(vault: Served, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(AUTH_TOKEN)
    env = environment(vault.url, MCP_HOST="0.0.0.0", MCP_AUTH_TOKEN_FILE=str(file))
    assert (await run("--check", env=env)).code == 0


async def test_a_named_certificate_is_trusted_and_no_proxy_is_asked(tmp_path: Path) -> None:
    file, context = own_certificate(tmp_path)
    async with serve_raw(context) as server:
        server.default = reply(200, {"identity_id": "sa:agent", "tenant_id": "tnt_a"})
        proxy = {"HTTPS_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"}
        env = environment(server.url, SCAIVAULT_CA_FILE=file, **proxy)
        trusted = await run("--check", env=env)
        assert (trusted.code, trusted.stderr) == (0, "")
        assert "sa:agent" in trusted.stdout
        strange = await run("--check", env=environment(server.url))
        assert strange.code == 1
        assert "UPSTREAM_UNREACHABLE" in strange.stderr
        assert len(server.seen) == 1
