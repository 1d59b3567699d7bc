"""Questions to users and their answers in PostgreSQL. Spec: remote-servers 2, 9.

An approval serves one call of one user on one server with the same tool, arguments and
definition. Life is counted by the database's clock. Sealed arguments go with the decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scaimcp.remotes.approval_models import (
    Approval,
    ApprovalDecision,
    AskedServer,
    Binding,
    ExpiredApproval,
    NewApproval,
)
from scaimcp.remotes.enumerations import ApprovalState
from scaimcp.remotes.models import Page, Position
from scaimcp.remotes.stores.columns import affected, below, known, page_of, sql, storable

_COLUMNS = """
  a.id, a.tenant_id, a.server_id, a.caller_user_id, a.tool, a.arguments_digest,
  a.definition_hash, a.mode, a.created_at, a.expires_at, a.decided_at, a.consumed_at,
"""
# Over as soon as the time is, whether or not a worker has written it down.
_STATE_NOW = (
    "CASE WHEN a.state = 'pending' AND a.expires_at <= now() THEN 'expired' ELSE a.state END"
)
_SEALED_NOW = """
CASE WHEN a.state = 'pending' AND a.expires_at > now() THEN a.arguments_sealed END
"""
_SEEN = sql(_COLUMNS, _STATE_NOW, "AS state,", _SEALED_NOW, "AS arguments_sealed")
_BOUND = """
a.tenant_id = $1 AND a.caller_user_id = $2 AND a.server_id = $3 AND a.tool = $4
  AND a.arguments_digest = $5 AND a.definition_hash = $6
"""
_END_OLD = sql(
    "UPDATE remote_approvals a SET state = 'expired', arguments_sealed = NULL WHERE", _BOUND,
    "AND a.state = 'pending' AND a.expires_at <= now()",
)  # fmt: skip
# From the server's row, locked: a server that is gone meanwhile is no error but no row. The
# update of nothing makes an existing question come back in the same statement.
_ASK = sql(
    """
    INSERT INTO remote_approvals AS a (
      id, tenant_id, server_id, caller_user_id, tool, arguments_digest, arguments_sealed,
      definition_hash, mode, state, created_at, expires_at)
    SELECT $7, $1, s.id, $2, $4, $5, $8, $6, $9, 'pending', now(),
           now() + make_interval(secs => $10)
    FROM remote_servers s WHERE s.tenant_id = $1 AND s.id = $3 FOR KEY SHARE
    ON CONFLICT (tenant_id, caller_user_id, server_id, tool, arguments_digest, definition_hash)
      WHERE state = 'pending'
    DO UPDATE SET state = a.state
    RETURNING
    """,
    _SEEN,
)
_INSERT_CONSUMED = """
INSERT INTO remote_approvals (
  id, tenant_id, server_id, caller_user_id, tool, arguments_digest, definition_hash, mode, state,
  created_at, expires_at, decided_at, consumed_at)
SELECT $7, $1, s.id, $2, $4, $5, $6, $8, 'consumed', now(), now() + make_interval(secs => $9),
       now(), now()
FROM remote_servers s WHERE s.tenant_id = $1 AND s.id = $3 FOR KEY SHARE
ON CONFLICT (id) DO NOTHING
RETURNING id
"""
_GET = sql(
    "SELECT", _SEEN,
    "FROM remote_approvals a WHERE a.tenant_id = $1 AND a.caller_user_id = $2 AND a.id = $3",
)  # fmt: skip
# The one statement for a user whose tenant is not known yet; the id is random.
_ANY_TENANT_OF_QUESTION = """
SELECT a.tenant_id FROM remote_approvals a WHERE a.id = $1 AND a.caller_user_id = $2
"""
_LIST = sql(
    "SELECT", _SEEN,
    "FROM remote_approvals a WHERE a.tenant_id = $1 AND a.caller_user_id = $2",
    "AND ($3::text IS NULL OR", _STATE_NOW, "= $3)",
    "AND ($4::timestamptz IS NULL OR (a.created_at, a.id) < ($4, $5))",
    "ORDER BY a.created_at DESC, a.id DESC LIMIT $6",
)  # fmt: skip
_DECIDE = sql(
    """
    UPDATE remote_approvals a SET state = $5, decided_at = now(), arguments_sealed = NULL
    WHERE a.tenant_id = $1 AND a.caller_user_id = $2 AND a.id = $3 AND a.arguments_digest = $4
      AND a.state = 'pending' AND a.expires_at > now()
    RETURNING
    """,
    _SEEN,
)
# The array makes the inner query run once; a plain IN may run it again after a wait.
_CONSUME = sql(
    """
    UPDATE remote_approvals SET state = 'consumed', consumed_at = now()
    WHERE tenant_id = $1 AND id = ANY(ARRAY(SELECT a.id FROM remote_approvals a WHERE
    """,
    _BOUND,
    """
      AND a.state = 'approved' AND a.expires_at > now()
      ORDER BY a.expires_at LIMIT 1 FOR UPDATE SKIP LOCKED))
    RETURNING id
    """,
)
_IS_DENIED = sql(
    "SELECT EXISTS (SELECT FROM remote_approvals a WHERE", _BOUND,
    "AND a.state = 'denied' AND a.expires_at > now())",
)  # fmt: skip
_SERVERS = """
SELECT s.id, s.name, s.endpoint_origin FROM remote_servers s
WHERE s.tenant_id = $1 AND s.id = ANY($2)
"""
_EXPIRED = """
RETURNING id, tenant_id, caller_user_id, server_id, tool, arguments_digest, definition_hash, mode
"""
_EXPIRE_OF_SERVER = sql(
    """
    UPDATE remote_approvals SET state = 'expired', arguments_sealed = NULL
    WHERE tenant_id = $1 AND server_id = $2 AND state IN ('pending', 'approved')
    """,
    _EXPIRED,
)
_EXPIRE_DUE = sql(
    """
    UPDATE remote_approvals SET state = 'expired', arguments_sealed = NULL
    WHERE id = ANY(ARRAY(
      SELECT id FROM remote_approvals
      WHERE state IN ('pending', 'approved') AND expires_at <= now()
      LIMIT $1 FOR UPDATE SKIP LOCKED))
    """,
    _EXPIRED,
)
# Long after the last request state has ended, or a replayed one would find its row gone.
_PRUNE_DUE = """
DELETE FROM remote_approvals WHERE id = ANY(ARRAY(
  SELECT id FROM remote_approvals
  WHERE state NOT IN ('pending', 'approved') AND expires_at < now() - make_interval(days => $1)
  LIMIT $2 FOR UPDATE SKIP LOCKED))
