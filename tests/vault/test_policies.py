"""Access policies: globs, conditions, bindings, dry runs. Spec: scaivault 7 (policies)."""

from typing import Any

import pytest

from scaimcp.dev.vault.access import pattern
from scaimcp.dev.vault.errors import Refusal
from scaimcp.dev.vault.fixture import AGENT_B, AGENT_Y, PARTNER_ADMIN
from tests.vault.conftest import START, Caller, World


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("app/db", "app/db", True),
        ("app/db", "app/db/password", False),
        ("app/db/*", "app/db/user", True),
        ("app/db/*", "app/db/primary/password", False),
        ("app/db/*", "app/db", False),
        ("app/**", "app", True),
        ("app/**", "app/db/password", True),
        ("app/**", "app2/db", False),
        ("app/**", "other/app/db", False),
        ("**/ssl/*", "app/ssl/cert", True),
        ("**/ssl/*", "a/b/ssl/key", True),
        ("**/ssl/*", "ssl/cert", False),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("**", "a/b", True),
        ("**", "a", True),
        ("ap?/db", "app/db", True),
        ("ap?/db", "ap/db", False),
        ("ap?/db", "ap/x/db", False),
        ("app/d*", "app/d", True),
        ("app/*b-*", "app/db-1", True),
        ("app/*b-*", "app/db/b-1", False),
    ],
)
def test_globs_match_as_documented(glob: str, path: str, matches: bool) -> None:
    assert bool(pattern(glob).fullmatch(path)) is matches


@pytest.mark.parametrize(
    "glob", ["", "/app", "app/", "a//b", "***", "a**", "App", "a/b/c/d/e/f/g/h/i/j/k", "a.b"]
)
def test_a_text_that_is_no_glob_is_refused(glob: str) -> None:
    with pytest.raises(Refusal) as refused:
        pattern(glob)
    assert (refused.value.status, refused.value.code) == (400, "invalid_glob")


def policy(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "a policy", "rules": list(rules), **more}


def rule(glob: str, *permissions: str, **conditions: Any) -> dict[str, Any]:
    return {"path_pattern": glob, "permissions": list(permissions), "conditions": conditions}


async def grant(world: World, identity: str, *rules: dict[str, Any], **binding: Any) -> str:
    """Make a policy and bind it; returns its id."""
    made = (await world.agent.post("/v1/policies", policy(*rules))).data
    body = {"identity_type": "user", "identity_id": identity, **binding}
    bound = await world.agent.post(f"/v1/policies/{made['id']}/bindings", body)
    assert bound.status == 201
    return str(made["id"])


async def newcomer(world: World, **identity: Any) -> Caller:
    """Return a caller with every scope and no policy."""
    return await world.token("skt_newcomer", **identity)


NEWCOMER = "user:new@acme.example"


async def test_a_policy_is_made_read_changed_and_deleted(world: World) -> None:
    created = await world.agent.post(
        "/v1/policies", policy(rule("app/**", "read", require_mfa=True), description="d")
    )
    assert created.status == 201
    row = created.json
    assert row["rules"] == [
        {
            "path_pattern": "app/**",
            "permissions": ["read"],
            "conditions": {"require_mfa": True},
        }
    ]
    assert (row["bindings"], row["is_active"], row["scope"]) == ([], True, "tenant")
    address = f"/v1/policies/{row['id']}"
    assert (await world.agent.get(address)).data == row
    replaced = (await world.agent.put(address, policy(rule("b", "list"), name="new"))).data
    assert (replaced["name"], replaced["rules"][0]["path_pattern"]) == ("new", "b")
    changed = (await world.agent.patch(address, {"is_active": False})).data
    assert (changed["is_active"], changed["name"]) == (False, "new")
    assert (await world.agent.delete(address)).data == {"id": row["id"], "deleted": True}
    assert (await world.agent.get(address)).refusal == (404, "policy_not_found")


async def test_a_list_counts_rules_and_bindings_and_hides_the_inactive(world: World) -> None:
    policy_id = await grant(world, NEWCOMER, rule("a", "read"), rule("b", "read"))
    rows = (await world.agent.get("/v1/policies")).data["policies"]
    row = next(row for row in rows if row["id"] == policy_id)
    assert (row["rule_count"], row["binding_count"]) == (2, 1)
    await world.agent.patch(f"/v1/policies/{policy_id}", {"is_active": False})
    ids = [row["id"] for row in (await world.agent.get("/v1/policies")).data["policies"]]
    assert policy_id not in ids
    every = (await world.agent.get("/v1/policies?include_inactive=true")).data["policies"]
    assert policy_id in [row["id"] for row in every]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (policy(), "validation_error"),
        (policy(rule("app/**")), "validation_error"),
        (policy(rule("app/**", "own")), "validation_error"),
        (policy(rule("/app", "read")), "invalid_glob"),
        (policy(rule("app", "read", ip_ranges=["10.0.0.0/99"])), "validation_error"),
        (policy(rule("app", "read", time_window={"start": "9", "end": "10"})), "validation_error"),
        (
            policy(
                rule(
                    "app",
                    "read",
                    time_window={"start": "09:00", "end": "10:00", "timezone": "Mars/Base"},
                )
            ),
            "validation_error",
        ),
        (policy(rule("app", "read"), name=""), "validation_error"),
    ],
)
async def test_a_wrong_policy_is_refused(world: World, body: Any, code: str) -> None:
    assert (await world.agent.post("/v1/policies", body)).code == code


