"""Secret values at every place of the stand-in vault where one can be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.vault.federation import REMOTE_VALUES
from scaimcp.dev.vault.fixture import SECRETS
from scaimcp.dev.vault.state import Tenant
from scaimcp.scaivault.errors import MARKER
from scaimcp.scaivault.records import ToolRecord
from tests.integration.scaivault.desk import Desk
from tests.integration.scaivault.markers import Markers
from tests.integration.scaivault.world import LOGIN, furnish

TYPES = ("kv", "json", "certificate", "ssh_key", "api_key")


def tenant_of(desk: Desk) -> Tenant:
    return desk.served.vault.tenant(desk.tenant_id, desk.partner_id)


async def plant(desk: Desk, markers: Markers) -> dict[str, str]:
    """Empty the vault and fill it anew; return the ids of what was made."""
    desk.served.vault.reset()
    ids = await furnish(desk)
    markers.learn("bearer", desk.bearer)
    for path, data, _ in SECRETS:
        markers.learn(f"seeded {path}", *(text for key, text in data.items() if "user" not in key))
    for data in REMOTE_VALUES.values():
        markers.learn("remote value", *(value for key, value in data.items() if key != "username"))
    await _secrets(desk, markers)
    fields = [
        {"name": "p", "generator": "static", "config": {"value": markers.text("static value")}}
    ]
    new = {"name": "leaky", "policy_type": "custom", "fields": fields}
    ids["secret_policy"] = (await desk.rest("POST", "/v1/secret-policies", new))["id"]
    one = await desk.rest("GET", f"/v1/pki/certificates/{ids['certificate']}")
    markers.learn("stored private key", one["private_key"])
    keys = f"/v1/identity/service-accounts/{ids['account']}/api-keys"
    made = await desk.rest("POST", keys, {"name": "leaky", "expires_in": "30d"})
    markers.learn("API key", made["key"])
    lease = await desk.rest("POST", "/v1/dynamic/engines/pg/creds/ro", {})
    markers.learn("lease", lease["credentials"]["password"])
    _settings(tenant_of(desk), markers, ids)
    _audit(desk, markers)
    desk.forget()
    return ids


async def _secrets(desk: Desk, markers: Markers) -> None:
    metadata = {"db_password": markers.text("metadata"), "note": markers.pem("PEM in metadata")}
    for kind in TYPES:
        data = {"value": markers.text(f"{kind} data"), "pem": markers.pem(f"{kind} PEM")}
        await desk.secret(f"app/of-{kind}", data, secret_type=kind)
    values: dict[str, Any] = {
        "user": markers.text("data"),
        "nested": {"inner": [markers.text("nested data")]},
        markers.core("name of a key") + "k" * 64: 1,
    }
    for _ in range(2):
        await desk.secret("app/db", values, metadata=metadata, options={"expires_in": "5d"})


def _settings(tenant: Tenant, markers: Markers, ids: dict[str, str]) -> None:
    """Put values where the vault's own rules would not let them in."""
    tenant.table("engines")["pg"]["config"] |= {
        "connection_url": f"postgresql://root:{markers.core('engine URL')}@db/app",
        "opaque": markers.text("engine setting"),
    }
    for name in ("proxy", "copied"):
        config = {"token": markers.text("backend token"), "opaque": markers.text("backend setting")}
        tenant.table("backends")[ids[name]]["config"] |= config
    delivery = tenant.table("subscriptions")[ids["subscription"]]["delivery"]
    delivery["secret"] = markers.text("delivery secret")


def _audit(desk: Desk, markers: Markers) -> None:
    audit = tenant_of(desk).audit
    noted = {
        "new_password": markers.text("extra_data"),
        "inner": [{"api_key": markers.text("nested extra_data")}],
        "body": markers.pem("PEM in extra_data"),
    }
    row = {**audit[-1], "timestamp": iso(desk.served.vault.clock.now()), "extra_data": noted}
    audit.append({**row, "secret_path": "app/db", "success": False})


def strange(record: ToolRecord, markers: Markers) -> dict[str, Any]:
    """Return members that the vault might add one day to any answer for a tool.

    Where a tool returns secrets no name is known to be harmless; elsewhere names tell.
    """
    named: dict[str, Any] = {
        "some_password": markers.text("unknown password"),
        "api_token": {"deep": [markers.text("unknown token")]},
        "note": markers.pem("PEM in an unknown field"),
        "description": f"see {markers.pem('PEM in a listed field')}",
        "metadata": {"old_secret": [markers.text("given metadata")]},
        "extra_data": {"Authorization": markers.text("given extra_data")},
    }
    if not record.mask.is_strict:
        return named
    keys = ("data", "credentials", "values", "config")
    return {
        **named,
        **{key: {"value": markers.text(f"given {key}")} for key in keys},
        "plaintext": markers.text("unknown field"),
        "key": markers.text("given key"),
        "keys": [markers.text("given keys")],
        "private_key": markers.pem("given private key"),
        "account_key": markers.pem("given account key"),
    }


