"""PostgreSQL is killed under load: what goes on, what fails and how, and that nothing is lost."""

from __future__ import annotations

import pytest

from tests.faults.checks import every_call_is_audited, nothing_is_missing, nothing_went_wrong
from tests.faults.load import Failed, Load, eventually, prepare
from tests.faults.rig import OWNERS, Rig

pytestmark = pytest.mark.slow
WRITES = ("register", "rotate", "accept", "rest")


@pytest.mark.row(68)
async def test_lists_go_on_calls_for_five_seconds_and_nothing_is_lost(rig: Rig) -> None:
    await rig.start_gateway()
    worker = await rig.start_worker()
    async with prepare(rig) as load:
        await load.run(1)
        assert load.failures("before") == {}
        async with load.during():
            load.phase = "dying"
            await rig.stores.postgres.kill()
        _only(load, "death")
        _only(load, "dying")
        # The snapshot was checked a moment ago, so calls go on for now.
        assert load.outcomes("dying", "remote", "own")["ok"] > 0
        await load.run(2, "outage")
        _only(load, "outage")
        await eventually(lambda: _is_refused(load, "DatabaseError"))
        await load.run(1, "unchecked")
        assert set(load.outcomes("unchecked", "remote", "consent")) == {"DatabaseError"}
        assert set(load.outcomes("unchecked", *WRITES)) == {"SERVICE_UNAVAILABLE"}
        _only(load, "unchecked")
        assert set(load.late) == {"5"}
        ready = await rig.ready()
        assert ready["status"] == "degraded"
        assert ready["parts"] == {"postgres": "degraded", "redis": "ok", "platform": "ok"}
        assert worker.process.poll() is None
        await rig.stores.postgres.start()
        await eventually(lambda: _is_served(load))
        assert (await rig.ready())["status"] == "ok"
        await load.run(1, "after")
        assert load.failures("after") == {}
        found = await nothing_is_missing(load)
        print(found)
        # Rows of calls wait in the gateway while they cannot be written.
        await eventually(lambda: every_call_is_audited(load))
        assert found["committed"] + found["not committed"] > 0
    assert worker.process.poll() is None
    nothing_went_wrong(rig)


def _only(load: Load, phase: str) -> None:
    """Of what an outage lets go on nothing fails; the rest fails with the words for it."""
    assert load.failures(phase, "list", "platform") == {}
    words = {"SERVICE_UNAVAILABLE", "CONSENT_UNAVAILABLE", "DatabaseError"}
    assert set(load.failures(phase, "remote", "consent")) <= words - {"SERVICE_UNAVAILABLE"}
    # The last snapshot may be from before a new server, or from before its discovery was stored.
    new = {"TOOL_NOT_FOUND", "REMOTE_SERVER_UNAVAILABLE"}
    assert set(load.failures(phase, "own")) <= {"DatabaseError"} | new
    assert set(load.failures(phase, *WRITES)) <= {"SERVICE_UNAVAILABLE"}


async def _is_refused(load: Load, word: str) -> bool:
    try:
        await load.call(OWNERS[0], f"{load.shared.plain['name_prefix']}echo", "again")
    except Failed as error:
        return error.word == word
    return False


async def _is_served(load: Load) -> bool:
    """Tell whether calls and the registry are served again."""
    try:
        await load.call(OWNERS[0], f"{load.shared.plain['name_prefix']}echo", "again")
    except Failed:
        return False
    reply = await load.rig.rest(OWNERS[0]).get("?limit=1")
    return reply.status == 200
