"""The queue's settings, and jobs that are data and never code."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest

from scaimcp import queue
from scaimcp.types import Secret


def test_the_connection_rides_out_an_outage() -> None:
    settings = queue.connection(Secret("redis://:pw@cache.example:6380/2"))
    assert (settings.host, settings.port, settings.database) == ("cache.example", 6380, 2)
    assert settings.password == "pw"
    assert settings.retry_on_timeout
    assert settings.retry_on_error
    assert settings.retry is not None
    assert not settings.ssl


def test_percent_encoded_credentials_and_paths_are_decoded() -> None:
    settings = queue.connection(Secret("rediss://us%40er:p%2Fw%3A@cache.example"))
    assert (settings.username, settings.password, settings.ssl) == ("us@er", "p/w:", True)
    settings = queue.connection(Secret("unix:///run/my%20redis.sock?db=3"))
    assert (settings.unix_socket_path, settings.database) == ("/run/my redis.sock", 3)
    assert settings.password is None


@pytest.mark.parametrize(
    ("url", "number"),
    [("redis://h", 0), ("redis://h/", 0), ("redis://h/7", 7), ("redis://h/?db=3", 3)],
)
def test_the_database_has_a_number(url: str, number: int) -> None:
    assert queue.connection(Secret(url)).database == number


def test_the_settings_print_no_password() -> None:
    assert "hunter2" not in repr(queue.connection(Secret("redis://:hunter2@h")).host)


@pytest.mark.parametrize("job", [{}, {"t": 1, "f": "audit_prune", "a": [1, "x"], "k": {"n": None}}])
def test_a_job_survives_the_queue(job: dict[str, Any]) -> None:
    assert queue.deserialize(queue.serialize(job)) == job


def test_a_result_that_is_no_data_becomes_text() -> None:
    raw = queue.serialize({"r": ValueError("failed"), "s": Secret("hidden")})
    assert b"hidden" not in raw
    assert queue.deserialize(raw) == {"r": "ValueError('failed')", "s": "Secret('***')"}


@pytest.mark.parametrize("raw", [pickle.dumps({"f": print}), b"", b"\xc1", b"\x93\x01\x02\x03"])
def test_anything_but_an_encoded_job_is_refused(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        queue.deserialize(raw)
