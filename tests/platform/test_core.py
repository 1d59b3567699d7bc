"""Router, store, clock, tokens and permission arithmetic, without a server."""

import base64
from pathlib import Path

import aiohttp
import msgspec
import pytest

from scaimcp.dev.platform import (
    PlatformApp,
    PlatformConfig,
    api_key,
    create_platform,
    serve_platform,
)
from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.clock import Clock, iso, seconds_of
from scaimcp.dev.platform.endpoint import Endpoint, Family
from scaimcp.dev.platform.errors import PlatformError
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.identity import digest_of
from scaimcp.dev.platform.permissions import CORE_PERMISSIONS, ROLE_CORE, holds, narrow
from scaimcp.dev.platform.router import Match, Router
from scaimcp.dev.platform.seed import write_seed
from scaimcp.dev.platform.state import Platform
from scaimcp.dev.platform.store import Store, TableSpec
from scaimcp.dev.platform.tokens import TokenKeys, encode_segment

SPECS = (TableSpec("things", "thg_", ("kind",)), TableSpec("log", "log_", capped=True))


def nothing(call: Call) -> None:
    """Do nothing."""


def store(path: str | None = None, seed: str = "s") -> Store:
    return Store(SPECS, Clock(1_700_000_000), seed, path, 3)


def router(*paths: tuple[str, str]) -> Router:
    return Router(Endpoint(method, path, "", nothing) for method, path in paths)


def values(found: object) -> tuple[str, ...]:
    assert isinstance(found, Match)
    return found.values


def test_an_escaped_slash_belongs_to_a_value() -> None:
    routes = router(("GET", "/v1/models/{model}"))
    assert values(routes.match("GET", "/v1/models/scailabs%2Fecho-1")) == ("scailabs/echo-1",)
    assert values(routes.match("GET", "/v1/models/a%252Fb")) == ("a%2Fb",)
    assert routes.match("GET", "/v1/models/scailabs/echo-1") == ()


@pytest.mark.parametrize("path", ["/v1/models/", "/v1", "v1/models/a", "/v1/models/%ff", "/", ""])
def test_a_path_that_fits_no_template_is_unknown(path: str) -> None:
    assert router(("GET", "/v1/models/{model}")).match("GET", path) == ()


def test_a_fixed_segment_comes_before_a_value_and_methods_are_named() -> None:
    routes = router(("GET", "/a/{x}"), ("POST", "/a/b"), ("GET", "/a/{x}/c"), ("PUT", "/a/b/c"))
    assert values(routes.match("POST", "/a/b")) == ()
    assert values(routes.match("GET", "/a/b")) == ("b",)
    assert values(routes.match("GET", "/a/b/c")) == ("b",)
    assert routes.match("DELETE", "/a/b") == ("GET", "POST")


def test_one_method_and_path_belong_to_one_endpoint() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        router(("GET", "/a/{x}"), ("GET", "/a/{y}"))


def test_a_module_endpoint_lies_below_its_module() -> None:
    endpoint = Endpoint("GET", "/notes/{note_id}", "", nothing, module="demo-notes")
    assert endpoint.full_path == "/v1/modules/demo-notes/notes/{note_id}"
    assert endpoint.names == ("note_id",)


def test_rows_are_found_by_index_and_by_scan() -> None:
    things = store()["things"]
    first = things.insert({"kind": "a", "size": 1})
    second = things.insert({"kind": "b", "size": 1})
    assert first["id"].startswith("thg_")
    assert first["created_at"] == "2023-11-14T22:13:20.000Z"
    assert things.find(kind="a") == [first]
    assert things.find(size=1) == [first, second]
    assert things.find(kind="a", size=2) == []
    assert things.find(kind="c") == []
    assert things.first(size=9) is None
    things.update(first["id"], {"kind": "b"})
    assert things.find(kind="a") == []
    assert things.find(kind="b") == [second, first]
    things.delete(second["id"])
    assert things.all() == [first]
    assert things.get(second["id"]) is None


def test_a_capped_table_keeps_the_newest_rows() -> None:
    log = store()["log"]
    rows = [log.insert({"n": n}) for n in range(5)]
    assert log.all() == rows[2:]


def test_ids_and_random_numbers_follow_the_seed() -> None:
    one, two, other = store(), store(), store(seed="t")
    assert one["things"].insert({})["id"] == two["things"].insert({})["id"]
    assert one["things"].insert({})["id"] != other["things"].insert({})["id"]
    assert one.token("req_") == two.token("req_") != one.token("req_")
    assert len(one.token("req_")) == 30


def test_a_file_keeps_rows_numbering_and_values(tmp_path: Path) -> None:
    path = str(tmp_path / "p.sqlite")
    first = store(path)
    assert first.empty
    kept = first["things"].insert({"kind": "a"})
    gone = first["things"].insert({"kind": "b"})
    first["things"].delete(gone["id"])
    first["log"].insert({"n": 1})
    first.put_meta("key", b"\x00\xff")
    token = first.token("x_")
    first.close()
    second = store(path)
    assert not second.empty
    assert second["things"].all() == [kept]
    assert second["things"].find(kind="a") == [kept]
    assert second["things"].insert({})["id"] not in (kept["id"], gone["id"])
    assert second["log"].insert({"n": 2})["_seq"] == 2
    assert second.get_meta("key") == b"\x00\xff"
    assert second.token("x_") != token
    second.clear()
    assert second.empty
    assert second.get_meta("key") == b"\x00\xff"
    assert second["things"].insert({"kind": "a"})["id"] == kept["id"]
    second.close()


