"""Who a bearer stands for and what that caller may do. Spec: scaigrid 2, 3, 12."""

import hashlib
import math
from dataclasses import dataclass
from typing import Literal, cast

from scaimcp.dev.platform.clock import Clock, seconds_of
from scaimcp.dev.platform.errors import PlatformError
from scaimcp.dev.platform.permissions import (
    CORE_PERMISSIONS,
    ROLE_CORE,
    ROLE_LEVELS,
    ROLE_MODULES,
    holds,
    narrow,
)
from scaimcp.dev.platform.store import Row, Store
from scaimcp.dev.platform.tables import IDENTITY_TABLES
from scaimcp.dev.platform.tokens import Claims, TokenKeys

CACHED_PRINCIPALS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """One authenticated caller.

    Attributes:
        digest: SHA-256 of the bearer, hexadecimal.
        user: the user's row; a client-credentials token has a made-up one with the client id.
        tenant: None for partner and platform users.
        partner: None for platform users.
        roles: own and mapped through groups, highest first.
        custom_roles: rows, own and mapped.
        groups: ids.
        core: effective core permissions, narrowed by the key's scopes.
        modules: effective module permissions, likewise; `*` is all.
        key: the API key's row; None for a token.
        claims: the token's claims; empty for a key.
        expires_at: Unix seconds, infinite without expiry.
    """

    digest: str
    user: Row
    tenant: Row | None
    partner: Row | None
    roles: tuple[str, ...]
    custom_roles: tuple[Row, ...]
    groups: tuple[str, ...]
    core: frozenset[str]
    modules: frozenset[str]
    key: Row | None
    claims: Claims
    expires_at: float

    @property
    def user_id(self) -> str:
        """Id of the user or client."""
        return cast(str, self.user["id"])

    @property
    def tenant_id(self) -> str | None:
        """Id of the home tenant."""
        return None if self.tenant is None else cast(str, self.tenant["id"])

    @property
    def partner_id(self) -> str | None:
        """Id of the partner."""
        return None if self.partner is None else cast(str, self.partner["id"])

    @property
    def subject_type(self) -> str:
        """`user` or `client`."""
        return cast(str, self.user.get("subject_type", "user"))

    @property
    def reach(self) -> Literal["platform", "partner", "tenant"]:
        """How far the caller sees: everything, its partner's tenants, or its tenant."""
        if "super_admin" in self.roles:
            return "platform"
        if self.tenant is None and self.partner is not None:
            return "partner"
        return "tenant"

    @property
    def level(self) -> int:
        """Rank of the highest role; 0 without one."""
        return max((ROLE_LEVELS[role] for role in self.roles), default=0)

    def holds(self, permission: str) -> bool:
        """Tell whether the caller holds a permission, by its full name."""
        return holds(permission, self.core, self.modules)

    def subjects(self) -> set[tuple[str, str]]:
        """Return every `(type, id)` a budget or an access rule may name to reach this caller."""
        found = {("user", self.user_id)} | {("group", group) for group in self.groups}
        if self.tenant_id is not None:
            found.add(("tenant", self.tenant_id))
        if self.partner_id is not None:
            found.add(("partner", self.partner_id))
        return found


def digest_of(bearer: str) -> str:
    """Return the form in which a bearer is stored and compared."""
    return hashlib.sha256(bearer.encode("utf-8", "surrogateescape")).hexdigest()


def _rejected(message: str) -> PlatformError:
    return PlatformError("AUTH_TOKEN_INVALID", message)


