"""What `scaimcp dev` runs: its options, the children as a table, their settings."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scaimcp.dev.processes import DevelopmentError
from scaimcp.dev.readiness import Completed, HttpOk, ReadyFile, RedisKey
from scaimcp.dev.standin import VAULT_MODULE, standin_tokens
from scaimcp.dev.supervisor import STACK, Child, Fact

STATE_KEY_NAME = "state.key"
KEK_NAME = "kek.key"
KEY_BYTES = 32
PLATFORM_DATABASE = "platform.sqlite"
PLATFORM_READY = "platform.json"
VAULT_READY = "vault.json"
WORKER_HEALTH_KEY = "scaimcp:queue:health-check"
SERVICE_ROLE = "tenant_admin"
# The client under which the stand-in knows this gateway; a test compares the two.
LOGIN_CLIENT = "scaimcp"
DRAIN_SECONDS = 2
GATEWAY_STOP_SECONDS = DRAIN_SECONDS + 3.0
OWN_SETTINGS = ("SCAIMCP_", "SCAIGRID_HOST")
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not bound


@dataclass(frozen=True, slots=True, kw_only=True)
class DevOptions:
    """The command line of `scaimcp dev`.

    Attributes:
        port: 0 takes a free one.
        data_dir: None takes the user's data directory.
        platform_url: A real ScaiGrid in place of the stand-in.
        ready_file: Where to write addresses, process ids and tokens once everything is ready.
        platform_arguments: Arguments of `scaimcp dev platform`; None runs the whole set-up.
        vault_arguments: The same of `scaimcp dev vault`.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    data_dir: Path | None = None
    ephemeral: bool = False
    platform_url: str | None = None
    platform_rate_limits: bool = False
    ready_file: Path | None = None
    platform_arguments: tuple[str, ...] | None = None
    vault_arguments: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where the gateway listens.

    Attributes:
        host: As given, without brackets.
        port: Never 0.
    """

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def bind(self) -> str:
        """Return ``host:port`` for the gateway's setting."""
        return f"{_bracketed(self.host)}:{self.port}"

    @property
    def origin(self) -> str:
        """Return the URL to reach the gateway from this machine, without path."""
        return f"http://{_bracketed(WILDCARDS.get(self.host, self.host))}:{self.port}"

    @property
    def public_url(self) -> str:
        """Return the gateway's public URL, which has to be loopback where it is plain http."""
        return self.origin if self.is_loopback else f"http://127.0.0.1:{self.port}"


def default_data_dir(environment: Mapping[str, str]) -> Path:
    """Return the user's directory for the development set-up."""
    base = environment.get("XDG_DATA_HOME", "")
    home = Path(base) if base.startswith("/") else Path.home() / ".local" / "share"
    return home / "scaimcp" / "dev"


def inherited_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what children inherit: no setting of the gateway, output without delay."""
    kept = {k: v for k, v in environment.items() if not k.startswith(OWN_SETTINGS)}
    return kept | {"PYTHONUNBUFFERED": "1"}


def reserve_address(host: str, port: int) -> Address:
    """Find out that the gateway will be able to listen, and choose a port when it is 0.

    Raises:
        DevelopmentError: The host is unknown or the port is taken.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, target = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
            return Address(host, probe.getsockname()[1])
    except OSError as error:
        where = f"{host} port {port}: {error.strerror}"
        raise DevelopmentError(
            f"cannot listen on {where}; choose another --port or --host"
        ) from None


def kept_key(path: Path) -> str:
    """Return the key (base64 of 32 bytes) kept at `path`, made at the first start, mode 600.

    Raises:
        DevelopmentError: the file holds something else, or cannot be written.
    """
    if path.exists():
        text = path.read_text(encoding="utf-8").strip()
        with contextlib.suppress(ValueError):
            if len(base64.b64decode(text, validate=True)) == KEY_BYTES:
                return text
        raise DevelopmentError(f"{path} holds no key; remove it to get a new one")
    text = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    write_private(path, f"{text}\n".encode())
    return text


