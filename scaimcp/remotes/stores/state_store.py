"""State, leases and due times of servers in PostgreSQL. Spec: remote-servers 2, 6, 7.

Times are the database's: ``ServerState.read_at`` is its clock at the moment of reading.
"""

from __future__ import annotations

from typing import Any

from scaimcp.remotes.enumerations import Status
from scaimcp.remotes.models import AnnouncingServer, DueServer, ServerState
from scaimcp.remotes.stores.columns import affected, decoded, encoded, known, sql

LEASE_SECONDS = 60.0
# As far as a tick spreads its probes.
EARLY_CHECK_SECONDS = 45.0
_JSON_COLUMNS = ("server_info", "upstream_capabilities", "list_notes")

_READ = """
SELECT tenant_id, server_id, status, status_reason, last_health_status, last_error_message,
       consecutive_failures, has_catalog, last_checked_at, last_ok_at, last_call_ok_at,
       last_call_failure_at, failing_since, next_check_at, last_discovery_at, next_discovery_at,
       protocol_era, protocol_version, era_checked_at, server_info, upstream_capabilities,
       list_notes, state_seq, lease_owner, lease_until, lease_seq, clock_timestamp() AS read_at
FROM remote_server_state WHERE tenant_id = $1 AND server_id = $2
"""
_READ_LOCKED = sql(_READ, "FOR UPDATE")
_WRITE = """
UPDATE remote_server_state SET
  status = $4, status_reason = $5, last_health_status = $6, last_error_message = $7,
  consecutive_failures = $8, has_catalog = $9, last_checked_at = $10, last_ok_at = $11,
  last_call_ok_at = $12, last_call_failure_at = $13, failing_since = $14, next_check_at = $15,
  last_discovery_at = $16, next_discovery_at = $17, protocol_era = $18, protocol_version = $19,
  era_checked_at = $20, state_seq = state_seq + 1
WHERE tenant_id = $1 AND server_id = $2 AND state_seq = $3
RETURNING state_seq
"""
# Apart from the rest: these are large, and health writes need not carry them.
_WRITE_NOTES = """
UPDATE remote_server_state SET server_info = $4::json, upstream_capabilities = $5::json,
  list_notes = $6::json, state_seq = state_seq + 1
WHERE tenant_id = $1 AND server_id = $2 AND state_seq = $3
RETURNING state_seq
"""
_TAKE = """
UPDATE remote_server_state
SET lease_owner = $3, lease_until = now() + make_interval(secs => $4), lease_seq = lease_seq + 1
WHERE tenant_id = $1 AND server_id = $2 AND (lease_until IS NULL OR lease_until < now())
RETURNING lease_seq
"""
_RELEASE = """
UPDATE remote_server_state SET lease_owner = NULL, lease_until = NULL
WHERE tenant_id = $1 AND server_id = $2 AND lease_seq = $3
"""
# First the server, as everywhere: rows that refer to it are about to be written.
_LOCK_SERVER = "SELECT 1 FROM remote_servers WHERE tenant_id = $1 AND id = $2 FOR KEY SHARE"
_HOLD = """
SELECT 1 FROM remote_server_state
WHERE tenant_id = $1 AND server_id = $2 AND lease_seq = $3 FOR UPDATE
"""
_DUE_CHECKS = """
SELECT next_check_at AS due_at, server_id, tenant_id FROM remote_server_state
WHERE status IN ('active', 'error') AND next_check_at <= now() + make_interval(secs => $4)
  AND (next_check_at <= now()
    OR (status = 'active' AND last_health_status IS DISTINCT FROM 'RateLimitedError'))
  AND ($1::timestamptz IS NULL OR (next_check_at, server_id) > ($1, $2))
ORDER BY next_check_at, server_id LIMIT $3
"""
_DUE_DISCOVERIES = """
SELECT next_discovery_at AS due_at, server_id, tenant_id FROM remote_server_state
WHERE status = 'active' AND next_discovery_at < now() + make_interval(secs => $4)
  AND ($1::timestamptz IS NULL OR (next_discovery_at, server_id) > ($1, $2))
ORDER BY next_discovery_at, server_id LIMIT $3
"""
# Servers whose users bring authorisations of their own have no credential to listen with.
_DUE_ANNOUNCING = """
SELECT * FROM (
  SELECT t.server_id, t.tenant_id, s.transport, COALESCE(t.protocol_era, '') AS protocol_era,
    s.config_version, s.credential_version, t.last_discovery_at,
    CASE WHEN t.last_health_status = 'ok'
      THEN COALESCE(extract(epoch FROM clock_timestamp() - t.last_discovery_at), 0)::float8
      ELSE 'Infinity'::float8 END AS discovered_ago,
    COALESCE((t.upstream_capabilities #> '{tools,listChanged}')::text = 'true', false) AS tools,
    COALESCE((t.upstream_capabilities #> '{resources,listChanged}')::text = 'true', false)
      AS resources,
    COALESCE((t.upstream_capabilities #> '{prompts,listChanged}')::text = 'true', false) AS prompts
  FROM remote_server_state t
  JOIN remote_servers s ON s.tenant_id = t.tenant_id AND s.id = t.server_id
  WHERE t.status = 'active' AND t.server_id > $1
    AND s.auth_type IN ('none', 'bearer', 'api_key_header')
    AND s.transport IN ('streamable_http', 'sse')
) found
WHERE tools OR resources OR prompts
ORDER BY server_id LIMIT $2
"""
_CHECK_SOON = """
UPDATE remote_server_state SET next_check_at = now(), state_seq = state_seq + 1
WHERE tenant_id = $1 AND server_id = $2 AND status IN ('active', 'error')
"""
_DISCOVER_SOON = """
UPDATE remote_server_state SET next_discovery_at = now(), state_seq = state_seq + 1
WHERE tenant_id = $1 AND server_id = $2 AND status = 'active'
"""
_CALL_FAILED = """
UPDATE remote_server_state
SET last_call_failure_at = now(), next_check_at = now(), state_seq = state_seq + 1
WHERE tenant_id = $1 AND server_id = $2 AND status IN ('active', 'error')
  AND (last_call_failure_at IS NULL OR last_call_failure_at <= now() - make_interval(secs => $3))
"""


