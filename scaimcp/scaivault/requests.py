"""REST requests of the tools, from their records and checked arguments. Pure.

A URL is built of `SafePath`, `SafeId` and `SafeName` only. Spec: scaivault 1, 2.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from scaimcp.scaivault.errors import invalid_arguments
from scaimcp.scaivault.paths import SafeId, SafeName, SafePath, read_id, read_name, read_path
from scaimcp.scaivault.records import Route, ToolRecord
from scaimcp.scaivault.shapes import Form

JSON = "application/json"
PEM = "application/x-pem-file, application/json;q=0.5"
Safe = SafePath | SafeId | SafeName
_PLACE = re.compile(r"\{([a-z_]+)\}")
_READERS: Mapping[str, Callable[[str], Safe | None]] = {
    "path": read_path,
    "id": read_id,
    "name": read_name,
}
# Members of a secret that ScaiVault takes in an object of their own.
_OPTIONS = ("max_versions", "expires_in", "rotation_policy_id")
_encode = msgspec.json.encode


class VaultRequest(msgspec.Struct, frozen=True):
    """One REST request, ready to send.

    Args:
        method: HTTP method.
        path: absolute path, made by `place`.
        query: names and values, not yet encoded.
        body: JSON body, None for none.
        accept: wanted media type; what is not `JSON` is returned as it came.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    accept: str = JSON

    @property
    def target(self) -> str:
        """Path and query as they go over the wire."""
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in self.query)
        return f"{self.path}?{query}" if query else self.path


def place(template: str, **parts: Safe) -> str:
    """Return a path with its places filled.

    Raises:
        TypeError: a part was not made by a validator.
    """
    for part in parts.values():
        if not isinstance(part, Safe):
            raise TypeError("a URL takes checked parts only")
    return template.format(**parts)


def request_of(record: ToolRecord, arguments: Mapping[str, Any]) -> VaultRequest:
    """Return the REST request of a tool that is one request.

    Args:
        record: the tool.
        arguments: complete ones; empty and missing ones do not travel.
    """
    route = record.route
    return VaultRequest(
        route.method,
        place(route.path, **_parts(record, arguments)),
        query_of(route.query, arguments),
        _body(record.code, route, arguments),
    )


def query_of(names: tuple[str, ...], arguments: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the query of those arguments that are given and not empty."""
    given = [(name, _text(arguments.get(name))) for name in names]
    return tuple((name, value) for name, value in given if value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, list) else str(value)


def id_of(arguments: Mapping[str, Any], name: str) -> SafeId:
    """Return an argument that is an id, fit for a URL.

    Raises:
        VaultError: INVALID_ARGUMENTS.
    """
    found = read_id(arguments[name])
    if found is None:
        raise invalid_arguments([(name, "cannot stand in a URL")])
    return found


def _parts(record: ToolRecord, arguments: Mapping[str, Any]) -> dict[str, Safe]:
    forms = {
        member.name: member.shape.form
        for member in record.arguments
        if isinstance(member.shape, Form)
    }
    parts = {}
    for name in _PLACE.findall(record.route.path):
        part = _READERS[forms[name]](arguments[name])
        if part is None:
            raise invalid_arguments([(name, "cannot stand in a URL")])
        parts[name] = part
    return parts


def _body(code: str, route: Route, arguments: Mapping[str, Any]) -> bytes | None:
    if route.body is None:
        return None
    members = {name: arguments[name] for name in route.body if name in arguments}
    shaped = _BODIES.get(code)
    return _encode({**dict(route.fixed), **(shaped(members) if shaped else members)})


def _secret_body(members: dict[str, Any]) -> dict[str, Any]:
    options = {name: members[name] for name in _OPTIONS if name in members}
    plain = {name: value for name, value in members.items() if name not in _OPTIONS}
    return {**plain, "options": options} if options else plain


def _rotation_body(members: dict[str, Any]) -> dict[str, Any]:
    if not members.get("warn_before"):
        return {name: value for name, value in members.items() if name != "warn_before"}
    return {**members, "warn_before": ",".join(members["warn_before"])}


def _backend_body(members: dict[str, Any]) -> dict[str, Any]:
    if members.get("mode") == "sync":
        return members
    return {name: value for name, value in members.items() if name != "sync_interval"}


_BODIES: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "S2": _secret_body,
    "RO2": _rotation_body,
    "FE3": _backend_body,
}
