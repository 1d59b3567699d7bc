"""Floors answer what the load generator takes for a good answer, and no more."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bench.answers import BEARER, MODEL
from bench.floors import BytesFloor, Floor, ForwardFloor, Message, build, result
from scaimcp.serving.lifespan import lifespan

CALL = b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"models_get"}}'


async def post(floor: Floor, body: bytes = CALL, bearer: str = BEARER) -> tuple[int, bytes]:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"x"), (b"authorization", f"Bearer {bearer}".encode())]
    await floor({"type": "http", "headers": headers}, receive, send)
    start, content = sent
    assert dict(start["headers"])[b"content-length"] == str(len(content["body"])).encode()
    return start["status"], content["body"]


async def test_the_bare_floor_answers_with_the_requests_id_and_the_marker() -> None:
    status, body = await post(Floor())
    answer = msgspec.json.decode(body)
    assert (status, answer["id"]) == (200, 7)
    assert answer["result"]["content"][0]["text"] == MODEL


async def test_a_foreign_bearer_gets_nothing() -> None:
    assert await post(Floor(), bearer="sgk_other") == (401, b"{}")


async def test_a_body_that_is_no_json_is_not_answered() -> None:
    with pytest.raises(msgspec.DecodeError):
        await post(Floor(), body=b"{")


async def test_the_bytes_floor_sends_the_same_bytes_every_time() -> None:
    floor = BytesFloor(b"the list")
    assert await post(floor) == await post(floor) == (200, b"the list")


async def test_a_floor_starts_and_ends_with_its_lifespan() -> None:
    async with lifespan(Floor()):
        pass


async def test_the_forward_floor_opens_its_client_with_the_lifespan() -> None:
    floor = ForwardFloor("http://127.0.0.1:9")
    async with lifespan(floor):
        assert floor._http is not None
        assert not floor._http.closed
    assert floor._http.closed


def test_each_kind_is_built_from_what_it_needs() -> None:
    kinds = {kind: type(build(kind, "http://x", b"")) for kind in ("bare", "forward", "bytes")}
    assert kinds == {"bare": Floor, "forward": ForwardFloor, "bytes": BytesFloor}


def test_an_answer_echoes_the_id_byte_for_byte() -> None:
    message = msgspec.json.decode(b'{"method":"m","id":"a\\u0062"}', type=Message)
    assert result(message, b"{}") == b'{"jsonrpc":"2.0","id":"a\\u0062","result":{}}'
