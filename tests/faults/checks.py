"""What must be true after a recovery: nothing acknowledged is missing, nothing is half done."""

from __future__ import annotations

from typing import Any

from tests.faults.load import Load, answered
from tests.faults.rig import MANAGER, OWNERS, Rig
from tests.integration.remotes.consenting import APPROVALS

ENDED = "UPDATE remote_server_state SET lease_until = now() WHERE server_id = $1"
# Rows that belong to nothing, or lack what belongs to them. Each must be 0.
HALVES = {
    "servers without state": """
        SELECT count(*) FROM remote_servers s LEFT JOIN remote_server_state t
        ON (t.tenant_id, t.server_id) = (s.tenant_id, s.id) WHERE t.server_id IS NULL""",
    "states without server": """
        SELECT count(*) FROM remote_server_state t LEFT JOIN remote_servers s
        ON (t.tenant_id, t.server_id) = (s.tenant_id, s.id) WHERE s.id IS NULL""",
    "bearer servers without their one credential": """
        SELECT count(*) FROM remote_servers s WHERE auth_type = 'bearer' AND 1 <>
        (SELECT count(*) FROM remote_credentials c
         WHERE (c.tenant_id, c.server_id) = (s.tenant_id, s.id))""",
    "servers without one audit row of their registration": """
        SELECT count(*) FROM remote_servers s WHERE 1 <>
        (SELECT count(*) FROM audit_events a
         WHERE a.resource_id = s.id AND a.action = 'remote_server.register')""",
    "credentials without the audit rows of registration and rotations": """
        SELECT count(*) FROM remote_servers s WHERE auth_type = 'bearer'
        AND credential_version + 1 <> (SELECT count(*) FROM audit_events a
         WHERE a.resource_id = s.id AND a.action = 'remote_credential.set')""",
    "pins that are not what is served": """
        SELECT count(*) FROM remote_tool_pins p JOIN remote_capabilities c
        USING (tenant_id, server_id, kind, name) WHERE p.definition_hash <> c.definition_hash""",
    "accepted changes without a pin": """
        SELECT count(*) FROM remote_tool_changes c LEFT JOIN remote_tool_pins p
        USING (tenant_id, server_id, kind, name)
        WHERE c.state = 'accepted' AND p.definition_hash IS DISTINCT FROM c.new_hash""",
    "accepted definitions that are still held": """
        SELECT count(*) FROM remote_tool_changes h JOIN remote_capabilities c
        USING (tenant_id, server_id, kind, name)
        WHERE h.state = 'accepted' AND c.state <> 'advertised'""",
    "decided questions whose arguments were kept": """
        SELECT count(*) FROM remote_approvals
        WHERE state <> 'pending' AND arguments_sealed IS NOT NULL""",
}


async def nothing_is_missing(load: Load) -> dict[str, int]:
    """Look for everything that the journal holds, and use it.

    Returns:
        How many of each were found, and what had become of requests without an answer.
    """
    found = {"servers": 0, "committed": 0, "not committed": 0}
    for role in OWNERS:
        for name, value in list(load.journal.doubtful[role].items()):
            found["committed" if await _repeated(load, role, name, value) else "not committed"] += 1
        found["servers"] += await _servers(load, role)
    found["approvals"] = await _approvals(load)
    found["pins"] = await _pins(load)
    assert not load.journal.wrong, load.journal.wrong
    await nothing_is_half(load)
    return found


async def every_call_is_audited(load: Load) -> bool:
    """Tell whether each call that reached a server has its row; they are written in batches."""
    query = "SELECT count(*) FROM audit_events WHERE action = 'remote_call.tool'"
    found = await load.rig.sql(f"{query} AND status = 'SUCCESS'")
    return bool(found[0][0] >= len(load.rig.upstream.tokens))


def nothing_went_wrong(rig: Rig, *expected: str) -> None:
    """No fault of our own is in the logs, whatever failed around us.

    Args:
        rig: everything that ran.
        expected: events of the gateway that count as errors, and were to come.
    """
    assert "Traceback" not in rig.gateway.said
    errors = [line["event"] for line in rig.gateway.log if line.get("level") == "error"]
    assert errors == list(expected)
    for worker in rig.workers:
        assert "Traceback" not in worker.said, worker.said


async def nothing_is_half(load: Load) -> None:
    """Ask the database for rows that belong together and are apart."""
    counted = {what: (await load.rig.sql(query))[0][0] for what, query in HALVES.items()}
    assert not {what: count for what, count in counted.items() if count}, counted


async def _repeated(load: Load, role: str, name: str, value: str) -> bool:
    """Repeat a registration that was not answered; tell whether it had been committed."""
    reply = await load.register(role, name, value)
    if reply.status == 201:
        load.registered(role, reply.json["data"], value)
        return False
    assert reply.word == "SLUG_CONFLICT", reply.content
    server_id = reply.json["error"]["details"][0]["id"]
    data = answered(await load.rig.rest(role).get(f"/{server_id}")).json["data"]
    assert data["name"] == name
    load.registered(role, data, value)
    return True


async def _servers(load: Load, role: str) -> int:
    """Look at every server of somebody, and call it with the credential it must have."""
    rest = load.rig.rest(role)
    listed = answered(await rest.get("?scope=personal&limit=200")).json["data"]["items"]
    rows = {row["id"]: row for row in listed}
    servers = load.journal.servers[role]
    assert {server.id for server in servers.values()} == set(rows)
    for name, server in servers.items():
        assert rows[server.id]["name"] == name
        assert rows[server.id]["credential_fields"] == ["authorization"]
        if rows[server.id]["status"] != "active":
            # Its discovery fell into the outage. A lease that died with it ends after a minute;
            # what then follows at the next tick is done here.
            await load.rig.sql(ENDED, server.id)
            fresh = answered(await rest.post(f"/{server.id}/refresh")).json["data"]
            assert fresh["status"] == "active", fresh
        await load.own(role, server)
    return len(servers)


async def _approvals(load: Load) -> int:
    """Look at every decision; what was approved lets its call run once, and only once."""
    count = 0
    for role in OWNERS:
        for approval_id, state in load.journal.approvals[role].items():
            shown = answered(await load.rig.rest(role).get(f"{APPROVALS}/{approval_id}"))
            now = shown.json["data"]["state"]
            assert now == state or (state == "unsure" and now in ("approved", "consumed"))
            word = load.journal.arguments[approval_id]
            if now == "approved":
                tool = f"{load.shared.asking['name_prefix']}echo"
                assert await load.call(role, tool, word) == word
            assert await load.question(role, word) != approval_id
            count += 1
    return count


async def _pins(load: Load) -> int:
    """Look at every accepted definition; what was not answered can still be accepted, or is."""
    rest = load.rig.rest(MANAGER)
    path = f"/{load.shared.reviewed['id']}"
    for name, change in list(load.journal.unsure.items()):
        state = answered(await rest.get(f"{path}/changes/{change['id']}")).json["data"]["state"]
        if state == "pending":
            await load.accept(MANAGER, change)
        else:
            assert state == "accepted"
            load.journal.pins[name] = change["new_hash"]
    pins = answered(await rest.get(f"{path}/pins")).json["data"]["items"]
    hashes: dict[str, Any] = {pin["name"]: pin["definition_hash"] for pin in pins}
    assert {name: hashes.get(name) for name in load.journal.pins} == load.journal.pins
    for name in load.journal.pins:
        tool = f"{load.shared.reviewed['name_prefix']}{name}"
        assert await load.call(MANAGER, tool, name) == name
    return len(load.journal.pins)
