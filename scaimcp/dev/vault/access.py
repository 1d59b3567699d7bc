"""Who may do what with which path: globs, conditions, decisions. Spec: scaivault 7 (policies)."""

import ipaddress
import re
from collections.abc import Sequence
from datetime import datetime, time, tzinfo
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from scaimcp.dev.vault.call import Call
from scaimcp.dev.vault.errors import refuse
from scaimcp.dev.vault.state import Tenant, Vault
from scaimcp.dev.vault.values import instant
from scaimcp.dev.vault.views import Body

SEGMENT = re.compile(r"\*\*|(?!.*\*\*)[a-z0-9_*?-]+")
Permission = Literal["read", "write", "delete", "list", "rotate", "admin"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CONDITION_CODES = {
    "ip_ranges": "ip_not_allowed",
    "require_mfa": "mfa_required",
    "time_window": "time_window_violation",
}
MFA_SECONDS = 3600
ClockTime = Annotated[str, msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class TimeWindow(Body, frozen=True):
    """When a rule holds: from `start` up to but without `end`, over midnight if end is less."""

    start: ClockTime
    end: ClockTime
    days: tuple[Day, ...] = WEEKDAYS
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        zone(self.timezone)


class Conditions(Body, frozen=True, omit_defaults=True):
    """What a rule asks besides; all of it must hold."""

    ip_ranges: tuple[str, ...] | None = None
    require_mfa: bool = False
    time_window: TimeWindow | None = None

    def __post_init__(self) -> None:
        for text in self.ip_ranges or ():
            ipaddress.ip_network(text)


class Rule(Body, frozen=True):
    """One rule of a policy."""

    path_pattern: str
    permissions: Annotated[tuple[Permission, ...], msgspec.Meta(min_length=1)]
    conditions: Conditions = Conditions()

    def __post_init__(self) -> None:
        pattern(self.path_pattern)


class Context(NamedTuple):
    """Circumstances of a request; `now` in Unix seconds."""

    source_ip: str | None
    mfa_verified: bool
    now: float


class Decision(NamedTuple):
    """What came out, policy by policy; the condition that alone stood in the way, or None."""

    allowed: bool
    evaluated: list[dict[str, Any]]
    failed_condition: str | None


def zone(name: str) -> tzinfo:
    """Return a time zone; ValueError for an unknown name."""
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:
        raise ValueError(f"unknown time zone {name!r}") from None


def pattern(glob: str) -> re.Pattern[str]:
    """Return what a glob means.

    `*` is one segment or a part of one, `?` one character, `**` any number of segments including
    none; a leading `**/` needs at least one.

    Raises:
        Refusal: 400 `invalid_glob`.
    """
    segments = glob.split("/")
    if len(segments) > 10 or not all(SEGMENT.fullmatch(segment) for segment in segments):
        refuse(400, "invalid_glob", "The path pattern is not a valid glob.")
    text = ""
    for number, segment in enumerate(segments):
        if segment == "**":
            text += "(?:/[^/]+)*" if number else "[^/]+(?:/[^/]+)*"
        else:
            part = "[^/]+" if segment == "*" else _part(segment)
            text += f"/{part}" if number else part
    return re.compile(text)


def _part(segment: str) -> str:
    return re.escape(segment).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")


def visible(vault: Vault, tenant: Tenant) -> list[dict[str, Any]]:
    """Return a tenant's policies and those its partner made for all tenants."""
    return [
        row
        for other in vault.tenants.values()
        for row in other.table("policies").values()
        if other is tenant or (row["scope"] == "partner" and other.partner_id == tenant.partner_id)
    ]


def decide(
    policies: Sequence[dict[str, Any]],
    who: Sequence[str],
    wanted: tuple[str, str],
    context: Context,
) -> Decision:
    """Decide about (path, permission) for an identity and its groups; the default is no."""
    evaluated: list[dict[str, Any]] = []
    allowed, failed = False, None
    for row in policies:
        if not row["is_active"] or not _bound(row, who, context.now):
            continue
        reason, condition = _judge(row, wanted, context)
        matched = reason == "rule_matched"
        allowed, failed = allowed or matched, failed or condition
        evaluated.append({"policy_id": row["id"], "matched": matched, "reason": reason})
    return Decision(allowed, evaluated, None if allowed else failed)


def _bound(row: dict[str, Any], who: Sequence[str], now: float) -> bool:
    return any(
        binding["identity_id"] in who
        and (binding["expires_at"] is None or instant(binding["expires_at"]) > now)
        for binding in row["bindings"]
    )


def _judge(
    row: dict[str, Any], wanted: tuple[str, str], context: Context
) -> tuple[str, str | None]:
    """Return why a policy does or does not allow, and the condition that failed."""
    path, permission = wanted
    reason, failed = "no_path_match", None
    for rule in msgspec.convert(row["rules"], list[Rule]):
        if not pattern(rule.path_pattern).fullmatch(path):
            continue
        if permission not in rule.permissions and "admin" not in rule.permissions:
            reason = "permission_not_granted" if failed is None else reason
            continue
        condition = _failing(rule.conditions, context)
        if condition is None:
            return "rule_matched", None
        reason, failed = f"condition_failed:{condition}", condition
    return reason, failed


def _failing(conditions: Conditions, context: Context) -> str | None:
    """Return the first condition that does not hold."""
    if conditions.ip_ranges is not None and not _inside(conditions.ip_ranges, context.source_ip):
        return "ip_ranges"
    if conditions.require_mfa and not context.mfa_verified:
        return "require_mfa"
    if conditions.time_window is not None and not _within(conditions.time_window, context.now):
        return "time_window"
    return None


def _inside(ranges: Sequence[str], source_ip: str | None) -> bool:
    if source_ip is None:
        return False
    address = ipaddress.ip_address(source_ip)
    return any(address in ipaddress.ip_network(text) for text in ranges)


def _within(window: TimeWindow, now: float) -> bool:
    moment = datetime.fromtimestamp(now, zone(window.timezone))
    start, end = time.fromisoformat(window.start), time.fromisoformat(window.end)
    clock = moment.time()
    inside = start <= clock < end if start <= end else clock >= start or clock < end
    return inside and WEEKDAYS[moment.weekday()] in window.days


def decision(call: Call, path: str, permission: str) -> Decision:
    """Decide about the caller of a request."""
    identity = call.identity
    fresh = identity.mfa_at is not None and call.now - identity.mfa_at <= MFA_SECONDS
    context = Context(call.source_ip, fresh, call.now)
    policies = visible(call.vault, call.tenant)
    return decide(policies, (identity.id, *identity.groups), (path, permission), context)


def require_access(call: Call, path: str, permission: str) -> None:
    """Let the caller through.

    Raises:
        Refusal: 403 `access_denied`, or the code of the condition that failed.
    """
    found = decision(call, path, permission)
    if found.allowed:
        return
    details = {"path": path, "permission": permission}
    code = "access_denied"
    if found.failed_condition is not None:
        code = CONDITION_CODES[found.failed_condition]
        details["failed_condition"] = found.failed_condition
    call.vault.emit(call.tenant, "policy.violation", denied_by=code, **details)
    refuse(403, code, "No policy allows this, or a condition of one does not hold.", **details)
