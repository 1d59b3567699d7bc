"""Guards: what the tools may touch. Pure; a guard only takes away.

`scaimcp.scaivault.guard_settings` reads them from the environment. Order of a call:
`check_tool`, `scaimcp.scaivault.arguments.read_arguments`, `check_arguments`, and for some tools
`check_stored`. Spec: scaivault 2.2, 2.3, 3 (guard layers).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from scaimcp.scaivault.errors import invalid_path, path_denied, read_only, tool_not_found
from scaimcp.scaivault.paths import (
    are_within,
    covers,
    glob_base,
    is_within,
    read_glob,
    read_path,
    read_prefix,
)
from scaimcp.scaivault.places import found_at
from scaimcp.scaivault.records import PathCheck, ToolRecord

# The lists in a result whose rows are held against the guards.
ROW_LISTS = ("items", "groups")
_PARTNER_TOOLS = frozenset({"AP1", "AP3"})
_ARGUMENT_CHECKS = frozenset({"path", "prefix", "glob"})
_Row = Mapping[str, Any]


class Guards(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one call.

    Args:
        read_only: only tools of the class ``read`` run.
        mask_values: secret values become markers.
        allowed: prefixes without a final ``/``, sorted; None for no limit, () for nothing at all.
        denied: the same; they win over `allowed`.
        groups: tool groups that exist; None for all.
        tenant_id: the tenant that calls are locked to; "" for no lock.
        partner_id: the partner that the token must belong to; "" for no lock.
    """

    read_only: bool = False
    mask_values: bool = False
    allowed: tuple[str, ...] | None = None
    denied: tuple[str, ...] = ()
    groups: frozenset[str] | None = None
    tenant_id: str = ""
    partner_id: str = ""

    @property
    def is_limited(self) -> bool:
        """Whether any path guard is set."""
        return self.allowed is not None or bool(self.denied)

    @property
    def is_nothing_reachable(self) -> bool:
        """Whether no path passes at all."""
        if self.allowed is None:
            return False
        return all(_is_covered(entry, self.denied) for entry in self.allowed)


def meet(operator: Guards, tenant: Guards) -> Guards:
    """Return what both layers leave; the locks are the operator's, a tenant's layer has none."""
    return Guards(
        read_only=operator.read_only or tenant.read_only,
        mask_values=operator.mask_values or tenant.mask_values,
        allowed=_met(operator.allowed, tenant.allowed),
        denied=tuple(sorted({*operator.denied, *tenant.denied})),
        groups=_common(operator.groups, tenant.groups),
        tenant_id=operator.tenant_id,
        partner_id=operator.partner_id,
    )


