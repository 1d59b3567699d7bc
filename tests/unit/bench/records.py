"""Made-up results for the tests of the bench's arithmetic."""

from __future__ import annotations

import msgspec

from bench.load import Answers, Record

GOOD = Answers(
    method="tools/call",
    connections=16,
    seconds=2.0,
    ok=1000,
    errors=0,
    rps=500.0,
    p50_ms=2.0,
    p95_ms=4.0,
    p99_ms=5.0,
    max_ms=9.0,
    answers=1010,
    reconnects=0,
    setup_failures=0,
    bytes_per_answer=900.0,
    cpu_s=0.1,
    sample="",
)


def record(
    peer: str,
    cpu_ms: float,
    *,
    group: str = "models_get c=16",
    number: int = 0,
    p50_ms: float = 2.0,
    p99_ms: float = 5.0,
    ok: int = 1000,
    errors: int = 0,
    other_cores: float = 0.0,
) -> Record:
    """Return one run's record."""
    answers = msgspec.structs.replace(GOOD, p50_ms=p50_ms, p99_ms=p99_ms, ok=ok, errors=errors)
    return Record(
        group=group,
        peer=peer,
        round=number,
        cpu_ms=cpu_ms,
        pss_mib=50.0,
        platform_calls=1.0,
        other_cores=other_cores,
        answers=answers,
    )
