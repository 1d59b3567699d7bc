"""Three conversations that ScaiVault's public page tells of, as calls.

The facts are the page's: paths, versions, times, who was refused, engine, role, host of the
database. Spec: scaivault 7.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import pytest_asyncio

from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.fixture import DENIED_PATH, READER, REPORT_RUNNER, SECRETS
from scaimcp.dev.vault.server import serve_vault
from scaimcp.outbound import open_http
from scaimcp.scaivault.errors import MARKER
from scaimcp.scaivault.guard_settings import parse_guards
from tests.integration.scaivault.desk import Desk, identity_of

# The stand-in's three refused reads lie 122, 91 and 60 seconds before this.
AFTERWARDS = datetime(2026, 4, 22, 14, 33, 16, tzinfo=UTC)
WINDOW = {"from": "2026-04-22T14:25:00Z", "to": "2026-04-22T14:35:00Z"}
REFUSED_AT = ["14:31:14", "14:31:45", "14:32:16"]
HOUR = 3_600
ACCESS = {"engine": "postgres-prod", "role": "readonly"}
CAREFUL = parse_guards(
    {
        "SCAIVAULT_READ_ONLY": "true",
        "SCAIVAULT_MASK_VALUES": "true",
        "SCAIVAULT_ALLOWED_PATHS": "integrations/",
    }
).guards
MASKED = parse_guards({"SCAIVAULT_MASK_VALUES": "true"}).guards


@pytest_asyncio.fixture
async def afternoon() -> AsyncIterator[Desk]:
    config = VaultConfig(frozen_at=AFTERWARDS.timestamp())
    async with serve_vault(config) as served, open_http("scaimcp/9.9") as http:
        yield Desk(served, http)


def time_of(stamp: str) -> str:
    return datetime.fromisoformat(stamp).astimezone(UTC).strftime("%H:%M:%S")


# -- what a service has access to ----------------------------------------------------------------


async def test_a_masked_listing_shows_paths_and_versions_and_no_value(afternoon: Desk) -> None:
    afternoon.identity = identity_of(READER)
    arguments = msgspec.json.encode({"prefix": "integrations/"})
    listed = await afternoon.raw("scaivault_list_secrets", arguments, CAREFUL)
    rows = msgspec.json.decode(listed)["items"]
    assert [(row["path"], row["version"]) for row in rows] == [
        ("integrations/salesforce/oauth", 3),
        ("integrations/stripe/api-key", 1),
    ]
    texts = [listed]
    for row in rows:
        path = msgspec.json.encode({"path": row["path"]})
        texts.append(await afternoon.raw("scaivault_read_secret", path, CAREFUL))
        secret = msgspec.json.decode(texts[-1])
        assert secret["data"]
        assert set(secret["data"].values()) == {MARKER}
        assert secret["metadata"] == {"owner": "team:platform"}
    values = [str(value).encode() for _, data, _ in SECRETS for value in data.values()]
    assert not [value for value in values for text in texts if value in text]


async def test_the_careful_profile_lets_nothing_else_be_done(afternoon: Desk) -> None:
    await afternoon.call("list_secrets", CAREFUL)
    afternoon.forget()
    for tool, arguments, code in (
        ("read_secret", {"path": DENIED_PATH}, "PATH_DENIED"),
        ("list_secrets", {"prefix": "infra"}, "PATH_DENIED"),
        ("delete_secret", {"path": "integrations/stripe/api-key"}, "READ_ONLY"),
        ("generate_credentials", ACCESS, "READ_ONLY"),
    ):
        error = await afternoon.refused(tool, CAREFUL, **arguments)
        assert (error.code, afternoon.sent()) == (code, [])


# -- what happened at half past two --------------------------------------------------------------


async def test_the_refused_reads_are_found_in_their_window(afternoon: Desk) -> None:
    rows = (await afternoon.call("query_audit", MASKED, success=False, **WINDOW))["items"]
    assert sorted(time_of(row["timestamp"]) for row in rows) == REFUSED_AT
    for row in rows:
        assert (row["action"], row["identity_id"]) == ("read", "sa:report-runner")
        assert (row["secret_path"], row["success"]) == (DENIED_PATH, False)
        assert row["extra_data"] == {"error_code": "access_denied"}
    earlier = {"from": "2026-04-22T14:00:00Z", "to": "2026-04-22T14:31:00Z"}
    assert (await afternoon.call("query_audit", MASKED, success=False, **earlier))["items"] == []
    part = {"from": "2026-04-22T14:31:30Z", "to": "2026-04-22T14:32:00Z"}
    assert len((await afternoon.call("query_audit", MASKED, **part))["items"]) == 1


async def test_they_are_one_group_of_unauthorized_access(afternoon: Desk) -> None:
    tool = "find_unauthorized_access"
    found = await afternoon.call(tool, MASKED, min_failures=3, **WINDOW)
    (group,) = found["groups"]
    assert (group["identity_id"], group["secret_path"]) == ("sa:report-runner", DENIED_PATH)
    assert (group["failures"], group["actions"]) == (3, ["read"])
    assert [time_of(group[name]) for name in ("first_at", "last_at")] == REFUSED_AT[::2]
    assert group["source_ips"] == ["10.0.1.50"]
    assert (await afternoon.call(tool, MASKED, min_failures=4, **WINDOW))["groups"] == []


async def test_the_cause_is_a_missing_binding_and_a_further_try_is_counted(
    afternoon: Desk,
) -> None:
    question = {"identity_id": "sa:report-runner", "path": DENIED_PATH, "permission": "read"}
    assert (await afternoon.call("test_policy", MASKED, **question))["allowed"] is False
    bound = (await afternoon.call("get_policy", MASKED, policy_id="pol_reports"))["rules"]
    assert [rule["path_pattern"] for rule in bound] == ["reports/**"]
    agent, afternoon.identity = afternoon.identity, identity_of(REPORT_RUNNER)
    error = await afternoon.refused("read_secret", MASKED, path=DENIED_PATH)
    assert error.code == "access_denied"
    afternoon.identity = agent
    window = {"from": WINDOW["from"]}
    (group,) = (await afternoon.call("find_unauthorized_access", MASKED, **window))["groups"]
    assert group["failures"] == 4
    trail = await afternoon.call("secret_audit_trail", MASKED, path=DENIED_PATH)
    assert trail["totals"]["failed_events"] == 4


# -- access to a database for an hour ------------------------------------------------------------


async def statuses(desk: Desk, lease_id: str) -> set[str]:
    """Return the statuses under which a lease is listed."""
    return {
        status
        for status in ("active", "expired", "revoked")
        for row in (await desk.call("list_leases", status=status))["items"]
        if row["lease_id"] == lease_id
    }


async def test_a_credential_lasts_an_hour(afternoon: Desk) -> None:
    lease = await afternoon.call("generate_credentials", **ACCESS, ttl="1h")
    url = lease["credentials"]["connection_url"]
    assert url.startswith("postgresql://v_readonly_")
    assert url.endswith("@db.internal:5432/main")
    assert lease["ttl"] == "1h"
    ends = datetime.fromisoformat(lease["expires_at"]).timestamp()
    assert ends == AFTERWARDS.timestamp() + HOUR
    clock, lease_id = afternoon.served.vault.clock, lease["lease_id"]
    assert (await afternoon.call("check_expiring_leases", within="30m"))["items"] == []
    clock.shift(HOUR - 1)
    assert await statuses(afternoon, lease_id) == {"active"}
    (row,) = (await afternoon.call("check_expiring_leases", within="30m"))["items"]
    assert (row["lease_id"], row["seconds_remaining"]) == (lease_id, 1)
    clock.shift(1)
    assert await statuses(afternoon, lease_id) == {"expired"}
    assert (await afternoon.refused("renew_lease", lease_id=lease_id)).code == "lease_not_found"


async def test_a_credential_is_taken_back_before_its_end(afternoon: Desk) -> None:
    lease_id = (await afternoon.call("generate_credentials", **ACCESS, ttl="1h"))["lease_id"]
    taken = await afternoon.call("revoke_lease", lease_id=lease_id)
    assert (taken["lease_id"], taken["status"]) == (lease_id, "revoked")
    assert await statuses(afternoon, lease_id) == {"revoked"}
    assert (await afternoon.call("check_expiring_leases", within="2h"))["items"] == []
    actions = [row["action"] for row in (await afternoon.call("query_audit"))["items"]]
    assert {"dynamic_generate", "dynamic_revoke"} <= set(actions)


async def test_under_masking_the_lease_is_seen_and_the_credential_is_not(afternoon: Desk) -> None:
    lease = await afternoon.call("generate_credentials", MASKED, **ACCESS)
    assert set(lease["credentials"].values()) == {MARKER}
    assert await statuses(afternoon, lease["lease_id"]) == {"active"}
