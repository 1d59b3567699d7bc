"""Arguments that fit, for every tool."""

from __future__ import annotations

from typing import Any

from scaimcp.scaivault.catalogue import TOOLS
from scaimcp.scaivault.records import ToolRecord

_PATH = {"path": "app/db"}
_ACCOUNT = {"service_account_id": "sa_1"}
_ORDER = {"account_id": "acc_1", "domains": ["a.example"], "challenge_type": "http-01"}
_ENGINE = {"engine": "pg"}
_CONFIG = {
    "plugin": "postgresql",
    "connection_url": "postgresql://{{username}}:{{password}}@db/app",
    "root_credentials_path": "app/pg/root",
}
SAMPLES: dict[str, dict[str, Any]] = {record.code: {} for record in TOOLS} | {
    "S1": _PATH,
    "S2": {**_PATH, "data": {"password": "x"}},
    "S3": _PATH,
    "S5": _PATH,
    "S6": _PATH,
    "SP2": {"policy_id": "sp_1"},
    "SP3": {
        "name": "Passwords",
        "policy_type": "password",
        "fields": [{"name": "password", "generator": "random", "config": {"length": 20}}],
    },
    "SP4": {"policy_id": "sp_1"},
    "AP2": {"policy_id": "pol_1"},
    "AP3": {"name": "App", "rules": [{"path_pattern": "app/**", "permissions": ["read"]}]},
    "AP4": {"identity_id": "sa:runner", **_PATH, "permission": "read"},
    "RO2": {"name": "Quarterly", "interval": "90d"},
    "SA2": _ACCOUNT,
    "SA3": {"name": "runner"},
    "SA4": {**_ACCOUNT, "name": "runner"},
    "SA5": _ACCOUNT,
    "SA6": {**_ACCOUNT, "name": "ci"},
    "SA7": _ACCOUNT,
    "SA8": {**_ACCOUNT, "key_id": "key_1"},
    "PK2": {"ca_id": "ca_1"},
    "PK3": {"name": "root", "common_name": "Acme Root"},
    "PK5": {"certificate_id": "crt_1"},
    "PK6": {"role": "web", "common_name": "a.example"},
    "PK7": {"certificate_id": "crt_1"},
    "PK8": {"certificate_id": "crt_1"},
    "AC2": {"name": "le", "provider": "letsencrypt", "email": "ops@acme.example"},
    "AC4": _ORDER,
    "AC5": {"order_id": "ord_1", "challenge_id": "ch_1"},
    "AC6": _ORDER,
    "DY2": _ENGINE,
    "DY3": {"name": "pg", "type": "database", "config": _CONFIG},
    "DY4": _ENGINE,
    "DY5": {**_ENGINE, "name": "reader", "creation_statements": ["CREATE ROLE x"]},
    "DY6": {**_ENGINE, "role": "reader"},
    "DY8": {"lease_id": "lease_1"},
    "DY9": {"lease_id": "lease_1"},
    "FE2": {"backend_id": "fb_1"},
    "FE3": {
        "name": "hv",
        "type": "hashicorp-vault",
        "config": {"endpoint": "https://vault.example", "auth_path": "app/vault"},
        "path_mapping": {"app/**": "secret/{path}"},
        "mode": "proxy",
    },
    "FE4": {"backend_id": "fb_1"},
    "FE5": {"backend_id": "fb_1"},
    "FE6": {"backend_id": "fb_1", **_PATH},
    "SU2": {"subscription_id": "sub_1"},
    "SU3": {
        "name": "App",
        "paths": ["app/**"],
        "events": ["secret.rotated"],
        "delivery": {"type": "polling"},
    },
    "SU4": {"subscription_id": "sub_1"},
    "AU3": _PATH,
}


def record_of(code: str) -> ToolRecord:
    """Return the tool with a number of the contract."""
    return next(record for record in TOOLS if record.code == code)
