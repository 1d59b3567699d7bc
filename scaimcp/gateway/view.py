"""How a client wants the catalogue shown: options of the endpoint's URL. Pure.

They narrow what is listed, never what may be called. Spec: core-tools 4 and 8, remote-servers 3.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec

from scaimcp.types import Tool

EXPLAIN = "tools_explain"
CALL_TOOL = "tools_call"
SEARCH_TOOLS = ("tools_search", "tools_describe", CALL_TOOL)
GATEWAY_TOOLS = frozenset({EXPLAIN, *SEARCH_TOOLS})
_ALWAYS = frozenset({"me_get", EXPLAIN})
_CHOICES = {
    "names": ("safe", "dotted"),
    "disclosure": ("list", "search"),
    "dialect": ("canonical", "gemini"),
}


class View(msgspec.Struct, frozen=True):
    """Parsed options. ``toolsets`` None = all.

    ``names`` "" leaves the form of names to the gateway and to what the client calls itself.
    """

    names: str = ""
    disclosure: str = "list"
    dialect: str = "canonical"
    toolsets: frozenset[str] | None = None

    def lists(self, tool: Tool) -> bool:
        """Tell whether a callable tool is listed under these options."""
        if self.disclosure == "search":
            return tool.name == "me_get" or tool.name in GATEWAY_TOOLS
        if tool.name in SEARCH_TOOLS:
            return False
        if self.toolsets is None or tool.name in _ALWAYS:
            return True
        return tool.domain in self.toolsets


class UnknownOption(ValueError):
    """An option has a value that is not one of its choices; the text says which."""


DEFAULT_VIEW = View()


def parse_view(query: bytes) -> View:
    """Read the options from a query string; unknown names are ignored.

    Raises:
        UnknownOption: a known option has an unknown value.
    """
    if not query:
        return DEFAULT_VIEW
    values: dict[str, str] = {}
    toolsets: frozenset[str] | None = None
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name == "toolsets":
            toolsets = frozenset(word.strip() for word in value.split(",") if word.strip())
        elif name in _CHOICES:
            if value not in _CHOICES[name]:
                raise UnknownOption(f"{name} takes {' or '.join(_CHOICES[name])}")
            values[name] = value
    return View(toolsets=toolsets, **values)
