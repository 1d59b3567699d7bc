"""What stands in for remote servers where no key seals credentials. Spec: remote-servers 1."""

from __future__ import annotations

from scaimcp.errors import ToolError
from scaimcp.remotes.refusals import registry_disabled
from scaimcp.types import ModuleView, RequestContext, Snapshot, Tool, ToolResult

_REASON = registry_disabled()


def _refusal(name: str) -> ToolError | None:
    return ToolError(_REASON.code, _REASON.message) if name.startswith("remote.") else None


_NOTHING = Snapshot(
    "remote: disabled", (), {}, ModuleView(frozenset(), "remote"), withheld=_refusal
)


class DisabledSource:
    """Offers nothing, and tells callers of ``remote.`` names why."""

    name = "remote"

    def known(self, context: RequestContext, max_age: float) -> Snapshot | None:
        """Return the empty snapshot."""
        return _NOTHING

    async def snapshot(self, context: RequestContext, max_age: float) -> Snapshot:
        """Return the empty snapshot."""
        return _NOTHING

    def mark_stale(self, context: RequestContext) -> None:
        """Nothing to do: there is nothing that could change."""

    def unsupported(self, tool: Tool) -> bool:
        """Nothing is offered, so nothing is unsupported."""
        return False

    async def call(self, tool: Tool, arguments: bytes, context: RequestContext) -> ToolResult:
        """Refuse: no tool of this source is ever admitted."""
        raise ToolError(_REASON.code, _REASON.message)
