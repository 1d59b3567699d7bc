"""Tools on credentials that are made on demand. Spec: scaivault 1, DY1–DY10."""

from __future__ import annotations

from scaimcp.scaivault.records import Mask, PathCheck, Route, ToolRecord, paging
from scaimcp.scaivault.shapes import (
    DURATION,
    ID,
    NAME,
    PATH,
    Enum,
    Many,
    Record,
    Text,
    may,
    need,
)

_ENGINES = "/v1/dynamic/engines"
_TYPE = Enum(("database", "aws", "azure", "gcp", "ssh", "custom"))
_ENGINE = need("engine", NAME, "Name of the engine.")
_ROLE = need("role", NAME, "Name of the role.")
_LEASE = need("lease_id", ID, "Id of the lease.")
_ROW = "id name type default_ttl max_ttl status created_at"
_LEASE_ROW = "lease_id engine role identity_id issued_at expires_at renewable status"
_ROLE_ROW = "name engine creation_statements revocation_statements default_ttl max_ttl"
_CONFIG = Mask(hidden=("config.*",), kept=("plugin", "region", "*_path"))
_NO_CREDENTIALS = Mask(dropped=("credentials",))
_SHOWN_PATHS = PathCheck("show", "config.*_path")
_STATEMENT = Text(1, 4_096)
_SETTINGS = Record(
    (
        may("plugin", Enum(("postgresql", "mysql", "mongodb", "redis")), "Kind of database."),
        may("connection_url", Text(1, 2_048), "Where a database is, with {{username}} and "
            "{{password}} in place of the login."),
        need("root_credentials_path", PATH, "Secret that holds the login."),
    ),
    takes_scalars=True,
)  # fmt: skip