def test_rows_of_an_unknown_table_in_a_file_are_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "p.sqlite")
    first = store(path)
    first["things"].insert({})
    first.close()
    second = Store(SPECS[1:], Clock(), "s", path, 3)
    assert list(second.tables) == ["log"]
    second.close()


def test_the_clock_stands_still_until_it_is_shifted() -> None:
    clock = Clock(1_000)
    clock.shift(1.5)
    assert clock.now() == 1_001.5
    assert clock.iso() == "1970-01-01T00:16:41.500Z"
    assert seconds_of(clock.iso()) == 1_001.5
    clock.reset()
    assert clock.iso() == iso(1_000)
    assert Clock().now() > 1_700_000_000


def test_a_token_is_checked_against_the_key_pair() -> None:
    keys = TokenKeys()
    token = keys.mint({"sub": "x"})
    assert keys.verify(token) == {"sub": "x"}
    assert TokenKeys(keys.pem()).verify(token) == {"sub": "x"}
    assert keys.verify(keys.mint({"sub": "x"}, bad_signature=True)) is None


def test_texts_that_are_no_tokens_of_ours_are_refused() -> None:
    keys = TokenKeys()
    head, _, signature = keys.mint({"sub": "x"}).split(".")
    unsigned = encode_segment(msgspec.json.encode({"alg": "none"}))
    for text in ("", "a.b", "a.b.c", f"{head}.e30.{signature}", f"{unsigned}.e30.", "é.é.é"):
        assert keys.verify(text) is None


def test_another_kind_of_key_cannot_be_kept() -> None:
    pem = (
        b"-----BEGIN PRIVATE KEY-----\n"
        + base64.b64encode(bytes.fromhex("302e020100300506032b657004220420") + bytes(32))
        + b"\n-----END PRIVATE KEY-----\n"
    )
    with pytest.raises(TypeError):
        TokenKeys(pem)


@pytest.mark.parametrize(
    ("permission", "core", "modules", "expected"),
    [
        ("", set(), set(), True),
        ("models:use", {"models:use"}, set(), True),
        ("models:use", set(), {"*"}, False),
        ("scaibunker:create", set(), {"*"}, True),
        ("scaibunker:create:session", set(), {"scaibunker:*"}, True),
        ("scaibunker:create", set(), {"scaibunker:create"}, True),
        ("scaibunker:create:session", set(), {"scaibunker:create"}, False),
        ("scaibunker:create", {"scaibunker:create"}, set(), False),
    ],
)
def test_a_permission_is_held_as_a_whole_name(
    permission: str, core: set[str], modules: set[str], expected: bool
) -> None:
    assert holds(permission, frozenset(core), frozenset(modules)) is expected


@pytest.mark.parametrize(
    ("modules", "scopes", "expected"),
    [
        ({"*"}, {"*"}, {"*"}),
        ({"*"}, {"scaimatrix:*"}, {"scaimatrix:*"}),
        ({"*"}, {"scaimatrix:view"}, {"scaimatrix:view"}),
        ({"scaimatrix:*"}, {"scaimatrix:view"}, {"scaimatrix:view"}),
        ({"scaimatrix:view", "scaiskills:view"}, {"scaimatrix:*"}, {"scaimatrix:view"}),
        ({"scaimatrix:view"}, {"scaimatrix:search"}, set()),
    ],
)
def test_scopes_only_narrow(modules: set[str], scopes: set[str], expected: set[str]) -> None:
    assert narrow([], modules, scopes)[1] == expected


def test_core_scopes_narrow_core_permissions() -> None:
    assert narrow(["models:use", "models:list"], [], ["models:use", "users:manage"])[0] == {
        "models:use"
    }


def test_there_are_fifteen_core_permissions_and_only_super_admins_manage_models() -> None:
    assert len(CORE_PERMISSIONS) == 15
    for name in ("models:manage", "routing:manage"):
        assert [role for role, held in ROLE_CORE.items() if name in held] == ["super_admin"]


async def test_handlers_may_demand_more() -> None:
    platform = create_platform().platform
    keys = platform.store["api_keys"].find(hash=digest_of(api_key("user@acme.test")))
    call = Call(platform, Endpoint("GET", "/x/{y}", "", nothing), ("z",))
    call.principal = platform.auth.authenticate(f"Bearer {api_key('user@acme.test')}")
    assert call.principal.key is keys[0]
    assert (call.params, call.resource_id) == ({"y": "z"}, "z")
    assert call.principal.level == 2
    call.require("models:use")
    with pytest.raises(PlatformError) as caught:
        call.require("models:manage")
    assert caught.value.code == "AUTHZ_PERMISSION_DENIED"
    assert not platform.module_active("none", None)
    await platform.stop()


def test_objects_within_unions_and_lists_are_told_apart() -> None:
    nodes = fields("a:{x:int}, b:list<int>, c:map|int, d:any|int").entries
    assert nodes["a"].node.accepts({})
    assert not nodes["a"].node.accepts([])
    assert nodes["c"].node.accepts(1)
    assert not nodes["c"].node.accepts("x")
    assert nodes["d"].node.accepts("x")


async def test_an_endpoint_may_have_a_rule_of_its_own() -> None:
    def rule(call: Call) -> None:
        raise PlatformError("CONFLICT", "Not today.")

    family = Family(endpoints=(Endpoint("GET", "/v1/x", "", nothing, rule=rule),))
    app = PlatformApp(Platform(PlatformConfig(), (family,), write_seed))
    async with serve_platform(app) as served, aiohttp.ClientSession() as http:
        headers = {"Authorization": f"Bearer {api_key('user@acme.test')}"}
        async with http.get(f"{served.url}/v1/x", headers=headers) as answer:
            assert answer.status == 409
