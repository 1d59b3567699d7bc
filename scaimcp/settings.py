"""Settings: the only reader of the environment.

One scheme: ``SCAIMCP_<GROUP>_<NAME>``. Lists are comma-separated, an empty value counts as unset
(a guard of ScaiVault stops the start instead), every secret has a twin ending in ``_FILE``, and an
unknown ``SCAIMCP_*`` name stops the start.
`TABLE` is the whole list and the source of the settings page. Spec: register, Settings.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from scaimcp.errors import SettingsError
from scaimcp.types import Secret

PREFIX = "SCAIMCP_"
# Kubernetes injects these for every Service of the namespace.
_INJECTED = re.compile(r"_SERVICE_HOST$|_PORT$|_SERVICE_PORT|_PORT_\d+_")
# The client module's own names; they are not settings of the server.
_FOREIGN = frozenset({"SCAIMCP_URL", "SCAIMCP_TOKEN"})
_REDIS_PATH = re.compile(r"(/[0-9]{0,4})?")
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class KeyRing(msgspec.Struct, frozen=True):
    """Symmetric keys by id; the first writes, all read. Does not print its keys."""

    ids: tuple[str, ...]
    keys: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self.ids)})"

    def get(self, key_id: str) -> bytes | None:
        """Return the key called `key_id`, or None."""
        for known, key in zip(self.ids, self.keys, strict=True):
            if known == key_id:
                return key
        return None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, parsed; field = lower-case name without ``SCAIMCP_``. See `TABLE`.

    ``is_traced`` alone has no name of its own: OpenTelemetry's names decide.
    """

    public_url: str = ""
    database_url: Secret | None = None
    redis_url: Secret | None = None
    state_keys: KeyRing | None = None
    encryption_local_kek: KeyRing | None = None
    server_engine: str = "auto"
    server_bind: tuple[str, ...] = ("127.0.0.1:8080",)
    server_workers: int = 1
    server_tls_cert_file: str | None = None
    server_tls_key_file: str | None = None
    server_http2: bool = False
    server_allowed_hosts: tuple[str, ...] = ()
    server_allowed_origins: tuple[str, ...] = ()
    server_trusted_proxies: tuple[str, ...] = ()
    server_drain_seconds: int = 30
    metrics_bind: str | None = None
    log_level: str = "info"
    log_format: str = "json"
    database_pool_max: int = 10
    worker_jobs_max: int = 25
    audit_retention_days: int = 365
    platform_url: str = "https://scaigrid.scailabs.ai"
    platform_allow_http: bool = False
    platform_forward_client_ip: bool = False
    platform_service_token: Secret | None = None
    auth_cache_seconds: int = 30
    auth_permission_fallback: str = "open"
    auth_issuer: str | None = None
    auth_audience: tuple[str, ...] = ()
    modules_assume_enabled: tuple[str, ...] = ()
    modules_manifests: tuple[str, ...] = ()
    mcp_surfaces: tuple[str, ...] = ("tools", "resources", "prompts")
    limits_request_bytes: int = 16 * 1024 * 1024
    limits_result_chars: int = 48_000
    limits_result_binary_bytes: int = 8 * 1024 * 1024
    limits_list_page: int = 1_000
    limits_inflight: int = 2_048
    limits_inflight_per_caller: int = 256
    limits_rate_token: int = 0
    limits_rate_user: int = 0
    limits_rate_tenant: int = 0
    remote_max_servers_per_tenant: int = 100
    remote_max_servers_per_user: int = 20
    remote_discovery_interval_seconds: int = 900
    remote_health_interval_seconds: int = 60
    remote_approval_required: str = "none"
    remote_approval_url_template: str = "{public_url}/approvals/{id}"
    remote_consent_allow_api_keys: bool = False
    remote_default_tool_changes: str = "auto"
    remote_name_style: str = "auto"
    remote_allowed_private: tuple[str, ...] = ()
    remote_denied_cidrs: tuple[str, ...] = ()
    remote_allowed_plaintext_hosts: tuple[str, ...] = ()
    remote_allowed_ports: tuple[str, ...] = ("443", "1024-65535")
    remote_ca_bundle: str | None = None
    remote_call_timeout_seconds: int = 120
    remote_max_result_bytes: int = 8 * 1024 * 1024
    remote_concurrency_per_server: int = 128
    remote_concurrency_per_caller: int = 32
    scaivault_url: str | None = None
    scaivault_timeout_seconds: int = 30
    scaivault_connect_timeout_seconds: float = 5
    scaivault_ca_file: str | None = None
    scaivault_read_only: bool = False
    scaivault_mask_values: bool = False
    scaivault_allowed_paths: str | None = None
    scaivault_denied_paths: str | None = None
    scaivault_tool_groups: str | None = None
    login_issuer: str | None = None
    login_client_id: str | None = None
    login_client_secret: Secret | None = None
    login_subject_claim: str = "sub"
    is_traced: bool = False

    @property
    def hosts(self) -> frozenset[str]:
        """Host names that requests may carry, lower-case, without port."""
        named = {host.lower() for host in self.server_allowed_hosts}
        if not named:
            named = {urlsplit(self.public_url).hostname or ""} | LOOPBACK_HOSTS
        return frozenset(named - {""})

    @property
    def origins(self) -> frozenset[str]:
        """Origins that may call from a browser, lower-case."""
        return frozenset(origin.lower().rstrip("/") for origin in self.server_allowed_origins)


