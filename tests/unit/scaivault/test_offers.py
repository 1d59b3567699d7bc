"""What the module offers a caller, and its audit rows. Spec: scaivault 3."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest

from scaimcp.errors import ToolError
from scaimcp.scaivault.accounting import Books, path_in
from scaimcp.scaivault.catalogue import BY_NAME, TOOLS
from scaimcp.scaivault.guards import Guards
from scaimcp.scaivault.offers import Standing, permission_of, snapshot, tools_of
from scaimcp.types import Caller, Grants, RequestContext, Secret

CHARS = 48_000


def code_of(standing: Standing) -> str:
    refusal = standing.refusal
    return refusal.code if refusal is not None else ""


def test_the_tools_are_those_of_the_table_with_their_permissions() -> None:
    tools = tools_of(CHARS)
    assert [tool.name for tool in tools] == [record.name for record in TOOLS]
    assert tools_of(CHARS) is tools
    assert Counter(tool.permission for tool in tools) == {
        "scaivault:read": 33,
        "scaivault:audit": 4,
        "scaivault:write": 6,
        "scaivault:delete": 4,
        "scaivault:issue": 3,
        "scaivault:admin": 17,
    }
    read = tools[0]
    assert read.title == "Read secret"
    assert (read.module_id, read.domain) == ("scaivault", "scaivault")
    assert read.meta["anthropic/maxResultSizeChars"] == CHARS
    assert permission_of(read.record) == read.permission == "scaivault:read"


def test_a_tenant_that_has_the_module_is_offered_what_its_guards_leave() -> None:
    found = snapshot(Standing(is_on=True, guards=Guards()), CHARS)
    assert len(found.tools) == len(found.by_name) == 67
    assert found.modules.active == {"scaivault"}
    found = snapshot(Standing(is_on=True, guards=Guards(read_only=True)), CHARS)
    assert len(found.tools) == 40
    assert len(found.by_name) == 67
    groups = frozenset({"secrets", "audit"})
    found = snapshot(Standing(is_on=True, guards=Guards(groups=groups)), CHARS)
    assert len(found.tools) == len(found.by_name) == 11


def test_a_tenant_without_the_module_is_told_that_it_lacks_it() -> None:
    standing = Standing(is_on=False, guards=Guards())
    assert snapshot(standing, CHARS).modules.active == frozenset()
    assert code_of(standing) == "MODULE_NOT_ENABLED"


def test_g64_an_api_key_is_listed_nothing_and_finds_everything() -> None:
    standing = Standing(is_on=True, guards=Guards(), has_key=True)
    found = snapshot(standing, CHARS)
    assert found.tools == ()
    assert len(found.by_name) == 67
    assert code_of(standing) == "VAULT_TOKEN_UNSUPPORTED"


def test_g63_without_guards_nothing_is_listed_and_everything_found() -> None:
    standing = Standing(is_on=False, guards=None)
    found = snapshot(standing, CHARS)
    assert (found.tools, len(found.by_name), found.is_failing) == ((), 67, True)
    assert found.modules.active == {"scaivault"}
    assert code_of(standing) == "GUARDS_UNAVAILABLE"


def test_what_is_not_listed_has_a_reason() -> None:
    def reason(standing: Standing, name: str) -> str:
        withheld = snapshot(standing, CHARS).withheld
        assert withheld is not None
        refused = withheld(name)
        return refused.code if refused is not None else ""

    write, read = "scaivault_write_secret", "scaivault_read_secret"
    locked = Standing(is_on=True, guards=Guards(read_only=True))
    assert (reason(locked, write), reason(locked, read)) == ("READ_ONLY", "")
    assert reason(locked, "scaivault_nothing") == ""
    keyed = Standing(is_on=True, guards=Guards(), has_key=True)
    assert reason(keyed, read) == "VAULT_TOKEN_UNSUPPORTED"
    assert reason(Standing(is_on=False, guards=None), read) == "GUARDS_UNAVAILABLE"


def test_equal_standings_have_equal_keys() -> None:
    one, other = (Standing(True, Guards(groups=frozenset({"pki"}))) for _ in range(2))
    assert snapshot(one, CHARS).key == snapshot(other, CHARS).key
    assert hash(snapshot(one, CHARS).key) == hash(snapshot(other, CHARS).key)
    assert snapshot(Standing(True, Guards()), CHARS).key != snapshot(one, CHARS).key
    assert code_of(one) == ""


# -- audit rows ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (b'{"path":"app/db","data":{"password":"hunter2"}}', "app/db"),
        (b'{"prefix":"app/"}', "app/"),
        (b'{"path_prefix":"app"}', "app"),
        (b'{"prefix":""}', None),
        (b'{"path":"APP"}', None),
        (b'{"path":"hunter2 is it"}', None),
        (b'{"path":["app"]}', None),
        (b"", None),
        (b"[]", None),
        (b"{", None),
        (b"\xff", None),
    ],
)
def test_only_a_path_in_good_form_is_kept(arguments: bytes, path: str | None) -> None:
    assert path_in(arguments) == path


class Buffer:
    """Keeps the rows that it gets."""

    def __init__(self) -> None:
        self.rows: list[Any] = []

    def add(self, row: Any) -> None:
        self.rows.append(row)


def context() -> RequestContext:
    caller = Caller(b"k", "usr_1", "tnt_a", "acme", "ptn_x", Grants(None, None))
    return RequestContext("req_1", caller, Secret("eyJ.hunter2.x"), client_ip="127.0.0.1")


def noted(error: BaseException | None) -> dict[str, Any]:
    buffer: Any = Buffer()
    record = BY_NAME["scaivault_read_secret"]

    def run() -> None:
        with Books(buffer).call(record, b'{"path":"app/db"}', context()):
            if error is not None:
                raise error

    if error is None:
        run()
    else:
        with pytest.raises(type(error)):
            run()
    (row,) = buffer.rows
    assert (row.tenant_id, row.actor_id, row.request_id) == ("tnt_a", "usr_1", "req_1")
    data = row.describe()
    assert "hunter2" not in str(msgspec.structs.asdict(row)) + str(data)
    return {"status": row.status, **data}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "ok"),
        (ToolError("PATH_DENIED", "x"), "PATH_DENIED"),
        (asyncio.CancelledError(), "cancelled"),
        (KeyError("x"), "failed"),
    ],
)
def test_every_end_of_a_call_is_noted(error: BaseException | None, outcome: str) -> None:
    data = noted(error)
    assert data.pop("duration_ms") >= 0
    assert data == {
        "status": "SUCCESS" if error is None else "FAILURE",
        "tool": "scaivault_read_secret",
        "class": "read",
        "outcome": outcome,
        "path": "app/db",
    }