def write_private(path: Path, content: bytes) -> None:
    """Write a file readable by its owner only, whole or not at all.

    Raises:
        DevelopmentError: It cannot be written.
    """
    work = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        work.unlink(missing_ok=True)
        descriptor = os.open(work, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        work.replace(path)
    except OSError as error:
        raise DevelopmentError(f"cannot write {path}: {error.strerror}") from None


def plan_children(options: DevOptions, directory: Path, address: Address) -> tuple[Child, ...]:
    """Return the children in starting order. They stop in reverse: gateway, worker, stand-ins.

    Only the schema has to be in place before gateway and worker start; the stand-in platform
    starts at once, beside the database, and the stand-in vault behind it, whose tokens it takes.
    """
    platform: tuple[Child, ...] = ()
    after: tuple[str, ...] = ("migrate",)
    if options.platform_url is None:
        platform = (_platform(options, directory), _vault(directory))
        after = ("migrate", "platform", "vault")
    settings = gateway_settings(options, directory, address)
    return (
        *platform,
        Child(
            name="migrate",
            argv=_module("scaimcp", "migrate"),
            environment={"SCAIMCP_DATABASE_URL": Fact("database_url")},
            after=(STACK,),
            ready=Completed(),
        ),
        Child(
            name="worker",
            argv=_module("scaimcp", "worker"),
            environment=settings,
            after=after,
            ready=RedisKey(WORKER_HEALTH_KEY),
        ),
        Child(
            name="gateway",
            argv=_module("scaimcp", "serve"),
            environment=settings,
            after=after,
            ready=HttpOk(f"{address.origin}/readyz"),
            stop_seconds=GATEWAY_STOP_SECONDS,
        ),
    )


def gateway_settings(
    options: DevOptions, directory: Path, address: Address
) -> dict[str, str | Fact]:
    """Return the settings of gateway and worker."""
    platform_url: str | Fact = options.platform_url or Fact("platform_url")
    settings: dict[str, str | Fact] = {
        "SCAIMCP_PUBLIC_URL": address.public_url,
        "SCAIMCP_DATABASE_URL": Fact("database_url"),
        "SCAIMCP_REDIS_URL": Fact("redis_url"),
        "SCAIMCP_STATE_KEYS": kept_key(directory / STATE_KEY_NAME),
        "SCAIMCP_ENCRYPTION_LOCAL_KEK": kept_key(directory / KEK_NAME),
        # Remote servers on this machine, by plain HTTP: never outside development.
        "SCAIMCP_REMOTE_ALLOWED_PRIVATE": "127.0.0.0/8:*,[::1/128]:*,localhost:*",
        "SCAIMCP_REMOTE_ALLOWED_PLAINTEXT_HOSTS": "127.0.0.1,[::1],localhost",
        "SCAIMCP_PLATFORM_URL": platform_url,
        "SCAIMCP_SERVER_BIND": address.bind,
        "SCAIMCP_SERVER_DRAIN_SECONDS": str(DRAIN_SECONDS),
        "SCAIMCP_LOG_FORMAT": "console",
    }
    if options.platform_url is None:
        # Whoever may not read module states sees the same modules as whoever may.
        settings["SCAIMCP_PLATFORM_SERVICE_TOKEN"] = standin_tokens()[SERVICE_ROLE]
        # The bearers that `scaimcp dev` prints are API keys: whoever uses one may answer for its
        # calls over REST as well, not only as a user who has signed in on the page.
        settings["SCAIMCP_REMOTE_CONSENT_ALLOW_API_KEYS"] = "true"
        settings["SCAIMCP_LOGIN_CLIENT_ID"] = LOGIN_CLIENT
        settings["SCAIMCP_SCAIVAULT_URL"] = Fact("vault_url")
    if isinstance(platform_url, Fact) or platform_url.startswith("http:"):
        settings["SCAIMCP_PLATFORM_ALLOW_HTTP"] = "true"
    if not address.is_loopback:
        names = ("127.0.0.1", "localhost", "::1", socket.gethostname(), address.host)
        hosts = dict.fromkeys(name.lower() for name in names if name not in WILDCARDS)
        settings["SCAIMCP_SERVER_ALLOWED_HOSTS"] = ",".join(hosts)
    return settings


def _platform(options: DevOptions, directory: Path) -> Child:
    ready = directory / PLATFORM_READY
    limits = ("--rate-limits",) if options.platform_rate_limits else ()
    where = ("--host", "127.0.0.1", "--port", "0", "--db", str(directory / PLATFORM_DATABASE))
    return Child(
        name="platform",
        argv=_module("scaimcp.dev.platform", *where, "--ready-file", str(ready), *limits),
        environment={},
        ready=ReadyFile(ready, field="url", fact="platform_url"),
    )


def _vault(directory: Path) -> Child:
    ready = directory / VAULT_READY
    files = ("--ready-file", str(ready), "--platform-ready-file", str(directory / PLATFORM_READY))
    return Child(
        name="vault",
        argv=_module(VAULT_MODULE, "--port", "0", *files),
        environment={},
        after=("platform",),
        ready=ReadyFile(ready, field="url", fact="vault_url"),
    )


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *arguments)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