class Setting(msgspec.Struct, frozen=True):
    """One row of `TABLE`: how a name is read and what it means.

    ``is_guard``: an empty value stops the start; elsewhere it counts as unset.
    """

    field: str
    parse: Callable[[str], Any]
    meaning: str
    is_secret: bool = False
    is_guard: bool = False

    @property
    def name(self) -> str:
        """Name of the environment variable."""
        return PREFIX + self.field.upper()


def _text(value: str) -> str:
    return value


def _secret(value: str) -> Secret:
    return Secret(value)


def _flag(value: str) -> bool:
    lowered = value.lower()
    if lowered in ("true", "1", "yes", "on"):
        return True
    if lowered in ("false", "0", "no", "off"):
        return False
    raise ValueError("is not true or false")


def _words(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.lower() not in allowed:
            raise ValueError(f"is not one of {', '.join(allowed)}")
        return value.lower()

    return parse


def _subset_of(*allowed: str) -> Callable[[str], tuple[str, ...]]:
    def parse(value: str) -> tuple[str, ...]:
        words = _words(value)
        unknown = [word for word in words if word not in allowed]
        if unknown or not words:
            raise ValueError(f"takes only {', '.join(allowed)}")
        return words

    return parse


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,15}", value):
            raise ValueError("is not a whole number")
        if not low <= int(value) <= high:
            raise ValueError(f"is not between {low} and {high}")
        return int(value)

    return parse


