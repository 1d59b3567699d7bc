"""Request bodies, and what rows show."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec

from scaimcp.dev.vault.call import Call
from scaimcp.dev.vault.errors import find, refuse
from scaimcp.dev.vault.paging import page
from scaimcp.dev.vault.routing import Handler
from scaimcp.dev.vault.state import Row

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")]
Short = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON body; areas derive theirs from it."""


def view(row: Mapping[str, Any], names: str) -> Row:
    """Return the named fields of a row; `names` is separated by blanks."""
    return {name: row[name] for name in names.split()}


def chosen(call: Call, rows: Iterable[Row], names: str) -> list[Row]:
    """Return the rows whose named fields equal those of the query; what it lacks is free."""
    wanted = {name: call.query[name] for name in names.split() if name in call.query}
    return [row for row in rows if all(row[name] == text for name, text in wanted.items())]


def free(rows: Iterable[Row], name: str) -> None:
    """Make sure that no row has this name.

    Raises:
        Refusal: 409 `conflict`.
    """
    if any(row["name"] == name for row in rows):
        refuse(409, "conflict", "The name is taken.", name=name)


def listing(table: str, container: str, names: str, filters: str = "", key: str = "id") -> Handler:
    """Return a handler that lists a table's rows by the named fields, filtered by the query."""

    def handler(call: Call) -> Any:
        rows = chosen(call, call.tenant.table(table).values(), filters)
        return page(call, [view(row, names) for row in rows], container, key)

    return handler


def showing(table: str, code: str, names: str, param: str = "id") -> Handler:
    """Return a handler that shows one row's named fields; 404 with this code without it."""

    def handler(call: Call) -> Row:
        return view(find(call.tenant.table(table), call.params[param], code), names)

    return handler
