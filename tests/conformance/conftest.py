"""The gateway that the conformance suite talks to, in the test's own process and loop."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.conformance import asking
from tests.conformance.suite import Target
from tests.fakes.fixtures_source import FixtureSource
from tests.integration.remotes.rest import Rest
from tests.integration.scaivault.gateway import set_guards
from tests.stack import database_url, embedded_stack, redis_url
from tests.world import World, serve_at, start_world

__all__ = ["database_url", "embedded_stack", "redis_url"]

ROLE = "no_roles"


async def registered(world: World, url: str, name: str, offers: tuple[str, ...]) -> dict[str, str]:
    """Register a remote server and return the names under which it is offered."""
    admin = Rest(world.as_("tenant_admin"))
    server = await admin.registered(url, name, is_tenant_shared=True, consent_tier="auto")
    return {offer: f"{server['name_prefix']}{offer}" for offer in offers}


@pytest_asyncio.fixture(scope="module")
async def conformance_gateway(database_url: str, redis_url: str) -> AsyncIterator[Target]:
    """Yield the gateway; the token's owner sees every fixture on the first page."""
    source = FixtureSource()
    async with (
        start_world(database_url, redis_url, sources=(source,), remote=True, vault=True) as world,
        serve_at(world.place(), asking.handshake_app()) as handshake,
        serve_at(world.place(), asking.modern_app()) as modern,
    ):
        services = world.app.services
        assert services is not None
        services.gateway.contents.add(source)
        source.changed = services.subscriptions.changed
        await set_guards(world.as_("tenant_admin"))
        await world.grant(ROLE, "scaivault:*", "scailink:remote.use")
        person = await world.person(ROLE)
        assert person.token is not None
        names = {
            **await registered(world, f"{handshake}/mcp", "asks1", asking.HANDSHAKE_NAMES),
            **await registered(world, f"{modern}/mcp", "asks2", asking.MODERN_NAMES),
        }
        yield Target(world.mcp_url, person.token, names)
