"""Log lines: one object a line, no secret in any part of it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from contextvars import Context
from typing import Any

import pytest
import structlog

from scaimcp.telemetry.logs import configure_logs, get_logger, working_for
from scaimcp.types import Secret

KEY = "sgk_0123456789abcdef0123456789abcdef"


class Written:
    """What went to standard error."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    @property
    def text(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """Standard error; the loggers are put back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield Written(capsys)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_line_is_one_json_object_with_level_time_and_component(written: Written) -> None:
    configure_logs("info", "json")
    get_logger("scaimcp.test").info("gateway started", version="1", text="a\nb")
    line = written.lines[0]
    assert (line["event"], line["level"], line["component"]) == (
        "gateway started",
        "info",
        "scaimcp.test",
    )
    assert (line["version"], line["text"]) == ("1", "a\nb")
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_lower_levels_are_not_written(written: Written, level: str) -> None:
    configure_logs(level, "json")
    log = get_logger("x")
    levels = ["debug", "info", "warning", "error"]
    for name in levels:
        getattr(log, name)("event")
    assert [line["level"] for line in written.lines] == levels[levels.index(level) :]


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_part_of_a_line_holds_a_secret(written: Written, form: str) -> None:
    class Holder:
        def __repr__(self) -> str:
            return f"Holder({KEY})"

    configure_logs("debug", form)
    log = get_logger("x")
    try:
        raise ValueError(f"no {KEY}")
    except ValueError as error:
        log.warning("failed", exc_info=error)
    log.warning(
        f"a {KEY}",  # noqa: G004 - the message itself is looked at too
        text=KEY,
        items=[KEY, {"deep": KEY}],
        other=Holder(),
        secret=Secret(KEY),
        **{KEY: 1},
    )
    logging.getLogger("foreign").error("said %s", KEY)
    assert KEY not in written.text
    assert written.text.count("[redacted]") >= 6
    assert "ValueError" in written.text


def test_foreign_loggers_take_the_same_form_from_warning_on(written: Written) -> None:
    configure_logs("debug", "json")
    logging.getLogger("foreign").info("chatter")
    logging.getLogger("foreign").warning("trouble %d", 7)
    assert [(line["event"], line["level"]) for line in written.lines] == [("trouble 7", "warning")]


def test_values_that_json_cannot_hold_are_written_all_the_same(written: Written) -> None:
    configure_logs("info", "json")
    log = get_logger("x")
    log.info("surrogate", text="\ud800")
    log.info("number", number=10**30)
    log.info("keys", value={(1, 2): 3}, key=KEY)
    log.info("object", value=object())
    assert [line["event"] for line in written.lines] == ["surrogate", "number", "keys", "object"]
    assert KEY not in written.text


async def test_lines_carry_the_id_of_the_work_they_belong_to(written: Written) -> None:
    configure_logs("info", "json")
    log = get_logger("scaimcp.test")

    async def work(kind: Any, identity: str, tenant_id: str = "") -> None:
        working_for(kind, identity, tenant_id)
        log.info("one")
        await asyncio.gather(*(child() for _ in range(1)))

    async def child() -> None:
        log.info("two")
        log.info("three", request_id="req_own", tenant_id="ten_own")

    await asyncio.gather(work("request_id", "req_1", "ten_1"), work("job_id", "job_1"))
    Context().run(log.info, "nobody's")
    told = [
        {name: line.get(name) for name in ("event", "request_id", "job_id", "tenant_id")}
        for line in written.lines
    ]
    expected = [
        ("one", "req_1", None, "ten_1"),
        ("one", None, "job_1", None),
        ("two", "req_1", None, "ten_1"),
        ("three", "req_own", None, "ten_own"),
        ("two", None, "job_1", None),
        ("three", "req_own", None, "ten_own"),
        ("nobody's", None, None, None),
    ]
    assert [tuple(one.values()) for one in told] == expected
