"""Bots, read only. Spec: scaigrid 11."""

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.samples import insert_samples
from scaimcp.dev.platform.state import Platform
from scaimcp.dev.platform.store import Row, TableSpec

MODULE_ID = "scaibot"
READ = "scaibot:bots:read"
_bot = view("id name slug model_slug status created_at")


def list_bots(call: Call) -> Reply:
    """List the tenant's bots."""
    return shape_a(call, call.rows("bots"), _bot)


def get(call: Call) -> object:
    """Return one bot."""
    return _bot(call.find("bots", call.params["bot_id"], "BOT"))


def _sample(name: str, status: str) -> Row:
    return {
        "name": name,
        "slug": name.lower().replace(" ", "-"),
        "model_slug": "scailabs/echo-1",
        "status": status,
    }


def _seed(platform: Platform) -> None:
    bots = [_sample("Support bot", "active"), _sample("Sales bot", "draft")]
    insert_samples(platform, "bots", "acme", bots)
    insert_samples(platform, "bots", "globex", [_sample("Globex bot", "active")])


FAMILY = Family(
    tables=(TableSpec("bots", "bot_", ("tenant_id",)),),
    seed=_seed,
    endpoints=(
        Endpoint("GET", "/bots", READ, list_bots, module=MODULE_ID, query=fields("@page")),
        Endpoint("GET", "/bots/{bot_id}", READ, get, module=MODULE_ID),
    ),
)