def state_of(record: Any) -> ServerState:
    """Return the state in a record that has its columns; an unknown status is ``disabled``."""
    values = {name: record[name] for name in ServerState.__struct_fields__}
    values["status"] = known(Status, values["status"], Status.DISABLED)
    for name in _JSON_COLUMNS:
        values[name] = decoded(values[name])
    return ServerState(**values)


async def read_state(
    connection: Any, tenant_id: str, server_id: str, *, lock: bool = False
) -> ServerState | None:
    """Return a server's state, None if there is no such server.

    With `lock` nobody else writes it, nor takes its lease, until the transaction ends.
    """
    record = await connection.fetchrow(_READ_LOCKED if lock else _READ, tenant_id, server_id)
    return None if record is None else state_of(record)


async def write_state(connection: Any, state: ServerState) -> int | None:
    """Write `state`, changed since it was read, and return its new ``state_seq``.

    Neither lease nor what `write_notes` writes. None: somebody else wrote meanwhile, or the
    server is gone; then read again and decide again.
    """
    seq: int | None = await connection.fetchval(
        _WRITE,
        state.tenant_id, state.server_id, state.state_seq, state.status, state.status_reason,
        state.last_health_status, state.last_error_message, state.consecutive_failures,
        state.has_catalog, state.last_checked_at, state.last_ok_at, state.last_call_ok_at,
        state.last_call_failure_at, state.failing_since, state.next_check_at,
        state.last_discovery_at, state.next_discovery_at, state.protocol_era,
        state.protocol_version, state.era_checked_at,
    )  # fmt: skip
    return seq


