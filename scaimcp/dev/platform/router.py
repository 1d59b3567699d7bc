"""Match raw paths against templates. Spec: scaigrid 12 (path escaping)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from scaimcp.dev.platform.endpoint import Endpoint


class Match(NamedTuple):
    """The endpoint of a request and its decoded path values."""

    endpoint: Endpoint
    values: tuple[str, ...]


@dataclass(slots=True)
class _Node:
    fixed: dict[str, "_Node"] = field(default_factory=dict)
    any: "_Node | None" = None
    methods: dict[str, Endpoint] = field(default_factory=dict)


class Router:
    """Find the endpoint of a method and a raw path.

    A template's `{name}` takes exactly one segment as sent; percent escapes are decoded after the
    match, so `%2F` is part of a value while a bare `/` separates segments.

    Raises:
        ValueError: when two endpoints claim the same method and path.
    """

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._root = _Node()
        for endpoint in endpoints:
            node = self._root
            for segment in endpoint.full_path.strip("/").split("/"):
                if segment.startswith("{"):
                    node.any = node.any or _Node()
                    node = node.any
                else:
                    node = node.fixed.setdefault(segment, _Node())
            if endpoint.method in node.methods:
                raise ValueError(f"{endpoint.method} {endpoint.full_path} is declared twice")
            node.methods[endpoint.method] = endpoint

    def match(self, method: str, raw_path: str) -> Match | tuple[str, ...]:
        """Return the match, or else the methods the path knows (none: no such path)."""
        if not raw_path.startswith("/"):
            return ()
        found: list[tuple[_Node, tuple[str, ...]]] = []
        self._walk(self._root, raw_path[1:].split("/"), 0, (), found)
        for node, raw_values in found:
            if method in node.methods:
                try:
                    values = tuple(unquote_to_bytes(raw).decode() for raw in raw_values)
                except UnicodeDecodeError:
                    return ()
                return Match(node.methods[method], values)
        return tuple(sorted({name for node, _ in found for name in node.methods}))

    def _walk(
        self,
        node: _Node,
        segments: list[str],
        at: int,
        values: tuple[str, ...],
        found: list[tuple[_Node, tuple[str, ...]]],
    ) -> None:
        if at == len(segments):
            if node.methods:
                found.append((node, values))
            return
        segment = segments[at]
        if segment in node.fixed:
            self._walk(node.fixed[segment], segments, at + 1, values, found)
        if node.any is not None and segment:
            self._walk(node.any, segments, at + 1, (*values, segment), found)
