"""``scaivault-mcp`` where streams are closed, unread or non-blocking. Spec: scaivault 4."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import pytest_asyncio

from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.server import Served, serve_vault
from scaimcp.vaultserver.pipes import LineReader, LineWriter
from scaimcp.vaultserver.streams import LossyWriter, wait_for
from tests.integration.scaivault.child import COMMAND, ROOT, SECRET, Child, environment
from tests.waiting import DEADLINE, until

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
slow = pytest.mark.slow


@pytest_asyncio.fixture(scope="module")
async def vault() -> AsyncIterator[Served]:
    async with serve_vault(VaultConfig()) as served:
        yield served


@asynccontextmanager
async def talking(url: str, stderr: int) -> AsyncIterator[Child]:
    """Start the command with a descriptor of the test's as stderr."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        env=environment(url, LOG_LEVEL="debug", SCAIVAULT_DEBUG="true"),
        cwd=ROOT,
        limit=2**24,
    )
    try:
        yield Child(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@slow
async def test_a_client_may_close_the_pipe_of_the_log(vault: Served) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    async with talking(vault.url, writing) as child:
        os.close(writing)
        await child.initialize()
        for _ in range(3):
            assert not (await child.call("read_secret", path=SECRET))["isError"]
        child.close_stdin()
        assert await child.ended() == 0


@slow
async def test_a_client_need_not_read_the_log(vault: Served) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    full = 0
    while full < 2**20:
        try:
            full += os.write(writing, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(writing, True)
    async with talking(vault.url, writing) as child:
        os.close(writing)
        await child.initialize()
        for _ in range(3):
            assert not (await child.call("read_secret", path=SECRET))["isError"]
        child.close_stdin()
        assert await child.ended() == 0
    os.close(reading)


@slow
@pytest.mark.parametrize(
    ("closed", "code", "stdout"),
    [("<&-", 0, b""), (">&-", 0, b""), ("2>&-", 0, b'{"jsonrpc":"2.0","id":1,"result":{')],
)
async def test_a_closed_stream_is_like_one_that_nobody_reads(
    vault: Served, closed: str, code: int, stdout: bytes
) -> None:
    process = await asyncio.create_subprocess_shell(
        f"exec {' '.join(COMMAND)} {closed}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(vault.url),
        cwd=ROOT,
    )
    async with asyncio.timeout(DEADLINE):
        said, complained = await process.communicate(PING)
    assert process.returncode == code
    assert said.startswith(stdout)
    assert b"failure" not in complained


@slow
@pytest.mark.parametrize("options", [("--check",), ("--nonsense",)])
async def test_an_end_that_nobody_reads_keeps_its_exit_code(
    vault: Served, options: tuple[str, ...]
) -> None:
    process = await asyncio.create_subprocess_shell(
        f"exec {' '.join((*COMMAND, *options))} >&- 2>&-",
        stdin=asyncio.subprocess.DEVNULL,
        env=environment(vault.url),
        cwd=ROOT,
    )
    assert await process.wait() == (0 if options == ("--check",) else 5)


def is_waiting(name: str) -> bool:
    """Tell whether a thread has found nothing to read and waits for more."""
    frames = sys._current_frames()
    threads = [thread for thread in threading.enumerate() if thread.name == name]
    return any(
        thread.ident in frames and frames[thread.ident].f_code is wait_for.__code__
        for thread in threads
    )


async def test_an_input_that_does_not_block_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    reader = LineReader(reading, asyncio.get_running_loop())
    line = asyncio.ensure_future(reader.next())
    await until(lambda: is_waiting("stdin"))
    os.write(writing, PING)
    async with asyncio.timeout(DEADLINE):
        assert await line == PING.strip()
        os.close(writing)
        assert await reader.next() is None
    assert reader.is_ended
    os.close(reading)


async def test_an_output_that_does_not_block_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    loop = asyncio.get_running_loop()
    writer = LineWriter(writing, loop)
    # More than any pipe takes at once.
    line = msgspec.json.encode("x" * 3 * 1024 * 1024)
    written = asyncio.ensure_future(writer.write(line))
    with os.fdopen(reading, "rb") as pipe:
        async with asyncio.timeout(DEADLINE):
            assert await loop.run_in_executor(None, pipe.readline) == line + b"\n"
            await written
    assert not writer.broken.is_set()
    os.close(writing)


def test_what_finds_no_room_is_lost_and_nothing_waits() -> None:
    reading, writing = os.pipe()
    writer = LossyWriter(writing, most=2)
    for _ in range(64):
        assert writer.write(b"x" * 8192) == 8192
    # Nobody reads: the end waits no longer than it was told.
    writer.end(0.05)
    assert len(os.read(reading, 2**20)) >= 4096
    os.close(reading)
    writer.end(DEADLINE)
    os.close(writing)


def test_what_was_written_is_there_at_the_end() -> None:
    reading, writing = os.pipe()
    writer = LossyWriter(writing)
    assert writer.writable()
    for word in (b"one ", b"two ", b"three"):
        writer.write(word)
    writer.end(DEADLINE)
    assert os.read(reading, 4096) == b"one two three"
    os.close(reading)
    os.close(writing)


@slow
async def test_a_fault_is_told_whole_although_a_thread_writes_it() -> None:
    code = (
        "import sys\n"
        "from scaimcp.vaultserver.streams import safe_streams\n"
        "with safe_streams():\n"
        "    sys.stderr.write('x' * 500_000 + '\\udc80')\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
        cwd=ROOT,
    )
    _, stderr = await process.communicate()
    assert stderr == b"x" * 500_000 + b"\\udc80"