TOOLS = (
    ToolRecord(
        code="DY1",
        name="scaivault_list_dynamic_engines",
        group="dynamic",
        tool_class="read",
        permission="read",
        route=Route("GET", _ENGINES, query=("type", "limit", "cursor")),
        arguments=(may("type", _TYPE, "Only engines of this type."), *paging()),
        description="List the engines that make temporary credentials. Holds no secret value.",
        hints="1010",
        fields=_ROW,
        mask=Mask(dropped=("config",)),
        container=("engines", "data"),
        is_partial=True,
    ),
    ToolRecord(
        code="DY2",
        name="scaivault_get_dynamic_engine",
        group="dynamic",
        tool_class="read",
        permission="read",
        route=Route("GET", f"{_ENGINES}/{{engine}}"),
        arguments=(_ENGINE,),
        description="Show an engine with its settings, which may hold secret values where this "
        "server does not mask them.",
        hints="1010",
        fields=f"{_ROW} config",
        checks=(_SHOWN_PATHS,),
        mask=_CONFIG,
        is_partial=True,
    ),
    ToolRecord(
        code="DY3",
        name="scaivault_create_dynamic_engine",
        group="dynamic",
        tool_class="write",
        permission="admin",
        route=Route("POST", _ENGINES, body=("name", "type", "config", "default_ttl", "max_ttl")),
        arguments=(
            need("name", NAME, "Name of the engine."),
            need("type", _TYPE, "What it makes credentials for."),
            need("config", _SETTINGS, "How it reaches it."),
            may("default_ttl", DURATION, "Usual life of a credential.", "1h"),
            may("max_ttl", DURATION, "Longest life of a credential.", "24h"),
        ),
        description="Create an engine that makes temporary credentials (class write). Its settings "
        "may hold secret values where this server does not mask them.",
        hints="0001",
        fields=f"{_ROW} config",
        checks=(PathCheck("path", "config.*_path"), _SHOWN_PATHS),
        mask=_CONFIG,
    ),
    ToolRecord(
        code="DY4",
        name="scaivault_list_dynamic_roles",
        group="dynamic",
        tool_class="read",
        permission="read",
        route=Route("GET", f"{_ENGINES}/{{engine}}/roles", query=("limit", "cursor")),
        arguments=(_ENGINE, *paging()),
        description="List the roles of an engine. Holds no secret value.",
        hints="1010",
        fields=_ROLE_ROW,
        container=("roles", "data"),
        is_partial=True,
    ),
    ToolRecord(
        code="DY5",
        name="scaivault_create_dynamic_role",
        group="dynamic",
        tool_class="write",
        permission="admin",
        route=Route(
            "POST",
            f"{_ENGINES}/{{engine}}/roles",
            body=(
                "name",
                "creation_statements",
                "revocation_statements",
                "default_ttl",
                "max_ttl",
            ),
        ),
        arguments=(
            _ENGINE,
            need("name", NAME, "Name of the role."),
            need("creation_statements", Many(_STATEMENT, 1, 20), "What makes a credential."),
            may("revocation_statements", Many(_STATEMENT, 0, 20), "What takes it back."),
            may("default_ttl", DURATION, "Usual life; the engine's own without."),
            may("max_ttl", DURATION, "Longest life; the engine's own without."),
        ),
        description="Create a role that says which credentials an engine makes (class write). "
        "Holds no secret value.",
        hints="0001",
        fields=_ROLE_ROW,
        is_partial=True,
    ),
    ToolRecord(
        code="DY6",
        name="scaivault_generate_credentials",
        group="dynamic",
        tool_class="issue",
        permission="issue",
        route=Route("POST", f"{_ENGINES}/{{engine}}/creds/{{role}}", body=("ttl",)),
        arguments=(_ENGINE, _ROLE, may("ttl", DURATION, "Life; the role's own without.")),
        description="Generate a temporary credential (class issue). The result holds user and "
        "password, secret values that are shown once; where values are masked they are lost.",
        hints="0001",
        fields="lease_id engine role credentials{username password connection_url} ttl "
        "expires_at renewable",
        mask=Mask(hidden=("credentials.*",)),
        is_partial=True,
    ),
    ToolRecord(
        code="DY7",
        name="scaivault_list_leases",
        group="dynamic",
        tool_class="read",
        permission="read",
        route=Route(
            "GET", "/v1/dynamic/leases", query=("engine", "role", "status", "limit", "cursor")
        ),
        arguments=(
            may("engine", NAME, "Only leases of this engine."),
            may("role", NAME, "Only leases of this role."),
            may(
                "status",
                Enum(("active", "expired", "revoked")),
                "Only leases of this status.",
                "active",
            ),
            *paging(),
        ),
        description="List leases of temporary credentials, without secret values.",
        hints="1010",
        fields=_LEASE_ROW,
        mask=_NO_CREDENTIALS,
        container=("leases", "data"),
        is_partial=True,
    ),
    ToolRecord(
        code="DY8",
        name="scaivault_renew_lease",
        group="dynamic",
        tool_class="write",
        permission="write",
        route=Route("POST", "/v1/dynamic/leases/{lease_id}/renew", body=("increment",)),
        arguments=(_LEASE, may("increment", DURATION, "Time to add; the role's own without.")),
        description="Renew a lease, so that its credential lives longer (class write). No secret "
        "value is returned.",
        hints="0001",
        fields="lease_id expires_at renewable",
        mask=_NO_CREDENTIALS,
        is_partial=True,
    ),
    ToolRecord(
        code="DY9",
        name="scaivault_revoke_lease",
        group="dynamic",
        tool_class="delete",
        permission="delete",
        route=Route("POST", "/v1/dynamic/leases/{lease_id}/revoke"),
        arguments=(_LEASE,),
        description="Revoke a lease; its credential stops working (class delete). Holds no secret "
        "value.",
        hints="0111",
        fields="lease_id status revoked_at",
        is_partial=True,
    ),
    ToolRecord(
        code="DY10",
        name="scaivault_check_expiring_leases",
        group="dynamic",
        tool_class="read",
        permission="read",
        route=Route("GET", "/v1/dynamic/leases", query=("engine", "limit", "cursor")),
        arguments=(
            may("within", DURATION, "Time to look ahead.", "1h"),
            may("engine", NAME, "Only leases of this engine."),
        ),
        description="List active leases that end soon, with the seconds that are left, without "
        "secret values.",
        hints="1010",
        fields=f"{_LEASE_ROW} seconds_remaining",
        mask=_NO_CREDENTIALS,
        container=("leases", "data"),
        special="check_expiring_leases",
        is_partial=True,
    ),
)
