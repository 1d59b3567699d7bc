"""Arguments are read strictly, before anything is sent. Spec: scaivault 1, 10 (B02-B13)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.scaivault.arguments import read_arguments
from scaimcp.scaivault.catalogue import BY_NAME, TOOLS
from scaimcp.scaivault.errors import MARKER, VaultError
from scaimcp.scaivault.records import ToolRecord
from tests.unit.scaivault.samples import SAMPLES, record_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def read(code: str, arguments: Any) -> dict[str, Any]:
    return read_arguments(record_of(code), json.dumps(arguments).encode())


def refused(code: str, arguments: Any) -> VaultError:
    with pytest.raises(VaultError) as caught:
        read(code, arguments)
    return caught.value


def outcome(record: ToolRecord, body: bytes) -> str:
    """Return the code of a refusal, "" where the arguments were taken."""
    try:
        read_arguments(record, body)
    except VaultError as error:
        return error.code
    return ""


def sample(code: str, **changes: Any) -> dict[str, Any]:
    """Return arguments that fit, changed; None takes one away."""
    changed = {**SAMPLES[code], **changes}
    return {name: value for name, value in changed.items() if value is not None}


@pytest.mark.parametrize("record", TOOLS, ids=lambda record: record.code)
def test_the_sample_of_every_tool_fits(record: ToolRecord) -> None:
    complete = read(record.code, SAMPLES[record.code])
    assert (
        complete.items()
        >= {
            name: value
            for name, value in SAMPLES[record.code].items()
            if not isinstance(value, dict)
        }.items()
    )
    for member in record.arguments:
        if member.default is not None:
            assert member.name in complete


@pytest.mark.parametrize("record", TOOLS, ids=lambda record: record.code)
def test_every_required_argument_is_missed(record: ToolRecord) -> None:
    for member in record.arguments:
        if member.is_required:
            error = refused(record.code, sample(record.code, **{member.name: None}))
            assert error.code == "INVALID_ARGUMENTS"
            assert {"field": member.name, "message": "is required"} in error.details


@pytest.mark.parametrize("record", TOOLS, ids=lambda record: record.code)
def test_an_unknown_argument_is_named(record: ToolRecord) -> None:
    error = refused(record.code, {**SAMPLES[record.code], "tenant": "tnt_b"})
    assert {"field": "tenant", "message": "is not known"} in error.details


@pytest.mark.parametrize(
    "body",
    [b"[]", b'"a"', b"1", b"true", b"{", b"{} {}", b"\xff\xfe\x00", b'{"path":"\\ud800"}',
     b'{"path":NaN}', b'{"path":Infinity}', b'{"path":-Infinity}', b'{"path":1e999}',
     b'{"path":"a","path":"b"}', b'{"path":"\xff"}', b'{"data":{"a":1,"a":2}}',
     b"[" * 100_000, b'{"a":' * 40 + b"1" + b"}" * 40, b'{"path":' + b"9" * 5_000 + b"}"],
)  # fmt: skip
def test_what_is_not_one_plain_object_is_refused(body: bytes) -> None:
    with pytest.raises(VaultError) as caught:
        read_arguments(record_of("S1"), body)
    assert caught.value.code == "INVALID_ARGUMENTS"
    assert caught.value.details[0]["field"] == "arguments"


@pytest.mark.parametrize("body", [b"", b"  ", b"null", b" null ", b"{}"])
def test_no_arguments_are_an_empty_object(body: bytes) -> None:
    assert read_arguments(record_of("SU5"), body) == {}


@pytest.mark.parametrize("limit", [0, -1, 1.5, 50.0, "50", True, None, 10**9, 201, [50]])
def test_a_limit_is_an_integer_in_its_bounds(limit: Any) -> None:
    assert refused("S4", {"limit": limit}).details[0]["field"] == "limit"


@pytest.mark.parametrize("version", [0, -1, "1", True, 1.0])
def test_a_version_is_a_positive_integer(version: Any) -> None:
    assert refused("S1", {"path": "app", "version": version}).code == "INVALID_ARGUMENTS"


def test_a_version_has_no_upper_end() -> None:
    assert read("S1", {"path": "app", "version": 10**12})["version"] == 10**12


def nested(depth: int) -> Any:
    return "x" if depth == 0 else {"n": nested(depth - 1)}


@pytest.mark.parametrize(
    "data",
    [{}, [], "x", None, {str(n): 1 for n in range(101)}, {"a": "x" * 65_536}, nested(17)],
    ids=["empty", "array", "text", "null", "101 keys", "64 KiB", "deep"],
)
def test_data_is_an_object_within_limits(data: Any) -> None:
    error = refused("S2", {"path": "app", "data": data})
    assert [detail["field"] for detail in error.details] == ["data"]


def test_data_may_fill_its_limits() -> None:
    assert read("S2", {"path": "app", "data": {str(n): 1 for n in range(100)}})
    assert read("S2", {"path": "app", "data": nested(16)})
    assert read("S2", {"path": "app", "data": {"a": "x" * (65_536 - 8)}})


TABLE: list[tuple[str, dict[str, Any], str]] = [
    *[("AP2", {"policy_id": bad}, "policy_id") for bad in ("..", "a/b", "a%2fb", "a" * 129, "", 7)],
    ("PK6", {"role": "two words"}, "role"),
    ("S1", {"field": ""}, "field"),
    ("S1", {"field": "x" * 65}, "field"),
    ("S1", {"field": 7}, "field"),
    ("RO2", {"name": "x" * 101}, "name"),
    ("SU3", {"delivery": {"type": "polling", "secret": "x" * 15}}, "delivery.secret"),
    *[("RO2", {"interval": bad}, "interval") for bad in ("0d", "1w", "1.5h", "-1h", "9999999d", 9)],
    *[("AU2", {"from": bad}, "from") for bad in ("2026-04-22T14:30:00", "2026-02-31T00:00:00Z")],
    ("AU2", {"from": "2026-05-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}, "from"),
    ("AU2", {"from": "2026-05-01T00:00:00Z", "to": "2026-05-01T00:00:00Z"}, "from"),
    ("AU1", {"from": "2025-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z"}, "from"),
    ("AU4", {"from": "0001-01-01T00:00:00+14:00", "to": "9999-12-31T23:59:59-14:00"}, "from"),
    ("PK1", {"ca_type": "Root"}, "ca_type"),
    ("SU3", {"events": ["secret.exploded"]}, "events[0]"),
    ("AU1", {"action": ["read", "Write"]}, "action[1]"),
    *[("AC4", {"domains": [bad]}, "domains[0]") for bad in
      ("https://a.example", "a.example:443", "a.example/x", "a b", "a" * 64 + ".x", "10.0.0.1")],
    ("AC4", {"domains": []}, "domains"),
    ("AC4", {"domains": ["*.acme.example"], "challenge_type": "http-01"}, "challenge_type"),
    ("AC6", {"domains": ["*.acme.example"], "challenge_type": "tls-alpn-01"}, "challenge_type"),
    ("AC4", {"challenge_type": "dns-01", "dns_provider_id": None}, "dns_provider_id"),
    *[("SU3", {"delivery": {"type": "webhook", "url": bad}}, "delivery.url") for bad in
      ("http://a.example", "https://u:p@a.example", "nothing")],
    ("SU3", {"delivery": {"type": "webhook"}}, "delivery.url"),
    ("SU3", {"delivery": {"type": "polling", "url": "https://a.example"}}, "delivery.url"),
    ("SU3", {"delivery": {"type": "polling", "colour": 1}}, "delivery.colour"),
    ("SU3", {"delivery": []}, "delivery"),
    ("AC2", {"provider": "custom"}, "directory_url"),
    ("AC2", {"directory_url": "https://a.example"}, "directory_url"),
    ("AC2", {"email": "nobody"}, "email"),
    ("S3", {"permanent": True}, "confirm"),
    ("S3", {"permanent": True, "confirm": "app/other"}, "confirm"),
    ("S3", {"permanent": 1}, "permanent"),
    *[("SU3", {"paths": [bad]}, "paths[0]") for bad in
      ("***", "a**", "/app", "/".join("a" * 11), "A", "", 7)],
    ("AP3", {"rules": [{"path_pattern": "/app/**", "permissions": ["read"]}]},
     "rules[0].path_pattern"),
    ("AP3", {"rules": [{"path_pattern": "app/**", "permissions": []}]}, "rules[0].permissions"),
    ("AP3", {"rules": ["app/**"]}, "rules[0]"),
    ("AP3", {"rules": [{"path_pattern": "a", "permissions": ["read"],
                        "conditions": {"ip_ranges": ["10.0.0.1/8"]}}]},
     "rules[0].conditions.ip_ranges[0]"),
    ("SA4", {"name": None}, "name"),
    ("SA6", {"expires_in": "366d"}, "expires_in"),
    ("PK3", {"key_size": 256}, "key_size"),
    ("PK3", {"key_type": "ec", "key_size": 2_048}, "key_size"),
    ("PK3", {"key_size": 1_024}, "key_size"),
    ("PK3", {"key_size": 2_048.0}, "key_size"),
    ("PK3", {"validity_days": 7_301}, "validity_days"),
    ("DY3", {"default_ttl": "25h"}, "default_ttl"),
    ("DY5", {"default_ttl": "2h", "max_ttl": "1h"}, "default_ttl"),
    ("RO2", {"interval": "48h"}, "grace_period"),
    ("RO2", {"warn_before": ["7d", "x"]}, "warn_before[1]"),
    ("PK8", {"certificate_id": None}, "certificate_id"),
    ("PK8", {"certificate_pem": "-----BEGIN CERTIFICATE-----"}, "certificate_id"),
    ("FE3", {"config": {"token": "s.abc"}}, "config"),
    ("FE3", {"config": {"endpoint": "http://a.example"}}, "config.endpoint"),
    ("FE3", {"config": {"endpoint": "https://u:p@a.example"}}, "config.endpoint"),
    ("FE3", {"config": {"endpoint": True}}, "config.endpoint"),
    ("FE3", {"config": {"nested": {"a": 1}}}, "config"),
    ("FE3", {"path_mapping": {"app/**": "a/../b"}}, "path_mapping[0]"),
    ("FE3", {"path_mapping": {"app/**": "a\nb"}}, "path_mapping[0]"),
    ("FE3", {"path_mapping": {"/app": "a"}}, "path_mapping[0]"),
    ("FE3", {"path_mapping": {"app/**": 7}}, "path_mapping[0]"),
    ("FE3", {"path_mapping": {}}, "path_mapping"),
    ("FE3", {"sync_interval": "5m"}, "sync_interval"),
    ("DY3", {"config": {**SAMPLES["DY3"]["config"], "more": [1]}}, "config.more"),
    ("SP3", {"fields": [{"name": "a", "generator": "hex", "config": {"length": [8]}}]},
     "fields[0].config"),
    ("S2", {"metadata": {"a": "x" * 8_192}}, "metadata"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "changes", "field"), TABLE)
def test_a_bad_argument_is_named(code: str, changes: dict[str, Any], field: str) -> None:
    error = refused(code, sample(code, **changes))
    assert error.code == "INVALID_ARGUMENTS"
    assert field in [detail["field"] for detail in error.details]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://admin:hunter2@db/app",
        "postgresql://admin@db/app",
        "postgresql://{{username}}:hunter2@db/app",
        "host=db;user=admin;password=hunter2",
        "password=hunter2 host=db",
        "host=db password = hunter2",
        "Server=db;User Id=sa;Pwd=hunter2",
        "admin:hunter2@tcp(db)/app",
        "postgresql://admin:hunter2/x@db/app",
        "postgresql://admin:hunter2?x@db/app",
        "postgresql://admin:hunter2://x@db/app",
        "postgresql://db/app?p%61ssword=hunter2",
        "postgresql://admin%3Ahunter2%40db/app",
        "mysql://db/app?password=hunter2",
        "postgresql://[::1",
    ],
)
def test_a_connection_with_a_login_is_refused_without_repeating_it(url: str) -> None:
    config = {**SAMPLES["DY3"]["config"], "connection_url": url}
    error = refused("DY3", sample("DY3", config=config))
    assert error.details[0]["field"] == "config.connection_url"
    assert "hunter2" not in error.message + repr(error.details)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://{{username}}:{{password}}@db:5432/app",
        "redis://db:6379",
        "mongodb://{{username}}:{{password}}@a,b/app?replicaSet=x",
        "host=db user={{username}} password={{password}} dbname=app",
        "mysql://db/app?user={{username}}&password={{password}}",
    ],
)
def test_a_connection_with_placeholders_is_taken(url: str) -> None:
    config = {**SAMPLES["DY3"]["config"], "connection_url": url}
    assert read("DY3", sample("DY3", config=config))["config"]["connection_url"] == url


def test_an_engine_that_is_no_database_needs_its_login_only() -> None:
    config = {"region": "eu-west-1", "root_credentials_path": "app/aws-root"}
    assert read("DY3", sample("DY3", type="aws", config=config))["config"] == config
    missing = refused("DY3", sample("DY3", type="aws", config={"region": "eu-west-1"}))
    assert [detail["field"] for detail in missing.details] == ["config.root_credentials_path"]


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "garbage",
        "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n" * 2,
        "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nHUNTER2",
        "-----BEGIN EC PRIVATE KEY-----\nHUNTER2\n",
    ],
)
def test_a_bad_certificate_is_never_repeated(pem: str) -> None:
    error = refused("PK8", {"certificate_pem": pem})
    assert error.details[0]["field"] == "certificate_pem"
    assert "HUNTER2" not in error.message + repr(error.details)


def test_a_span_may_be_a_leap_year_long() -> None:
    assert read("AU1", {"from": "2024-01-01T00:00:00Z", "to": "2025-01-01T00:00:00Z"})


def test_a_wrong_word_is_answered_with_the_right_ones() -> None:
    assert refused("PK1", {"ca_type": "Root"}).details[0]["message"] == (
        "must be one of root, intermediate"
    )


@pytest.mark.parametrize(
    ("code", "changes", "field"),
    [
        ("S1", {"path": "App"}, "path"),
        ("S1", {"path": "app/a,infra/b"}, "path"),
        ("S4", {"prefix": "/app"}, "prefix"),
        ("AU1", {"path_prefix": "a//b"}, "path_prefix"),
        ("DY3", {"config": {**SAMPLES["DY3"]["config"], "root_credentials_path": "../x"}},
         "config.root_credentials_path"),
        ("DY3", {"config": {**SAMPLES["DY3"]["config"], "other_path": "/x"}}, "config.other_path"),
        ("FE3", {"config": {"auth_path": "a b"}}, "config.auth_path"),
        ("FE3", {"config": {"AUTH_PATH": "a b"}}, "config.AUTH_PATH"),
        ("FE3", {"config": {"auth_path": 7}}, "config.auth_path"),
    ],
)  # fmt: skip
def test_a_bad_path_has_a_code_of_its_own(code: str, changes: dict[str, Any], field: str) -> None:
    error = refused(code, sample(code, **changes))
    assert error.code == "INVALID_PATH"
    assert error.message.startswith(f"Argument {field} is not a valid path")


def test_a_list_of_paths_is_no_path() -> None:
    assert refused("S1", {"path": ["app/a", "infra/b"]}).code == "INVALID_ARGUMENTS"


def test_faults_of_shape_come_before_the_marker_and_the_marker_before_paths() -> None:
    assert refused("S2", {"path": MARKER, "data": {}}).code == "INVALID_ARGUMENTS"
    assert refused("S2", {"path": MARKER, "data": {"a": 1}}).code == "MASK_MARKER_REFUSED"


@pytest.mark.parametrize(
    "data",
    [{"p": MARKER}, {"p": {"q": ["x", f"a{MARKER}b"]}}, {MARKER: 1}, {f"{MARKER}1": 1}],
)
def test_a_masked_value_is_not_written_back(data: Any) -> None:
    assert refused("S2", {"path": "app", "data": data}).code == "MASK_MARKER_REFUSED"


def test_five_dots_are_a_value() -> None:
    assert read("S2", {"path": "app", "data": {"p": MARKER[:5]}})


def test_defaults_inside_objects_are_filled_in() -> None:
    complete = read("SU3", sample("SU3", delivery={"type": "polling"}))
    assert complete["delivery"] == {"type": "polling", "buffer_size": 1_000}


def test_permanent_deletion_repeats_the_path() -> None:
    assert read("S3", {"path": "app/db", "permanent": True, "confirm": "app/db"})


def test_many_faults_are_told_at_once_and_names_are_shortened() -> None:
    error = refused("S4", {"limit": 0, "x" * 200: 1, **{f"n{n}": 1 for n in range(40)}})
    assert len(error.details) == 20
    assert {len(detail["field"]) for detail in error.details} <= set(range(65))
    assert "x" * 65 not in error.message


@given(st.sampled_from(TOOLS), st.dictionaries(st.text(max_size=8), JSON, max_size=3), st.data())
def test_no_argument_breaks_the_reading(
    record: ToolRecord, more: dict[str, Any], data: st.DataObject
) -> None:
    arguments = {**SAMPLES[record.code], **more}
    if record.arguments:
        member = data.draw(st.sampled_from(record.arguments))
        arguments[member.name] = data.draw(JSON)
    body = json.dumps(arguments).encode()
    assert outcome(record, body) in {"", "INVALID_ARGUMENTS", "INVALID_PATH", "MASK_MARKER_REFUSED"}


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading(body: bytes) -> None:
    record = BY_NAME["scaivault_read_secret"]
    assert outcome(record, body) in {"INVALID_ARGUMENTS", "INVALID_PATH"}