async def test_a_bound_policy_is_deleted_with_force_only(world: World) -> None:
    policy_id = await grant(world, NEWCOMER, rule("a", "read"))
    address = f"/v1/policies/{policy_id}"
    assert (await world.agent.delete(address)).refusal == (409, "policy_in_use")
    assert (await world.agent.delete(address + "?force=true")).status == 200


async def test_bindings_are_listed_and_taken_away(world: World) -> None:
    policy_id = await grant(world, NEWCOMER, rule("reports/*", "read"))
    address = f"/v1/policies/{policy_id}/bindings"
    caller = await newcomer(world)
    assert (await caller.get("/v1/secrets/reports/mailer")).status == 200
    (binding,) = (await world.agent.get(address)).data["bindings"]
    assert (binding["identity_id"], binding["expires_at"]) == (NEWCOMER, None)
    assert (await world.agent.delete(f"{address}/{binding['id']}")).data["deleted"] is True
    gone = await world.agent.delete(f"{address}/{binding['id']}")
    assert gone.refusal == (404, "binding_not_found")
    assert (await caller.get("/v1/secrets/reports/mailer")).code == "access_denied"


async def test_a_binding_ends_by_the_clock(world: World) -> None:
    await grant(world, NEWCOMER, rule("reports/*", "read"), expires_at="2027-01-15T08:01:00Z")
    caller = await newcomer(world)
    assert (await caller.get("/v1/secrets/reports/mailer")).status == 200
    await world.advance(60)
    assert (await caller.get("/v1/secrets/reports/mailer")).code == "access_denied"


async def test_a_binding_needs_a_real_time(world: World) -> None:
    body = {"identity_type": "user", "identity_id": NEWCOMER, "expires_at": "soon"}
    answer = await world.agent.post("/v1/policies/pol_reports/bindings", body)
    assert answer.refusal == (400, "invalid_request")


async def test_permissions_are_kept_apart_and_admin_holds_all(world: World) -> None:
    await grant(world, NEWCOMER, rule("app/*", "write"), rule("own/*", "admin"))
    caller = await newcomer(world)
    assert (await caller.store("app/db")).status == 201
    assert (await caller.get("/v1/secrets/app/db")).code == "access_denied"
    assert (await caller.delete("/v1/secrets/app/db")).code == "access_denied"
    assert (await caller.post("/v1/secrets/app/db/rotate")).code == "access_denied"
    assert (await caller.get("/v1/secrets/app/db/versions")).code == "access_denied"
    assert (await caller.store("own/db")).status == 201
    assert (await caller.post("/v1/secrets/own/db/rotate")).status == 200
    assert (await caller.delete("/v1/secrets/own/db")).status == 200


@pytest.mark.parametrize(
    ("conditions", "code", "failed"),
    [
        ({"ip_ranges": ["10.0.0.0/8"]}, "ip_not_allowed", "ip_ranges"),
        ({"require_mfa": True}, "mfa_required", "require_mfa"),
        (
            {"time_window": {"start": "09:00", "end": "17:00"}},
            "time_window_violation",
            "time_window",
        ),
        ({"ip_ranges": ["127.0.0.0/8"], "require_mfa": True}, "mfa_required", "require_mfa"),
    ],
)
async def test_a_condition_that_fails_names_itself(
    world: World, conditions: Any, code: str, failed: str
) -> None:
    await grant(world, NEWCOMER, rule("reports/*", "read", **conditions))
    answer = await (await newcomer(world)).get("/v1/secrets/reports/mailer")
    assert answer.refusal == (403, code)
    assert answer.json["error"]["details"]["failed_condition"] == failed


async def test_conditions_that_hold_let_the_caller_through(world: World) -> None:
    await grant(
        world,
        NEWCOMER,
        rule(
            "reports/*",
            "read",
            ip_ranges=["127.0.0.0/8", "::1/128"],
            require_mfa=True,
            time_window={"start": "08:00", "end": "08:30", "days": ["fri"]},
        ),
    )
    caller = await newcomer(world, mfa_at=START)
    assert (await caller.get("/v1/secrets/reports/mailer")).status == 200
    await world.advance(1800)
    answer = await caller.get("/v1/secrets/reports/mailer")
    assert answer.code == "time_window_violation"


async def test_a_second_factor_grows_stale(world: World) -> None:
    await grant(world, NEWCOMER, rule("reports/*", "read", require_mfa=True))
    caller = await newcomer(world, mfa_at=START)
    await world.advance(3600)
    assert (await caller.get("/v1/secrets/reports/mailer")).status == 200
    await world.advance(1)
    assert (await caller.get("/v1/secrets/reports/mailer")).code == "mfa_required"