"""


def _bound(binding: Binding) -> tuple[Any, ...]:
    return (
        binding.tenant_id,
        binding.caller_user_id,
        binding.server_id,
        binding.tool,
        binding.arguments_digest,
        binding.definition_hash,
    )


def _binding(record: Any) -> Binding:
    return Binding(**{name: record[name] for name in Binding.__struct_fields__})


def _expired(record: Any) -> ExpiredApproval:
    return ExpiredApproval(record["id"], _binding(record), record["mode"])


def _approval(record: Any) -> Approval:
    return Approval(
        record["id"],
        _binding(record),
        record["arguments_sealed"],
        record["mode"],
        known(ApprovalState, record["state"], ApprovalState.EXPIRED),
        record["created_at"],
        record["expires_at"],
        record["decided_at"],
        record["consumed_at"],
    )


async def ask(connection: Any, new: NewApproval) -> Approval | None:
    """Store a question, or return the same one that is still open; None without the server."""
    bound = _bound(new.binding)
    await connection.execute(_END_OLD, *bound)
    record = await connection.fetchrow(
        _ASK, *bound, new.id, new.arguments_sealed, new.mode, new.seconds
    )
    return None if record is None else _approval(record)


async def insert_consumed(connection: Any, new: NewApproval) -> bool:
    """Store an answer that came with the call; False if its id was used before: a replay.

    False too if the server is gone. Sealed arguments are not stored.
    """
    inserted = await connection.fetchval(
        _INSERT_CONSUMED, *_bound(new.binding), new.id, new.mode, new.seconds
    )
    return inserted is not None


async def get_approval(
    connection: Any, tenant_id: str, user_id: str, approval_id: str
) -> Approval | None:
    """Return a question to this user, None for every other id."""
    record = await connection.fetchrow(_GET, tenant_id, user_id, storable(approval_id))
    return None if record is None else _approval(record)


async def tenant_of_question(connection: Any, user_id: str, approval_id: str) -> str | None:
    """Return the tenant of a question to this user, None for every other id."""
    tenant_id: str | None = await connection.fetchval(
        _ANY_TENANT_OF_QUESTION, storable(approval_id), storable(user_id)
    )
    return tenant_id


async def list_approvals(
    connection: Any,
    tenant_id: str,
    user_id: str,
    state: ApprovalState | None,
    *,
    after: Position | None = None,
    limit: int = 200,
) -> Page[Approval]:
    """Return a page of the questions to this user, newest first, from below `after`."""
    records = await connection.fetch(
        _LIST,
        tenant_id,
        user_id,
        state,
        *below(after),
        limit + 1,
    )
    return page_of(records, limit, _approval)


async def decide_approval(
    connection: Any, tenant_id: str, user_id: str, decision: ApprovalDecision
) -> Approval | None:
    """Write the user's word on an open question and return it.

    None: there is none, its arguments are others than were shown, or it is decided or over.
    """
    record = await connection.fetchrow(
        _DECIDE,
        tenant_id,
        user_id,
        storable(decision.approval_id),
        decision.arguments_digest,
        ApprovalState.APPROVED if decision.is_approved else ApprovalState.DENIED,
    )
    return None if record is None else _approval(record)


async def consume_approval(connection: Any, binding: Binding) -> str | None:
    """Use up one approval of exactly this call and return its id; None without one.

    Of several calls at once each one gets another approval or none; nobody waits.
    """
    approval_id: str | None = await connection.fetchval(_CONSUME, *_bound(binding))
    return approval_id


async def is_denied(connection: Any, binding: Binding) -> bool:
    """Tell whether the user has refused exactly this call and the question's time still runs."""
    return bool(await connection.fetchval(_IS_DENIED, *_bound(binding)))


async def asked_servers(
    connection: Any, tenant_id: str, server_ids: Sequence[str]
) -> dict[str, AskedServer]:
    """Return what a question says of its server, for each of the servers that there are."""
    records = await connection.fetch(_SERVERS, tenant_id, list(server_ids))
    return {record["id"]: AskedServer(**record) for record in records}


async def expire_approvals(
    connection: Any, tenant_id: str, server_id: str
) -> Sequence[ExpiredApproval]:
    """End every unused approval and open question of a server; return which."""
    records = await connection.fetch(_EXPIRE_OF_SERVER, tenant_id, server_id)
    return [_expired(record) for record in records]


async def expire_due_approvals(connection: Any, limit: int) -> Sequence[ExpiredApproval]:
    """End up to `limit` approvals of all tenants whose time is over. For workers only."""
    records = await connection.fetch(_EXPIRE_DUE, limit)
    return [_expired(record) for record in records]


async def prune_approvals(connection: Any, days: int, limit: int) -> int:
    """Delete up to `limit` ended rows of all tenants that could last be used `days` ago or before.

    For workers only. Returns how many went.
    """
    return affected(await connection.execute(_PRUNE_DUE, days, limit))