def _decimal(low: float, high: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", value):
            raise ValueError("is not a number")
        if not low <= float(value) <= high:
            raise ValueError(f"is not between {low} and {high}")
        return float(value)

    return parse


def _interval(value: str) -> int:
    seconds = _number(60, 3600)(value)
    if seconds % 60 or 3600 % seconds:
        raise ValueError("is not a multiple of 60 that divides 3600")
    return seconds


def _url_template(value: str) -> str:
    if value.count("{id}") != 1 or re.search(r"[{}]", re.sub(r"\{(?:id|public_url)\}", "", value)):
        raise ValueError("takes a URL with {id} once, and {public_url}")
    if value.partition("?")[0].rfind("{public_url}") > 0:
        raise ValueError("takes {public_url} at its beginning")
    url = _web_url(value.replace("{id}", "id").replace("{public_url}", "https://public"))
    if "#" in url or "@" in urlsplit(url).netloc:
        raise ValueError("takes no user or fragment")
    return value


def _networks(value: str) -> tuple[str, ...]:
    try:
        return tuple(str(ipaddress.ip_network(word, strict=False)) for word in _words(value))
    except ValueError:
        raise ValueError("takes networks such as 10.0.0.0/8") from None


def _binds(value: str) -> tuple[str, ...]:
    words = _words(value)
    for word in words:
        _bind(word)
    return words


def _bind(value: str) -> str:
    if value.startswith("unix:"):
        if not value.startswith("unix:/"):
            raise ValueError("takes unix:/absolute/path")
        return value
    host, _, port = value.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:
        raise ValueError("takes host:port or unix:/path")
    return value


def _claim(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.:/-]{1,128}", value):
        raise ValueError("is not the name of a claim")
    return value


def _web_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or parts.scheme not in ("http", "https") or re.search(r"[\s\\]", value):
        raise ValueError("is not an http or https URL")
    return value


def _exact_url(value: str) -> str:
    parts = urlsplit(_web_url(value))
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("takes no user, query or fragment")
    return value


def _url(value: str) -> str:
    return _exact_url(value).rstrip("/")


def _vault_url(value: str) -> str:
    url = _url(value)
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK_HOSTS:
        raise ValueError("must be https except on loopback")
    return url


def _store(*schemes: str) -> Callable[[str], Secret]:
    def parse(value: str) -> Secret:
        # The value may hold a password, so the reason names the forms only.
        if value.partition("://")[0] not in schemes or "://" not in value:
            raise ValueError(f"takes {', '.join(f'{scheme}://' for scheme in schemes)}")
        return Secret(value)

    return parse


def _redis_url(value: str) -> Secret:
    url = _store("redis", "rediss", "unix")(value)
    reason = "takes host:port/number; / ? # [ ] in a password are percent-encoded"
    try:
        parts = urlsplit(value)
        is_usable = parts.port != 0
    except ValueError:
        raise ValueError(reason) from None
    # Two libraries read this value; neither may meet what it would refuse by quoting it.
    if parts.scheme == "unix":
        is_usable = is_usable and len(parts.path) > 1
    elif not _REDIS_PATH.fullmatch(parts.path):
        is_usable = False
    if not is_usable:
        raise ValueError(reason)
    if not all(word.isdecimal() for word in parse_qs(parts.query).get("db", ())):
        raise ValueError("takes a number as db")
    return url


def _public_url(value: str) -> str:
    url = _url(value)
    parts = urlsplit(url)
    if parts.path:
        raise ValueError("takes no path")
    if parts.scheme != "https" and parts.hostname not in LOOPBACK_HOSTS:
        raise ValueError("must be https except on loopback")
    return url


def parse_keys(value: str) -> KeyRing:
    """Read ``[key_id:]base64`` entries separated by newline or comma. Spec: remote-servers 4.

    Raises:
        ValueError: no entry, one that is not standard base64 of 32 bytes, a key that repeats
            one byte, an id that is malformed or used twice.
    """
    ids: list[str] = []
    keys: list[bytes] = []
    for entry in re.split(r"[,\n]", value):
        if not entry.strip():
            continue
        key_id, colon, encoded = entry.strip().rpartition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            raise ValueError("holds a key that is not standard base64") from None
        if len(key) != 32 or len(set(key)) == 1:
            raise ValueError("holds a key that is not 32 random bytes")
        if not colon:
            key_id = hashlib.sha256(b"scaimcp/kek-id/v1" + key).hexdigest()[:8]
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,31}", key_id) or key_id in ids:
            raise ValueError("holds a malformed or repeated key id")
        ids.append(key_id)
        keys.append(key)
    if not keys:
        raise ValueError("holds no key")
    return KeyRing(tuple(ids), tuple(keys))


