"""Guard cases that need a call. Spec: scaivault 2.7; numbers are the contract's."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scaimcp.scaivault.catalogue import BY_NAME
from scaimcp.scaivault.errors import MARKER, VaultError
from scaimcp.scaivault.guards import Guards
from tests.integration.scaivault.cases import CASES, filled
from tests.integration.scaivault.desk import Desk
from tests.integration.scaivault.world import furnish

APP = Guards(allowed=("app",))
NO_APP_ROOT = Guards(denied=("app/root",))
MASKED = Guards(mask_values=True)


async def paths_of(desk: Desk, guards: Guards, **arguments: Any) -> list[str]:
    """Return the paths of every page of a listing."""
    found: list[str] = []
    result = await desk.call("list_secrets", guards, **arguments)
    while True:
        assert set(result) <= {"items", "has_more", "next_cursor"}
        found += [row["path"] for row in result["items"]]
        if not result["has_more"]:
            return found
        cursor = result["next_cursor"]
        result = await desk.call("list_secrets", guards, **arguments, cursor=cursor)


async def test_g07_a_denied_path_is_refused_without_a_call(desk: Desk) -> None:
    guards = Guards(allowed=("app",), denied=("app/root",))
    for path in ("app/root", "app/root/k", "app2/db", "infra/db"):
        error = await desk.refused("read_secret", guards, path=path)
        assert (error.code, desk.sent()) == ("PATH_DENIED", [])
    await desk.secret("app/rooted")
    assert (await desk.call("read_secret", guards, path="app/rooted"))["path"] == "app/rooted"


async def test_g16_a_path_that_is_a_route_is_refused_without_a_call(desk: Desk) -> None:
    await desk.secret("app")
    desk.forget()
    guards = Guards(denied=("app/db",))
    await desk.call("get_secret_versions", guards, path="app")
    desk.forget()
    for path in ("app/versions", "app/db/rotate", "app/../x", "app%2fdb", "app/db\n"):
        error = await desk.refused("read_secret", guards, path=path)
        assert (error.code, desk.sent()) == ("INVALID_PATH", [])


async def test_g19_the_vault_is_asked_for_the_window_only(desk: Desk) -> None:
    for path in ("app", "app/db", "app2/db", "infra/db"):
        await desk.secret(path)
    desk.forget()
    assert await paths_of(desk, APP) == ["app", "app/db"]
    assert desk.lines() == ["GET /v1/secrets/?prefix=app&limit=50"]
    desk.forget()
    for prefix in ("infra", "ap"):
        assert (await desk.refused("list_secrets", APP, prefix=prefix)).code == "PATH_DENIED"
    assert desk.sent() == []


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
async def test_g20_the_window_is_read_in_order(desk: Desk, limit: int) -> None:
    for path in ("app/web/1", "app/web/2", "app/api/1", "app/api/2", "app/other", "app/apix"):
        await desk.secret(path)
    guards = Guards(allowed=("app/api", "app/web"))
    found = await paths_of(desk, guards, prefix="app", limit=limit)
    assert found == ["app/api/1", "app/api/2", "app/web/1", "app/web/2"]


@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_g21_denied_rows_are_absent(desk: Desk, limit: int) -> None:
    for path in ("app/a", "app/root", "app/root/k", "app/rooted", "app/z"):
        await desk.secret(path)
    found = await paths_of(desk, NO_APP_ROOT, prefix="app", limit=limit)
    assert found == ["app/a", "app/rooted", "app/z"]
    error = await desk.refused("list_secrets", NO_APP_ROOT, prefix="app/root")
    assert error.code == "PATH_DENIED"


@pytest.mark.parametrize("container", ["secrets", "data"])
async def test_g22_rows_that_were_not_asked_for_are_dropped(desk: Desk, container: str) -> None:
    rows = [{"path": path} for path in ("infra/x", "app/a", "app2/y", "app", "", "App/x")]
    desk.fault("/v1/secrets/", answer={container: [*rows, {"path": None}], "total": 7})
    result = await desk.call("list_secrets", APP)
    assert result == {"items": [{"path": "app/a"}, {"path": "app"}], "has_more": False}


async def test_a_prefix_ends_where_a_segment_ends_without_guards_too(desk: Desk) -> None:
    for path in ("app/db", "app2/db", "application"):
        await desk.secret(path)
    assert await paths_of(desk, Guards(), prefix="app") == ["app/db"]


async def test_g23_a_cursor_fits_its_own_listing_only(desk: Desk) -> None:
    for path in ("app/a", "app/b", "app/c"):
        await desk.secret(path)
    first = await desk.call("list_secrets", APP, limit=1)
    cursor = first["next_cursor"]
    assert "app" not in cursor
    second = await desk.call("list_secrets", APP, limit=1, cursor=cursor)
    assert [row["path"] for row in second["items"]] == ["app/b"]
    desk.forget()
    altered = cursor[:30] + ("A" if cursor[30] != "A" else "B") + cursor[31:]
    for tool, guards, arguments in (
        ("list_secrets", APP, {"cursor": altered}),
        ("list_secrets", APP, {"cursor": cursor, "prefix": "app/a"}),
        ("list_secrets", Guards(), {"cursor": cursor}),
        ("list_policies", APP, {"cursor": cursor}),
    ):
        error = await desk.refused(tool, guards, **arguments)
        assert (error.code, error.details[0]["field"]) == ("INVALID_ARGUMENTS", "cursor")
    assert desk.sent() == []


async def test_g24_what_expires_or_is_due_is_shown_below_the_allowed_only(desk: Desk) -> None:
    ids = await furnish(desk)
    for path in ("app/soon", "infra/soon"):
        await desk.secret(path, options={"expires_in": "5d"})
    body = {"secret_path": "infra/soon"}
    await desk.rest("POST", f"/v1/rotation/policies/{ids['rotation']}/secrets", body)
    found = await desk.call("check_expiration", APP)
    assert [row["path"] for row in found["items"]] == ["app/soon"]
    due = await desk.call("get_secrets_due_rotation", APP, within_hours=8_760)
    assert [row["secret_path"] for row in due["items"]] == ["app/db"]


async def test_g25_a_backend_is_read_through_where_it_maps_only(desk: Desk) -> None:
    ids = await furnish(desk)
    arguments = {"backend_id": ids["proxy"], "path": "external/other"}
    error = await desk.refused("proxy_read", APP, **arguments)
    assert (error.code, desk.sent()) == ("PATH_DENIED", [])
    error = await desk.refused("proxy_read", Guards(allowed=("external",)), **arguments)
    assert error.code == "INVALID_ARGUMENTS"
    assert desk.lines() == [f"GET /v1/federation/backends/{ids['proxy']}"]
    copied = {"backend_id": ids["copied"], "path": "copy/x"}
    assert (await desk.refused("proxy_read", **copied)).code == "INVALID_ARGUMENTS"


async def test_g27_a_policy_over_a_denied_path_is_not_created(desk: Desk) -> None:
    guards = Guards(allowed=("app",), denied=("app/root",))
    for glob in ("app/**", "**", "*/db", "ap?/db", "infra/**"):
        rules = [{"path_pattern": glob, "permissions": ["read"]}]
        error = await desk.refused("create_policy", guards, name="p", rules=rules)
        assert (error.code, desk.sent()) == ("PATH_DENIED", [])
    rules = [{"path_pattern": "app/web/**", "permissions": ["read"]}]
    assert "id" in await desk.call("create_policy", guards, name="p", rules=rules)


async def test_g29_patterns_outside_are_hidden(desk: Desk) -> None:
    result = await desk.call("get_policy", APP, policy_id="pol_integrations")
    assert result["rules"][0]["path_pattern"] == "(hidden)"


async def test_g31_settings_name_no_path_outside(desk: Desk) -> None:
    config = {
        "plugin": "postgresql",
        "connection_url": "postgresql://db/x",
        "root_credentials_path": "infra/pg/root",
    }
    error = await desk.refused(
        "create_dynamic_engine", APP, name="pg", type="database", config=config
    )
    assert (error.code, desk.sent()) == ("PATH_DENIED", [])


@pytest.mark.parametrize(
    ("mapping", "config"),
    [({"infra/**": "x"}, {}), ({"app/**": "x"}, {"auth_config_path": "infra/v"})],
)
async def test_g32_a_backend_maps_nothing_outside(
    desk: Desk, mapping: dict[str, str], config: dict[str, str]
) -> None:
    error = await desk.refused(
        "create_federation_backend",
        APP,
        name="b",
        type="hashicorp-vault",
        config=config,
        path_mapping=mapping,
        mode="proxy",
    )
    assert (error.code, desk.sent()) == ("PATH_DENIED", [])


async def test_g33_a_stored_mapping_is_read_before_a_copy(desk: Desk) -> None:
    ids = await furnish(desk)
    arguments = {"backend_id": ids["copied"]}
    error = await desk.refused("sync_federation_backend", APP, **arguments)
    assert error.code == "PATH_DENIED"
    assert desk.lines() == [f"GET /v1/federation/backends/{ids['copied']}"]
    desk.forget()
    await desk.call("sync_federation_backend", Guards(allowed=("copy",)), **arguments)
    one = f"/v1/federation/backends/{ids['copied']}"
    assert desk.lines() == [f"GET {one}", f"POST {one}/sync"]


async def test_g34_a_subscription_on_a_path_outside_stays(desk: Desk) -> None:
    ids = await furnish(desk)
    new = {"name": "s", "events": ["secret.updated"], "delivery": {"type": "polling"}}
    paths = ["app/**", "infra/**"]
    error = await desk.refused("create_subscription", APP, **new, paths=paths)
    assert (error.code, desk.sent()) == ("PATH_DENIED", [])
    one = {"subscription_id": ids["subscription"]}
    error = await desk.refused("delete_subscription", Guards(allowed=("infra",)), **one)
    assert error.code == "PATH_DENIED"
    assert desk.lines() == [f"GET /v1/subscriptions/{ids['subscription']}"]
    assert (await desk.call("delete_subscription", APP, **one))["deleted"] is True


async def test_g35_audit_rows_outside_or_without_a_path_are_absent(desk: Desk) -> None:
    await desk.secret("app/db")
    await desk.rest("GET", "/v1/secrets/app/db")
    await desk.rest("GET", "/v1/policies")
    error = await desk.refused("query_audit", APP, path_prefix="infra")
    assert error.code == "PATH_DENIED"
    rows = (await desk.call("query_audit", APP))["items"]
    assert {row["secret_path"] for row in rows} == {"app/db"}
    groups = (await desk.call("find_unauthorized_access", APP))["groups"]
    assert groups == []


async def test_g36_of_a_summary_only_totals_are_left(desk: Desk) -> None:
    error = await desk.refused("secret_audit_trail", APP, path="infra/db")
    assert error.code == "PATH_DENIED"
    summary = await desk.call("audit_summary", APP)
    assert set(summary) == {
        "from", "to", "total_events", "successful_events", "failed_events",
    }  # fmt: skip


# -- masking -----------------------------------------------------------------------------------


async def test_g42_every_value_is_one_marker(desk: Desk) -> None:
    data = {"a": "x", "b": "", "c": None, "d": 7, "e": {}, "f": [], "g": {"inner": "x"}}
    await desk.secret("app/db", {**data, "k" * 70: "long"})
    result = await desk.call("read_secret", MASKED, path="app/db")
    assert result["masked"] is True
    assert set(result["data"].values()) == {MARKER}
    assert set(result["data"]) == {*data, f"{MARKER}1"}


@pytest.mark.parametrize(
    ("tool", "arguments", "hidden", "shown"),
    [
        ("issue_certificate", {"role": "web", "common_name": "c.example.com"},
         ["private_key"], ["certificate", "ca_chain"]),
        ("get_certificate", {"certificate_id": "{certificate}"},
         ["private_key"], ["certificate", "ca_chain"]),
        ("create_api_key", {"service_account_id": "{account}", "name": "k"},
         ["key"], ["prefix", "expires_at"]),
    ],
)  # fmt: skip
async def test_g44_private_keys_are_masked_and_certificates_shown(
    desk: Desk, tool: str, arguments: Any, hidden: list[str], shown: list[str]
) -> None:
    ids = await furnish(desk)
    result = await desk.call(tool, MASKED, **filled(arguments, ids))
    assert [result[name] for name in hidden] == [MARKER] * len(hidden)
    assert all(result[name] and result[name] != MARKER for name in shown)


async def test_g45_credentials_and_previews_are_masked(desk: Desk) -> None:
    ids = await furnish(desk)
    lease = await desk.call("generate_credentials", MASKED, engine="pg", role="ro")
    assert set(lease["credentials"].values()) == {MARKER}
    assert lease["lease_id"].startswith("lease_")
    one = {"policy_id": ids["secret_policy"]}
    preview = await desk.call("generate_secret_preview", MASKED, **one)
    assert preview["values"] == {"password": MARKER}
    assert preview["stored"] is False


async def test_g46_settings_are_masked_but_for_paths(desk: Desk) -> None:
    ids = await furnish(desk)
    one = {"policy_id": ids["secret_policy"]}
    policy = await desk.call("get_secret_policy", MASKED, **one)
    assert policy["fields"][0]["config"]["value"] == MARKER
    config = (await desk.call("get_dynamic_engine", MASKED, engine="pg"))["config"]
    assert config["connection_url"] == MARKER
    assert config["root_credentials_path"] == "app/pg-root"


async def test_g48_an_unknown_field_is_masked(desk: Desk) -> None:
    ids = await furnish(desk)
    desk.fault("/v1/secrets/.*", extra={"plaintext": "hunter2"}, count=2)
    read = await desk.call("read_secret", MASKED, path="app/db")
    through = {"backend_id": ids["proxy"], "path": "external/app/db"}
    for result in (read, await desk.call("proxy_read", MASKED, **through)):
        assert result["plaintext"] == MARKER
        assert set(result["data"].values()) == {MARKER}


async def test_g49_secrets_in_errors_are_masked(desk: Desk) -> None:
    pem = "-----BEGIN EC PRIVATE KEY-----\nx\n-----END EC PRIVATE KEY-----"
    fault = {
        "status": 409,
        "code": "conflict",
        "message": f"Was {pem}",
        "details": {"password": "hunter2", "note": pem, "limit": 3},
        "count": 2,
    }
    desk.fault("/v1/secrets/.*", **fault)
    masked = await desk.refused("read_secret", MASKED, path="app/db")
    assert masked.members == {"details": {"password": MARKER, "note": MARKER, "limit": 3}}
    assert "PRIVATE KEY" not in masked.message
    assert "PRIVATE KEY" not in str(masked)
    open_ = await desk.refused("read_secret", path="app/db")
    assert open_.members["details"]["password"] == "hunter2"


@pytest.mark.parametrize("guards", [MASKED, Guards()], ids=["masked", "open"])
async def test_g50_a_marker_is_not_written_back(desk: Desk, guards: Guards) -> None:
    error = await desk.refused("write_secret", guards, path="app/db", data={"p": MARKER})
    assert (error.code, desk.sent()) == ("MASK_MARKER_REFUSED", [])


async def test_g51_lists_carry_no_values(desk: Desk) -> None:
    await furnish(desk)
    desk.fault("/v1/secrets/", extra_rows={"data": {"p": "hunter2"}})
    rows = (await desk.call("list_secrets"))["items"]
    assert rows
    assert not any("data" in row for row in rows)
    desk.fault("/v1/dynamic/leases", extra_rows={"credentials": {"p": "hunter2"}})
    rows = (await desk.call("list_leases"))["items"]
    assert rows
    assert not any("credentials" in row for row in rows)


async def test_g52_no_value_is_logged(desk: Desk, told: Any) -> None:
    await desk.secret("app/db", {"p": "hunter2"})
    await desk.call("read_secret", path="app/db")
    desk.fault("/v1/secrets/.*", status=500, code="internal_error", count=2)
    await desk.refused("write_secret", path="app/db", data={"p": "hunter3"})
    lines = told()
    assert "internal_error" in lines
    assert "hunter" not in lines
    assert "skt_" not in lines


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.tool)
async def test_every_tool_works_with_values_masked(desk: Desk, case: Any) -> None:
    ids = await furnish(desk)
    record = BY_NAME[f"scaivault_{case.tool}"]
    arguments = msgspec.json.encode(filled(case.arguments, ids))
    text = await desk.raw(record.name, arguments, MASKED)
    assert b'"masked":true' in text
    for secret in (b"hunter2", b"s3cret", b"PRIVATE KEY", b"remote-db-demo", b"db/app"):
        assert secret not in text
    missing = [name for name in case.shows if name not in msgspec.json.decode(text)]
    assert not missing


# -- the answer --------------------------------------------------------------------------------


async def test_g59_an_answer_for_another_path_is_not_shown(desk: Desk) -> None:
    await desk.secret("app/a")
    desk.fault("/v1/secrets/.*", extra={"path": "app/b"})
    error = await desk.refused("read_secret", path="app/a")
    assert error.code == "UPSTREAM_SHAPE_MISMATCH"
    desk.fault("/v1/secrets/.*", extra={"path": "app/b"})
    error = await desk.refused("get_secret_versions", path="app/a")
    assert error.code == "UPSTREAM_SHAPE_MISMATCH"
    desk.fault("/v1/audit/.*", extra={"path": "app/b"})
    error = await desk.refused("secret_audit_trail", path="app/a")
    assert error.code == "UPSTREAM_SHAPE_MISMATCH"
    desk.fault("/v1/policies/test", extra={"path": "app/b"})
    asked = {"identity_id": "sa:agent", "path": "app/a", "permission": "read"}
    assert (await desk.refused("test_policy", **asked)).code == "UPSTREAM_SHAPE_MISMATCH"
    desk.fault("/v1/secrets/.*", redirect="http://127.0.0.1:9/steal")
    error = await desk.refused("read_secret", path="app/a")
    assert error.code == "UPSTREAM_ERROR"


@pytest.mark.parametrize("body", ["html", "empty", "cut", "drop"])
async def test_b23_a_body_that_is_none_is_a_mismatch(desk: Desk, body: str) -> None:
    await desk.secret("app/a")
    desk.fault("/v1/secrets/.*", body=body)
    error = await desk.refused("read_secret", path="app/a")
    assert error.code == "UPSTREAM_SHAPE_MISMATCH"


async def test_a_group_that_is_off_has_no_tools(desk: Desk) -> None:
    error = await desk.refused("list_cas", Guards(groups=frozenset({"secrets"})))
    assert (error.code, desk.sent()) == ("TOOL_NOT_FOUND", [])


async def test_the_error_keeps_its_type(desk: Desk) -> None:
    error = await desk.refused("read_secret", MASKED, path="app/none")
    assert isinstance(error, VaultError)
    assert error.code == "secret_not_found"
    assert error.request_id
