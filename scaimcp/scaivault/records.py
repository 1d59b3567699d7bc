"""The record of one ScaiVault tool: everything that both front ends know of it. Data only.

No tool has code that bypasses its record. Spec: scaivault 1.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from scaimcp.scaivault.shapes import Integer, Member, Text, may

ToolClass = Literal["read", "write", "delete", "issue"]
Group = Literal[
    "secrets", "secret_policies", "policies", "rotation", "identity", "pki", "acme", "dynamic",
    "federation", "subscriptions", "audit",
]  # fmt: skip
GROUPS: tuple[Group, ...] = (
    "secrets", "secret_policies", "policies", "rotation", "identity", "pki", "acme", "dynamic",
    "federation", "subscriptions", "audit",
)  # fmt: skip


class Route(msgspec.Struct, frozen=True):
    """The REST call behind a tool.

    Args:
        method: HTTP method; "" for a tool that needs none.
        path: template; ``{argument}`` stands for a validated argument.
        query: arguments that travel in the query, as they are named there.
        body: arguments that travel in a JSON body; None sends no body.
        fixed: members of the body that are always the same.
    """

    method: str
    path: str
    query: tuple[str, ...] = ()
    body: tuple[str, ...] | None = None
    fixed: tuple[tuple[str, str], ...] = ()


class PathCheck(msgspec.Struct, frozen=True):
    """What is held against the allowed and denied paths.

    Args:
        kind: ``path``, ``prefix`` or ``glob`` for an argument, tested before any call;
            ``rows`` for rows of the result that are dropped, ``show`` for a field that reads
            ``(hidden)``; ``totals`` leaves only the totals.
        where: the argument or field, ``a[].b`` for a member of each item, ``a{}`` for the keys
            of an object, ``a.*_path`` for each member so named. For ``rows`` the field that
            holds the path, or the globs.
        is_pre_read: the object that is stored is read first and tested.
    """

    kind: Literal["path", "prefix", "glob", "rows", "show", "totals"]
    where: str = ""
    is_pre_read: bool = False


class Mask(msgspec.Struct, frozen=True):
    """What of the result is a secret.

    Args:
        hidden: fields that become markers under MASK_VALUES: ``a``, ``a.*`` for each member,
            ``a[].b.c`` inside items.
        dropped: fields that are never returned, masked or not.
        kept: members of a hidden object that stay, ``*_path`` for each so named.
        is_swept: keys named like secrets are looked for everywhere instead.
    """

    hidden: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    is_swept: bool = False

    @property
    def is_strict(self) -> bool:
        """Whether only the listed result fields are shown under MASK_VALUES."""
        return bool(self.hidden or self.dropped) and not self.is_swept


class ToolRecord(msgspec.Struct, frozen=True):
    """One tool.

    Args:
        code: number in the contract, such as ``S1``.
        name: as clients call it.
        group: heading; a tool group that can be switched off.
        tool_class: what READ_ONLY refuses is every class except ``read``.
        permission: key that the gateway asks for, without ``scaivault:``.
        route: the REST call.
        arguments: in published order.
        description: at most 300 characters, begins with a verb.
        hints: read-only, destructive, idempotent, open world as four digits 0 or 1.
        fields: result fields; nested as ``rules[path_pattern permissions]`` and
            ``credentials{username password}``, separated by blanks. A list tool's are its rows'.
        checks: path checks.
        mask: what is a secret.
        container: names under which ScaiVault may send the rows of a list; () for no list.
        special: name of the procedure of a tool that is not one request; "" for one.
        is_partial: its route is not documented, so 404 or 405 without a code means that this
            ScaiVault does not have it.
    """

    code: str
    name: str
    group: Group
    tool_class: ToolClass
    permission: str
    route: Route
    arguments: tuple[Member, ...]
    description: str
    hints: str
    fields: str
    checks: tuple[PathCheck, ...] = ()
    mask: Mask = Mask()
    container: tuple[str, ...] = ()
    special: str = ""
    is_partial: bool = False

    @property
    def is_list(self) -> bool:
        """Whether the result is a page of rows."""
        return bool(self.container)


def paging(most: int = 200, default: int = 50) -> tuple[Member, Member]:
    """Return the two arguments of every list."""
    return (
        may("limit", Integer(1, most), "Rows of one page.", default),
        may("cursor", Text(1, 2_048), "The next_cursor of the page before; the first without."),
    )
