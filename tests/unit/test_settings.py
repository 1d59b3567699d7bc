"""Settings: every row, what stops the start, what is ignored. Spec: register, Settings."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp import settings as module
from scaimcp.errors import SettingsError
from scaimcp.settings import TABLE, Settings, load, require
from scaimcp.types import Secret

KEY = bytes(range(32))
KEYS = base64.b64encode(KEY).decode()
SECRETS = {
    "DATABASE_URL",
    "REDIS_URL",
    "STATE_KEYS",
    "ENCRYPTION_LOCAL_KEK",
    "PLATFORM_SERVICE_TOKEN",
    "LOGIN_CLIENT_SECRET",
}
# name without prefix: default, a value, what it becomes
ROWS: dict[str, tuple[Any, str, Any]] = {
    "PUBLIC_URL": ("", "https://mcp.example.com/", "https://mcp.example.com"),
    "DATABASE_URL": (None, "postgresql://u@h/d", Secret("postgresql://u@h/d")),
    "REDIS_URL": (None, "rediss://h:6379/1", Secret("rediss://h:6379/1")),
    "STATE_KEYS": (None, f"a:{KEYS}", module.KeyRing(("a",), (KEY,))),
    "ENCRYPTION_LOCAL_KEK": (None, f"b:{KEYS}", module.KeyRing(("b",), (KEY,))),
    "SERVER_ENGINE": ("auto", "Hypercorn", "hypercorn"),
    "SERVER_BIND": (("127.0.0.1:8080",), "[::]:80, unix:/run/s", ("[::]:80", "unix:/run/s")),
    "SERVER_WORKERS": (1, "4", 4),
    "SERVER_TLS_CERT_FILE": (None, "/tls/crt", "/tls/crt"),
    "SERVER_TLS_KEY_FILE": (None, "/tls/key", "/tls/key"),
    "SERVER_HTTP2": (False, "true", True),
    "SERVER_ALLOWED_HOSTS": ((), "a.example, B.example", ("a.example", "B.example")),
    "SERVER_ALLOWED_ORIGINS": ((), "https://App.example/", ("https://App.example/",)),
    "SERVER_TRUSTED_PROXIES": ((), "10.1.2.3/8,::1", ("10.0.0.0/8", "::1/128")),
    "SERVER_DRAIN_SECONDS": (30, "0", 0),
    "METRICS_BIND": (None, "127.0.0.1:9090", "127.0.0.1:9090"),
    "LOG_LEVEL": ("info", "DEBUG", "debug"),
    "LOG_FORMAT": ("json", "console", "console"),
    "DATABASE_POOL_MAX": (10, "3", 3),
    "WORKER_JOBS_MAX": (25, "1", 1),
    "AUDIT_RETENTION_DAYS": (365, "30", 30),
    "PLATFORM_URL": ("https://scaigrid.scailabs.ai", "https://p.example/x/", "https://p.example/x"),
    "PLATFORM_ALLOW_HTTP": (False, "yes", True),
    "PLATFORM_FORWARD_CLIENT_IP": (False, "on", True),
    "PLATFORM_SERVICE_TOKEN": (None, "sgk_x", Secret("sgk_x")),
    "AUTH_CACHE_SECONDS": (30, "5", 5),
    "AUTH_PERMISSION_FALLBACK": ("open", "closed", "closed"),
    "AUTH_ISSUER": (None, "https://id.example/realm/", "https://id.example/realm/"),
    "AUTH_AUDIENCE": ((), "a,b", ("a", "b")),
    "MODULES_ASSUME_ENABLED": ((), "scaiqueue,,scaiecho,", ("scaiqueue", "scaiecho")),
    "MODULES_MANIFESTS": ((), "demo", ("demo",)),
    "MCP_SURFACES": (("tools", "resources", "prompts"), "tools", ("tools",)),
    "LIMITS_REQUEST_BYTES": (16 * 1024 * 1024, "4096", 4096),
    "LIMITS_RESULT_CHARS": (48_000, "1000", 1000),
    "LIMITS_RESULT_BINARY_BYTES": (8 * 1024 * 1024, "2048", 2048),
    "LIMITS_LIST_PAGE": (1_000, "7", 7),
    "LIMITS_INFLIGHT": (2_048, "2", 2),
    "LIMITS_INFLIGHT_PER_CALLER": (256, "8", 8),
    "LIMITS_RATE_TOKEN": (0, "60", 60),
    "LIMITS_RATE_USER": (0, "120", 120),
    "LIMITS_RATE_TENANT": (0, "1000", 1000),
    "REMOTE_MAX_SERVERS_PER_TENANT": (100, "3", 3),
    "REMOTE_MAX_SERVERS_PER_USER": (20, "2", 2),
    "REMOTE_DISCOVERY_INTERVAL_SECONDS": (900, "1800", 1800),
    "REMOTE_HEALTH_INTERVAL_SECONDS": (60, "120", 120),
    "REMOTE_APPROVAL_REQUIRED": ("none", "All", "all"),
    "REMOTE_APPROVAL_URL_TEMPLATE": (
        "{public_url}/approvals/{id}",
        "https://console.example.com/a?tenant=acme&id={id}",
        "https://console.example.com/a?tenant=acme&id={id}",
    ),
    "REMOTE_CONSENT_ALLOW_API_KEYS": (False, "true", True),
    "REMOTE_DEFAULT_TOOL_CHANGES": ("auto", "review", "review"),
    "REMOTE_NAME_STYLE": ("auto", "safe", "safe"),
    "REMOTE_ALLOWED_PRIVATE": (
        (), "10.0.0.0/8, crm.internal:8443", ("10.0.0.0/8", "crm.internal:8443"),
    ),
    "REMOTE_DENIED_CIDRS": ((), "192.0.2.1/24", ("192.0.2.0/24",)),
    "REMOTE_ALLOWED_PLAINTEXT_HOSTS": ((), "crm.internal", ("crm.internal",)),
    "REMOTE_ALLOWED_PORTS": (("443", "1024-65535"), "443", ("443",)),
    "REMOTE_CA_BUNDLE": (None, "/tls/ca.pem", "/tls/ca.pem"),
    "REMOTE_CALL_TIMEOUT_SECONDS": (120, "30", 30),
    "REMOTE_MAX_RESULT_BYTES": (8 * 1024 * 1024, "4096", 4096),
    "REMOTE_CONCURRENCY_PER_SERVER": (128, "4", 4),
    "REMOTE_CONCURRENCY_PER_CALLER": (32, "2", 2),
    "SCAIVAULT_URL": (None, "https://vault.example/", "https://vault.example"),
    "SCAIVAULT_TIMEOUT_SECONDS": (30, "300", 300),
    "SCAIVAULT_CONNECT_TIMEOUT_SECONDS": (5, "0.5", 0.5),
    "SCAIVAULT_CA_FILE": (None, "/tls/ca.pem", "/tls/ca.pem"),
    "SCAIVAULT_READ_ONLY": (False, "YES", True),
    "SCAIVAULT_MASK_VALUES": (False, "1", True),
    "SCAIVAULT_ALLOWED_PATHS": (None, "app, shared", "app, shared"),
    "SCAIVAULT_DENIED_PATHS": (None, "infra", "infra"),
    "SCAIVAULT_TOOL_GROUPS": (None, "secrets", "secrets"),
    "LOGIN_ISSUER": (None, "https://id.example/realm/", "https://id.example/realm/"),
    "LOGIN_CLIENT_ID": (None, "scaimcp", "scaimcp"),
    "LOGIN_CLIENT_SECRET": (None, "hush", Secret("hush")),
    "LOGIN_SUBJECT_CLAIM": ("sub", "https://x.example/user_id", "https://x.example/user_id"),
}  # fmt: skip
GUARDS = tuple(
    f"SCAIVAULT_{name}"
    for name in ("READ_ONLY", "MASK_VALUES", "ALLOWED_PATHS", "DENIED_PATHS", "TOOL_GROUPS")
)
PAIRS = {
    "SERVER_TLS_CERT_FILE": {"SCAIMCP_SERVER_TLS_KEY_FILE": "/tls/key"},
    "SERVER_TLS_KEY_FILE": {"SCAIMCP_SERVER_TLS_CERT_FILE": "/tls/crt"},
    "LOGIN_CLIENT_SECRET": {"SCAIMCP_LOGIN_CLIENT_ID": "scaimcp"},
}
REFUSED = [
    ("LOGIN_ISSUER", "https://id.example/?a=b", "takes no user, query or fragment"),
    ("LOGIN_ISSUER", "http://id.example", "must be https except on loopback"),
    ("LOGIN_SUBJECT_CLAIM", "user id", "is not the name of a claim"),
    ("SCAIVAULT_URL", "http://vault.example", "must be https except on loopback"),
    ("SCAIVAULT_URL", "ftp://vault.example", "is not an http or https URL"),
    ("SCAIVAULT_URL", "https://u@vault.example", "takes no user, query or fragment"),
    ("SCAIVAULT_URL", "https://vault.example/?a=b", "takes no user, query or fragment"),
    ("SCAIVAULT_TIMEOUT_SECONDS", "301", "is not between 1 and 300"),
    ("SCAIVAULT_CONNECT_TIMEOUT_SECONDS", "0.4", "is not between 0.5 and 60"),
    ("SCAIVAULT_CONNECT_TIMEOUT_SECONDS", "five", "is not a number"),
    ("SCAIVAULT_READ_ONLY", "treu", "is not true or false"),
    ("PUBLIC_URL", "https://mcp.example.com/mcp", "takes no path"),
    ("PUBLIC_URL", "http://mcp.example.com", "must be https except on loopback"),
    ("PUBLIC_URL", "mcp.example.com", "is not an http or https URL"),
    ("PUBLIC_URL", "ftp://mcp.example.com", "is not an http or https URL"),
    ("PUBLIC_URL", "https://", "is not an http or https URL"),
    ("PUBLIC_URL", "https://[::1", "is not an http or https URL"),
    ("PUBLIC_URL", "https://a.example:99999", "is not an http or https URL"),
    ("PUBLIC_URL", "https://a.example:0", "is not an http or https URL"),
    ("PUBLIC_URL", "https://a.exa mple", "is not an http or https URL"),
    ("PUBLIC_URL", "https://a.example\\@b.example", "is not an http or https URL"),
    ("PUBLIC_URL", "https://user@a.example", "takes no user, query or fragment"),
    ("PLATFORM_URL", "https://a.example/?x=1", "takes no user, query or fragment"),
    ("PLATFORM_URL", "https://a.example/#x", "takes no user, query or fragment"),
    ("DATABASE_URL", "mysql://u:hunter2@h/d", "takes postgresql://, postgres://"),
    ("DATABASE_URL", "postgresql", "takes postgresql://, postgres://"),
    ("REDIS_URL", "http://u:hunter2@h/d", "takes redis://, rediss://, unix://"),
    ("REDIS_URL", "redis://h:port/0", "takes host:port/number"),
    ("REDIS_URL", "redis://:hun/ter2@h/0", "takes host:port/number"),
    ("REDIS_URL", "redis://h/name", "takes host:port/number"),
    ("REDIS_URL", "redis://[h/0", "takes host:port/number"),
    ("REDIS_URL", "redis://h:0", "takes host:port/number"),
    ("REDIS_URL", "unix://", "takes host:port/number"),
    ("REDIS_URL", "redis://h?db=x", "takes a number as db"),
    ("SERVER_ENGINE", "gunicorn", "is not one of auto, hypercorn, uvicorn"),
    ("SERVER_BIND", "8080", "takes host:port or unix:/path"),
    ("SERVER_BIND", "localhost:http", "takes host:port or unix:/path"),
    ("SERVER_BIND", "localhost:70000", "takes host:port or unix:/path"),
    ("SERVER_BIND", ":80", "takes host:port or unix:/path"),
    ("SERVER_BIND", "unix:run/s", "takes unix:/absolute/path"),
    ("METRICS_BIND", "x", "takes host:port or unix:/path"),
    ("SERVER_WORKERS", "0", "is not between 1 and 64"),
    ("SERVER_WORKERS", "two", "is not a whole number"),
    ("SERVER_WORKERS", "2.0", "is not a whole number"),
    ("SERVER_HTTP2", "maybe", "is not true or false"),
    ("SERVER_TRUSTED_PROXIES", "10.0.0.0/33", "takes networks such as 10.0.0.0/8"),
    ("MCP_SURFACES", "tools,files", "takes only tools, resources, prompts"),
    ("MCP_SURFACES", ",", "takes only tools, resources, prompts"),
    ("AUTH_CACHE_SECONDS", "4", "is not between 5 and 300"),
    ("AUTH_CACHE_SECONDS", "301", "is not between 5 and 300"),
    ("LIMITS_RATE_TOKEN", "-1", "is not between 0"),
    ("REMOTE_DISCOVERY_INTERVAL_SECONDS", "90", "is not a multiple of 60 that divides 3600"),
    ("REMOTE_DISCOVERY_INTERVAL_SECONDS", "420", "is not a multiple of 60 that divides 3600"),
    ("REMOTE_HEALTH_INTERVAL_SECONDS", "30", "is not between 60 and 3600"),
    ("REMOTE_APPROVAL_REQUIRED", "some", "is not one of none, shared, all"),
    ("REMOTE_APPROVAL_URL_TEMPLATE", "https://a.example/", "takes a URL with {id} once"),
    ("REMOTE_APPROVAL_URL_TEMPLATE", "{public_url}/{id}/{user}", "takes a URL with {id} once"),
    ("REMOTE_APPROVAL_URL_TEMPLATE", "/approvals/{id}", "is not an http or https URL"),
    ("REMOTE_APPROVAL_URL_TEMPLATE", "https://a.example/#{id}", "takes no user or fragment"),
    ("REMOTE_APPROVAL_URL_TEMPLATE", "https://a.example/?id={id}#", "takes no user or fragment"),
    ("REMOTE_APPROVAL_URL_TEMPLATE", "https://u@a.example/{id}", "takes no user or fragment"),
    ("REMOTE_APPROVAL_URL_TEMPLATE", "https://{public_url}@b/{id}", "takes {public_url} at its"),
    ("REMOTE_DENIED_CIDRS", "everything", "takes networks such as 10.0.0.0/8"),
    ("REMOTE_MAX_SERVERS_PER_TENANT", "0", "is not between 1"),
]


def full(name: str, value: str) -> dict[str, str]:
    return {f"SCAIMCP_{name}": value, **PAIRS.get(name, {})}


def refusal(env: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        load(env)
    assert caught.value.code == "SETTINGS_INVALID"
    return caught.value.message


@pytest.mark.parametrize(
    "url", ["redis://h/", "redis://h", "rediss://u:p%2Fw@h:1/15?db=2", "unix:///run/a.sock?db=1"]
)
def test_a_redis_url_that_both_libraries_read_is_taken(url: str) -> None:
    assert load({"SCAIMCP_REDIS_URL": url}).redis_url == Secret(url)


def test_the_table_holds_exactly_the_rows_of_the_first_step() -> None:
    assert {setting.field.upper() for setting in TABLE} == set(ROWS)
    fields = [setting.field for setting in TABLE]
    assert [*fields, "is_traced"] == list(Settings.__struct_fields__)
    assert {setting.field.upper() for setting in TABLE if setting.is_secret} == SECRETS
    assert all(setting.meaning for setting in TABLE)


@pytest.mark.parametrize("name", ROWS)
def test_every_setting_has_the_documented_default(name: str) -> None:
    assert getattr(load({}), name.lower()) == ROWS[name][0]


@pytest.mark.parametrize("name", ROWS)
def test_every_setting_is_read(name: str) -> None:
    _, text, value = ROWS[name]
    assert getattr(load(full(name, f" {text} ")), name.lower()) == value


@pytest.mark.parametrize("name", [name for name in ROWS if name not in GUARDS])
def test_an_empty_value_counts_as_unset(name: str) -> None:
    assert getattr(load({f"SCAIMCP_{name}": "  "}), name.lower()) == ROWS[name][0]


@pytest.mark.parametrize("name", GUARDS)
def test_an_empty_guard_of_scaivault_stops_the_start(name: str) -> None:
    for text in ("", "  "):
        assert refusal({f"SCAIMCP_{name}": text}).startswith(f"SCAIMCP_{name} is empty")


@pytest.mark.parametrize(("name", "value", "reason"), REFUSED)
def test_an_unusable_value_stops_the_start(name: str, value: str, reason: str) -> None:
    message = refusal({f"SCAIMCP_{name}": value})
    assert message.startswith(f"SCAIMCP_{name} ")
    assert reason in message
    assert "hunter2" not in message


@pytest.mark.parametrize("word", ["true", "1", "YES", "on"])
def test_words_for_yes(word: str) -> None:
    assert load({"SCAIMCP_SERVER_HTTP2": word}).server_http2 is True


@pytest.mark.parametrize("word", ["false", "0", "No", "off"])
def test_words_for_no(word: str) -> None:
    assert load({"SCAIMCP_SERVER_HTTP2": word}).server_http2 is False


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SCAIMCP_PUBLIC_URI", "; did you mean SCAIMCP_PUBLIC_URL?"),
        ("SCAIMCP_LIMIT_INFLIGHT", "; did you mean SCAIMCP_LIMITS_INFLIGHT?"),
        ("SCAIMCP_STATE_KEY_FILE", "; did you mean SCAIMCP_STATE_KEYS_FILE?"),
        ("SCAIMCP_PUBLIC_URL_FILE", "; did you mean SCAIMCP_PUBLIC_URL?"),
        ("SCAIMCP_ZZZ", ""),
    ],
)
def test_an_unknown_name_stops_the_start_and_names_the_nearest(name: str, hint: str) -> None:
    assert refusal({name: "a secret"}) == f"unknown setting {name}{hint}"


@pytest.mark.parametrize(
    "name",
    [
        "SCAIMCP_SERVICE_HOST",
        "SCAIMCP_SERVICE_PORT",
        "SCAIMCP_SERVICE_PORT_HTTP",
        "SCAIMCP_PORT",
        "SCAIMCP_PORT_8080_TCP",
        "SCAIMCP_PORT_8080_TCP_ADDR",
        "SCAIMCP_VALKEY_SERVICE_HOST",
        "SCAIMCP_URL",
        "SCAIMCP_TOKEN",
        "OTEL_SERVICE_NAME",
        "PATH",
    ],
)
def test_what_kubernetes_injects_and_foreign_names_are_ignored(name: str) -> None:
    assert load({name: "tcp://10.0.0.1:80"}) == Settings()


@pytest.mark.parametrize(
    "env",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "OTLP"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "false"},
    ],
)
def test_a_collector_switches_tracing_on(env: dict[str, str]) -> None:
    assert load(env) == Settings(is_traced=True)


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"OTEL_SERVICE_NAME": "gateway"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "True"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "zipkin"},
    ],
)
def test_without_a_collector_or_when_disabled_tracing_is_off(env: dict[str, str]) -> None:
    assert load(env) == Settings()


def test_no_setting_has_a_name_that_would_be_ignored() -> None:
    assert not [name for name in module.known_names() if module._INJECTED.search(name)]


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_every_secret_can_come_from_a_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{ROWS[name][1]}\n")
    file.chmod(0o640)
    env = {f"SCAIMCP_{name}_FILE": str(file), **PAIRS.get(name, {})}
    assert getattr(load(env), name.lower()) == ROWS[name][2]


def test_a_file_that_everyone_can_read_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("sgk_open")
    file.chmod(0o604)
    message = refusal({"SCAIMCP_PLATFORM_SERVICE_TOKEN_FILE": str(file)})
    assert message == "the file of SCAIMCP_PLATFORM_SERVICE_TOKEN_FILE is readable by everyone"


def test_a_value_and_a_file_together_stop_the_start(tmp_path: Path) -> None:
    env = {"SCAIMCP_REDIS_URL": "redis://h", "SCAIMCP_REDIS_URL_FILE": str(tmp_path)}
    assert refusal(env) == "SCAIMCP_REDIS_URL and SCAIMCP_REDIS_URL_FILE are both set"


def test_a_missing_file_is_named_by_its_setting_only(tmp_path: Path) -> None:
    message = refusal({"SCAIMCP_REDIS_URL_FILE": str(tmp_path / "gone")})
    assert message == "SCAIMCP_REDIS_URL_FILE cannot be read (FileNotFoundError)"


def test_a_file_that_is_not_text_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"\xff\xfe")
    file.chmod(0o600)
    message = refusal({"SCAIMCP_REDIS_URL_FILE": str(file)})
    assert message == "SCAIMCP_REDIS_URL_FILE cannot be read (UnicodeDecodeError)"


def test_an_empty_file_counts_as_unset(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.touch(0o600)
    assert load({"SCAIMCP_REDIS_URL_FILE": str(file)}).redis_url is None


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("https://grid.example", "https://grid.example"),
        (" grid.example/ ", "https://grid.example"),
        ("http://localhost:9000", "http://localhost:9000"),
        ("  ", "https://scaigrid.scailabs.ai"),
    ],
)
def test_the_alias_of_the_platforms_examples_is_read(value: str, url: str) -> None:
    assert load({"SCAIGRID_HOST": value}).platform_url == url


def test_the_setting_beats_its_alias() -> None:
    env = {"SCAIGRID_HOST": "a.example", "SCAIMCP_PLATFORM_URL": "https://b.example"}
    assert load(env).platform_url == "https://b.example"


def test_an_unusable_alias_stops_the_start() -> None:
    assert refusal({"SCAIGRID_HOST": "ftp://x"}) == "SCAIGRID_HOST is not an http or https URL"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_plain_http_is_allowed_on_loopback(host: str) -> None:
    env = {
        "SCAIMCP_PUBLIC_URL": f"http://{host}:8080",
        "SCAIMCP_PLATFORM_URL": f"http://{host}:9000",
    }
    assert load(env).platform_url == f"http://{host}:9000"


def test_plain_http_to_the_platform_needs_an_explicit_word() -> None:
    env = {"SCAIMCP_PLATFORM_URL": "http://grid.internal"}
    assert "must be https" in refusal(env)
    allowed = load({**env, "SCAIMCP_PLATFORM_ALLOW_HTTP": "true"})
    assert allowed.platform_url == "http://grid.internal"


@pytest.mark.parametrize(
    "url", ["https://mcp.example", "https://mcp.example:443/", "https://MCP.example"]
)
def test_a_platform_that_is_the_gateway_itself_stops_the_start(url: str) -> None:
    env = {"SCAIMCP_PUBLIC_URL": "https://mcp.example", "SCAIMCP_PLATFORM_URL": url}
    assert refusal(env) == "SCAIMCP_PLATFORM_URL is the gateway's own public URL"


@pytest.mark.parametrize("url", ["https://mcp.example/grid", "https://mcp.example:8443"])
def test_a_platform_beside_the_gateway_on_one_host_is_fine(url: str) -> None:
    env = {"SCAIMCP_PUBLIC_URL": "https://mcp.example", "SCAIMCP_PLATFORM_URL": url}
    assert load(env).platform_url == url


@pytest.mark.parametrize("name", ["SERVER_TLS_CERT_FILE", "SERVER_TLS_KEY_FILE"])
def test_certificate_and_key_go_together(name: str) -> None:
    assert "go together" in refusal({f"SCAIMCP_{name}": "/x"})


def test_http2_needs_an_engine_that_speaks_it() -> None:
    env = {"SCAIMCP_SERVER_HTTP2": "1", "SCAIMCP_SERVER_ENGINE": "uvicorn"}
    assert "hypercorn" in refusal(env)


def test_require_names_every_missing_setting() -> None:
    with pytest.raises(SettingsError) as caught:
        require(Settings(), "public_url", "log_level", "state_keys")
    assert caught.value.message == "missing setting: SCAIMCP_PUBLIC_URL, SCAIMCP_STATE_KEYS"
    require(Settings(), "log_level")


def test_the_hosts_are_the_public_one_and_loopback_unless_named() -> None:
    loopback = {"localhost", "127.0.0.1", "::1"}
    assert load({"SCAIMCP_PUBLIC_URL": "https://A.example:8443"}).hosts == {"a.example"} | loopback
    assert load({}).hosts == loopback
    assert load({"SCAIMCP_SERVER_ALLOWED_HOSTS": "B.example"}).hosts == {"b.example"}


def test_origins_are_compared_in_lower_case_without_slash() -> None:
    settings = load({"SCAIMCP_SERVER_ALLOWED_ORIGINS": "https://App.example/"})
    assert settings.origins == {"https://app.example"}


def test_settings_print_no_secret() -> None:
    env = {f"SCAIMCP_{name}": ROWS[name][1] for name in (*SECRETS, "LOGIN_CLIENT_ID")}
    printed = repr(load(env))
    for name in SECRETS:
        assert ROWS[name][1].rpartition(":")[2] not in printed


def test_a_client_secret_needs_a_client() -> None:
    message = refusal({"SCAIMCP_LOGIN_CLIENT_SECRET": "hush"})
    assert message == "SCAIMCP_LOGIN_CLIENT_SECRET needs SCAIMCP_LOGIN_CLIENT_ID"


@pytest.mark.parametrize(
    "more", [{"SCAIMCP_LOGIN_ISSUER": "http://[::1]:9/"}, {"SCAIMCP_PLATFORM_ALLOW_HTTP": "true"}]
)
def test_the_identity_provider_may_be_near_or_plain_where_the_platform_may(
    more: dict[str, str],
) -> None:
    env = {"SCAIMCP_LOGIN_ISSUER": "http://id.example", **more}
    assert load(env).login_issuer == env["SCAIMCP_LOGIN_ISSUER"]


def test_the_process_environment_is_read_when_none_is_given() -> None:
    assert "PATH" in module.environment()
    assert isinstance(load(), Settings)


@given(st.text(max_size=60), st.sampled_from(sorted(ROWS)))
def test_any_text_is_either_read_or_refused_without_being_repeated(text: str, name: str) -> None:
    message = ""
    try:
        load(full(name, text))
    except SettingsError as error:
        message = error.message
    assert not message or message.startswith(f"SCAIMCP_{name} ") or "go together" in message
    assert len(text.strip()) < 12 or text.strip() not in message


# --- keys -----------------------------------------------------------------------------------


def entry(seed: int, key_id: str = "") -> str:
    encoded = base64.b64encode(hashlib.sha256(bytes([seed])).digest()).decode()
    return f"{key_id}:{encoded}" if key_id else encoded


def test_keys_are_separated_by_comma_or_newline() -> None:
    ring = module.parse_keys(f"{entry(1, '2026-11')},\n {entry(2, 'old.1_x')}\n{entry(3)}\n")
    derived = hashlib.sha256(b"scaimcp/kek-id/v1" + hashlib.sha256(b"\3").digest()).hexdigest()[:8]
    assert ring.ids == ("2026-11", "old.1_x", derived)
    assert ring.get("old.1_x") == hashlib.sha256(b"\2").digest()
    assert ring.get("gone") is None
    assert repr(ring) == f"KeyRing(2026-11, old.1_x, {derived})"


@pytest.mark.row(2)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no key"),
        (",\n ,", "holds no key"),
        ("a:" + base64.b64encode(bytes(range(31))).decode(), "not 32 random bytes"),
        ("a:" + base64.b64encode(bytes(range(33))).decode(), "not 32 random bytes"),
        ("a:" + base64.b64encode(bytes(32)).decode(), "not 32 random bytes"),
        ("a:" + base64.urlsafe_b64encode(b"\xff" * 31 + b"\xfe").decode(), "not standard base64"),
        ("a:" + entry(1)[:-1], "not standard base64"),
        ("a:ключ", "not standard base64"),
        ("a:", "not 32 random bytes"),
        (":" + entry(1), "malformed or repeated key id"),
        (entry(1, "UPPER"), "malformed or repeated key id"),
        (entry(1, "-a"), "malformed or repeated key id"),
        (entry(1, "a" * 33), "malformed or repeated key id"),
        (f"{entry(1, 'a')},{entry(2, 'a')}", "malformed or repeated key id"),
        (f"{entry(1)},{entry(1)}", "malformed or repeated key id"),
    ],
)
def test_unusable_keys_are_refused_without_being_shown(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        module.parse_keys(text)
    shown = str(caught.value)
    assert not [
        part for part in text.replace("\n", ",").split(",") if len(part) > 8 and part in shown
    ]