async def write_notes(connection: Any, state: ServerState) -> int | None:
    """Write what a discovery read about the server: info, capabilities, list notes.

    Upon the same ``state_seq``, and with the same answer, as `write_state`.
    """
    seq: int | None = await connection.fetchval(
        _WRITE_NOTES,
        state.tenant_id,
        state.server_id,
        state.state_seq,
        encoded(state.server_info),
        encoded(state.upstream_capabilities),
        encoded(state.list_notes),
    )
    return seq


async def take_lease(
    connection: Any, tenant_id: str, server_id: str, owner: str, seconds: float = LEASE_SECONDS
) -> int | None:
    """Take the right to discover or probe a server; return its number.

    None: somebody holds it, or the server is gone. `owner` shows others what is going on.
    """
    seq: int | None = await connection.fetchval(_TAKE, tenant_id, server_id, owner, seconds)
    return seq


async def release_lease(connection: Any, tenant_id: str, server_id: str, lease_seq: int) -> bool:
    """Give a lease back; return whether it was still this one."""
    status = await connection.execute(_RELEASE, tenant_id, server_id, lease_seq)
    return affected(status) == 1


async def hold_lease(connection: Any, tenant_id: str, server_id: str, lease_seq: int) -> bool:
    """Return whether the lease is still the last one taken; then nobody takes it until commit.

    The first statement of a transaction that stores what was found under the lease: a holder
    that comes too late, or whose server is gone, writes nothing.
    """
    if await connection.fetchval(_LOCK_SERVER, tenant_id, server_id) is None:
        return False
    return await connection.fetchval(_HOLD, tenant_id, server_id, lease_seq) is not None


async def due_checks(connection: Any, after: DueServer | None, limit: int) -> list[DueServer]:
    """Return servers of all tenants whose next check is due, the longest due first.

    Active ones may be taken as early as a tick spreads its probes: whoever was probed late in the
    last minute is due late in this one, and would else be looked at every other minute only.

    A page of `limit`, from behind `after`. For workers only.
    """
    records = await connection.fetch(_DUE_CHECKS, *_behind(after), limit, EARLY_CHECK_SECONDS)
    return [DueServer(**record) for record in records]


async def due_discoveries(
    connection: Any, seconds: float, after: DueServer | None, limit: int
) -> list[DueServer]:
    """Return active servers of all tenants whose discovery is due within `seconds`, in order.

    A page of `limit`, from behind `after`. For workers only.
    """
    records = await connection.fetch(_DUE_DISCOVERIES, *_behind(after), limit, seconds)
    return [DueServer(**record) for record in records]


async def announcing_servers(connection: Any, after: str, limit: int) -> list[AnnouncingServer]:
    """Return active servers of all tenants that declare ``listChanged``, in order of their ids.

    A page of `limit`, from behind the id `after`, "" for the first. For workers only.
    """
    records = await connection.fetch(_DUE_ANNOUNCING, after, limit)
    return [AnnouncingServer(**record) for record in records]


def _behind(after: DueServer | None) -> tuple[Any, Any]:
    return (after.due_at, after.server_id) if after else (None, None)


async def check_soon(connection: Any, tenant_id: str, server_id: str) -> bool:
    """Make the next check due now; return whether the server is one that is checked."""
    return affected(await connection.execute(_CHECK_SOON, tenant_id, server_id)) == 1


async def discover_soon(connection: Any, tenant_id: str, server_id: str) -> bool:
    """Make the next discovery due now; return whether the server is one that is discovered."""
    return affected(await connection.execute(_DISCOVER_SOON, tenant_id, server_id)) == 1


async def note_call_failure(connection: Any, tenant_id: str, server_id: str, pause: float) -> bool:
    """Note that a live call failed and make a check due now, at most once in `pause` seconds.

    Returns whether this call noted it: then the caller asks for a probe.
    """
    status = await connection.execute(_CALL_FAILED, tenant_id, server_id, pause)
    return affected(status) == 1
