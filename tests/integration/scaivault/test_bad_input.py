"""Bad input as whole calls: refused by its code, without repeating it, before anything is sent.

What arguments are refused is tested closer to their reading; here one of each kind goes all the
way. Spec: scaivault 10.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
import pytest
import pytest_asyncio

from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.server import Served, serve_vault
from scaimcp.scaivault.catalogue import BY_NAME
from scaimcp.scaivault.errors import VaultError
from tests.integration.scaivault.child import Child, environment, started
from tests.integration.scaivault.desk import Desk

INVALID = "INVALID_ARGUMENTS"
PEM = "-----BEGIN CERTIFICATE-----\nHUNTER2\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nHUNTER2\n-----END PRIVATE KEY-----\n"


class Row(NamedTuple):
    """One bad input.

    Attributes:
        number: the contract's.
        tool: name without ``scaivault_``.
        arguments: of the call, or JSON as it is sent.
        field: what the refusal names; "" for the arguments as a whole.
    """

    number: str
    tool: str
    arguments: Any
    field: str


def _nested(depth: int) -> Any:
    return "HUNTER2" if depth == 0 else {"n": _nested(depth - 1)}


def _write(data: Any) -> dict[str, Any]:
    return {"path": "app/db", "data": data}


def _order(domain: str, challenge: str = "http-01") -> dict[str, Any]:
    return {"account_id": "acc_1", "domains": [domain], "challenge_type": challenge}


def _hook(url: str) -> dict[str, Any]:
    delivery = {"type": "webhook", "url": url}
    return {"name": "s", "paths": ["a"], "events": ["secret.rotated"], "delivery": delivery}


def _account(**more: str) -> dict[str, Any]:
    return {"name": "a", "email": "a@example.com", **more}


def _rules(glob: str) -> dict[str, Any]:
    return {"name": "p", "rules": [{"path_pattern": glob, "permissions": ["read"]}]}


FROM_AFTER_TO = {"from": "2026-05-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}
DELETED = {"path": "app/db", "permanent": True}
NO_OBJECTS: tuple[Any, ...] = ([], "HUNTER2", 7)
ROWS: list[Row] = [
    Row("B02", "read_secret", {"path": "app/db", "hunter": "HUNTER2"}, "hunter"),
    Row("B02", "read_secret", {}, "path"),
    *[Row("B02", "read_secret", body, "") for body in NO_OBJECTS],
    *[Row("B03", "list_secrets", {"limit": bad}, "limit") for bad in
      (0, -1, 1.5, "50", True, 10**9)],
    *[Row("B03", "read_secret", {"path": "app/db", "version": bad}, "version") for bad in (0, "1")],
    *[Row("B04", "write_secret", _write(bad), "data") for bad in
      ({}, ["HUNTER2"], {str(n): 1 for n in range(101)}, {"a": "HUNTER2" * 10_000}, _nested(17))],
    *[Row("B05", "get_policy", {"policy_id": bad}, "policy_id") for bad in
      ("..", "a/b", "a%2fb", "a" * 129)],
    Row("B05", "get_dynamic_engine", {"engine": "two words"}, "engine"),
    *[Row("B06", "create_rotation_policy", {"name": "r", "interval": bad}, "interval") for bad in
      ("0d", "1w", "1.5h", "-1h", "9999999d")],
    *[Row("B06", "query_audit", {"from": bad}, "from") for bad in
      ("2026-04-22T14:30:00", "2026-02-31T00:00:00Z")],
    Row("B06", "query_audit", FROM_AFTER_TO, "from"),
    Row("B07", "list_cas", {"ca_type": "Root"}, "ca_type"),
    Row("B07", "query_audit", {"action": ["exploded"]}, "action[0]"),
    *[Row("B08", "create_acme_order", _order(bad), "domains[0]") for bad in
      ("https://a.example", "a.example:443", "a.example/x", "a b", "a" * 64 + ".x", "10.0.0.1")],
    Row("B08", "create_acme_order", _order("*.acme.example"), "challenge_type"),
    *[Row("B09", "create_subscription", _hook(bad), "delivery.url") for bad in
      ("http://a.example", "https://HUNTER2@a.example", "HUNTER2")],
    Row("B09", "create_acme_account", _account(provider="custom"), "directory_url"),
    Row("B09", "create_acme_account",
        _account(provider="letsencrypt", directory_url="https://a.example"), "directory_url"),
    *[Row("B10", "validate_certificate", {"certificate_pem": bad}, "certificate_pem") for bad in
      ("", PEM + PEM, "HUNTER2", PEM + KEY, PEM)],
    Row("B10", "validate_certificate", {}, "certificate_id"),
    Row("B10", "validate_certificate", {"certificate_id": "c", "certificate_pem": PEM},
        "certificate_id"),
    Row("B11", "delete_secret", DELETED, "confirm"),
    Row("B11", "delete_secret", {**DELETED, "confirm": "app/HUNTER2"}, "confirm"),
    *[Row("B12", "create_policy", _rules(bad), "rules[0].path_pattern") for bad in
      ("***", "a**", "/app", "/".join("a" * 11))],
    *[Row("B13", "write_secret", body, "") for body in
      (b'{"path":"app/db","data":{"a":NaN}}', b'{"path":"app/db","data":{"a":"\xff\xfe"}}',
       b'{"path":"app/db","data":{"a":"\\ud800"}}',
       b'{"path":"app/db","path":"app/x","data":{"a":1}}',
       b'{"path":"app/db","data":{"a":"HUNTER2"')],
]  # fmt: skip


@pytest_asyncio.fixture(scope="module")
async def vault() -> AsyncIterator[Served]:
    async with serve_vault(VaultConfig()) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def child(vault: Served) -> AsyncIterator[Child]:
    async with started(environment(vault.url)) as running:
        await running.initialize()
        yield running


def _encoded(arguments: Any) -> bytes:
    return arguments if isinstance(arguments, bytes) else msgspec.json.encode(arguments)


def _id(row: Row) -> str:
    return f"{row.number}-{row.tool}-{row.field}"


@pytest.mark.parametrize("row", ROWS, ids=_id)
async def test_bad_input_is_refused_by_the_running_command(
    vault: Served, child: Child, row: Row
) -> None:
    vault.vault.calls.clear()
    head = '{"jsonrpc":"2.0","id":"bad","method":"tools/call","params":{"name":"scaivault_'
    name = f'{head}{row.tool}","arguments":'
    await child.send(name.encode() + _encoded(row.arguments) + b"}}")
    answer = await child.receive()
    text = msgspec.json.encode(answer).decode()
    if "error" in answer:
        # Such JSON is no message at all, or its arguments are none.
        assert answer["error"]["code"] in (-32700, -32600, -32602)
        assert row.field == ""
    else:
        error = msgspec.json.decode(answer["result"]["content"][0]["text"])["error"]
        assert error["code"] == INVALID
        named = [detail["field"] for detail in error.get("details", ())]
        assert row.field in named or row.field == ""
    assert "HUNTER2" not in text
    assert vault.vault.calls == []
    assert (await child.ask("ping"))["result"] == {}


@pytest.mark.badinput(1)
@pytest.mark.parametrize("name", ["scaivault_Read_secret", "SCAIVAULT_READ_SECRET", "read_secret"])
async def test_a_tool_is_known_by_its_exact_name(child: Child, name: str) -> None:
    answer = await child.ask("tools/call", {"name": name, "arguments": {"path": "app/db"}})
    assert "TOOL_NOT_FOUND" in str(answer)


@pytest.mark.badinput(7)
async def test_an_unknown_word_is_answered_with_those_that_are_known(child: Child) -> None:
    for tool, arguments in (("list_cas", {"ca_type": "Root"}), ("query_audit", {"action": ["x"]})):
        result = await child.call(tool, **arguments)
        said = msgspec.json.decode(result["content"][0]["text"])["error"]["details"][0]["message"]
        assert "root, intermediate" in said or "read, write" in said


@pytest.mark.badinput(13)
@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'{"path":"app/db","path":"app/db"}'])
async def test_broken_json_is_refused_by_the_tools_themselves(desk: Desk, body: bytes) -> None:
    with pytest.raises(VaultError) as refusal:
        await desk.tools.call(BY_NAME["scaivault_read_secret"], body, desk.identity, desk.guards)
    assert refusal.value.code == INVALID
    assert desk.sent() == []