@pytest.mark.parametrize(
    ("window", "allowed"),
    [
        ({"start": "22:00", "end": "09:00"}, True),
        ({"start": "22:00", "end": "07:00"}, False),
        ({"start": "09:00", "end": "10:00", "timezone": "Europe/Amsterdam"}, True),
        ({"start": "08:00", "end": "09:00", "days": ["sat", "sun"]}, False),
    ],
)
async def test_windows_know_midnight_zones_and_days(
    world: World, window: Any, allowed: bool
) -> None:
    await grant(world, NEWCOMER, rule("reports/*", "read", time_window=window))
    answer = await (await newcomer(world)).get("/v1/secrets/reports/mailer")
    assert (answer.status == 200) is allowed


async def test_any_matching_rule_allows(world: World) -> None:
    await grant(
        world,
        NEWCOMER,
        rule("reports/*", "list"),
        rule("reports/*", "read", require_mfa=True),
        rule("reports/mailer", "read"),
    )
    assert (await (await newcomer(world)).get("/v1/secrets/reports/mailer")).status == 200


async def dry_run(world: World, **body: Any) -> Any:
    asked = {"identity_id": NEWCOMER, "path": "app/db", "permission": "read", **body}
    return (await world.agent.post("/v1/policies/test", asked)).data


async def test_a_dry_run_gives_reasons_and_leaves_no_audit_row(world: World) -> None:
    policy_id = await grant(world, NEWCOMER, rule("app/**", "read", ip_ranges=["10.0.0.0/8"]))
    before = len(world.served.vault.tenants["tnt_a"].audit)
    assert await dry_run(world, context={"source_ip": "10.1.2.3"}) == {
        "allowed": True,
        "evaluated": [{"policy_id": policy_id, "matched": True, "reason": "rule_matched"}],
        "failed_condition": None,
    }
    assert await dry_run(world) == {
        "allowed": False,
        "evaluated": [
            {"policy_id": policy_id, "matched": False, "reason": "condition_failed:ip_ranges"}
        ],
        "failed_condition": "ip_ranges",
    }
    assert (await dry_run(world, permission="write"))["evaluated"][0]["reason"] == (
        "permission_not_granted"
    )
    assert (await dry_run(world, path="x"))["evaluated"][0]["reason"] == "no_path_match"
    assert (await dry_run(world, identity_id="sa:nobody"))["evaluated"] == []
    assert len(world.served.vault.tenants["tnt_a"].audit) == before


async def test_a_dry_run_takes_time_factor_and_groups_into_account(world: World) -> None:
    window = {"start": "12:00", "end": "13:00"}
    await grant(world, NEWCOMER, rule("app/**", "read", require_mfa=True, time_window=window))
    context = {"mfa_verified": True, "timestamp": "2027-01-15T12:30:00Z"}
    assert (await dry_run(world, context=context))["allowed"] is True
    alice = {"identity_id": "user:alice@acme.example", "path": "integrations/stripe/api-key"}
    assert (await dry_run(world, **alice))["allowed"] is True


async def test_a_dry_run_wants_a_path_of_the_grammar(world: World) -> None:
    body = {"identity_id": NEWCOMER, "path": "App", "permission": "read"}
    answer = await world.agent.post("/v1/policies/test", body)
    assert answer.refusal == (400, "invalid_path")


async def test_a_partner_policy_counts_in_every_tenant_of_the_partner(world: World) -> None:
    body = policy(rule("reports/*", "read"), scope="partner")
    assert (await world.agent.post("/v1/policies", body)).refusal == (403, "forbidden")
    made = (await world.as_(PARTNER_ADMIN).post("/v1/policies", body)).data
    ids = {
        token: [
            row["id"]
            for row in (await world.as_(token).get("/v1/policies?scope=partner")).data["policies"]
        ]
        for token in (AGENT_B, AGENT_Y)
    }
    assert ids == {AGENT_B: [made["id"]], AGENT_Y: []}
    assert (await world.as_(AGENT_B).get(f"/v1/policies/{made['id']}")).status == 200


async def test_changes_and_violations_are_events(world: World) -> None:
    policy_id = await grant(world, NEWCOMER, rule("reports/*", "read", require_mfa=True))
    await world.agent.patch(f"/v1/policies/{policy_id}", {"description": "d"})
    await (await newcomer(world)).get("/v1/secrets/reports/mailer")
    await world.agent.delete(f"/v1/policies/{policy_id}?force=true")
    events = world.served.vault.tenants["tnt_a"].events
    assert [event["event_type"] for event in events] == [
        "policy.created",
        "policy.updated",
        "policy.violation",
        "policy.deleted",
    ]
    assert events[2]["data"] == {
        "denied_by": "mfa_required",
        "path": "reports/mailer",
        "permission": "read",
        "failed_condition": "require_mfa",
    }
