"""No secret value leaves the gateway under masking, by whatever channel. Spec: scaivault 2.5, 3."""

from __future__ import annotations

from typing import Any

import pytest

from scaimcp.scaivault.catalogue import TOOLS
from tests.integration.scaivault.channels import Channels, opened_channels
from tests.integration.scaivault.desk import Desk
from tests.integration.scaivault.gateway import GUARDS, put_guards, read_guards, set_guards
from tests.integration.scaivault.watch import Watch
from tests.integration.scaivault.wires import Mcp, Said, lines_of
from tests.world import Client, Reply

pytestmark = pytest.mark.slow

NAMES = [record.name for record in TOOLS]


async def watched(channels: Channels) -> Watch:
    """Return a watch on the gateway's ``/mcp``, asked by an administrator."""
    world = channels.world
    assert world.vault is not None
    client = await world.person("tenant_admin")
    desk = Desk(world.vault, world.http, bearer=str(client.token))
    who = await desk.rest("GET", "/v1/auth/whoami")
    desk.tenant_id, desk.partner_id = who["tenant_id"], who["partner_id"]
    return Watch(Mcp(client), desk)


def said(reply: Reply) -> Said:
    return Said(None, reply.content.decode(), lines_of(reply.headers))


async def every_tool_of_the_gateway(watch: Watch, client: Client) -> None:
    """Ask the gateway's own tools about these, and call through them."""
    value = watch.markers.text("asked")
    calls: list[tuple[str, dict[str, Any]]] = [
        ("tools_search", {"query": "secret password", "top_k": 50}),
        ("tools_search", {"query": value}),
        *[("tools_describe", {"names": NAMES[at : at + 20]}) for at in range(0, len(NAMES), 20)],
        *[("tools_explain", {"tool": name}) for name in NAMES],
        ("tools_call", {"name": NAMES[0], "arguments": {"path": "app/db"}}),
        ("tools_call", {"name": NAMES[0], "arguments": {"path": value}}),
        ("tools_call", {"name": NAMES[0], "arguments": value}),
    ]
    for name, arguments in calls:
        called = await client.call(name, arguments)
        watch.search(f"{name} {arguments}", said(called.reply))


async def every_rest_route(watch: Watch, client: Client) -> None:
    """Read and refuse guards, and read what REST tells of the catalogue."""
    value = watch.markers.text("guard")
    replies = [await client.get(f"/v1/modules/scaimcp/{path}") for path in ("tools", "nothing")]
    replies.append(await read_guards(client))
    bodies = (
        {"denied_paths": [value]},
        {"allowed_paths": value},
        {"tool_groups": [value]},
        [value],
    )
    for body in (*bodies, {"enabled": value}, value.encode()):
        replies.append(await put_guards(client, body))
        assert replies[-1].status >= 400
    replies.append(await put_guards(client, {}, **{"if-match": f'"{value.encode().hex()}"'}))
    replies.append(await client.send(None, path=f"{GUARDS}?x={value.encode().hex()}", method="GET"))
    for number, reply in enumerate(replies):
        watch.search(f"reply {number}", said(reply))


@pytest.mark.parametrize("form", ["json", "console"])
async def test_no_value_is_seen_in_any_channel_under_masking(
    database_url: str, redis_url: str, form: str
) -> None:
    async with opened_channels(database_url, redis_url, form) as channels:
        admin = channels.world.as_("tenant_admin")
        await set_guards(admin, mask_values=True)
        watch = await watched(channels)
        await watch.everything()
        client = channels.world.with_token(watch.desk.bearer)
        await every_tool_of_the_gateway(watch, client)
        await every_rest_route(watch, client)
        assert dict(watch.shown) == {}
        await channels.settled(client)
        assert await channels.found(watch.markers) == {}
        assert watch.bodies > 100_000
        assert watch.headers > 100_000


async def test_no_channel_tells_of_what_comes_too_late(database_url: str, redis_url: str) -> None:
    slow = {"SCAIVAULT_TIMEOUT_SECONDS": "1"}
    async with opened_channels(database_url, redis_url, "json", **slow) as channels:
        await set_guards(channels.world.as_("tenant_admin"))
        watch = await watched(channels)
        assert await watch.waiting_in_vain() == {"UPSTREAM_TIMEOUT"}
        assert dict(watch.shown) == {}
        await channels.settled(channels.world.with_token(watch.desk.bearer))
        assert await channels.found(watch.markers) == {}
