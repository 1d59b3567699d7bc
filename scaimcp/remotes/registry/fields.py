"""Bodies that register or change a server, read strictly: every fault is named at once. Pure.

Values of credentials are never repeated. Spec: remote-servers 1 (fields), 5 (headers).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from scaimcp.errors import HeaderRefused, RequestRefused
from scaimcp.remotes.enumerations import AuthType, ConsentTier, ToolChanges, Transport
from scaimcp.remotes.rules.endpoint_policy import (
    check_header_name,
    check_header_value,
    strip_bearer,
)
from scaimcp.remotes.rules.naming import MAX_NAME, clean, name_fault
from scaimcp.types import Secret

AUTHORIZATION = "authorization"
MOST_FIELDS = 16
MOST_VALUE_BYTES = 16 * 1024
TOO_MUCH = "would make more than 16,384 bytes of all values together"
MOST_DESCRIPTION = 500
MOST_SECONDS = 600
_SHOWN_FIELD = 64
# White space that a plain text may hold; other control characters may not.
_TEXT_CONTROLS = frozenset("\t\n\r")

Credentials = dict[str, Secret]


class Registration(msgspec.Struct, frozen=True):
    """A body of POST, checked; ``tool_changes`` is None for the operator's default."""

    name: str
    endpoint_url: str
    auth_type: AuthType
    description: str = ""
    transport: Transport = Transport.STREAMABLE_HTTP
    credentials: Credentials = {}
    is_tenant_shared: bool = False
    consent_tier: ConsentTier = ConsentTier.AUTO
    forward_user_id: bool = False
    tool_changes: ToolChanges | None = None
    timeout_seconds: int | None = None


