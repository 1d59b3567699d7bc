"""Reads, prompts and completion over a source that is plugged in."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scaimcp.errors import ProtocolError
from scaimcp.gateway.gateway import Gateway
from scaimcp.gateway.limits import InFlight, NoLimits
from scaimcp.server.methods import Methods
from scaimcp.server.rendering import Renderer
from scaimcp.server.revisions import V2025_11_25, V2026_07_28, Revision
from scaimcp.server.session import Sessions
from scaimcp.types import RequestContext, ToolResult
from tests.fakes.fixtures_source import FixtureSource
from tests.unit.server.test_methods import answered, call
from tests.unit.server.test_session import sealer

TEXT = "test://static-text"


class Hinting(FixtureSource):
    """Says how long what it gives may be kept."""

    async def read(self, context: RequestContext, uri: str) -> ToolResult | None:
        found = await super().read(context, uri)
        assert found is not None
        assert found.fields is not None
        hints = {"ttlMs": msgspec.Raw(b"60000"), "cacheScope": msgspec.Raw(b'"public"')}
        return msgspec.structs.replace(found, fields={**found.fields, **hints})


def methods(source: FixtureSource) -> Methods:
    gateway = Gateway((source,), NoLimits(), InFlight(8))
    gateway.contents.add(source)
    return Methods(
        gateway,
        Renderer("scaimcp", "1"),
        Sessions(sealer()),
        sealer(label="cursor"),
        surfaces=frozenset({"tools", "resources", "prompts"}),
        page_size=10,
    )


async def result(
    method: str, revision: Revision, source: FixtureSource | None = None, **params: Any
) -> Any:
    served = methods(source or FixtureSource())
    return msgspec.json.decode(await answered(served, method, call(revision, **params)))


async def test_what_a_source_reads_without_a_hint_may_not_be_kept() -> None:
    found = await result("resources/read", V2026_07_28, uri=TEXT)
    assert (found["ttlMs"], found["cacheScope"]) == (0, "private")
    assert found["contents"][0]["uri"] == TEXT


async def test_the_hints_of_a_source_stand() -> None:
    found = await result("resources/read", V2026_07_28, Hinting(), uri=TEXT)
    assert (found["ttlMs"], found["cacheScope"]) == (60_000, "public")


@pytest.mark.parametrize("source", [FixtureSource(), Hinting()])
async def test_a_handshake_client_gets_no_hints(source: FixtureSource) -> None:
    found = await result("resources/read", V2025_11_25, source, uri=TEXT)
    assert set(found) == {"contents", "_meta"}


async def test_a_prompt_gets_no_hints() -> None:
    found = await result("prompts/get", V2026_07_28, name="test_simple_prompt")
    assert set(found) == {"messages", "resultType", "_meta"}


async def test_a_prompt_without_its_arguments_is_refused() -> None:
    with pytest.raises(ProtocolError) as caught:
        await result("prompts/get", V2026_07_28, name="test_prompt_with_arguments")
    assert caught.value.number == -32602


@pytest.mark.parametrize(
    ("reference", "name", "values"),
    [
        (
            {"type": "ref/prompt", "name": "test_prompt_with_arguments"},
            "arg1",
            ["test one", "test two"],
        ),
        (
            {"type": "ref/resource", "uri": "test://template/{id}/data"},
            "id",
            ["test one", "test two"],
        ),
        ({"type": "ref/prompt", "name": "test_prompt_with_arguments"}, "other", []),
        ({"type": "ref/prompt", "name": "nobody_has_this"}, "arg1", []),
    ],
)
async def test_a_source_completes_its_own_arguments_only(
    reference: dict[str, str], name: str, values: list[str]
) -> None:
    argument = {"name": name, "value": "test"}
    found = await result("completion/complete", V2025_11_25, ref=reference, argument=argument)
    assert found["completion"]["values"] == values