TABLE: tuple[Setting, ...] = (
    Setting("public_url", _public_url, "URL that clients use, without path; https off loopback"),
    Setting("database_url", _store("postgresql", "postgres"), "PostgreSQL: postgresql://user@host/database", True),
    Setting("redis_url", _redis_url, "Redis or Valkey: redis://, rediss:// or unix://", True),
    Setting("state_keys", parse_keys, "[key_id:]base64 of 32 bytes, list; seals what is handed out", True),
    Setting("encryption_local_kek", parse_keys, "[key_id:]base64 of 32 bytes, list; seals stored credentials; unset: no registry of remote servers", True),
    Setting("server_engine", _one_of("auto", "hypercorn", "uvicorn"), "auto: hypercorn for TLS, HTTP/2 or a Unix socket, uvicorn otherwise"),
    Setting("server_bind", _binds, "list of host:port or unix:/path"),
    Setting("server_workers", _number(1, 64), "gateway processes"),
    Setting("server_tls_cert_file", _text, "certificate chain, PEM"),
    Setting("server_tls_key_file", _text, "private key, PEM"),
    Setting("server_http2", _flag, "serve HTTP/2 beside HTTP/1.1"),
    Setting("server_allowed_hosts", _words, "Host names accepted; unset: host of PUBLIC_URL and loopback"),
    Setting("server_allowed_origins", _words, "browser origins accepted"),
    Setting("server_trusted_proxies", _networks, "CIDRs whose X-Forwarded-For counts"),
    Setting("server_drain_seconds", _number(0, 3600), "longest wait for running requests after SIGTERM"),
    Setting("metrics_bind", _bind, "own host:port for /metrics; unset: on SERVER_BIND"),
    Setting("log_level", _one_of("debug", "info", "warning", "error"), "lowest level written"),
    Setting("log_format", _one_of("json", "console"), "form of log lines on standard error"),
    Setting("database_pool_max", _number(1, 1000), "connections to PostgreSQL a process"),
    Setting("worker_jobs_max", _number(1, 1000), "jobs at a time in one worker"),
    Setting("audit_retention_days", _number(1, 36_500), "days until audit rows are pruned"),
    Setting("platform_url", _url, "the ScaiGrid deployment; alias SCAIGRID_HOST"),
    Setting("platform_allow_http", _flag, "allow plain http to a platform that is not on loopback"),
    Setting("platform_forward_client_ip", _flag, "send X-Forwarded-For to the platform"),
    Setting("platform_service_token", _secret, "bearer that may read module states", True),
    Setting("auth_cache_seconds", _number(5, 300), "seconds a confirmed bearer is remembered"),
    Setting("auth_permission_fallback", _one_of("open", "closed"), "what is listed when the platform names no permissions"),
    Setting("auth_issuer", _exact_url, "authorization server for the metadata; unset: discovered"),
    Setting("auth_audience", _words, "accepted aud of JWTs; unset: not compared"),
    Setting("modules_assume_enabled", _words, "modules taken as enabled when the platform does not tell"),
    Setting("modules_manifests", _words, "modules asked for a tool manifest besides those that name one"),
    Setting("mcp_surfaces", _subset_of("tools", "resources", "prompts"), "what /mcp serves"),
    Setting("limits_request_bytes", _number(1024, 1 << 30), "bytes of one request body"),
    Setting("limits_result_chars", _number(1000, 100_000_000), "characters of one result's JSON text"),
    Setting("limits_result_binary_bytes", _number(1024, 1 << 30), "bytes of one result's binary content"),
    Setting("limits_list_page", _number(1, 100_000), "definitions on one page of a list"),
    Setting("limits_inflight", _number(1, 1_000_000), "requests at a time in one process"),
    Setting("limits_inflight_per_caller", _number(1, 1_000_000), "tool calls at a time of one caller"),
    Setting("limits_rate_token", _number(0, 1_000_000), "requests a minute of one bearer; 0 = off"),
    Setting("limits_rate_user", _number(0, 1_000_000), "requests a minute of one user; 0 = off"),
    Setting("limits_rate_tenant", _number(0, 10_000_000), "requests a minute of one tenant; 0 = off"),
    Setting("remote_max_servers_per_tenant", _number(1, 100_000), "remote servers of one tenant"),
    Setting("remote_max_servers_per_user", _number(1, 100_000), "personal remote servers of one user"),
    Setting("remote_discovery_interval_seconds", _interval, "seconds between discoveries of a remote server; a multiple of 60 that divides 3600"),
    Setting("remote_health_interval_seconds", _interval, "seconds between health checks; a multiple of 60 that divides 3600"),
    Setting("remote_approval_required", _one_of("none", "shared", "all"), "which registrations wait for a tenant manager"),
    Setting("remote_approval_url_template", _url_template, "page on which a user answers for a call; {id} is the approval's"),
    Setting("remote_consent_allow_api_keys", _flag, "let an API key answer for a call, which the program that holds it could do itself"),
    Setting("remote_default_tool_changes", _one_of("auto", "review"), "what happens by default when a remote server changes a definition"),
    Setting("remote_name_style", _one_of("auto", "safe", "dotted"), "names of remote tools; auto: safe for clients known to refuse dots"),
    Setting("remote_allowed_private", _words, "remote addresses open although not public: CIDR[:port], host[:port] or *.host[:port], port 443 where none is named, * for any"),
    Setting("remote_denied_cidrs", _networks, "networks that no remote server may be in, whatever else is allowed"),
    Setting("remote_allowed_plaintext_hosts", _words, "hosts of remote servers that http may be used to"),
    Setting("remote_allowed_ports", _words, "ports of remote servers, single ones and ranges"),
    Setting("remote_ca_bundle", _text, "certificates trusted for remote servers beside the system's, PEM"),
    Setting("remote_call_timeout_seconds", _number(1, 600), "deadline of one call of a remote tool"),
    Setting("remote_max_result_bytes", _number(1024, 1 << 30), "bytes of one result of a remote server"),
    Setting("remote_concurrency_per_server", _number(1, 100_000), "calls at a time to one remote server from one process"),
    Setting("remote_concurrency_per_caller", _number(1, 100_000), "calls at a time of one caller to one remote server"),
    Setting("scaivault_url", _vault_url, "ScaiVault's origin; unset: the module scaivault does not exist"),
    Setting("scaivault_timeout_seconds", _number(1, 300), "seconds for one answer of ScaiVault"),
    Setting("scaivault_connect_timeout_seconds", _decimal(0.5, 60), "seconds for a new connection to ScaiVault"),
    Setting("scaivault_ca_file", _text, "certificates trusted for ScaiVault beside the system's, PEM"),
    Setting("scaivault_read_only", _flag, "refuse every tool of ScaiVault that changes something; no tenant can loosen it", is_guard=True),
    Setting("scaivault_mask_values", _flag, "put a marker in the place of secret values; no tenant can loosen it", is_guard=True),
    Setting("scaivault_allowed_paths", _text, "the only path prefixes that ScaiVault tools may use; unset: no limit", is_guard=True),
    Setting("scaivault_denied_paths", _text, "path prefixes that ScaiVault tools never use", is_guard=True),
    Setting("scaivault_tool_groups", _text, "the only groups of ScaiVault tools that exist; unset: all", is_guard=True),
    Setting("login_issuer", _exact_url, "identity provider of the browser sign-in; unset: AUTH_ISSUER, else discovered"),
    Setting("login_client_id", _text, "this gateway's client id there; unset: no browser sign-in"),
    Setting("login_client_secret", _secret, "its client secret; unset: a public client with PKCE", True),
    Setting("login_subject_claim", _claim, "claim of ID tokens that holds the platform's user id"),
)  # fmt: skip
_BY_NAME = {setting.name: setting for setting in TABLE}


