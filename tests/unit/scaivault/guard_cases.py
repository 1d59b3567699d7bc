"""The contract's table of guard cases, as far as they need no network. Spec: scaivault 2.7.

A call is judged as `verdict` of test_guards does it: "passes" or the code of the refusal.
"""

from __future__ import annotations

from typing import Any

import msgspec

PASS, DENIED, INVALID_PATH = "passes", "PATH_DENIED", "INVALID_PATH"
INVALID = "INVALID_ARGUMENTS"


class Case(msgspec.Struct, frozen=True):
    """One call under one environment; names are without ``SCAIVAULT_``."""

    number: str
    environment: dict[str, str]
    code: str
    arguments: dict[str, Any]
    expected: str


def _reads(number: str, environment: dict[str, str], **paths: str) -> list[Case]:
    """Return reads of secrets; `paths` are verdicts and blank-separated paths."""
    return [
        Case(number, environment, "S1", {"path": path}, verdict)
        for verdict, group in paths.items()
        for path in group.split()
    ]


def _each(
    number: str, environment: dict[str, str], code: str, expected: str, *calls: dict[str, Any]
) -> list[Case]:
    return [Case(number, environment, code, call, expected) for call in calls]


APP = {"ALLOWED_PATHS": "app"}
ROOT = {"ALLOWED_PATHS": "app", "DENIED_PATHS": "app/root"}
INFRA = {"DENIED_PATHS": "infra"}


def _rules(*globs: str) -> dict[str, Any]:
    rules = [{"path_pattern": glob, "permissions": ["read"]} for glob in globs]
    return {"name": "p", "rules": rules}


def _engine(path: str) -> dict[str, Any]:
    config = {"plugin": "redis", "connection_url": "redis://db", "root_credentials_path": path}
    return {"name": "e", "type": "database", "config": config}


def _backend(glob: str, path: str) -> dict[str, Any]:
    return {
        "name": "b",
        "type": "hashicorp-vault",
        "config": {"auth_config_path": path},
        "path_mapping": {glob: "secret/x"},
        "mode": "proxy",
    }


def _subscription(*globs: str) -> dict[str, Any]:
    return {
        "name": "s",
        "paths": list(globs),
        "events": ["secret.rotated"],
        "delivery": {"type": "polling"},
    }


CASES: list[Case] = [
    *_reads("G05", APP, passes="app/db app", PATH_DENIED="app2/db application ap"),
    *_reads(
        "G05",
        {"ALLOWED_PATHS": "app/"},
        passes="app/db app",
        PATH_DENIED="app2/db application ap",
    ),
    *_reads("G06", {"ALLOWED_PATHS": "app, shared"}, passes="shared/x", PATH_DENIED="share/x"),
    *_reads("G07", ROOT, PATH_DENIED="app/root app/root/k", passes="app/rooted"),
    *_reads(
        "G08", {"ALLOWED_PATHS": "app/root", "DENIED_PATHS": "app"}, PATH_DENIED="app/root/k app"
    ),
    *_reads("G09", INFRA, PATH_DENIED="infra/db infra", passes="infrared/x"),
    *_reads("G10", APP, INVALID_PATH="app/../infra/db app/./db app//db /app/db app/db/"),
    *_reads("G11", APP, INVALID_PATH="app/%2e%2e/infra app%2Fdb app/%252e%252e/x"),
    *_reads("G12", INFRA, INVALID_PATH="INFRA/db Infra/db"),
    *_reads("G13", INFRA, INVALID_PATH="\uff49nfra/db \u0456nfra/db infra\u2215db"),
    *_each(
        "G14",
        {},
        "S1",
        INVALID_PATH,
        {"path": "app/db\n"},
        {"path": "app/db\x00"},
        {"path": " app/db"},
        {"path": "app/\u202edb"},
    ),
    *_reads("G15", {}, INVALID_PATH="app/* ** app/d? app/db?version=1 app/db#x app/db;v app\\db"),
    Case("G16", {"DENIED_PATHS": "app/db"}, "S5", {"path": "app"}, PASS),
    *_reads("G16", {"DENIED_PATHS": "app/db"}, INVALID_PATH="app/versions app/db/rotate"),
    Case("G17", APP, "S1", {"path": ["app/a", "infra/b"]}, INVALID),
    *_reads("G17", APP, INVALID_PATH="app/a,infra/b"),
    *_reads("G18", {}, INVALID_PATH="/".join("a" * 11) + " " + "a" * 513),
    Case("G18", {}, "S1", {"path": ""}, INVALID_PATH),
    Case("G19", APP, "S4", {}, PASS),
    *_each("G19", APP, "S4", DENIED, {"prefix": "infra"}, {"prefix": "ap"}),
    Case("G20", {"ALLOWED_PATHS": "app/web,app/api"}, "S4", {"prefix": "app"}, PASS),
    Case("G21", {"DENIED_PATHS": "app/root"}, "S4", {"prefix": "app"}, PASS),
    Case("G21", {"DENIED_PATHS": "app/root"}, "S4", {"prefix": "app/root"}, DENIED),
    Case("G24", APP, "S7", {}, PASS),
    Case("G24", APP, "RO3", {}, PASS),
    Case("G25", APP, "FE6", {"backend_id": "fb_1", "path": "external/other"}, DENIED),
    *_each("G26", APP, "AP3", PASS, _rules("app/**"), _rules("app/*/db")),
    Case("G27", ROOT, "AP3", _rules("app/**"), DENIED),
    Case("G27", ROOT, "AP3", _rules("app/web/**"), PASS),
    *_each("G28", APP, "AP3", DENIED, _rules("**"), _rules("*/db"), _rules("ap?/db")),
    Case("G28", APP, "AP3", _rules("/app/**"), INVALID),
    Case("G28", APP, "AP3", _rules("app/**", "infra/**"), DENIED),
    Case(
        "G30",
        APP,
        "AP4",
        {"identity_id": "sa:a", "path": "infra/db", "permission": "read"},
        DENIED,
    ),
    Case("G31", APP, "DY3", _engine("infra/pg/root"), DENIED),
    Case("G31", APP, "DY3", _engine("app/pg/root"), PASS),
    Case("G32", APP, "FE3", _backend("infra/**", "app/v"), DENIED),
    Case("G32", APP, "FE3", _backend("app/**", "infra/v"), DENIED),
    Case("G32", APP, "FE3", _backend("app/**", "app/v"), PASS),
    Case("G34", APP, "SU3", _subscription("app/**", "infra/**"), DENIED),
    Case("G34", APP, "SU3", _subscription("app/**"), PASS),
    Case("G35", APP, "AU1", {"path_prefix": "infra"}, DENIED),
    Case("G35", APP, "AU1", {}, PASS),
    Case("G35", APP, "AU4", {"path_prefix": "infra"}, DENIED),
    Case("G36", APP, "AU3", {"path": "infra/db"}, DENIED),
    Case("G36", APP, "AU2", {}, PASS),
]
