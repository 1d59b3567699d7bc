"""Foreign servers, once per run, and a gateway per module in which all of them are registered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from scaimcp.telemetry.logs import configure_logs
from tests.foreign.processes import Foreign, all_started
from tests.foreign.setup import Setup
from tests.integration.remotes.rest import open_registry
from tests.stack import database_url, embedded_stack, redis_url

__all__ = ["database_url", "embedded_stack", "redis_url"]


@pytest.fixture(scope="session", autouse=True)
def logs() -> None:
    configure_logs("error", "json")


@pytest.fixture(scope="session")
def foreign() -> Iterator[dict[str, Foreign]]:
    with all_started() as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def setup(
    foreign: dict[str, Foreign], database_url: str, redis_url: str
) -> AsyncIterator[Setup]:
    allowed = ",".join(f"127.0.0.1:{urlsplit(one.url).port}" for one in foreign.values())
    settings = {"REMOTE_ALLOWED_PRIVATE": allowed, "LIMITS_LIST_PAGE": "60"}
    async with open_registry(database_url, redis_url, **settings) as registry:
        setup = Setup(registry, foreign)
        manager = registry.as_("manager")
        for name, one in foreign.items():
            detail = await manager.registered(
                one.url, name, is_tenant_shared=True, transport=one.kind.transport
            )
            setup.details[name] = detail
            if detail["status"] != "active":
                # A server that fails would colour the lists of all others.
                assert (await manager.delete(f"/{detail['id']}")).status == 204
        yield setup