def known_names() -> frozenset[str]:
    """Return every environment name that is read, ``_FILE`` twins included."""
    twins = {f"{setting.name}_FILE" for setting in TABLE if setting.is_secret}
    return frozenset(_BY_NAME) | twins


def environment() -> dict[str, str]:
    """Return a copy of the process environment."""
    return dict(os.environ)


def load(env: Mapping[str, str] | None = None) -> Settings:
    """Parse the settings out of `env` (the process environment when None).

    Raises:
        SettingsError: an unknown name, an unreadable value, an unsafe combination.
    """
    env = environment() if env is None else env
    _refuse_unknown(env)
    values: dict[str, Any] = {}
    for setting in TABLE:
        text = _read(env, setting)
        if not text:
            if setting.is_guard and setting.name in env:
                raise SettingsError(f"{setting.name} is empty; unset it, or give it a value")
            continue
        try:
            values[setting.field] = setting.parse(text)
        except ValueError as error:
            # Every parser words its own reason and repeats no value: it may be a secret.
            raise SettingsError(f"{setting.name} {error}") from None
    alias = env.get("SCAIGRID_HOST", "").strip()
    if "platform_url" not in values and alias:
        values["platform_url"] = _alias(alias)
    return _checked(Settings(**values, is_traced=_is_traced(env)))


