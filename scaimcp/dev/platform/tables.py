"""The tables more than one endpoint family reads. Spec: scaigrid 9."""

from scaimcp.dev.platform.store import TableSpec

CORE_TABLES = (
    TableSpec("partners", "prt_", ("slug",)),
    TableSpec("tenants", "tnt_", ("slug", "partner_id")),
    TableSpec("users", "usr_", ("email", "tenant_id")),
    TableSpec("groups", "grp_", ("tenant_id",)),
    TableSpec("custom_roles", "crl_", ("tenant_id",)),
    TableSpec("role_mappings", "rmp_", ("group_id",)),
    TableSpec("api_keys", "apikey_", ("hash", "tenant_id")),
    TableSpec("revoked", "rev_", ("digest",)),
    TableSpec("modules", "mod_", ("module_id",)),
    TableSpec("module_states", "mst_", ("scope_id",)),
    TableSpec("models", "mdl_", ("slug",)),
    TableSpec("model_access", "mac_", ("model_id",)),
    TableSpec("model_groups", "mgr_", ("slug",)),
    TableSpec("providers", "prv_"),
    TableSpec("backends", "bkd_", ("model_id", "provider_id")),
    TableSpec("usage", "usg_", capped=True),
    TableSpec("budgets", "bud_", ("scope_id",)),
    TableSpec("audit", "aud_", capped=True),
    TableSpec("webhooks", "whk_", ("tenant_id",)),
    TableSpec("deliveries", "dlv_", ("webhook_id",)),
    TableSpec("files", "file_"),
    TableSpec("messages", "msg_", ("parent_id",)),
)
IDENTITY_TABLES = (
    "partners",
    "tenants",
    "users",
    "groups",
    "custom_roles",
    "role_mappings",
    "api_keys",
    "revoked",
)
