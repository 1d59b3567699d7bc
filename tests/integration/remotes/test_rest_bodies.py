"""Bad input to the registry: rows 5-8, 14, 15, 20-25, 27 and 36 of the contract's table.

Spec: remote-servers 1, 11.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.integration.remotes.rest import Registry, Rest, body, open_registry

SECRET = "ntn_this_is_never_shown"


@pytest_asyncio.fixture(scope="module")
async def registry(database_url: str, redis_url: str) -> AsyncIterator[Registry]:
    async with open_registry(database_url, redis_url) as opened:
        yield opened


@pytest_asyncio.fixture
async def owner(registry: Registry) -> Rest:
    await registry.fresh()
    return registry.as_("owner")


@pytest.fixture
def url(registry: Registry) -> str:
    return registry.closed()


async def count(registry: Registry) -> int:
    return int((await registry.fetch("SELECT count(*) AS n FROM remote_servers"))[0]["n"])


def faults(reply: Any) -> list[str]:
    return [detail["field"] for detail in reply.json["error"]["details"]]


NO_OBJECT = {
    "no json": b"{",
    "an array": b"[]",
    "a string": b'"x"',
    "a duplicate key": b'{"name":"a","name":"b"}',
    "a duplicate key inside": b'{"credentials":{"a":"1","a":"2"}}',
    "not utf-8": b'{"name":"\xff"}',
    "half a character": b'{"name":"\\ud800"}',
    "not a number": b'{"timeout_seconds":NaN}',
    "too deep": b'{"a":' * 17 + b"1" + b"}" * 17,
    "nothing": b"",
}


@pytest.mark.row(5)
@pytest.mark.parametrize("given", NO_OBJECT.values(), ids=NO_OBJECT.keys())
async def test_5_a_body_that_is_no_json_object_is_400(owner: Rest, given: bytes) -> None:
    reply = await owner.post(body=given)
    assert (reply.status, reply.word) == (400, "INVALID_JSON")


@pytest.mark.row(6)
async def test_6_a_body_that_is_too_large_or_no_json_by_type_is_refused(owner: Rest) -> None:
    reply = await owner.post(body=b'{"name":"' + b"x" * 300 * 1024 + b'"}')
    assert (reply.status, reply.word) == (413, "PAYLOAD_TOO_LARGE")
    for media_type in ("text/plain", "application/x-www-form-urlencoded"):
        reply = await owner.send("POST", "", b"{}", {"content-type": media_type})
        assert (reply.status, reply.word) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.row(7)
async def test_7_every_bad_field_is_named_at_once(
    registry: Registry, owner: Rest, url: str
) -> None:
    given = {
        "endpoint_url": 7,
        "auth_type": "basic",
        "consent_teir": "auto",
        "is_tenant_shared": "true",
        "forward_user_id": 1,
        "timeout_seconds": 1.0,
        "description": "x" * 501,
        "transport": "stdio",
        "tool_changes": None,
        "credentials": [],
    }
    before = await count(registry)
    reply = await owner.post(body=given)
    assert (reply.status, reply.word) == (422, "VALIDATION_ERROR")
    assert sorted(faults(reply)) == sorted([*given, "name"])
    assert await count(registry) == before


@pytest.mark.row(7)
@pytest.mark.parametrize("seconds", [0, 601, True, "5", 1.5])
async def test_7_a_timeout_is_a_whole_number_from_1_to_600(
    owner: Rest, url: str, seconds: Any
) -> None:
    reply = await owner.post(body=body(url, timeout_seconds=seconds))
    assert faults(reply) == ["timeout_seconds"]


@pytest.mark.row(8)
@pytest.mark.parametrize(
    "name", ["", "   ", "x" * 101, "!?-", "a\u202eb", "a\u0000b", "x" * 5000, 5, None]
)
async def test_8_a_bad_name_is_422(owner: Rest, url: str, name: Any) -> None:
    reply = await owner.post(body=body(url, name))
    assert (reply.status, faults(reply)) == (422, ["name"])


@pytest.mark.row(14)
@pytest.mark.parametrize(
    "endpoint",
    [
        "http://mcp.example.com/", "ftp://mcp.example.com/", "/mcp", "mcp.example.com",
        "https://user:pw@mcp.example.com/", "https://mcp.example.com/#x",
        "https://mcp.example.com\\@x/", "https://mcp.example.com/ x", "",
    ],
)  # fmt: skip
async def test_14_a_malformed_url_is_422(owner: Rest, endpoint: str) -> None:
    reply = await owner.post(body=body(endpoint))
    assert (reply.status, reply.word) == (422, "SCAILINK_ENDPOINT_INVALID")
    assert "pw" not in reply.json["error"]["message"]


@pytest.mark.row(15)
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "0x7f.1", "2130706433", "localhost", "db", "x.internal",
     "a.local", "mcp.example.com:22"],
)  # fmt: skip
async def test_15_a_host_that_is_off_limits_is_422_and_audited(
    registry: Registry, owner: Rest, host: str
) -> None:
    reply = await owner.post(body=body(f"https://{host}/mcp"))
    assert (reply.status, reply.word) == (422, "SCAILINK_ENDPOINT_FORBIDDEN")
    assert host not in reply.json["error"]["message"]
    rows = await registry.fetch(
        "SELECT status FROM audit_events WHERE action = 'remote_endpoint.refuse'"
    )
    assert {row["status"] for row in rows} == {"FAILURE"}
    metrics = (await owner.client.get("/metrics")).content.decode()
    assert "scaimcp_remote_endpoint_refused_total{reason=" in metrics


@pytest.mark.row(20)
async def test_20_the_gateways_own_url_is_refused(registry: Registry, owner: Rest) -> None:
    reply = await owner.post(body=body(registry.world.mcp_url))
    assert (reply.status, reply.word) == (422, "SCAILINK_ENDPOINT_FORBIDDEN")


@pytest.mark.row(21)
async def test_21_a_secret_in_the_url_is_refused_with_advice(owner: Rest, url: str) -> None:
    reply = await owner.post(body=body(f"{url}?api_key={SECRET}"))
    assert (reply.status, reply.word) == (422, "SCAILINK_ENDPOINT_INVALID")
    assert "credentials" in reply.json["error"]["message"]
    assert SECRET.encode() not in reply.content


MANY = {f"x-{n}": "v" for n in range(17)}
SETS: list[tuple[str, dict[str, Any], str]] = [
    ("bearer", {}, "credentials"),
    ("bearer", {"authorization": SECRET, "x-a": SECRET}, "credentials"),
    ("bearer", {"x-a": SECRET}, "credentials"),
    ("api_key_header", {}, "credentials"),
    ("api_key_header", MANY, "credentials"),
    ("api_key_header", {"x-a": "a" * 8192, "x-b": "b" * 8192, "x-c": "c"}, "credentials"),
    ("none", {"x-a": SECRET}, "credentials"),
    ("per_user", {"x-a": SECRET}, "credentials"),
    ("api_key_header", {"host": SECRET}, "credentials.host"),
    ("api_key_header", {"Cookie": SECRET}, "credentials.cookie"),
    ("api_key_header", {"mcp-session-id": SECRET}, "credentials.mcp-session-id"),
    ("api_key_header", {"x-scaigrid-user": SECRET}, "credentials.x-scaigrid-user"),
    # A name that is none may be a value in its place.
    ("api_key_header", {f"Bearer {SECRET}": "x"}, "credentials"),
    ("api_key_header", {"x-a": f"{SECRET}\r\nx: y"}, "credentials.x-a"),
    ("api_key_header", {"x-a": f"{SECRET}\0"}, "credentials.x-a"),
    ("api_key_header", {"x-a": f"{SECRET}é"}, "credentials.x-a"),
    ("api_key_header", {"x-a": ""}, "credentials.x-a"),
    ("api_key_header", {"x-a": SECRET * 400}, "credentials.x-a"),
    ("api_key_header", {"x-a": 5}, "credentials.x-a"),
    ("bearer", {"authorization": ""}, "credentials.authorization"),
    ("bearer", {"authorization": f" {SECRET}"}, "credentials.authorization"),
    ("api_key_header", {"X-Api-Key": SECRET, "x-api-key": SECRET}, "credentials.x-api-key"),
]


@pytest.mark.row(22, 23, 25)
@pytest.mark.parametrize(("auth_type", "given", "field"), SETS, ids=str)
async def test_22_23_25_bad_credentials_are_422_and_never_repeated(
    owner: Rest, url: str, auth_type: str, given: dict[str, Any], field: str
) -> None:
    reply = await owner.post(body=body(url, auth_type=auth_type, credentials=given))
    assert (reply.status, reply.word, faults(reply)) == (422, "VALIDATION_ERROR", [field])
    assert SECRET.encode() not in reply.content


@pytest.mark.row(24)
async def test_24_one_bearer_prefix_is_removed(registry: Registry, owner: Rest) -> None:
    async with registry.upstream() as upstream:
        given = {"authorization": "Bearer ntn_1"}
        await owner.registered(upstream.url, "prefixed", auth_type="bearer", credentials=given)
        assert set(upstream.requests("authorization")) == {"Bearer ntn_1"}


@pytest.mark.row(27)
@pytest.mark.parametrize(
    "field", ["is_tenant_shared", "slug", "status", "id", "tenant_id", "owner_user_id"]
)
async def test_27_what_never_changes_cannot_be_patched(
    registry: Registry, owner: Rest, url: str, field: str
) -> None:
    server = await owner.registered(url, f"fixed {field}")
    reply = await owner.patch(f"/{server['id']}", {field: server[field], "name": "other"})
    assert (reply.status, reply.word, faults(reply)) == (422, "VALIDATION_ERROR", [field])
    assert (await owner.get(f"/{server['id']}")).json["data"]["name"] == f"fixed {field}"


@pytest.mark.row(36)
@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("?limit=0", "limit"), ("?limit=201", "limit"), ("?limit=x", "limit"),
        ("?cursor=nonsense", "cursor"), ("?cursor=", "cursor"), ("?scope=mine", "scope"),
        ("?status=broken", "status"), (f"?q={'x' * 201}", "q"),
    ],
)  # fmt: skip
async def test_36_a_bad_parameter_of_the_list_is_422(owner: Rest, path: str, field: str) -> None:
    reply = await owner.get(path)
    assert (reply.status, reply.word, faults(reply)) == (422, "VALIDATION_ERROR", [field])


@pytest.mark.row(36)
async def test_36_a_cursor_serves_its_caller_and_its_filter_only(
    registry: Registry, owner: Rest, url: str
) -> None:
    for n in range(3):
        await owner.registered(url, f"paged {n}")
    reply = await owner.get("?limit=1&q=paged")
    cursor = reply.json["pagination"]["next_cursor"]
    assert (await owner.get(f"?limit=1&q=paged&cursor={cursor}")).status == 200
    assert (await owner.get(f"?limit=1&q=other&cursor={cursor}")).status == 422
    other = registry.as_("other_owner")
    assert (await other.get(f"?limit=1&q=paged&cursor={cursor}")).status == 422


async def test_pages_neither_repeat_nor_hide_while_rows_are_added(
    registry: Registry, owner: Rest, url: str
) -> None:
    made = [(await owner.registered(url, f"row {n}"))["id"] for n in range(5)]
    seen, path = [], "?limit=2&q=row&scope=personal"
    while True:
        page = (await owner.get(path)).json
        seen += [item["id"] for item in page["data"]["items"]]
        assert "capabilities" not in page["data"]["items"][0]
        if not page["pagination"]["has_more"]:
            assert page["pagination"]["next_cursor"] is None
            break
        await owner.registered(url, f"row later {len(seen)}")
        path = f"?limit=2&q=row&scope=personal&cursor={page['pagination']['next_cursor']}"
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("given", "field"),
    [({"reason": 5}, "reason"), ({"reason": "x" * 501}, "reason"), ({"why": "x"}, "why")],
)
async def test_a_reason_is_a_short_text(
    owner: Rest, url: str, given: dict[str, Any], field: str
) -> None:
    name = msgspec.json.encode(given).decode()[:20]
    server = await owner.registered(url, name)
    reply = await owner.post(f"/{server['id']}/disable", given)
    assert (reply.status, faults(reply)) == (422, [field])


@pytest.mark.parametrize("verb", ["refresh", "enable"])
async def test_verbs_without_a_body_take_none(owner: Rest, url: str, verb: str) -> None:
    server = await owner.registered(url, f"bare {verb}")
    path = f"/{server['id']}/{verb}"
    assert (await owner.post(path, {"x": 1})).word == "VALIDATION_ERROR"
    assert (await owner.post(path, b"[]")).word == "INVALID_JSON"
    assert (await owner.post(path, {})).status == 200
    assert (await owner.post(path)).status == 200


@pytest.mark.parametrize("seconds", ["0", "31", "x", "-1", "1.5", ""])
async def test_a_refresh_has_a_deadline_of_1_to_30_seconds(
    owner: Rest, url: str, seconds: str
) -> None:
    reply = await owner.post(f"/rs_x/refresh?timeout_seconds={seconds}")
    assert (reply.status, faults(reply)) == (422, ["timeout_seconds"])


@pytest.mark.parametrize(
    ("given", "field"),
    [({}, "value"), ({"value": "x", "y": 1}, "y"), ({"value": ""}, "value"),
     ({"value": "a\nb"}, "value"), ({"value": 5}, "value")],
)  # fmt: skip
async def test_a_new_value_is_checked_as_a_registered_one(
    owner: Rest, url: str, given: dict[str, Any], field: str
) -> None:
    server = await owner.registered(
        url, f"valued {given}"[:40], auth_type="bearer", credentials={"authorization": "x"}
    )
    reply = await owner.put(f"/{server['id']}/credentials/authorization", given)
    assert (reply.status, faults(reply)) == (422, [field])
