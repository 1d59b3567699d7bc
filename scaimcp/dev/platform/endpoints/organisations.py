"""Partners and tenants. Spec: scaigrid 10."""

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.errors import PlatformError, conflict, not_found, refuse
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.store import Row

HOME_FIELDS = fields("slug:slug(2-64)*, display_name:str*, settings:map")
TENANT_FIELDS = HOME_FIELDS + fields("partner_id:id")
STATUS = fields("status:enum(active,suspended)")
PAGE = fields("@page") + STATUS
_partner = view("id slug display_name status settings created_at")
_tenant = view("id slug display_name partner_id status settings created_at")


def _sees_partner(call: Call, partner_id: str) -> bool:
    return call.principal.reach == "platform" or partner_id == call.principal.partner_id


def _partner_row(call: Call, partner_id: str) -> Row:
    row = call.table("partners").get(partner_id)
    if row is None or not _sees_partner(call, partner_id):
        raise not_found("PARTNER")
    return row


def _tenant_row(call: Call) -> Row:
    row = call.table("tenants").get(call.params["tenant_id"])
    if row is None or not _sees_partner(call, row["partner_id"]):
        raise not_found("TENANT")
    return row


def platform_only(call: Call) -> None:
    """Demand the role `super_admin`."""
    _demand(call, "super_admin")


def partner_or_platform(call: Call) -> None:
    """Demand the role `super_admin` or `partner_admin`."""
    _demand(call, "super_admin", "partner_admin")


def _demand(call: Call, *roles: str) -> None:
    if not set(roles) & set(call.principal.roles):
        text = f"The role {' or '.join(roles)} is required."
        raise PlatformError("AUTHZ_PERMISSION_DENIED", text)


def _check_slug(call: Call, table: str) -> None:
    if call.table(table).first(slug=call.body["slug"]):
        raise conflict("The slug is taken.", "SLUG_CONFLICT")


def list_partners(call: Call) -> Reply:
    """List the partners in reach: all, or the caller's own."""
    wanted = {name: call.query[name] for name in ("status",) if name in call.query}
    rows = [row for row in call.table("partners").find(**wanted) if _sees_partner(call, row["id"])]
    return shape_a(call, rows, _partner)


def get_partner(call: Call) -> object:
    """Return one partner."""
    return _partner(_partner_row(call, call.params["partner_id"]))


def create_partner(call: Call) -> object:
    """Add a partner."""
    _check_slug(call, "partners")
    return _partner(call.created("partners", {"settings": {}, **call.body, "status": "active"}))


def update_partner(call: Call) -> object:
    """Change the given fields; a suspended partner shuts out everybody below it."""
    row = _partner_row(call, call.params["partner_id"])
    return _partner(call.table("partners").update(row["id"], call.body))


def list_tenants(call: Call) -> Reply:
    """List the tenants of the caller's partner, or all."""
    wanted = {name: call.query[name] for name in ("status", "partner_id") if name in call.query}
    if "partner_id" in wanted:
        _partner_row(call, wanted["partner_id"])
    rows = call.table("tenants").find(**wanted)
    return shape_a(call, [row for row in rows if _sees_partner(call, row["partner_id"])], _tenant)


def get_tenant(call: Call) -> object:
    """Return one tenant."""
    return _tenant(_tenant_row(call))


def _check_partner(call: Call) -> None:
    """Check the partner a body names; only platform users may name one."""
    if "partner_id" in call.body:
        platform_only(call)
        _partner_row(call, call.body["partner_id"])


def create_tenant(call: Call) -> object:
    """Add a tenant without any module switched on."""
    _check_partner(call)
    partner_id = call.body.get("partner_id", call.principal.partner_id)
    if partner_id is None:
        refuse("partner_id", "is required of a caller without a partner")
    _check_slug(call, "tenants")
    row: Row = {"settings": {}, **call.body, "partner_id": partner_id, "status": "active"}
    return _tenant(call.created("tenants", row))


def update_tenant(call: Call) -> object:
    """Change the given fields; a suspended tenant shuts out its users."""
    row = _tenant_row(call)
    _check_partner(call)
    return _tenant(call.table("tenants").update(row["id"], call.body))


PARTNERS, PARTNER = "/v1/partners", "/v1/partners/{partner_id}"
TENANTS, TENANT = "/v1/tenants", "/v1/tenants/{tenant_id}"
VIEW, ADMIN = "accounting:view_partner", "admin:access"

FAMILY = Family(
    endpoints=(
        Endpoint("GET", PARTNERS, VIEW, list_partners, query=PAGE),
        Endpoint("GET", PARTNER, VIEW, get_partner),
        Endpoint(
            "POST",
            PARTNERS,
            ADMIN,
            create_partner,
            rule=platform_only,
            body=json_body(HOME_FIELDS),
            audit="partner.create",
        ),
        Endpoint(
            "PUT",
            PARTNER,
            ADMIN,
            update_partner,
            rule=platform_only,
            body=json_body(HOME_FIELDS.partial("slug") + STATUS),
            audit="partner.update",
        ),
        Endpoint("GET", TENANTS, VIEW, list_tenants, query=PAGE + fields("partner_id:id")),
        Endpoint("GET", TENANT, VIEW, get_tenant),
        Endpoint(
            "POST",
            TENANTS,
            ADMIN,
            create_tenant,
            rule=partner_or_platform,
            body=json_body(TENANT_FIELDS),
            audit="tenant.create",
        ),
        Endpoint(
            "PUT",
            TENANT,
            ADMIN,
            update_tenant,
            rule=partner_or_platform,
            body=json_body(TENANT_FIELDS.partial("slug") + STATUS),
            audit="tenant.update",
        ),
    )
)
