from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from scaimcp.dev.output import MAX_LINE_BYTES, LinePump
from scaimcp.dev.readiness import Completed, Facts, HttpOk, Readiness, ReadyFile, RedisKey
from tests.stack import Services

SHORT = 0.15

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _is_ready(readiness: Readiness, facts: Facts, seconds: float = 10.0) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await readiness.wait(facts)
    except TimeoutError:
        return False
    return True


def _answering(status: list[bytes], seen: list[bytes]) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(status.pop(0))
        writer.close()

    return answer


async def test_a_completed_step_needs_no_question() -> None:
    await Completed().prepare({})
    assert await _is_ready(Completed(), {})


async def test_http_is_ready_at_the_first_200() -> None:
    seen: list[bytes] = []
    statuses = [b"", b"HTTP/1.1 503 Busy\r\n\r\n", b"garbage\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]
    server = await asyncio.start_server(_answering(statuses, seen), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    ready = HttpOk(f"http://{host}:{port}/readyz")
    await ready.prepare({})
    assert await _is_ready(ready, {})
    assert len(seen) == 4
    assert seen[0].startswith(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:")
    server.close()
    await server.wait_closed()
    assert not await _is_ready(ready, {}, SHORT)


async def test_a_redis_key_of_an_earlier_run_does_not_count(embedded_stack: Services) -> None:
    facts = {"redis_url": embedded_stack.redis_url}
    ready = RedisKey("test:health")
    await ready._ask(facts, "INCR")
    assert await _is_ready(ready, facts)
    await ready.prepare(facts)
    assert not await _is_ready(ready, facts, SHORT)
    await ready._ask(facts, "INCR")
    assert await _is_ready(ready, facts)
    await ready.prepare(facts)


async def test_a_redis_that_is_not_there_is_not_ready(tmp_path: Path) -> None:
    facts = {"redis_url": f"unix://{tmp_path}/none.sock"}
    await RedisKey("k").prepare(facts)
    assert not await _is_ready(RedisKey("k"), facts, SHORT)


@pytest.mark.parametrize("content", ['{"url": "http://', "{}", "[]", '{"url": 5}'])
async def test_a_ready_file_counts_once_it_is_complete(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ready.json"
    ready = ReadyFile(path, field="url", fact="platform_url")
    facts: Facts = {}
    await ready.prepare(facts)
    path.write_text(content)
    assert not await _is_ready(ready, facts, SHORT)
    path.write_text(json.dumps({"url": "http://127.0.0.1:9", "pid": 1}))
    assert await _is_ready(ready, facts)
    assert facts == {"platform_url": "http://127.0.0.1:9"}
    await ready.prepare(facts)
    assert not path.exists()


async def _pumped(content: list[bytes], *, at_end: bool = True) -> list[str]:
    lines: list[str] = []
    pump = LinePump("worker", lines.append)
    for block in content:
        os.write(pump.writer, block)
        await asyncio.sleep(0.01)  # one turn of the loop reads it
    if at_end:
        pump.release_writer()
        await asyncio.sleep(0.01)
    pump.close()
    pump.close()
    if not at_end:
        pump.release_writer()
    return lines


async def test_lines_are_forwarded_whole_with_a_prefix() -> None:
    lines = await _pumped([b"on", b"e\ntwo\r\n\nthr", b"ee \xff"])
    assert lines == ["worker   | one", "worker   | two", "worker   | three �"]


async def test_a_line_without_end_is_forwarded_in_pieces() -> None:
    lines = await _pumped([b"x" * 40_000, b"x" * 40_000, b"y\n"])
    assert [len(line) - len("worker   | ") for line in lines] == [80_000, 1]
    assert MAX_LINE_BYTES < 80_000


async def test_a_pump_can_be_closed_while_somebody_still_writes() -> None:
    assert await _pumped([b"one\ntwo"], at_end=False) == ["worker   | one"]
