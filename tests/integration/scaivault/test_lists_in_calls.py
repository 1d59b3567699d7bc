"""Containers, styles of paging, full pages and results that are too long. Spec: scaivault 8, 9."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scaimcp.scaivault.catalogue import TOOLS
from scaimcp.scaivault.guards import Guards
from tests.integration.scaivault.cases import CASES, filled
from tests.integration.scaivault.desk import Desk, open_desk
from tests.integration.scaivault.world import furnish

LISTS = {record.name.removeprefix("scaivault_"): record for record in TOOLS if record.is_list}
LIST_CASES = [case for case in CASES if case.tool in LISTS]
SECRETS = "/v1/secrets/"


async def fill(desk: Desk, *paths: str, data: Any = None, **more: Any) -> None:
    for path in paths:
        await desk.secret(path, data, **more)
    desk.forget()


@pytest.mark.parametrize("style", ["data", "array", "next_cursor"])
@pytest.mark.parametrize("case", LIST_CASES, ids=lambda case: case.tool)
async def test_every_list_is_read_whatever_its_container(case: Any, style: str) -> None:
    if style == "array" and LISTS[case.tool].group == "identity":
        style = "data"
    wire = {"data": "data", "array": "", "next_cursor": ""}[style]
    names = {name for record in LISTS.values() for name in record.container} - {"data"}
    config: dict[str, Any] = {"containers": dict.fromkeys([*names, "data"], wire)}
    if style == "next_cursor":
        config = {"cursor_field": "next_cursor"}
    async with open_desk(**config) as desk:
        ids = await furnish(desk)
        result = await desk.call(case.tool, **filled(case.arguments, ids))
        assert isinstance(result["items"], list)
        assert isinstance(result["has_more"], bool)


async def test_numbered_pages_go_on_by_their_number(desk: Desk) -> None:
    for number in range(5):
        body = {"name": f"bot{number}"}
        await desk.rest("POST", "/v1/identity/service-accounts", body)
    desk.forget()
    names, arguments = [], {"limit": 2}
    while True:
        page = await desk.call("list_service_accounts", **arguments)
        assert "total" not in page
        names += [row["name"] for row in page["items"]]
        if not page["has_more"]:
            break
        arguments = {"limit": 2, "cursor": page["next_cursor"]}
    assert names == [f"bot{number}" for number in range(5)]
    base = "GET /v1/identity/service-accounts?"
    assert desk.lines() == [
        f"{base}limit=2", f"{base}page=2&page_size=2", f"{base}page=3&page_size=2",
    ]  # fmt: skip


async def test_a_smaller_limit_still_finds_the_next_numbered_row(desk: Desk) -> None:
    for number in range(8):
        body = {"name": f"bot{number}"}
        await desk.rest("POST", "/v1/identity/service-accounts", body)
    first = await desk.call("list_service_accounts", limit=6)
    rest = await desk.call("list_service_accounts", limit=4, cursor=first["next_cursor"])
    assert rest["items"][0]["name"] == "bot6"


async def test_a_page_is_filled_after_filtering(desk: Desk) -> None:
    await fill(desk, "a/1", "a/hidden/1", "a/hidden/2", "a/x", "a/y", "a/z")
    guards = Guards(denied=("a/hidden",))
    page = await desk.call("list_secrets", guards, prefix="a", limit=3)
    assert [row["path"] for row in page["items"]] == ["a/1", "a/x", "a/y"]
    assert page["has_more"] is True
    assert [line.partition("limit=")[2][0] for line in desk.lines()] == ["3", "2"]


async def test_at_most_five_pages_fill_one(desk: Desk) -> None:
    await fill(desk, *(f"a/hidden/{number}" for number in range(12)), "a/z")
    guards = Guards(denied=("a/hidden",))
    page = await desk.call("list_secrets", guards, prefix="a", limit=1)
    assert (page["items"], page["has_more"], len(desk.lines())) == ([], True, 5)
    page = await desk.call("list_secrets", guards, prefix="a", limit=20, cursor=page["next_cursor"])
    assert [row["path"] for row in page["items"]] == ["a/z"]


@pytest.mark.parametrize("cursor", [None, "", 7, "c1"])
async def test_a_list_without_a_usable_cursor_ends(desk: Desk, cursor: Any, told: Any) -> None:
    answer = {"secrets": [{"path": "a/1"}], "has_more": True, "cursor": cursor}
    desk.fault(SECRETS, answer=answer, count=9)
    page = await desk.call("list_secrets", limit=5)
    repeated = cursor == "c1"
    assert len(desk.lines()) == (2 if repeated else 1)
    assert page["has_more"] is False
    assert len(page["items"]) == len(desk.lines())
    assert "without a usable cursor" in told()


@pytest.mark.parametrize(
    "answer", [{}, {"secrets": {}}, {"secrets": [1]}, {"other": []}, 7, {"secrets": None}, [None]]
)
async def test_a_list_that_is_none_is_a_mismatch(desk: Desk, answer: Any) -> None:
    desk.fault(SECRETS, answer=answer)
    assert (await desk.refused("list_secrets")).code == "UPSTREAM_SHAPE_MISMATCH"


async def test_due_secrets_are_read_to_their_end(desk: Desk) -> None:
    row = {"secret_path": "a/1", "policy_id": "p"}
    desk.fault("/v1/rotation/due", answer={"data": [row], "has_more": True, "cursor": "c1"})
    desk.fault("/v1/rotation/due", answer={"data": [row], "has_more": False})
    result = await desk.call("get_secrets_due_rotation")
    assert result == {"items": [row, row], "has_more": False}
    assert desk.lines()[1].endswith("&cursor=c1")


# -- size --------------------------------------------------------------------------------------


async def test_a_page_that_is_too_long_is_asked_for_again_with_less(desk: Desk) -> None:
    await fill(desk, *(f"a/{number}" for number in range(8)), metadata={"note": "x" * 1_000})
    desk.with_tools(most_bytes=4_096)
    found, arguments = [], {"limit": 8}
    while True:
        page = await desk.call("list_secrets", **arguments, prefix="a")
        assert len(msgspec.json.encode(page)) <= 4_096
        found += [row["path"] for row in page["items"]]
        if not page["has_more"]:
            break
        arguments = {"limit": 8, "cursor": page["next_cursor"]}
    assert found == [f"a/{number}" for number in range(8)]
    assert [line.partition("limit=")[2].partition("&")[0] for line in desk.lines()[:3]] == [
        "8", "4", "2",
    ]  # fmt: skip


async def test_three_times_is_enough(desk: Desk) -> None:
    await fill(desk, *(f"a/{number}" for number in range(40)), metadata={"note": "x" * 1_900})
    desk.with_tools(most_bytes=4_096)
    error = await desk.refused("list_secrets", prefix="a", limit=40)
    assert (error.code, len(desk.lines())) == ("RESULT_TOO_LARGE", 4)


async def test_an_object_that_is_too_long_tells_path_and_version(desk: Desk) -> None:
    await fill(desk, "app/db", data={"k": "x" * 5_000})
    desk.with_tools(most_bytes=4_096)
    error = await desk.refused("read_secret", path="app/db")
    assert (error.code, error.members) == ("RESULT_TOO_LARGE", {"path": "app/db", "version": 1})


async def test_a_report_that_is_too_long_says_that_it_is_cut(desk: Desk) -> None:
    note = {"note": "x" * 900}
    await fill(desk, *(f"a/{n}" for n in range(8)), options={"expires_in": "1d"}, metadata=note)
    desk.with_tools(most_bytes=4_096)
    report = await desk.call("check_expiration")
    assert (report["truncated"], report["has_more"], len(report["items"])) == (True, True, 2)


async def test_invisible_characters_can_be_seen(desk: Desk) -> None:
    await fill(desk, "app/db", data={"k": "a\u202eb\u200b"})
    text = await desk.raw("scaivault_read_secret", b'{"path":"app/db"}')
    assert rb"a\u202eb\u200b" in text
    assert msgspec.json.decode(text)["data"] == {"k": "a\u202eb\u200b"}