def _met(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if one is None or other is None:
        return other if one is None else one
    deeper = {entry for entry in one if _is_covered(entry, other)}
    return tuple(sorted(deeper | {entry for entry in other if _is_covered(entry, one)}))


def _common(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _is_covered(path: str, entries: tuple[str, ...]) -> bool:
    return any(covers(entry, path) for entry in entries)


# -- steps 1, 2, 5 and 7 of a call ---------------------------------------------------------------


def has_group(record: ToolRecord, guards: Guards) -> bool:
    """Tell whether the tool exists under these guards."""
    return guards.groups is None or record.group in guards.groups


def is_refused(record: ToolRecord, guards: Guards) -> bool:
    """Tell whether READ_ONLY refuses the tool."""
    return guards.read_only and record.tool_class != "read"


def check_tool(record: ToolRecord, guards: Guards) -> None:
    """Pass steps 1 and 2.

    Raises:
        VaultError: TOOL_NOT_FOUND or READ_ONLY.
    """
    if not has_group(record, guards):
        raise tool_not_found()
    if is_refused(record, guards):
        raise read_only(record.name)


def check_arguments(record: ToolRecord, arguments: Mapping[str, Any], guards: Guards) -> None:
    """Pass step 5: hold every path, prefix and glob among the arguments against the guards.

    Raises:
        VaultError: PATH_DENIED; INVALID_PATH for what `read_arguments` should have refused.
    """
    for check in record.checks:
        if check.kind in _ARGUMENT_CHECKS and not check.is_pre_read:
            for name, value in _values(check, arguments):
                _check(check.kind, name, value, guards)


def _values(check: PathCheck, arguments: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found = list(found_at(check.where, dict(arguments)))
    # A listing without a prefix is a listing of everything.
    return found or ([(check.where, "")] if check.kind == "prefix" else [])


def _check(kind: str, name: str, value: Any, guards: Guards) -> None:
    if kind == "glob":
        is_allowed = glob_passes(value, guards)
    elif kind == "prefix":
        is_allowed = bool(window(value, guards))
    elif not isinstance(value, str) or read_path(value) is None:
        raise invalid_path(name)
    else:
        is_allowed = passes(value, guards)
    if not is_allowed:
        raise path_denied(name)


def needs_stored(record: ToolRecord, guards: Guards) -> bool:
    """Tell whether the stored object must be read first, for `check_stored`."""
    return guards.is_limited and any(check.is_pre_read for check in record.checks)


def check_stored(record: ToolRecord, stored: Mapping[str, Any], guards: Guards) -> None:
    """Pass step 7: hold the globs of the object that is to be changed against the guards.

    An object that shows no globs is refused: who knows what it reaches.

    Raises:
        VaultError: PATH_DENIED.
    """
    if not needs_stored(record, guards):
        return
    for check in [check for check in record.checks if check.is_pre_read]:
        globs = [value for _, value in found_at(check.where, dict(stored))]
        if not globs or not all(glob_passes(glob, guards) for glob in globs):
            raise path_denied(record.arguments[0].name)


# -- the decision on one path, prefix or glob ----------------------------------------------------


def passes(path: Any, guards: Guards) -> bool:
    """Tell whether a path may be touched; what is no path passes only where nothing is limited.

    A path that ends like a route, such as ``app/versions``, may stand in a row.
    """
    if not guards.is_limited:
        return True
    return isinstance(path, str) and is_within(path, guards.allowed, guards.denied)


def window(prefix: Any, guards: Guards) -> tuple[str, ...]:
    """Return the prefixes that a listing may ask for, in order; () for PATH_DENIED.

    Args:
        prefix: with or without a final ``/``; "" for everything.
        guards: what holds. Without allowed paths the window is the prefix itself; "" in it means
            that ScaiVault is asked for everything.
    """
    plain = read_prefix(prefix) if isinstance(prefix, str) else None
    if plain is None or _is_covered(plain, guards.denied):
        return ()
    if guards.allowed is None or _is_covered(plain, guards.allowed):
        return (plain,)
    below = tuple(entry for entry in guards.allowed if covers(plain, entry))
    return tuple(
        entry
        for entry in sorted(set(below))
        if not _is_covered(entry, guards.denied)
        # What an entry covers is listed with it, and would be listed twice.
        and not any(other != entry and covers(other, entry) for other in below)
    )


def glob_passes(glob: Any, guards: Guards) -> bool:
    """Tell whether nothing that a glob can match is denied or not allowed.

    Its base, the segments before the first wildcard, must pass as a path, and no denied path may
    lie below. What is no glob passes only where nothing is limited.
    """
    if not guards.is_limited:
        return True
    if not isinstance(glob, str) or read_glob(glob) is None:
        return False
    base = glob_base(glob)
    return passes(base, guards) and not any(covers(base, entry) for entry in guards.denied)


# -- rows and locks ------------------------------------------------------------------------------


def passing_rows(record: ToolRecord, rows: list[Any], guards: Guards) -> list[Any]:
    """Return the rows of a result that may be shown, in a list of their own."""
    if _all_pass(record, rows, guards):
        return list(rows)
    return [row for row in rows if row_passes(record, row, guards)]


def _all_pass(record: ToolRecord, rows: list[Any], guards: Guards) -> bool:
    """Tell whether all rows pass for sure; False means that each has to be looked at."""
    wheres = [check.where for check in _row_checks(record)] if guards.is_limited else []
    try:
        if guards.tenant_id and any(["tenant_id" in row for row in rows]):  # noqa: C419 - faster
            return False
        if len(wheres) != 1 or wheres[0].endswith("[]"):
            return not wheres
        paths = [row[wheres[0]] for row in rows]
    except (KeyError, TypeError):
        # A row without a path, or one that is no object.
        return False
    return are_within(paths, guards.allowed, guards.denied)


def row_passes(record: ToolRecord, row: Any, guards: Guards) -> bool:
    """Tell whether a row of a result may be shown."""
    if not isinstance(row, dict):
        return not (guards.is_limited and _row_checks(record))
    if names_other_tenant(row, guards):
        return False
    return all(_row_check_passes(record, check, row, guards) for check in _row_checks(record))


def _row_checks(record: ToolRecord) -> list[PathCheck]:
    return [check for check in record.checks if check.kind == "rows"]


def _row_check_passes(record: ToolRecord, check: PathCheck, row: _Row, guards: Guards) -> bool:
    if not guards.is_limited:
        return True
    if check.where.endswith("[]"):
        return any(glob_passes(glob, guards) for _, glob in found_at(check.where, row))
    path = row.get(check.where)
    if path is None or path == "":
        # Much of what is audited has no path; with allowed paths it is nobody's to see.
        return record.group == "audit" and guards.allowed is None
    return passes(path, guards)


def names_other_tenant(shown: _Row, guards: Guards) -> bool:
    """Tell whether an object names a tenant that the calls are not locked to."""
    tenant = shown.get("tenant_id")
    return bool(guards.tenant_id) and tenant is not None and tenant != guards.tenant_id


def leaves_tenant(record: ToolRecord, arguments: Mapping[str, Any], guards: Guards) -> bool:
    """Tell whether a call asks for the partner's policies under a tenant lock: TENANT_LOCKED."""
    is_partner = record.code in _PARTNER_TOOLS and arguments.get("scope") == "partner"
    return bool(guards.tenant_id) and is_partner
