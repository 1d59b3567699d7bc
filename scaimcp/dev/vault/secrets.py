"""Secrets. Spec: scaivault 7 (secrets)."""

from typing import Annotated, Any, Literal

import msgspec

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.vault.access import decision, require_access
from scaimcp.dev.vault.call import Call
from scaimcp.dev.vault.federation import refuse_remote, remote
from scaimcp.dev.vault.paging import page
from scaimcp.dev.vault.records import Secret, Version
from scaimcp.dev.vault.routing import Reply, Route
from scaimcp.dev.vault.store import (
    GRACE_SECONDS,
    RETENTION_SECONDS,
    NewVersion,
    check_path,
    kept,
    live,
    new_value,
    require,
    rotate,
    version_of,
    write,
)
from scaimcp.dev.vault.values import duration, stamp
from scaimcp.dev.vault.views import Body

HIGHEST_VERSION = 1_000_000


class Options(Body, frozen=True):
    """`options` of PUT."""

    max_versions: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    expires_in: str | None = None
    rotation_policy_id: str | None = None
    secret_policy_id: str | None = None


class SecretBody(Body, frozen=True):
    """Body of PUT."""

    data: Annotated[dict[str, Any], msgspec.Meta(min_length=1)]
    secret_type: Literal["kv", "json", "certificate", "ssh_key", "api_key"] | None = None
    metadata: dict[str, Any] | None = None
    options: Options = Options()


class RotateBody(Body, frozen=True):
    """Body of POST rotate; without data a value is generated."""

    data: dict[str, Any] | None = None
    grace_period: str | None = None


def _path(call: Call, permission: str) -> str:
    """Return the path a call is about, if the caller may do this with it.

    Raises:
        Refusal: 400 `invalid_path`, also for one that came percent-encoded; 403.
    """
    call.secret_path = call.params["path"]
    path = check_path("%" if "%" in call.raw_path else call.secret_path)
    require_access(call, path, permission)
    return path


def _row(secret: Secret, version: Version) -> dict[str, Any]:
    """Return a secret without its value."""
    return {
        "path": secret.path,
        "secret_type": secret.secret_type,
        "version": version.number,
        "metadata": secret.metadata,
        "created_at": iso(secret.created_at),
        "updated_at": iso(secret.updated_at),
        "expires_at": stamp(version.expires_at),
        "last_accessed_at": stamp(secret.last_accessed_at),
        "rotation_policy_id": secret.rotation_policy_id,
        "secret_policy_id": secret.secret_policy_id,
    }


def read_secret(call: Call) -> dict[str, Any]:
    """Return a secret with its value, of the asked or the newest version, or a proxied one."""
    path = _path(call, "read")
    proxied = remote(call.tenant, path)
    if proxied is not None:
        version = Version(1, proxied, call.now, "system:federation")
        secret = Secret(path, "json", {}, [version], call.now, call.now)
    else:
        secret = require(call.tenant, path, call.now)
        number = call.number("version", secret.current.number, 1, HIGHEST_VERSION)
        version = version_of(secret, number, call.now)
    row = {**_row(secret, version), "data": version.data}
    secret.last_accessed_at = call.now
    told = {"version": version.number, "accessed_by": call.identity.id}
    call.vault.emit(call.tenant, "secret.accessed", path=path, **told)
    return row


def write_secret(call: Call) -> Reply:
    """Write a new version: 201 for the first, 200 after that."""
    path = _path(call, "write")
    refuse_remote(call.tenant, path)
    body = call.read(SecretBody)
    options = msgspec.structs.asdict(body.options)
    lifetime = options.pop("expires_in")
    expires = None if lifetime is None else call.now + duration(lifetime)
    new = NewVersion(
        data=body.data,
        by=call.identity.id,
        secret_type=body.secret_type,
        metadata=body.metadata,
        expires_at=expires,
        **options,
    )
    is_new = live(call.tenant, path, call.now) is None
    secret = write(call.tenant, path, new, call.now)
    number = secret.current.number
    if is_new:
        told = {"version": number, "secret_type": secret.secret_type, "created_by": new.by}
        call.vault.emit(call.tenant, "secret.created", path=path, **told)
    else:
        told = {"old_version": number - 1, "new_version": number, "updated_by": new.by}
        call.vault.emit(call.tenant, "secret.updated", path=path, is_rotation=False, **told)
    return Reply(_row(secret, secret.current), 201 if is_new else 200)


def delete_secret(call: Call) -> dict[str, Any]:
    """Delete softly for 30 days, or for good with `permanent`, also what is deleted already."""
    path = _path(call, "delete")
    refuse_remote(call.tenant, path)
    permanent = call.flag("permanent")
    secret = kept(call.tenant, path, call.now) if permanent else None
    if secret is not None:
        del call.tenant.secrets[path]
        until = None
    else:
        secret = require(call.tenant, path, call.now)
        until = secret.recoverable_until = call.now + RETENTION_SECONDS
    result = {"permanent": permanent, "recoverable_until": stamp(until)}
    told = {"version_count": len(secret.versions), "deleted_by": call.identity.id}
    call.vault.emit(call.tenant, "secret.deleted", path=path, **told, **result)
    return {"path": path, "deleted": True, **result}


def list_secrets(call: Call) -> Any:
    """Return a page of the secrets the caller may list, by string prefix, without values."""
    prefix = call.query.get("prefix", "")
    call.extra["prefix"] = prefix
    found = [
        live(call.tenant, path, call.now)
        for path in sorted(call.tenant.secrets)
        if path.startswith(prefix) and decision(call, path, "list").allowed
    ]
    rows = [_row(secret, secret.current) for secret in found if secret is not None]
    return page(call, rows, "secrets", key="path")


def list_versions(call: Call) -> Any:
    """Return a page of a secret's kept versions, newest first."""
    secret = require(call.tenant, _path(call, "list"), call.now)
    rows = [
        {
            "version": version.number,
            "created_at": iso(version.created_at),
            "created_by": version.created_by,
            "expires_at": stamp(version.expires_at),
            "is_current": version is secret.current,
        }
        for version in reversed(secret.versions)
    ]
    return page(call, rows, "versions", key="version")


def rotate_secret(call: Call) -> dict[str, Any]:
    """Write a generated or given value; the old version ends with the grace period."""
    path = _path(call, "rotate")
    refuse_remote(call.tenant, path)
    body = call.read(RotateBody)
    secret = require(call.tenant, path, call.now)
    grace = GRACE_SECONDS if body.grace_period is None else duration(body.grace_period)
    data = body.data or new_value(call.vault, call.tenant, secret)
    new = NewVersion(data=data, by=call.identity.id)
    result = rotate(call.tenant, path, new, call.now, grace)
    ends = iso(result["grace_period_ends"])
    result |= {"grace_period_ends": ends, "auto_generated": body.data is None}
    call.vault.emit(call.tenant, "secret.rotated", **result)
    return result


BASE = "/v1/secrets/"
ONE = BASE + "{path:path}"
ROUTES = (
    Route("GET", BASE, list_secrets, "secrets:list", "list", "list"),
    Route("GET", ONE + "/versions", list_versions, "secrets:list", "list", "list"),
    Route("POST", ONE + "/rotate", rotate_secret, "secrets:rotate", "rotate", "secret_write"),
    Route("GET", ONE, read_secret, "secrets:read", "read", "secret_read"),
    Route("PUT", ONE, write_secret, "secrets:write", "write", "secret_write"),
    Route("DELETE", ONE, delete_secret, "secrets:delete", "delete", "secret_delete"),
)
