"""One authenticated request, as a handler sees it."""

from collections.abc import Mapping
from typing import Any

from scaimcp.dev.platform.endpoint import Endpoint
from scaimcp.dev.platform.errors import PlatformError, denied, not_found
from scaimcp.dev.platform.faults import FaultRule
from scaimcp.dev.platform.identity import Principal
from scaimcp.dev.platform.state import Platform
from scaimcp.dev.platform.store import Row, Table


class Call:
    """One request after validation.

    Attributes:
        platform: the whole state.
        endpoint: the matched record.
        params: decoded path values by name.
        query: validated query fields.
        body: validated body fields; files are `Part`.
        headers: request headers, lower-case names.
        request_id: of the request, echoed or made.
        base_url: origin under which the caller reached the platform.
        client_ip: peer address.
        fault: the fault rule in force for this request.
        resource_id: what the audit row names; set by handlers that create something, otherwise the
            last path value.
        audit_details: members of the audit row's `details`.
        response_headers: added to the answer.
    """

    __slots__ = (
        "_principal",
        "audit_details",
        "base_url",
        "body",
        "client_ip",
        "endpoint",
        "fault",
        "headers",
        "params",
        "platform",
        "query",
        "request_id",
        "resource_id",
        "response_headers",
    )

    def __init__(self, platform: Platform, endpoint: Endpoint, values: tuple[str, ...]) -> None:
        self.platform = platform
        self.endpoint = endpoint
        self.params = dict(zip(endpoint.names, values, strict=True))
        self.query: dict[str, Any] = {}
        self.body: dict[str, Any] = {}
        self.headers: Mapping[str, str] = {}
        self.request_id = ""
        self.base_url = ""
        self.client_ip = ""
        self.fault: FaultRule | None = None
        self.resource_id: str | None = values[-1] if values else None
        self.audit_details: dict[str, object] = {}
        self.response_headers: tuple[tuple[bytes, bytes], ...] = ()
        self._principal: Principal | None = None

    @property
    def principal(self) -> Principal:
        """The caller; a public endpoint has none.

        Raises:
            PlatformError: `AUTH_TOKEN_MISSING` on a public endpoint.
        """
        if self._principal is None:
            raise PlatformError("AUTH_TOKEN_MISSING", "A bearer token is required.")
        return self._principal

    @principal.setter
    def principal(self, principal: Principal) -> None:
        self._principal = principal

    @property
    def known(self) -> bool:
        """Whether the caller was identified."""
        return self._principal is not None

    @property
    def user_id(self) -> str:
        """Id of the calling user or client."""
        return self.principal.user_id

    @property
    def tenant_id(self) -> str:
        """Id of the caller's tenant, for rows that must have one.

        Raises:
            PlatformError: `AUTHZ_PERMISSION_DENIED` for a caller without a tenant.
        """
        tenant_id = self.principal.tenant_id
        if tenant_id is None:
            raise PlatformError("AUTHZ_PERMISSION_DENIED", "The caller belongs to no tenant.")
        return tenant_id

    def table(self, name: str) -> Table:
        """Return a table of the store."""
        return self.platform.store[name]

    def now(self) -> str:
        """Return the platform's time as a timestamp."""
        return self.platform.clock.iso()

    def holds(self, permission: str) -> bool:
        """Tell whether the caller holds a permission."""
        return self.principal.holds(permission)

    def require(self, permission: str) -> None:
        """Demand a further permission.

        Raises:
            PlatformError: `AUTHZ_PERMISSION_DENIED`.
        """
        if not self.holds(permission):
            raise denied(permission)

    def sees_tenant(self, tenant_id: str | None) -> bool:
        """Tell whether rows of a tenant are within the caller's walls."""
        reach = self.principal.reach
        if reach == "platform":
            return True
        if reach == "tenant":
            return tenant_id is not None and tenant_id == self.principal.tenant_id
        tenant = self.table("tenants").get(tenant_id or "")
        return tenant is not None and tenant["partner_id"] == self.principal.partner_id

    def rows(self, table: str, **equal: object) -> list[Row]:
        """Return the rows with a `tenant_id` within the caller's walls, oldest first."""
        reach = self.principal.reach
        if reach == "tenant":
            if self.principal.tenant_id is None:
                return []
            return self.table(table).find(tenant_id=self.principal.tenant_id, **equal)
        return [
            row for row in self.table(table).find(**equal) if self.sees_tenant(row["tenant_id"])
        ]

    def find(self, table: str, row_id: str, noun: str) -> Row:
        """Return one row within the caller's walls.

        Raises:
            PlatformError: `<noun>_NOT_FOUND`, the same for an absent and a foreign row.
        """
        row = self.table(table).get(row_id)
        if row is None or not self.sees_tenant(row["tenant_id"]):
            raise not_found(noun)
        return row

    def own(self, table: str, row_id: str, noun: str, field: str = "user_id") -> Row:
        """Return one row of the caller's own user; another user's is not found either."""
        row = self.find(table, row_id, noun)
        if row[field] != self.user_id:
            raise not_found(noun)
        return row

    def created(self, table: str, row: Row) -> Row:
        """Insert a row and name it in the audit row."""
        stored = self.table(table).insert(row)
        self.resource_id = stored["id"]
        return stored