class Authenticator:
    """Turn bearers into principals, remembered until anything about identities changes."""

    def __init__(self, store: Store, clock: Clock, keys: TokenKeys) -> None:
        self._store = store
        self._clock = clock
        self._keys = keys
        self._tables = [store[name] for name in IDENTITY_TABLES]
        self._version = -1
        self._known: dict[str, Principal] = {}

    def authenticate(self, header: str | None) -> Principal:
        """Return the caller named by an `Authorization` header.

        Raises:
            PlatformError: 401 without a usable bearer or for a suspended user, 403 for a suspended
                tenant or partner.
        """
        scheme, _, bearer = (header or "").partition(" ")
        bearer = bearer.strip()
        if scheme.lower() != "bearer" or not bearer:
            raise PlatformError("AUTH_TOKEN_MISSING", "A bearer token is required.")
        version = sum(table.version for table in self._tables)
        if version != self._version or len(self._known) > CACHED_PRINCIPALS:
            self._known.clear()
            self._version = version
        digest = digest_of(bearer)
        principal = self._known.get(digest)
        if principal is None:
            principal = self._known[digest] = self._resolve(bearer, digest)
        if principal.expires_at <= self._clock.now():
            raise _rejected("The token has expired.")
        if principal.key is not None:
            # Straight into the row: a use is no change of identity and must stay cheap.
            principal.key["last_used_at"] = self._clock.iso()
        return principal

    def _resolve(self, bearer: str, digest: str) -> Principal:
        if self._store["revoked"].first(digest=digest):
            raise _rejected("The token was revoked.")
        key = self._store["api_keys"].first(hash=digest)
        if key is not None:
            expires = math.inf if key["expires_at"] is None else seconds_of(key["expires_at"])
            user = self._store["users"].get(key["assigned_user_id"])
            return self._principal(digest, user, key=key, claims={}, expires_at=expires)
        claims = self._keys.verify(bearer)
        if claims is None:
            raise _rejected("The token is not valid.")
        expires_at = claims.get("exp")
        expires = float(expires_at) if isinstance(expires_at, int | float) else 0.0
        user = self._store["users"].get(str(claims.get("sub"))) or _client(claims)
        return self._principal(digest, user, key=None, claims=claims, expires_at=expires)

    def _principal(
        self, digest: str, user: Row | None, *, key: Row | None, claims: Claims, expires_at: float
    ) -> Principal:
        if user is None:
            raise _rejected("The token's user does not exist.")
        if user["status"] != "active":
            raise _rejected("The user is suspended.")
        tenant = self._store["tenants"].get(user["tenant_id"] or "")
        partner_id = user["partner_id"] if tenant is None else tenant["partner_id"]
        partner = self._store["partners"].get(partner_id or "")
        for home in (tenant, partner):
            if home is not None and home["status"] != "active":
                raise PlatformError(
                    "AUTHZ_PERMISSION_DENIED", f"{home['display_name']} is suspended."
                )
        grants = self.grants(user)
        scopes = ["*"] if key is None else key["scopes"]
        core, modules = narrow(grants.core, grants.modules, scopes)
        return Principal(
            digest=digest,
            user=user,
            tenant=tenant,
            partner=partner,
            roles=grants.roles,
            custom_roles=grants.custom_roles,
            groups=grants.groups,
            core=core,
            modules=modules,
            key=key,
            claims=claims,
            expires_at=expires_at,
        )

    def grants(self, user: Row) -> "Grants":
        """Return what a user's roles, custom roles, groups and own permissions add up to."""
        groups = [
            group["id"]
            for group in self._store["groups"].find(tenant_id=user["tenant_id"])
            if user["id"] in group["member_ids"]
        ]
        mappings = [
            row for group in groups for row in self._store["role_mappings"].find(group_id=group)
        ]
        roles = {*user["roles"], *(row["role"] for row in mappings if row["role"])}
        custom_ids = [*user["custom_role_ids"], *(row["custom_role_id"] for row in mappings)]
        custom = {
            row["id"]: row
            for row in (self._store["custom_roles"].get(role_id or "") for role_id in custom_ids)
            if row is not None
        }
        core = {name for role in roles for name in ROLE_CORE[role]}
        modules = {name for role in roles for name in ROLE_MODULES[role]}
        for row in custom.values():
            core |= set(row["core_permissions"])
            modules |= set(row["module_permissions"])
        modules |= set(user.get("module_permissions", ()))
        return Grants(
            roles=tuple(sorted(roles, key=lambda role: -ROLE_LEVELS[role])),
            custom_roles=tuple(custom.values()),
            groups=tuple(groups),
            core=frozenset(core & set(CORE_PERMISSIONS)),
            modules=frozenset(modules),
        )


@dataclass(frozen=True, slots=True)
class Grants:
    """Roles, groups and permissions of a user, before a key's scopes."""

    roles: tuple[str, ...]
    custom_roles: tuple[Row, ...]
    groups: tuple[str, ...]
    core: frozenset[str]
    modules: frozenset[str]


def _client(claims: Claims) -> Row | None:
    """Return a made-up user for a client-credentials token; None for any other token."""
    role = claims.get("role")
    if claims.get("token_type") != "client":
        return None
    return {
        "id": str(claims.get("client_id")),
        "subject_type": "client",
        "email": None,
        "display_name": str(claims.get("client_id")),
        "status": "active",
        "tenant_id": claims.get("tenant_id"),
        "partner_id": claims.get("partner_id"),
        "roles": [role] if role in ROLE_LEVELS else [],
        "custom_role_ids": [],
        "created_at": None,
    }
