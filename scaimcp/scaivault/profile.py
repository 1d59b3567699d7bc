"""A tenant's own layer of guards. Pure. Spec: scaivault 3 (guard layers, first profile)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from scaimcp.scaivault.guard_settings import read_entries, read_groups
from scaimcp.scaivault.guards import Guards
from scaimcp.scaivault.records import GROUPS
from scaimcp.types import JsonObject

Fault = dict[str, str]


class GuardProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a tenant's administrators have decided; the defaults hold before they have.

    Args:
        enabled: whether the tenant has the module at all.
        read_only: only tools of the class ``read`` run.
        mask_values: secret values become markers.
        allowed_paths: prefixes, None for no limit, () for nothing at all.
        denied_paths: prefixes; they win.
        tool_groups: groups that exist, None for all.
    """

    enabled: bool = False
    read_only: bool = True
    mask_values: bool = True
    allowed_paths: tuple[str, ...] | None = None
    denied_paths: tuple[str, ...] = ()
    tool_groups: tuple[str, ...] | None = None

    @property
    def guards(self) -> Guards:
        """The profile as guards."""
        groups = self.tool_groups
        return Guards(
            read_only=self.read_only,
            mask_values=self.mask_values,
            allowed=self.allowed_paths,
            denied=self.denied_paths,
            groups=None if groups is None else frozenset(groups),
        )


FIRST = GuardProfile()


class ProfileInvalid(ValueError):
    """A profile cannot be read; `faults` name the fields and no value."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("the profile cannot be read")
        self.faults = tuple(faults)


def profile_of(guards: Guards, *, enabled: bool) -> GuardProfile:
    """Return guards in the form of a profile, lists in order."""
    groups = guards.groups
    return GuardProfile(
        enabled=enabled,
        read_only=guards.read_only,
        mask_values=guards.mask_values,
        allowed_paths=guards.allowed,
        denied_paths=guards.denied,
        tool_groups=None if groups is None else _in_order(groups),
    )


def read_profile(given: Mapping[str, Any]) -> GuardProfile:
    """Return the profile that an object describes; what it leaves out is as in the first one.

    Raises:
        ProfileInvalid: tells every fault.
    """
    faults = [_fault(name[:64], "is not known") for name in given if name not in _READERS]
    found: dict[str, Any] = {}
    for name, reader in _READERS.items():
        if name in given:
            try:
                found[name] = reader(given[name])
            except ValueError as error:
                faults.append(_fault(name, str(error)))
    if faults:
        raise ProfileInvalid(faults)
    return GuardProfile(**found)


def described(profile: GuardProfile) -> JsonObject:
    """Return a profile as it is stored and shown."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in msgspec.structs.asdict(profile).items()
    }


def _fault(field: str, message: str) -> Fault:
    return {"field": field, "message": message}


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be an array of strings")
    return list(value)


def _paths(value: Any) -> tuple[str, ...]:
    return read_entries(_texts(value))


def _groups(value: Any) -> tuple[str, ...]:
    return _in_order(read_groups(_texts(value)))


def _in_order(groups: frozenset[str]) -> tuple[str, ...]:
    return tuple(group for group in GROUPS if group in groups)


def _or_none(reader: Callable[[Any], tuple[str, ...]]) -> Callable[[Any], tuple[str, ...] | None]:
    return lambda value: None if value is None else reader(value)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "enabled": _flag,
    "read_only": _flag,
    "mask_values": _flag,
    "allowed_paths": _or_none(_paths),
    "denied_paths": _paths,
    "tool_groups": _or_none(_groups),
}
