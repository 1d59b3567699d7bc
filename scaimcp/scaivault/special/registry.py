"""Procedures of tools that are not one plain request, by the name in their records."""

from __future__ import annotations

from collections.abc import Mapping

from scaimcp.scaivault.job import Procedure
from scaimcp.scaivault.special import (
    acme,
    audit,
    federation,
    fixed,
    leases,
    pki,
    secrets,
    validation,
)

PROCEDURES: Mapping[str, Procedure] = {
    "read_secret": secrets.read_secret,
    "rotate_secret": secrets.rotate_secret,
    "check_expiration": secrets.check_expiration,
    "preview": fixed.preview,
    "policy_types": fixed.policy_types,
    "event_types": fixed.event_types,
    "get_ca": pki.get_ca,
    "get_certificate": pki.get_certificate,
    "check_expiring_certs": pki.check_expiring_certs,
    "validate_certificate": validation.validate_certificate,
    "request_certificate": acme.request_certificate,
    "check_expiring_leases": leases.check_expiring_leases,
    "proxy_read": federation.proxy_read,
    "secret_trail": audit.secret_trail,
    "find_unauthorized_access": audit.find_unauthorized_access,
}
