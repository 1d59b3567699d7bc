"""Catalogue versions and the audit log."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE catalog_versions (
          tenant_id text PRIMARY KEY,
          version bigint NOT NULL CHECK (version > 0)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE audit_events (
          id bigint GENERATED ALWAYS AS IDENTITY,
          at timestamptz NOT NULL,
          tenant_id text NOT NULL,
          actor_id text NOT NULL,
          actor_type text NOT NULL,
          action text NOT NULL,
          resource_type text NOT NULL,
          resource_id text NOT NULL,
          status text NOT NULL CHECK (status IN ('SUCCESS', 'FAILURE')),
          request_id text NOT NULL,
          ip_address text,
          user_agent text,
          data jsonb NOT NULL DEFAULT '{}',
          PRIMARY KEY (at, id)
        )
        """
    )
    op.execute("CREATE INDEX audit_events_tenant ON audit_events (tenant_id, at DESC)")
    op.execute(
        "CREATE INDEX audit_events_resource ON audit_events (tenant_id, resource_id, at DESC)"
    )


def downgrade() -> None:
    op.execute("DROP TABLE audit_events")
    op.execute("DROP TABLE catalog_versions")