class Changes(msgspec.Struct, frozen=True):
    """A body of PATCH, checked: what it names. UNSET is what it does not name."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType = msgspec.UNSET
    endpoint_url: str | msgspec.UnsetType = msgspec.UNSET
    transport: Transport | msgspec.UnsetType = msgspec.UNSET
    auth_type: AuthType | msgspec.UnsetType = msgspec.UNSET
    credentials: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    consent_tier: ConsentTier | msgspec.UnsetType = msgspec.UNSET
    forward_user_id: bool | msgspec.UnsetType = msgspec.UNSET
    tool_changes: ToolChanges | msgspec.UnsetType = msgspec.UNSET
    timeout_seconds: int | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def named(self) -> dict[str, Any]:
        """The fields that the body names."""
        values = {field: getattr(self, field) for field in self.__struct_fields__}
        return {field: value for field, value in values.items() if value is not msgspec.UNSET}


class _Fault(Exception):
    """A value does not fit; the argument says what it must be."""


class Faults:
    """Collects what is wrong with a body."""

    def __init__(self) -> None:
        self._found: list[dict[str, Any]] = []

    def add(self, field: str, message: str) -> None:
        """Note one fault; `field` is cut if it is not one of ours."""
        self._found.append({"field": field, "message": message})

    def check(self) -> None:
        """Refuse the body if there was a fault.

        Raises:
            RequestRefused: 422 ``VALIDATION_ERROR`` with each field.
        """
        if self._found:
            raise invalid(*self._found)


def invalid(*details: dict[str, Any]) -> RequestRefused:
    """Return 422 ``VALIDATION_ERROR`` with `details` such as ``{"field", "message"}``."""
    return RequestRefused(
        "VALIDATION_ERROR", "The request is not valid.", http_status=422, details=details
    )


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise _Fault("must be a string")
    return value


def _name(value: Any) -> str:
    # Cleaning makes a text shorter by its white space only, and never much longer.
    if len(_string(value)) > MAX_NAME * 20:
        raise _Fault(f"must have 1 to {MAX_NAME} characters")
    cleaned = clean(value)
    fault = name_fault(cleaned)
    if fault is not None:
        raise _Fault(fault)
    return cleaned


def _text(value: Any) -> str:
    if len(_string(value)) > MOST_DESCRIPTION:
        raise _Fault(f"must have at most {MOST_DESCRIPTION} characters")
    kinds = {unicodedata.category(letter) for letter in value if letter not in _TEXT_CONTROLS}
    if kinds & {"Cc", "Cs"}:
        raise _Fault("must not hold control characters")
    return str(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Fault("must be true or false")
    return value


def _seconds(value: Any) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= MOST_SECONDS:
        raise _Fault(f"must be null or a whole number from 1 to {MOST_SECONDS}")
    return value


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Fault("must be an object of strings")
    return value


def _word(words: type[StrEnum]) -> Callable[[Any], StrEnum]:
    def read(value: Any) -> StrEnum:
        if isinstance(value, str) and value in list(words):
            return words(value)
        raise _Fault(f"must be one of {', '.join(words)}")

    return read


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "name": _name,
    "description": _text,
    "endpoint_url": _string,
    "transport": _word(Transport),
    "auth_type": _word(AuthType),
    "credentials": _object,
    "is_tenant_shared": _flag,
    "consent_tier": _word(ConsentTier),
    "forward_user_id": _flag,
    "tool_changes": _word(ToolChanges),
    "timeout_seconds": _seconds,
}
_REQUIRED = ("name", "endpoint_url", "auth_type")
_IMMUTABLE = frozenset(
    {"id", "is_tenant_shared", "owner_user_id", "slug", "status", "tenant_id", "version"}
)


def unknown_fields(body: Mapping[str, Any], known: Collection[str], faults: Faults) -> None:
    """Note every field of `body` that is not `known`."""
    for field in body:
        if field not in known:
            faults.add(_printable(field), "is not a known field")


def read_registration(body: Mapping[str, Any]) -> Registration:
    """Check a body of POST.

    Raises:
        RequestRefused: 422 with every fault.
    """
    faults = Faults()
    values = _read(body, faults, frozenset())
    for field in _REQUIRED:
        if field not in body:
            faults.add(field, "is required")
    auth_type = values.get("auth_type")
    if auth_type is not None and "credentials" not in _failed(body, values):
        given = values.get("credentials", {})
        values["credentials"] = read_credentials(auth_type, given, faults)
    faults.check()
    return Registration(**values)


def read_changes(body: Mapping[str, Any]) -> Changes:
    """Check a body of PATCH; its credentials need `read_credentials` with the server's type.

    Raises:
        RequestRefused: 422 with every fault.
    """
    faults = Faults()
    values = _read(body, faults, _IMMUTABLE)
    faults.check()
    return Changes(**values)


def read_credentials(auth_type: AuthType, given: Mapping[str, Any], faults: Faults) -> Credentials:
    """Return the fields of a complete set by lower-case name, in their order.

    Args:
        auth_type: decides which fields there must be.
        given: header names and values as sent.
        faults: gets what is wrong.
    """
    if auth_type in (AuthType.NONE, AuthType.PER_USER):
        if given:
            faults.add("credentials", f"must be empty with auth_type {auth_type}")
        return {}
    if auth_type is AuthType.BEARER:
        if [name.lower() for name in given] != [AUTHORIZATION]:
            faults.add("credentials", "must hold exactly authorization")
            return {}
    elif not 1 <= len(given) <= MOST_FIELDS:
        faults.add("credentials", f"must hold 1 to {MOST_FIELDS} fields")
        return {}
    found: Credentials = {}
    for name, value in given.items():
        _read_one(auth_type, name, value, found, faults)
    if sum(len(value.reveal()) for value in found.values()) > MOST_VALUE_BYTES:
        faults.add("credentials", TOO_MUCH)
    return found


def read_field_name(auth_type: AuthType | None, name: str, faults: Faults) -> str:
    """Return the lower-case name of one field that a server of `auth_type` can have."""
    if auth_type is AuthType.BEARER and name.lower() == AUTHORIZATION:
        return AUTHORIZATION
    if auth_type is AuthType.API_KEY_HEADER:
        try:
            return check_header_name(name)
        except HeaderRefused as error:
            faults.add(_shown(name, error), error.message)
            return ""
    faults.add("field", "is not a credential of this server's auth_type")
    return ""


def read_value(auth_type: AuthType | None, field: str, value: Any, faults: Faults) -> Secret:
    """Return one value as it will be sent, without the scheme in the case of a bearer."""
    try:
        text = _string(value)
        if auth_type is AuthType.BEARER:
            text = strip_bearer(text)
        return Secret(check_header_value(text))
    except _Fault as fault:
        faults.add(field, str(fault))
    except HeaderRefused as error:
        faults.add(field, error.message)
    return Secret("")


def _read_one(
    auth_type: AuthType, name: str, value: Any, found: Credentials, faults: Faults
) -> None:
    try:
        field = AUTHORIZATION if auth_type is AuthType.BEARER else check_header_name(name)
    except HeaderRefused as error:
        faults.add(_shown(name, error), error.message)
        return
    if field in found:
        faults.add(f"credentials.{field}", "is a duplicate field: case does not count")
        return
    found[field] = read_value(auth_type, f"credentials.{field}", value, faults)


def _shown(name: str, error: HeaderRefused) -> str:
    """Name a refused field, unless it looks like anything but a name: a value in its place."""
    return f"credentials.{name.lower()}" if error.reason == "reserved" else "credentials"


def _read(body: Mapping[str, Any], faults: Faults, immutable: frozenset[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field, value in body.items():
        if field in immutable:
            faults.add(field, "cannot be changed")
        elif field not in _READERS:
            faults.add(_printable(field), "is not a known field")
        else:
            try:
                values[field] = _READERS[field](value)
            except _Fault as fault:
                faults.add(field, str(fault))
    return values


def _failed(body: Mapping[str, Any], values: Mapping[str, Any]) -> set[str]:
    return body.keys() - values.keys()


def _printable(field: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in field[:_SHOWN_FIELD])
