"""What callers meet where no key seals credentials."""

from __future__ import annotations

import pytest

from scaimcp.errors import ToolError
from scaimcp.remotes.calls.disabled import DisabledSource
from scaimcp.types import RequestContext, Secret, Tool
from tests.fakes.callers import caller

CONTEXT = RequestContext("req_1", caller(), Secret("x"))
TOOL = Tool("remote.a.b.c", "c", "", {}, None, {}, {}, "")


@pytest.mark.row(1)
async def test_nothing_is_offered_and_remote_names_are_told_why() -> None:
    source = DisabledSource()
    snapshot = await source.snapshot(CONTEXT, 0.0)
    assert source.known(CONTEXT, 0.0) is snapshot
    assert (snapshot.tools, snapshot.by_name) == ((), {})
    assert snapshot.withheld is not None
    refused = snapshot.withheld("remote.tenant.x.y")
    assert refused is not None
    assert refused.code == "SCAILINK_REGISTRY_DISABLED"
    assert snapshot.withheld("models_list") is None


@pytest.mark.row(1)
async def test_nothing_is_called() -> None:
    source = DisabledSource()
    source.mark_stale(CONTEXT)
    assert not source.unsupported(TOOL)
    with pytest.raises(ToolError) as refused:
        await source.call(TOOL, b"{}", CONTEXT)
    assert refused.value.code == "SCAILINK_REGISTRY_DISABLED"
