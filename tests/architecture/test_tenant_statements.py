"""Every statement on remote servers and on vault guards names the tenant of each table it touches.

Only the workers' scans for what is due cross tenants; their names hold ``DUE``. One statement
finds the tenant of a question: a user who has signed in through a browser names none.
"""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from scaimcp.remotes import stores

STORES = [
    *(f"scaimcp.remotes.stores.{path.stem}" for path in Path(stores.__path__[0]).glob("*store.py")),
    "scaimcp.scaivault.store",
]
STATEMENT = re.compile(r"\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH)\b")
TABLE = re.compile(
    r"\b(?:FROM|JOIN|INTO|UPDATE)\s+((?:remote|scaivault)_\w+)(?:\s+(?:AS\s+)?([a-z])\b)?"
)
CALLS = {"execute", "executemany", "fetch", "fetchrow", "fetchval", "cursor", "prepare"}
DUE = {"_DUE_ANNOUNCING", "_DUE_CHECKS", "_DUE_DISCOVERIES", "_EXPIRE_DUE", "_PRUNE_DUE"}

ANY_TENANT = {"_ANY_TENANT_OF_QUESTION"}


def statements(store: ModuleType) -> dict[str, str]:
    return {
        name: value
        for name, value in vars(store).items()
        if isinstance(value, str) and not name.startswith("__") and STATEMENT.match(value)
    }


def names_its_tenants(statement: str) -> bool:
    """Whether each table has a condition on, or a value for, its tenant."""
    for table, alias in TABLE.findall(statement):
        prefix = f"{alias}\\." if alias else r"(?<!\.)"
        is_named = re.search(rf"{prefix}tenant_id\s*=", statement) is not None
        is_target = re.search(rf"INTO {table}\b[^(]*\([^)]*\btenant_id\b", statement) is not None
        if not (is_named or is_target):
            return False
    return True


def test_the_stores_are_found() -> None:
    remote = {"store", "state_store", "capability_store", "change_store", "approval_store"}
    assert {f"scaimcp.remotes.stores.{name}" for name in remote} <= set(STORES)


@pytest.mark.parametrize("name", sorted(STORES))
def test_every_statement_names_the_tenant_but_due_scans(name: str) -> None:
    found = statements(importlib.import_module(name))
    assert found
    without = {one for one, statement in found.items() if not names_its_tenants(statement)}
    assert without == (DUE | ANY_TENANT) & set(found)
    assert without == {one for one in found if "DUE" in one or "ANY_TENANT" in one}


@pytest.mark.parametrize("name", sorted(STORES))
def test_only_constant_statements_are_executed(name: str) -> None:
    store = importlib.import_module(name)
    known = statements(store)
    tree = ast.parse(Path(str(store.__file__)).read_text())
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CALLS
    ]
    assert calls
    for call in calls:
        first = call.args[0]
        chosen = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
        for one in chosen:
            assert isinstance(one, ast.Name), ast.unparse(call)
            assert one.id in known, ast.unparse(call)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT id FROM remote_servers WHERE id = $1",
        "SELECT tenant_id FROM remote_servers WHERE id = $1",
        "SELECT 1 FROM remote_servers s JOIN remote_server_state t ON t.server_id = s.id"
        " WHERE s.tenant_id = $1",
        "UPDATE remote_server_state SET status = $1 WHERE server_id = $2",
        "DELETE FROM remote_servers WHERE id = $1",
        "INSERT INTO remote_tool_pins (server_id) VALUES ($1)",
        "UPDATE scaivault_guard_profiles SET version = 1 WHERE version = $1",
    ],
)
def test_the_check_sees_a_missing_tenant(statement: str) -> None:
    assert not names_its_tenants(statement)
