"""Approvals by the end of their time: what expires and what is pruned is looked for by it."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Beside running gateways, which must not wait for it. It waits for their transactions and
    # reads the whole table, so the usual limits are too short for it.
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = '5min'")
        op.execute("SET statement_timeout = '10min'")
        # One that failed half-way leaves an index that is never used and has the name.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS remote_approvals_expiry")
        op.execute(
            "CREATE INDEX CONCURRENTLY remote_approvals_expiry ON remote_approvals (expires_at)"
        )
        op.execute("RESET lock_timeout")
        op.execute("RESET statement_timeout")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS remote_approvals_expiry")
