"""Secret values become markers. Spec: scaivault 2.5, 2.7 (G42-G51)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scaimcp.scaivault.catalogue import TOOLS
from scaimcp.scaivault.errors import MARKER
from scaimcp.scaivault.guards import Guards
from scaimcp.scaivault.masking import drop, fields_of, masked_json, sweep, sweep_faults
from scaimcp.scaivault.output import render
from scaimcp.scaivault.records import Mask, ToolRecord
from scaimcp.scaivault.secret_names import holds_private_key, names_secret
from tests.unit.scaivault.samples import record_of

FREE, MASKING = Guards(), Guards(mask_values=True)
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\n"


def masked(code: str, result: dict[str, Any]) -> dict[str, Any]:
    shown = masked_json(record_of(code), result)[0]
    assert shown.pop("masked") is True
    return shown


def test_the_marker_is_six_bullets() -> None:
    assert MARKER == "••••••"


def test_every_value_of_a_secret_is_the_same_marker() -> None:
    data: dict[str, Any] = {
        "a": "x",
        "b": "",
        "c": None,
        "d": 7,
        "e": {},
        "f": [],
        "g": True,
        "h": {"i": "x"},
    }
    shown = masked("S1", {"path": "app/db", "data": data})
    assert shown == {"path": "app/db", "data": dict.fromkeys("abcdefgh", MARKER)}


def test_nested_names_go_and_names_that_may_hold_values_are_numbered() -> None:
    data = {"ok.A-1_": {"inner": "x"}, "k" * 70: 1, "two words": 2, "": 3, "k" * 64: 4}
    shown = masked("S1", {"data": data})["data"]
    assert list(shown) == ["ok.A-1_", f"{MARKER}1", f"{MARKER}2", f"{MARKER}3", "k" * 64]
    assert set(shown.values()) == {MARKER}


@pytest.mark.parametrize("data", ["hunter2", ["hunter2"], 7, None, True, [{"a": "hunter2"}]])
def test_data_that_is_no_object_is_one_marker(data: Any) -> None:
    assert masked("S1", {"path": "a", "data": data}) == {"path": "a", "data": MARKER}


@pytest.mark.parametrize("code", ["S1", "FE6"])
def test_a_field_that_is_not_listed_is_masked(code: str) -> None:
    shown = masked(code, {"path": "a", "version": 3, "plaintext": "hunter2", "odd key!": 1})
    assert shown == {"path": "a", "version": 3, "plaintext": MARKER, f"{MARKER}1": MARKER}


@pytest.mark.parametrize("code", ["PK5", "PK6"])
def test_a_certificate_stays_and_its_key_goes(code: str) -> None:
    public = {"id": "crt_1", "certificate": CERTIFICATE, "ca_chain": [CERTIFICATE], "not_after": 1}
    shown = masked(code, {**public, "private_key": KEY})
    assert shown == {**public, "private_key": MARKER}


@pytest.mark.parametrize("private", [None, "", 7, {"pem": KEY}])
def test_a_key_is_masked_whatever_it_is(private: Any) -> None:
    assert masked("PK6", {"private_key": private}) == {"private_key": MARKER}


def test_a_bundle_with_a_key_in_it_is_masked_whole() -> None:
    shown = masked("PK6", {"certificate": CERTIFICATE + KEY, "ca_chain": [CERTIFICATE, KEY]})
    assert shown == {"certificate": MARKER, "ca_chain": [CERTIFICATE, MARKER]}


def test_a_new_credential_is_masked_and_its_lease_shown() -> None:
    lease = {"lease_id": "l", "expires_at": "2026-01-01T00:00:00Z", "renewable": True}
    credentials = {"username": "u", "password": "hunter2", "connection_url": "x", "extra": 1}
    shown = masked("DY6", {**lease, "credentials": credentials})
    assert shown == {**lease, "credentials": dict.fromkeys(credentials, MARKER)}


def test_previewed_values_are_masked() -> None:
    shown = masked("SP4", {"policy_id": "p", "values": {"password": "x"}, "stored": False})
    assert shown == {"policy_id": "p", "values": {"password": MARKER}, "stored": False}


def test_a_new_api_key_is_masked_and_its_prefix_shown() -> None:
    shown = masked("SA6", {"id": "k", "prefix": "scai_", "key": "hunter2", "scopes": ["a"]})
    assert shown == {"id": "k", "prefix": "scai_", "key": MARKER, "scopes": ["a"]}


def test_static_values_of_a_policy_are_masked_and_other_settings_swept() -> None:
    fields = [
        {"name": "a", "generator": "static", "config": {"value": "hunter2", "length": 8}},
        {"name": "b", "generator": "hex", "config": {"password": "hunter2", "n": {"token": 1}}},
        {"name": "c", "generator": "hex", "config": "hunter2"},
        {"name": "d", "value": "hunter2"},
        "hunter2",
    ]
    shown = masked("SP2", {"id": "p", "fields": fields})
    assert shown["fields"] == [
        {"name": "a", "generator": "static", "config": {"length": 8, "value": MARKER}},
        {"name": "b", "generator": "hex", "config": {"password": MARKER, "n": {"token": MARKER}}},
        {"name": "c", "generator": "hex", "config": MARKER},
        {"name": "d", "value": MARKER},
        MARKER,
    ]


def test_a_list_of_policies_shows_no_settings() -> None:
    field = {"name": "a", "generator": "static", "config": {"value": "hunter2"}}
    shown = masked("SP1", {"items": [{"id": "p", "fields": [field]}], "has_more": False})
    assert shown["items"][0]["fields"] == [{"name": "a", "generator": "static", "config": MARKER}]


def test_an_engine_shows_its_safe_settings_only() -> None:
    config = {
        "plugin": "redis",
        "region": "eu",
        "connection_url": "hunter2",
        "root_credentials_path": "app/root",
        "list_path": ["hunter2"],
        "object_path": {"a": "hunter2"},
        "key_path": KEY,
        "UPPER_PATH": "hunter2",
        "max": 7,
    }
    assert masked("DY2", {"id": "e", "config": config})["config"] == {
        "plugin": "redis",
        "region": "eu",
        "connection_url": MARKER,
        "root_credentials_path": "app/root",
        "list_path": MARKER,
        "object_path": MARKER,
        "key_path": MARKER,
        "UPPER_PATH": MARKER,
        "max": MARKER,
    }


def test_a_backend_shows_its_safe_settings_only() -> None:
    safe = {"endpoint": "https://v", "region": "eu", "auth_method": "jwt", "tls_verify": True}
    shown = masked("FE2", {"config": {**safe, "plugin": "x"}, "path_mapping": {"app/**": "x"}})
    assert shown == {"config": {**safe, "plugin": MARKER}, "path_mapping": {"app/**": "x"}}


@pytest.mark.parametrize("code", ["FE1", "FE2", "FE3"])
def test_a_mapping_goes_from_path_to_path_and_names_no_secret(code: str) -> None:
    mapping = {"external/secrets/**": "secret/data/**", "tokens/*": "t", "a": {"password": "x"}}
    shown = {**mapping, "a": MARKER}
    if code == "FE1":
        row = masked(code, {"items": [{"path_mapping": mapping}], "has_more": False})["items"][0]
        assert row == {"path_mapping": shown}
    else:
        assert masked(code, {"path_mapping": mapping}) == {"path_mapping": shown}


def test_metadata_is_swept() -> None:
    metadata = {"owner": "ops", "db_password": "hunter2", "token_count": 3, "pem": KEY, "n": [1]}
    assert masked("S1", {"metadata": metadata})["metadata"] == {
        "owner": "ops",
        "db_password": MARKER,
        "token_count": 3,
        "pem": MARKER,
        "n": [1],
    }


def test_a_listed_value_that_turns_out_to_be_an_object_is_masked() -> None:
    shown = masked("S1", {"version": {"plaintext": "hunter2"}, "path": [{"x": "hunter2"}, "a"]})
    assert shown == {"version": {"plaintext": MARKER}, "path": [{"x": MARKER}, "a"]}


def test_listed_members_are_the_only_ones() -> None:
    delivery = {"type": "webhook", "url": "https://a.example", "password": "hunter2"}
    shown = masked("SU2", {"delivery": delivery, "filters": {"token": "hunter2", "a": 1}})
    assert shown["delivery"] == {**delivery, "password": MARKER}
    assert shown["filters"] == {"token": MARKER, "a": 1}
    assert masked("SU2", {"delivery": "hunter2"}) == {"delivery": MARKER}
    assert masked("SU2", {"delivery": None}) == {"delivery": None}


def test_challenges_show_their_public_token() -> None:
    challenge = {"id": "c", "token": "public", "record_value": "public"}
    assert masked("AC4", {"challenges": [challenge]}) == {"challenges": [challenge]}


def test_pages_keep_what_stands_beside_their_rows() -> None:
    page = {"items": [{"path": "a", "new": 1}], "has_more": True, "next_cursor": "c"}
    assert masked("S4", page) == {**page, "items": [{"path": "a", "new": MARKER}]}


def test_audit_is_swept() -> None:
    extra = {"authorization": "Bearer x", "nested": [{"api_key": 1, "secret_path": "app/x"}]}
    row = {"id": "1", "secret_path": "app/x", "extra_data": extra, "user_agent": KEY}
    assert masked("AU1", {"items": [row], "has_more": False})["items"] == [
        {
            "id": "1",
            "secret_path": "app/x",
            "extra_data": {
                "authorization": MARKER,
                "nested": [{"api_key": MARKER, "secret_path": "app/x"}],
            },
            "user_agent": MARKER,
        }
    ]


@pytest.mark.parametrize("code", ["SP5", "SU5"])
def test_tables_of_this_program_stay(code: str) -> None:
    table = {"types": {"password": ["password"]}}
    assert masked(code, table) == table


def test_errors_are_swept() -> None:
    details = [{"field": "data.password", "message": KEY}, {"password": "hunter2"}]
    assert sweep(details) == [
        {"field": "data.password", "message": MARKER},
        {"password": MARKER},
    ]
    assert sweep({KEY: 1}) == {MARKER: 1}
    assert sweep("plain") == "plain"


def test_what_is_nested_out_of_sight_is_masked() -> None:
    value: Any = "hunter2"
    for _ in range(500):
        value = [value]
    assert "hunter2" not in json.dumps(sweep(value))


@pytest.mark.parametrize(
    "key",
    ["password", "DB_PASSWD", "clientSecret", "token", "private_key", "key_pem", "API_KEY",
     "credentials", "connection_url", "Authorization", "secret_value", "tokens"],
)  # fmt: skip
def test_a_key_is_named_like_a_secret(key: str) -> None:
    assert names_secret(key)


@pytest.mark.parametrize(
    "key",
    ["secret_path", "token_id", "password_changed_at", "secret_type", "token_count", "SECRET_ID",
     "certificate", "name", "key", "pass", ""],
)  # fmt: skip
def test_a_key_is_not_named_like_a_secret(key: str) -> None:
    assert not names_secret(key)


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
def test_every_private_key_is_known(kind: str) -> None:
    assert holds_private_key(f"x -----BEGIN {kind}PRIVATE KEY-----\nabc")
    assert not holds_private_key(CERTIFICATE)


# -- fields that are never returned --------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "name"),
    [("S4", "data"), ("S5", "data"), ("DY7", "credentials"), ("DY10", "credentials"),
     ("SA1", "keys"), ("SA7", "key"), ("PK1", "private_key"), ("AC1", "account_key"),
     ("DY1", "config"), ("FE1", "config")],
)  # fmt: skip
@pytest.mark.parametrize("guards", [FREE, MASKING])
def test_rows_lose_what_is_never_returned(code: str, name: str, guards: Guards) -> None:
    page = {"items": [{"id": "1", name: {"a": "hunter2"}}], "has_more": False}
    shown, _ = render(record_of(code), page, guards)
    assert name not in shown["items"][0]
    assert "hunter2" not in json.dumps(shown)


@pytest.mark.parametrize("record", [r for r in TOOLS if r.mask.dropped], ids=lambda r: r.code)
def test_what_is_dropped_goes_at_any_depth(record: ToolRecord) -> None:
    (where,) = record.mask.dropped
    holder, _, name = where.rpartition(".")
    inner: Any = {"a": [{name: "hunter2"}], name: "hunter2"}
    result = {holder: inner} if holder else {"id": 1, "deep": inner, name: "hunter2"}
    assert "hunter2" not in json.dumps(drop(record.mask, result))


def test_names_that_people_choose_are_not_dropped() -> None:
    row = {"path": "a", "metadata": {"data": "x"}, "data": 1}
    assert drop(Mask(dropped=("data",)), row) == {"path": "a", "metadata": {"data": "x"}}
    backend = {"path_mapping": {"config": "x"}, "config": 1}
    assert drop(Mask(dropped=("config",)), backend) == {"path_mapping": {"config": "x"}}


def test_a_secret_of_a_webhook_goes_and_other_secrets_stay() -> None:
    row = {"delivery": {"secret": "x", "url": "u"}, "secret": 1}
    assert drop(Mask(dropped=("delivery.secret",)), row) == {"delivery": {"url": "u"}, "secret": 1}


# -- the notation of fields ----------------------------------------------------------------------


def test_the_notation_nests() -> None:
    tree = fields_of("a b[c d{e} f] g", Mask())
    assert tree.children is not None
    assert list(tree.children) == ["a", "b", "g"]
    inner = tree.children["b"].children
    assert inner is not None
    assert list(inner) == ["c", "d", "f"]
    assert list(inner["d"].children or {}) == ["e"]


@pytest.mark.parametrize("record", TOOLS, ids=lambda record: record.code)
def test_every_record_has_a_tree(record: ToolRecord) -> None:
    tree = fields_of(record.fields, record.mask)
    assert tree.children
    assert fields_of(record.fields, record.mask) is tree


@pytest.mark.parametrize(
    ("detail", "shown"),
    [
        ({"field": "data.password", "message": "not x"}, MARKER),
        ({"field": "limit", "message": "not x"}, "not x"),
        ({"message": "not x"}, "not x"),
        ({"message": "-----BEGIN PRIVATE KEY-----"}, MARKER),
    ],
)
def test_what_is_said_of_a_secret_field_may_quote_it(detail: dict[str, str], shown: str) -> None:
    assert sweep_faults([detail]) == [{**detail, "message": shown}]
    assert sweep_faults([{"field": "password"}]) == [{"field": "password"}]