def require(settings: Settings, *fields: str) -> None:
    """Stop the start when a setting that this command needs is missing.

    Raises:
        SettingsError: names every missing setting.
    """
    missing = [PREFIX + field.upper() for field in fields if not getattr(settings, field)]
    if missing:
        raise SettingsError(f"missing setting: {', '.join(missing)}")


def _is_traced(env: Mapping[str, str]) -> bool:
    """Tell whether spans are to be exported, by the names that OpenTelemetry defines."""
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if not any(env.get(name, "").strip() for name in endpoints):
        return False
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return env.get("OTEL_TRACES_EXPORTER", "").strip().lower() in ("", "otlp")


def _alias(value: str) -> str:
    try:
        return _url(value if "://" in value else f"https://{value}")
    except ValueError as error:
        raise SettingsError(f"SCAIGRID_HOST {error}") from None


def _refuse_unknown(env: Mapping[str, str]) -> None:
    known = known_names()
    for name in sorted(env):
        if not name.startswith(PREFIX) or name in known or name in _FOREIGN:
            continue
        if _INJECTED.search(name):
            continue
        close = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise SettingsError(f"unknown setting {name}{hint}")


def _read(env: Mapping[str, str], setting: Setting) -> str:
    text = env.get(setting.name, "").strip()
    file = env.get(f"{setting.name}_FILE", "").strip() if setting.is_secret else ""
    if not file:
        return text
    if text:
        raise SettingsError(f"{setting.name} and {setting.name}_FILE are both set")
    path = Path(file)
    try:
        if path.stat().st_mode & 0o004:
            raise SettingsError(f"the file of {setting.name}_FILE is readable by everyone")
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{setting.name}_FILE cannot be read ({type(error).__name__})"
        ) from None


def _checked(settings: Settings) -> Settings:
    if bool(settings.server_tls_cert_file) != bool(settings.server_tls_key_file):
        raise SettingsError("SCAIMCP_SERVER_TLS_CERT_FILE and _KEY_FILE go together")
    if settings.server_engine == "uvicorn" and settings.server_http2:
        raise SettingsError("SCAIMCP_SERVER_HTTP2 needs the hypercorn engine")
    platform = urlsplit(settings.platform_url)
    is_plain = platform.scheme == "http" and platform.hostname not in LOOPBACK_HOSTS
    if is_plain and not settings.platform_allow_http:
        raise SettingsError(
            "SCAIMCP_PLATFORM_URL must be https, or set SCAIMCP_PLATFORM_ALLOW_HTTP"
        )
    if (
        settings.public_url
        and not platform.path
        and _origin(settings.public_url) == _origin(settings.platform_url)
    ):
        raise SettingsError("SCAIMCP_PLATFORM_URL is the gateway's own public URL")
    _check_login(settings)
    return settings


def _check_login(settings: Settings) -> None:
    if settings.login_client_secret and not settings.login_client_id:
        raise SettingsError("SCAIMCP_LOGIN_CLIENT_SECRET needs SCAIMCP_LOGIN_CLIENT_ID")
    issuer = urlsplit(settings.login_issuer or "")
    if issuer.scheme == "http" and not (
        issuer.hostname in LOOPBACK_HOSTS or settings.platform_allow_http
    ):
        raise SettingsError("SCAIMCP_LOGIN_ISSUER must be https except on loopback")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
