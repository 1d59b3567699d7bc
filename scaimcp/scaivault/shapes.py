"""What an argument of a ScaiVault tool may look like: data for schemas and checks. Pure.

Spec: scaivault 1 (shorthands).
"""

from __future__ import annotations

from typing import Any

import msgspec


class Text(msgspec.Struct, frozen=True):
    """A string of `least` to `most` characters."""

    least: int = 0
    most: int = 512


class Form(msgspec.Struct, frozen=True):
    """A string of one of the forms of `scaimcp.scaivault.values.FORMS`.

    ``path``, ``prefix``, ``glob``, ``id``, ``name``, ``identity``, ``duration``, ``time``,
    ``dns``, ``ip``, ``cidr``, ``email``, ``url``.
    """

    form: str


class Enum(msgspec.Struct, frozen=True):
    """One of some strings."""

    values: tuple[str, ...]


class Numbers(msgspec.Struct, frozen=True):
    """One of some integers."""

    values: tuple[int, ...]


class Integer(msgspec.Struct, frozen=True):
    """An integer from `least` to `most`; None for no end."""

    least: int
    most: int | None = None


class Boolean(msgspec.Struct, frozen=True):
    """True or false."""


class Many(msgspec.Struct, frozen=True):
    """An array of `least` to `most` items."""

    item: Shape
    least: int
    most: int


class Member(msgspec.Struct, frozen=True):
    """One member of an object, or one argument of a tool."""

    name: str
    shape: Shape
    description: str
    is_required: bool = False
    default: Any = None


class Record(msgspec.Struct, frozen=True):
    """An object with known members; others are refused, or must be plain values.

    Args:
        members: the known ones.
        takes_scalars: further members may hold strings, numbers and booleans.
    """

    members: tuple[Member, ...]
    takes_scalars: bool = False


class Open(msgspec.Struct, frozen=True):
    """An object of any members.

    Args:
        most_bytes: of its JSON.
        least: members at least.
        most: members at most.
        depth: of nested values.
        takes_scalars_only: its members hold strings, numbers and booleans.
    """

    most_bytes: int
    least: int = 0
    most: int | None = None
    depth: int = 16
    takes_scalars_only: bool = False


class GlobMap(msgspec.Struct, frozen=True):
    """An object whose keys are globs and whose values are texts of at most `most_chars`."""

    least: int
    most: int
    most_chars: int


Shape = Text | Form | Enum | Numbers | Integer | Boolean | Many | Record | Open | GlobMap

PATH, PREFIX, GLOB = Form("path"), Form("prefix"), Form("glob")
ID, NAME, IDENTITY = Form("id"), Form("name"), Form("identity")
DURATION, TIME, DNS, IP, CIDR = (
    Form("duration"), Form("time"), Form("dns"), Form("ip"), Form("cidr"),
)  # fmt: skip
EMAIL, URL = Form("email"), Form("url")
YES_NO = Boolean()
SHORT, DESCRIPTION = Text(1, 100), Text(0, 500)


def need(name: str, shape: Shape, description: str) -> Member:
    """Return an argument that must be given."""
    return Member(name, shape, description, is_required=True)


def may(name: str, shape: Shape, description: str, default: Any = None) -> Member:
    """Return an argument that may be given; `default` is what goes out without it."""
    return Member(name, shape, description, default=default)
