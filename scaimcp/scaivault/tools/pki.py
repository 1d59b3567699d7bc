"""Tools on certificate authorities and certificates. Spec: scaivault 1, PK1–PK9."""

from __future__ import annotations

from scaimcp.scaivault.records import Mask, Route, ToolRecord, paging
from scaimcp.scaivault.shapes import (
    DNS,
    DURATION,
    ID,
    IP,
    NAME,
    TIME,
    YES_NO,
    Enum,
    Integer,
    Many,
    Numbers,
    Text,
    may,
    need,
)

_CA = need("ca_id", ID, "Id of the certificate authority.")
_CERTIFICATE = need("certificate_id", ID, "Id of the certificate.")
_COMMON_NAME = need("common_name", Text(1, 64), "Common name of the subject.")
_NO_KEY = Mask(dropped=("private_key",))
_KEY = Mask(hidden=("private_key",))
_CA_ROW = (
    "id name common_name ca_type key_type key_size valid_from valid_until is_active "
    "certificates_issued created_at"
)
_ROW = "id serial_number common_name alt_names ca_id role not_before not_after status"
_ROWS = ("certificates", "data")
_REASONS = Enum((
    "unspecified", "key_compromise", "affiliation_changed", "superseded",
    "cessation_of_operation", "privilege_withdrawn",
))  # fmt: skip

TOOLS = (
    ToolRecord(
        code="PK1",
        name="scaivault_list_cas",
        group="pki",
        tool_class="read",
        permission="read",
        route=Route("GET", "/v1/pki/ca", query=("ca_type", "limit", "cursor")),
        arguments=(
            may("ca_type", Enum(("root", "intermediate")), "Only authorities of this type."),
            *paging(),
        ),
        description="List certificate authorities. Holds no secret value.",
        hints="1010",
        fields=_CA_ROW,
        mask=_NO_KEY,
        container=("cas", "data"),
    ),
    ToolRecord(
        code="PK2",
        name="scaivault_get_ca",
        group="pki",
        tool_class="read",
        permission="read",
        route=Route("GET", "/v1/pki/ca/{ca_id}"),
        arguments=(_CA, may("include_pem", YES_NO, "Also the certificate itself.", False)),
        description="Show a certificate authority, on request with its certificate. Holds no "
        "secret value.",
        hints="1010",
        fields=f"{_CA_ROW} parent_ca_id certificate_pem",
        mask=_NO_KEY,
        special="get_ca",
    ),
    ToolRecord(
        code="PK3",
        name="scaivault_create_root_ca",
        group="pki",
        tool_class="write",
        permission="admin",
        route=Route(
            "POST",
            "/v1/pki/ca",
            body=("name", "common_name", "key_type", "key_size", "validity_days"),
            fixed=(("ca_type", "root"),),
        ),
        arguments=(
            need("name", NAME, "Name of the authority."),
            _COMMON_NAME,
            may("key_type", Enum(("rsa", "ec")), "Kind of its key.", "rsa"),
            may(
                "key_size",
                Numbers((2_048, 4_096, 256, 384)),
                "2048 or 4096 for rsa, 256 or 384 for ec.",
            ),
            may("validity_days", Integer(1, 7_300), "Life of its certificate in days.", 3_650),
        ),
        description="Create a root certificate authority (class write). Its key stays in "
        "ScaiVault; holds no secret value.",
        hints="0000",
        fields=_CA_ROW,
        mask=_NO_KEY,
    ),
    ToolRecord(
        code="PK4",
        name="scaivault_list_certificates",
        group="pki",
        tool_class="read",
        permission="read",
        route=Route(
            "GET",
            "/v1/pki/certificates",
            query=("ca_id", "expiring_within", "include_revoked", "limit", "cursor"),
        ),
        arguments=(
            may("ca_id", ID, "Only certificates of this authority."),
            may("expiring_within", DURATION, "Only those that expire within this time."),
            may("include_revoked", YES_NO, "Also revoked ones.", False),
            *paging(),
        ),
        description="List certificates. Holds no secret value.",
        hints="1010",
        fields=_ROW,
        mask=_NO_KEY,
        container=_ROWS,
    ),
    ToolRecord(
        code="PK5",
        name="scaivault_get_certificate",
        group="pki",
        tool_class="read",
        permission="read",
        route=Route("GET", "/v1/pki/certificates/{certificate_id}"),
        arguments=(
            _CERTIFICATE,
            may("include_pem", YES_NO, "Also the certificate itself and its chain.", True),
        ),
        description="Show a certificate. The result holds its private key, a secret value, where "
        "the role stores keys and this server does not mask them.",
        hints="1010",
        fields=f"{_ROW} certificate ca_chain revoked_at private_key",
        mask=_KEY,
        special="get_certificate",
    ),
    ToolRecord(
        code="PK6",
        name="scaivault_issue_certificate",
        group="pki",
        tool_class="issue",
        permission="issue",
        route=Route(
            "POST", "/v1/pki/issue/{role}", body=("common_name", "alt_names", "ip_sans", "ttl")
        ),
        arguments=(
            need("role", NAME, "Role that says what may be issued."),
            _COMMON_NAME,
            may("alt_names", Many(DNS, 0, 100), "Further DNS names."),
            may("ip_sans", Many(IP, 0, 20), "IP addresses."),
            may("ttl", DURATION, "Life of the certificate; the role's own without."),
        ),
        description="Issue a certificate with a new key (class issue). The result holds the "
        "private key, a secret value that is shown once; where values are masked it is lost.",
        hints="0000",
        fields="id certificate private_key ca_chain serial_number not_after",
        mask=_KEY,
    ),
    ToolRecord(
        code="PK7",
        name="scaivault_revoke_certificate",
        group="pki",
        tool_class="delete",
        permission="delete",
        route=Route("POST", "/v1/pki/certificates/{certificate_id}/revoke", body=("reason",)),
        arguments=(_CERTIFICATE, may("reason", _REASONS, "Why.", "unspecified")),
        description="Revoke a certificate for good (class delete). Holds no secret value.",
        hints="0110",
        fields="id status reason revoked_at",
        is_partial=True,
    ),
    ToolRecord(
        code="PK8",
        name="scaivault_validate_certificate",
        group="pki",
        tool_class="read",
        permission="read",
        route=Route("", ""),
        arguments=(
            may("certificate_id", ID, "Id of a certificate in ScaiVault, or:"),
            may("certificate_pem", Text(0, 32_768), "The certificate itself, without its key."),
            may("hostname", DNS, "Name that it must be valid for."),
            may("at", TIME, "Time that it must be valid at; now without."),
        ),
        description="Validate a certificate by id or PEM: chain, times, revocation, host name. "
        "Holds no secret value.",
        hints="1010",
        fields="valid reasons subject issuer serial_number not_before not_after chain_ok revoked",
        special="validate_certificate",
    ),
    ToolRecord(
        code="PK9",
        name="scaivault_check_expiring_certs",
        group="pki",
        tool_class="read",
        permission="read",
        route=Route(
            "GET", "/v1/pki/certificates", query=("expiring_within", "ca_id", "limit", "cursor")
        ),
        arguments=(
            may("within", DURATION, "Time to look ahead.", "30d"),
            may("ca_id", ID, "Only certificates of this authority."),
            *paging(),
        ),
        description="List certificates that expire soon, with the days that are left. Holds no "
        "secret value.",
        hints="1010",
        fields=f"{_ROW} days_remaining",
        mask=_NO_KEY,
        container=_ROWS,
        special="check_expiring_certs",
    ),
)