def failures(markers: Markers, bearer: str) -> list[dict[str, Any]]:
    """Return ways in which the vault may refuse or answer nonsense, with values in each."""
    pem, text = markers.pem("PEM in an error"), markers.text("error details")
    details = {"password": text, "inner": [{"api_key": text}], "note": pem}
    fields = {"password": f"not {text}"}
    listed = [{"field": "data.secret", "message": f"not {text}"}]
    return [
        {"status": 409, "code": "conflict", "message": f"Was {pem}", "details": details},
        {"status": 422, "code": "validation_error", "details": {"fields": fields}},
        {"status": 422, "code": "validation_error", "details": {"fields": listed, **details}},
        {"status": 403, "code": "access_denied", "message": f"Not for {bearer}."},
        {"status": 400, "message": text},
        {"redirect": f"http://127.0.0.1:9/{markers.core('redirect')}"},
        {"answer": text},
        {"answer": [text]},
        {"extra": {"path": f"app/{markers.core('path of another').lower()}", "data_token": text}},
        {"body": "cut", "extra": {"data_token": text}},
    ]


def outages(markers: Markers) -> list[dict[str, Any]]:
    """Return ways in which the vault may break down; reads are tried again, so these take time."""
    pem, text = markers.pem("PEM in an outage"), markers.text("details of an outage")
    said = {"message": f"Was {pem}", "details": {"token": text}}
    return [
        {"status": 500, "code": "internal_error", **said},
        {"status": 503, "code": "service_unavailable", "retry_after": "0", **said},
        {"status": 502, "message": text},
        {"body": "drop", "extra": {"data_token": text}},
        {"body": "html"},
        {"body": "empty"},
    ]


def secret_arguments(markers: Markers) -> list[tuple[str, Any]]:
    """Return calls that hold a value the caller has written; most are refused, for many reasons."""
    text, pem = markers.text("written"), markers.pem("written key")
    core = markers.core("written login")
    path, data = "app/written", {"password": text, "deep": {"inner": [text]}, "pem": pem}
    static = {"name": "p", "generator": "static", "config": {"value": text}}
    policy = {"name": "written", "policy_type": "custom", "fields": [static]}
    hook = {"type": "webhook", "url": "https://hooks.example.com/x", "secret": text}
    watched = {"name": "written", "paths": ["app/**"], "events": ["secret.rotated"]}
    engine = {
        "plugin": "postgresql",
        "connection_url": "postgresql://{{username}}:{{password}}@db/app",
        "root_credentials_path": LOGIN,
    }
    named = {"name": "written", "type": "database"}
    backend = {
        "name": "written",
        "type": "hashicorp-vault",
        "mode": "proxy",
        "path_mapping": {"external/written/**": "secret/**"},
    }
    login = f"postgresql://root:{core}@db/app"
    block = f"-----BEGIN CERTIFICATE-----\n{core}\n-----END CERTIFICATE-----\n"
    return [
        ("write_secret", {"path": path, "data": data}),
        ("write_secret", {"path": path, "data": {"value": text}, "secret_type": "api_key"}),
        ("write_secret", {"path": f"/{path}", "data": data}),
        ("write_secret", {"path": path, "data": text}),
        ("write_secret", {"path": path, "data": [data]}),
        ("write_secret", {"path": path, "data": {**data, "long": text * 4_000}}),
        ("write_secret", {"path": path, "data": {"value": f"{text}{MARKER}"}}),
        ("write_secret", {"path": path, "data": data, "expires_in": text}),
        ("write_secret", {"path": path, "data": data, "secret_type": text}),
        ("write_secret", [data]),
        ("create_secret_policy", policy),
        ("create_secret_policy", {**policy, "policy_type": text}),
        ("create_secret_policy", {**policy, "fields": [{**static, "generator": text}]}),
        ("create_subscription", {**watched, "delivery": hook}),
        ("create_subscription", {**watched, "delivery": {**hook, "secret": text * 20}}),
        ("create_subscription", {**watched, "delivery": {**hook, "url": f"https://a:{core}@b/"}}),
        ("create_dynamic_engine", {**named, "config": {**engine, "opaque": text}}),
        ("create_dynamic_engine", {**named, "config": {**engine, "connection_url": login}}),
        ("create_dynamic_engine", {**named, "config": {**engine, "opaque": [text]}}),
        ("create_federation_backend", {**backend, "config": {"opaque": text}}),
        ("create_federation_backend", {**backend, "config": {"token": text}}),
        ("create_federation_backend", {**backend, "config": {"endpoint": login}}),
        ("validate_certificate", {"certificate_pem": pem}),
        ("validate_certificate", {"certificate_pem": block}),
        ("validate_certificate", {"certificate_pem": block, "hostname": text}),
    ]


def echoes(markers: Markers, arguments: Any) -> list[dict[str, Any]]:
    """Return refusals in which the vault repeats what it was given."""
    given = json.dumps(arguments)
    values = (markers.text("written"), markers.core("written key"))
    return [
        refusal
        for value in values
        if json.dumps(value)[1:-1] in given
        for refusal in _repeating(value)
    ]


def _repeating(value: str) -> Iterator[dict[str, Any]]:
    for said in (value, json.dumps(value), f"'{value}' is too weak", f"{value}, {value}"):
        yield {"status": 400, "code": "invalid_request", "message": said}
    listed = [{"field": "data.value", "message": f"not {value}"}]
    told: tuple[Any, ...] = (listed, {"data.value": f"not {value}"}, {"value": [value]})
    for fields in told:
        yield {"status": 422, "code": "validation_error", "details": {"fields": fields}}
    details = {"given": value, "all": [{"value": value}]}
    yield {"status": 409, "code": "conflict", "details": details}
