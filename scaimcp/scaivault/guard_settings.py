"""Read the guards out of environment names. Pure, and fails closed.

A guard that is present but cannot be read ends the start, and so does a name that looks like a
guard's with a slip in it: otherwise the guard would silently be missing. Spec: scaivault 2.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from scaimcp.errors import SettingsError
from scaimcp.scaivault.guards import Guards
from scaimcp.scaivault.paths import read_id, read_prefix
from scaimcp.scaivault.records import GROUPS

PREFIX = "SCAIVAULT_"
OPERATOR_PREFIX = "SCAIMCP_SCAIVAULT_"
# Names of the stand-alone command that are no guards.
OTHER_NAMES = frozenset({
    "URL", "TOKEN", "TOKEN_FILE", "TIMEOUT", "CONNECT_TIMEOUT", "CA_FILE", "MAX_RESULT_BYTES",
    "DEBUG",
})  # fmt: skip
_MOST_ENTRIES = 200
_MOST_EDITS = 2
_BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


class ReadGuards(msgspec.Struct, frozen=True):
    """Guards as the environment sets them, and warnings for stderr, each one line."""

    guards: Guards
    warnings: tuple[str, ...]


def parse_guards(environment: Mapping[str, str], prefix: str = PREFIX) -> ReadGuards:
    """Return the guards that an environment sets.

    Args:
        environment: names and values; names without `prefix` are passed over.
        prefix: of the names; with `OPERATOR_PREFIX` the two locks do not exist.

    Raises:
        SettingsError: a guard cannot be read, or a name is nearly a guard's. The message names
            the variable and the number of an entry, never a value.
    """
    readers = {
        name: reader for name, reader in _READERS.items() if prefix == PREFIX or name not in _LOCKS
    }
    unknown = _unknown_names(environment, prefix, readers)
    found: dict[str, Any] = {}
    for name, reader in readers.items():
        if prefix + name in environment:
            try:
                found[_FIELDS[name]] = reader(environment[prefix + name])
            except ValueError as error:
                raise SettingsError(f"{prefix}{name} {error}") from None
    guards = Guards(**found)
    warnings = []
    if unknown:
        warnings.append(f"These names are not known: {', '.join(unknown)}")
    if guards.is_nothing_reachable:
        warnings.append("With these allowed and denied paths no path is reachable")
    return ReadGuards(guards, tuple(warnings))


def read_entries(entries: Sequence[str]) -> tuple[str, ...]:
    """Return path prefixes sorted, once each, without a final ``/``.

    Raises:
        ValueError: more than 200, or one that breaks the grammar; tells its number.
    """
    if len(entries) > _MOST_ENTRIES:
        raise ValueError(f"has more than {_MOST_ENTRIES} entries")
    prefixes = set()
    for number, entry in enumerate(entries, 1):
        # The empty prefix, which covers everything, is nothing that anybody writes on purpose.
        prefix = read_prefix(entry)
        if not prefix:
            raise ValueError(f"entry {number} is not a valid path prefix")
        prefixes.add(prefix)
    return tuple(sorted(prefixes))


def read_groups(entries: Sequence[str]) -> frozenset[str]:
    """Return tool groups.

    Raises:
        ValueError: one is none; tells its number.
    """
    for number, entry in enumerate(entries, 1):
        if entry not in GROUPS:
            raise ValueError(f"entry {number} is not a tool group")
    return frozenset(entries)


def read_boolean(value: str) -> bool:
    """Return what ``true``, ``1``, ``yes``, ``on`` and their contraries say, in any case.

    Raises:
        ValueError: something else.
    """
    found = _BOOLEANS.get(value.lower())
    if found is None:
        raise ValueError("is not true or false")
    return found


def _id(value: str) -> str:
    if read_id(value) is None:
        raise ValueError("is not an id")
    return value


def _words(value: str) -> list[str]:
    return [word.strip(" \t") for word in value.split(",")]


_READERS: Mapping[str, Callable[[str], Any]] = {
    "READ_ONLY": read_boolean,
    "MASK_VALUES": read_boolean,
    "ALLOWED_PATHS": lambda value: read_entries(_words(value)),
    "DENIED_PATHS": lambda value: read_entries(_words(value)),
    "TOOL_GROUPS": lambda value: read_groups(_words(value)),
    "TENANT_ID": _id,
    "PARTNER_ID": _id,
}
_LOCKS = frozenset({"TENANT_ID", "PARTNER_ID"})
_FIELDS = {
    "READ_ONLY": "read_only",
    "MASK_VALUES": "mask_values",
    "ALLOWED_PATHS": "allowed",
    "DENIED_PATHS": "denied",
    "TOOL_GROUPS": "groups",
    "TENANT_ID": "tenant_id",
    "PARTNER_ID": "partner_id",
}


# -- names ---------------------------------------------------------------------------------------


def _unknown_names(
    environment: Mapping[str, str], prefix: str, guards: Mapping[str, Any]
) -> list[str]:
    """Return unknown names that are nothing like a guard's."""
    unknown = []
    for name in sorted(environment):
        if not name.upper().startswith(prefix):
            continue
        rest = name[len(prefix) :]
        if name.startswith(prefix) and (rest in guards or rest in OTHER_NAMES):
            continue
        meant = _meant(rest, guards)
        if meant:
            raise SettingsError(f"{name} is not known; did you mean {prefix}{meant}?")
        unknown.append(name)
    return unknown


def _meant(name: str, guards: Mapping[str, Any]) -> str:
    plain = name.upper().replace("_", "")
    for guard in guards:
        wanted = guard.replace("_", "")
        if wanted in plain or _edits(plain, wanted) <= _MOST_EDITS:
            return guard
    return ""


def _edits(one: str, other: str) -> int:
    """Return how many characters must be put in, taken out or replaced."""
    if abs(len(one) - len(other)) > _MOST_EDITS:
        return _MOST_EDITS + 1
    row = list(range(len(other) + 1))
    for number, char in enumerate(one, 1):
        before, row[0] = row[0], number
        for at, wanted in enumerate(other, 1):
            cheapest = min(row[at] + 1, row[at - 1] + 1, before + (char != wanted))
            before, row[at] = row[at], cheapest
    return row[-1]
