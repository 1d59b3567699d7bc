"""The secret store without routes. Spec: scaivault 7 (secrets), 2.3 (grammar)."""

import re
from typing import Any

import msgspec

from scaimcp.dev.vault.errors import Refusal, find, refuse
from scaimcp.dev.vault.generators import generate, random_text
from scaimcp.dev.vault.records import Secret, Version
from scaimcp.dev.vault.state import Tenant, Vault
from scaimcp.dev.vault.values import DAY

PATH = re.compile(r"[a-z0-9_-]+(/[a-z0-9_-]+){0,9}")
MAX_PATH = 512
RESERVED = ("versions", "rotate", "metadata")
RETENTION_SECONDS = 30 * DAY
FIELDS = ("secret_type", "metadata", "max_versions", "rotation_policy_id", "secret_policy_id")
# What rotation leaves alone: names, not secrets.
PUBLIC_FIELDS = ("username", "user", "host", "port", "database", "client_id")
GENERATED_CHARACTERS = 32
GRACE_SECONDS = 2 * DAY


class NewVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What is written; None keeps what the secret has, or takes the default of a new one.

    Attributes:
        by: identity that writes.
        expires_at: Unix seconds; None never.
    """

    data: dict[str, Any]
    by: str
    secret_type: str | None = None
    metadata: dict[str, Any] | None = None
    max_versions: int | None = None
    expires_at: float | None = None
    rotation_policy_id: str | None = None
    secret_policy_id: str | None = None


def check_path(path: str) -> str:
    """Return a path that keeps the grammar.

    Raises:
        Refusal: 400 `invalid_path`.
    """
    reserved = path == "batch" or path.rpartition("/")[2] in RESERVED
    if len(path) > MAX_PATH or reserved or not PATH.fullmatch(path):
        refuse(400, "invalid_path", "The path is not valid.")
    return path


def kept(tenant: Tenant, path: str, now: float) -> Secret | None:
    """Return a secret, softly deleted or not; None once its retention has ended."""
    secret = tenant.secrets.get(path)
    if secret is None or secret.recoverable_until is None or secret.recoverable_until > now:
        return secret
    del tenant.secrets[path]
    return None


def live(tenant: Tenant, path: str, now: float) -> Secret | None:
    """Return a secret that is not deleted."""
    secret = kept(tenant, path, now)
    return secret if secret is not None and secret.recoverable_until is None else None


def require(tenant: Tenant, path: str, now: float) -> Secret:
    """Return a secret that is not deleted.

    Raises:
        Refusal: 404 `secret_not_found`.
    """
    secret = live(tenant, path, now)
    if secret is None:
        refuse(404, "secret_not_found", "There is no secret at this path.", path=path)
    return secret


def write(tenant: Tenant, path: str, new: NewVersion, now: float) -> Secret:
    """Write a new version, of a new secret if need be.

    Raises:
        Refusal: 409 `secret_exists` while a softly deleted secret has the path.
    """
    secret = kept(tenant, path, now)
    if secret is None:
        secret = tenant.secrets[path] = Secret(path, "json", {}, [], now, now)
    elif secret.recoverable_until is not None:
        refuse(409, "secret_exists", "A deleted secret still has this path.", path=path)
    number = secret.current.number + 1 if secret.versions else 1
    secret.versions.append(Version(number, new.data, now, new.by, new.expires_at))
    for name in FIELDS:
        value = getattr(new, name)
        if value is not None:
            setattr(secret, name, value)
    del secret.versions[: -secret.max_versions]
    secret.updated_at = now
    return secret


def rotate(tenant: Tenant, path: str, new: NewVersion, now: float, grace: int) -> dict[str, Any]:
    """Write a new version and let the former one end after `grace` seconds.

    Returns:
        `path`, `old_version`, `new_version` and `grace_period_ends` in Unix seconds.

    Raises:
        Refusal: 404 `secret_not_found`.
    """
    former = require(tenant, path, now).current
    former.readable_until = now + grace
    secret = write(tenant, path, new, now)
    secret.last_rotated_at = now
    return {
        "path": path,
        "old_version": former.number,
        "new_version": secret.current.number,
        "grace_period_ends": former.readable_until,
    }


def new_value(vault: Vault, tenant: Tenant, secret: Secret) -> dict[str, Any]:
    """Return a new value: by the secret's policy, or 32 random characters for each secret field.

    Raises:
        Refusal: 404 `secret_policy_not_found`.
    """
    if secret.secret_policy_id is not None:
        policies = tenant.table("secret_policies")
        return generate(vault, find(policies, secret.secret_policy_id, "secret_policy_not_found"))
    return {
        name: value if name in PUBLIC_FIELDS else random_text(GENERATED_CHARACTERS)
        for name, value in secret.current.data.items()
    }


def version_of(secret: Secret, number: int, now: float) -> Version:
    """Return a version that is still readable.

    Raises:
        Refusal: 404 `version_not_found`.
    """
    for version in secret.versions:
        ended = version.readable_until is not None and version.readable_until <= now
        if version.number == number and not ended:
            return version
    raise Refusal(404, "version_not_found", "The version does not exist or has aged out.")
