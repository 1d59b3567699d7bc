"""The audit log. Spec: scaigrid 10, 12 (audit)."""

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Raw, Reply
from scaimcp.dev.platform.endpoints.accounting import check_times, within
from scaimcp.dev.platform.errors import denied
from scaimcp.dev.platform.exports import FORMAT, export
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.store import Row

FIELDS = (
    "id timestamp action actor_id actor_email actor_type tenant_id partner_id resource_type"
    " resource_id status ip_address user_agent details"
)
COLUMNS = FIELDS.split()
EQUAL = ("action", "actor_id", "resource_type", "resource_id", "status", "ip_address")
FILTERS = (
    "start:ts, end:ts, action:str, actor_id:id, actor_user_id:id, resource_type:str,"
    "resource_id:id, status:enum(SUCCESS,FAILURE), ip_address:str(2-64)"
)
_audit = view(FIELDS)


def _may_read(call: Call) -> None:
    """Demand the permission of the caller's level: the partner's, else the tenant's."""
    needed = "accounting:view_partner" if call.principal.reach == "partner" else "admin:access"
    if not call.holds(needed):
        raise denied(needed)


def _in_reach(call: Call) -> list[Row]:
    principal, table = call.principal, call.table("audit")
    if principal.reach == "platform":
        return table.all()
    if principal.reach == "partner":
        return table.find(partner_id=principal.partner_id)
    return table.find(tenant_id=call.tenant_id)


def _chosen(call: Call) -> list[Row]:
    check_times(call)
    query = dict(call.query)
    if "actor_user_id" in query:
        query.setdefault("actor_id", query["actor_user_id"])
    wanted = {name: query[name] for name in EQUAL if name in query}
    rows = within(_in_reach(call), query, "timestamp")
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def list_audit(call: Call) -> Reply:
    """List audit rows, newest first."""
    return shape_a(call, _chosen(call), _audit, newest_first=True)


def export_audit(call: Call) -> Raw:
    """Return audit rows as a file, oldest first."""
    return export(_chosen(call), COLUMNS, call.query["format"])


AUDIT = "/v1/audit-log"

FAMILY = Family(
    endpoints=(
        Endpoint(
            "GET",
            AUDIT,
            "",
            list_audit,
            rule=_may_read,
            query=fields(f"{FILTERS}, limit:int(1-1000)=100, cursor:str(<=512)"),
        ),
        Endpoint(
            "GET",
            f"{AUDIT}/export",
            "",
            export_audit,
            rule=_may_read,
            query=fields(f"{FILTERS}, {FORMAT}"),
        ),
    )
)
