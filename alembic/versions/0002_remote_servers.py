"""Remote servers: registry, state, credentials, capabilities, pins, changes, approvals."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A child row can never cross tenants: its tenant is part of the reference.
_OF_SERVER = """
  tenant_id text NOT NULL,
  server_id text NOT NULL,
  FOREIGN KEY (tenant_id, server_id) REFERENCES remote_servers (tenant_id, id) ON DELETE CASCADE
"""
_KIND = "kind text NOT NULL CHECK (kind IN ('tool', 'resource', 'resource_template', 'prompt'))"

_SERVERS = """
CREATE TABLE remote_servers (
  id text PRIMARY KEY,
  tenant_id text NOT NULL,
  owner_user_id text NOT NULL,
  scope_key text NOT NULL,
  is_tenant_shared boolean NOT NULL,
  name text NOT NULL,
  slug text NOT NULL,
  description text NOT NULL DEFAULT '',
  endpoint_url text NOT NULL,
  endpoint_origin text NOT NULL,
  transport text NOT NULL CHECK (transport IN ('streamable_http', 'sse')),
  auth_type text NOT NULL CHECK (auth_type IN ('none', 'bearer', 'api_key_header', 'per_user')),
  consent_tier text NOT NULL DEFAULT 'auto' CHECK (consent_tier IN ('auto', 'confirm', 'locked')),
  tool_changes text NOT NULL DEFAULT 'auto' CHECK (tool_changes IN ('auto', 'review')),
  forward_user_id boolean NOT NULL DEFAULT false,
  timeout_seconds integer,
  version integer NOT NULL DEFAULT 1,
  config_version integer NOT NULL DEFAULT 1,
  credential_version integer NOT NULL DEFAULT 0,
  created_by text NOT NULL,
  approved_by text,
  approved_at timestamptz,
  disabled_by text,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  UNIQUE (tenant_id, id),
  UNIQUE (tenant_id, scope_key, slug),
  CHECK (is_tenant_shared = (scope_key = 'tenant')),
  CHECK (length(slug) <= 40 AND slug ~ '^[a-z0-9]+(-[a-z0-9]+)*-[0-9a-f]{6}$')
)
"""
_STATE = f"""
CREATE TABLE remote_server_state (
  {_OF_SERVER},
  status text NOT NULL CHECK (status IN ('pending_approval', 'active', 'error', 'disabled')),
  status_reason text,
  last_health_status text,
  last_error_message text,
  consecutive_failures integer NOT NULL DEFAULT 0,
  has_catalog boolean NOT NULL DEFAULT false,
  last_checked_at timestamptz,
  last_ok_at timestamptz,
  last_call_ok_at timestamptz,
  last_call_failure_at timestamptz,
  failing_since timestamptz,
  next_check_at timestamptz,
  last_discovery_at timestamptz,
  next_discovery_at timestamptz,
  protocol_era text,
  protocol_version text,
  era_checked_at timestamptz,
  server_info json,
  upstream_capabilities json,
  list_notes json,
  state_seq bigint NOT NULL DEFAULT 0,
  lease_owner text,
  lease_until timestamptz,
  lease_seq bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (server_id)
) WITH (fillfactor = 70)
"""
_CREDENTIALS = f"""
CREATE TABLE remote_credentials (
  {_OF_SERVER},
  field text NOT NULL,
  ciphertext bytea NOT NULL,
  wrapped_dek bytea NOT NULL,
  kek_id text NOT NULL,
  row_version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL,
  rotated_at timestamptz NOT NULL,
  rotated_by text NOT NULL,
  PRIMARY KEY (tenant_id, server_id, field)
)
"""
# definition: what is served (the pin, while a newer one is held); upstream_hash: last seen.
_CAPABILITIES = f"""
CREATE TABLE remote_capabilities (
  {_OF_SERVER},
  {_KIND},
  name text NOT NULL CHECK (octet_length(name) <= 2048),
  ordinal integer NOT NULL,
  alias text,
  definition json NOT NULL,
  definition_hash bytea NOT NULL,
  upstream_hash bytea NOT NULL,
  state text NOT NULL CHECK (state IN ('advertised', 'held')),
  reason text,
  findings jsonb NOT NULL DEFAULT '[]',
  first_seen_at timestamptz NOT NULL,
  changed_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, server_id, kind, name)
)
"""
_PINS = f"""
CREATE TABLE remote_tool_pins (
  {_OF_SERVER},
  {_KIND},
  name text NOT NULL,
  definition json NOT NULL,
  definition_hash bytea NOT NULL,
  accepted_by text NOT NULL,
  accepted_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, server_id, kind, name)
)
"""
_CHANGES = f"""
CREATE TABLE remote_tool_changes (
  id text PRIMARY KEY,
  {_OF_SERVER},
  {_KIND},
  name text NOT NULL,
  change text NOT NULL CHECK (change IN ('added', 'changed')),
  class text NOT NULL,
  old_hash bytea,
  new_hash bytea NOT NULL,
  new_definition json NOT NULL,
  diff jsonb NOT NULL,
  findings jsonb NOT NULL,
  state text NOT NULL CHECK (state IN ('pending', 'accepted', 'rejected', 'superseded')),
  detected_at timestamptz NOT NULL,
  decided_by text,
  decided_at timestamptz,
  UNIQUE (tenant_id, server_id, kind, name, new_hash)
)
"""
_APPROVALS = f"""
CREATE TABLE remote_approvals (
  id text PRIMARY KEY,
  {_OF_SERVER},
  caller_user_id text NOT NULL,
  tool text NOT NULL,
  arguments_digest bytea NOT NULL,
  arguments_sealed bytea,
  definition_hash bytea NOT NULL,
  mode text NOT NULL,
  state text NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'consumed', 'expired')),
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  decided_at timestamptz,
  consumed_at timestamptz
)
"""
# Created on empty tables in the migration's own transaction: nothing to lock out.
_INDEXES = (
    "CREATE INDEX remote_servers_owner ON remote_servers"
    " (tenant_id, owner_user_id, created_at DESC, id DESC)",
    "CREATE INDEX remote_server_state_check ON remote_server_state (next_check_at)"
    " WHERE status IN ('active', 'error')",
    "CREATE INDEX remote_server_state_discovery ON remote_server_state (next_discovery_at)"
    " WHERE status = 'active'",
    "CREATE INDEX remote_credentials_kek ON remote_credentials (kek_id)",
    "CREATE INDEX remote_capabilities_alias ON remote_capabilities (tenant_id, alias)"
    " WHERE alias IS NOT NULL",
    "CREATE UNIQUE INDEX remote_approvals_pending ON remote_approvals"
    " (tenant_id, caller_user_id, server_id, tool, arguments_digest, definition_hash)"
    " WHERE state = 'pending'",
    # For the cascade from a deleted server, and for expiry.
    "CREATE INDEX remote_approvals_server ON remote_approvals (tenant_id, server_id)",
)


def upgrade() -> None:
    for table in (_SERVERS, _STATE, _CREDENTIALS, _CAPABILITIES, _PINS, _CHANGES, _APPROVALS):
        op.execute(table)
    for index in _INDEXES:
        op.execute(index)


def downgrade() -> None:
    for table in (
        "remote_approvals",
        "remote_tool_changes",
        "remote_tool_pins",
        "remote_capabilities",
        "remote_credentials",
        "remote_server_state",
        "remote_servers",
    ):
        op.execute(f"DROP TABLE {table}")
