"""Guard profiles of the module scaivault, one a tenant."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE scaivault_guard_profiles (
          tenant_id text PRIMARY KEY,
          profile jsonb NOT NULL,
          version bigint NOT NULL CHECK (version >= 0),
          updated_by text NOT NULL,
          updated_at timestamptz NOT NULL
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE scaivault_guard_profiles")
