"""Servers in PostgreSQL: who sees them, quota, slugs, lists, versions, deletion."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from scaimcp.ids import new_id
from scaimcp.postgres import Database
from scaimcp.remotes.approval_models import Binding, NewApproval
from scaimcp.remotes.enumerations import (
    AuthType,
    ConsentTier,
    Kind,
    Scope,
    Status,
    ToolChanges,
    Transport,
)
from scaimcp.remotes.models import (
    NewChange,
    NewServer,
    Position,
    Quota,
    QuotaReached,
    RegisteredServer,
    ServerFilter,
    ServerRow,
    SlugTaken,
    Visibility,
)
from scaimcp.remotes.stores import (
    approval_store,
    capability_store,
    change_store,
    state_store,
    store,
)
from tests.integration.remotes.registry import (
    PLENTY,
    activate,
    change_state,
    count,
    digest,
    everything,
    execute,
    is_somebody_waiting,
    migrated,
    put,
    seen,
    serve,
    server,
    shared,
    tool,
    until,
)

ALL = ServerFilter()


@pytest_asyncio.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as opened:
        yield opened


async def insert(
    database: Database, new: NewServer, quota: Quota
) -> ServerRow | SlugTaken | QuotaReached:
    async with database.transaction() as connection:
        return await store.insert_server(connection, new, quota)


async def get(database: Database, by: Visibility, server_id: str) -> RegisteredServer | None:
    async with database.transaction() as connection:
        return await store.get_server(connection, by, server_id)


async def names(database: Database, by: Visibility, narrowed: ServerFilter = ALL) -> list[str]:
    async with database.transaction() as connection:
        page = await store.list_servers(connection, by, narrowed, None, 200)
    return [found.row.name for found in page.items]


# --- insertion --------------------------------------------------------------------------------


async def test_a_row_comes_back_as_it_was_stored(database: Database) -> None:
    new = server(
        "tnt_back", "Full", description="ä\n", transport=Transport.SSE,
        auth_type=AuthType.API_KEY_HEADER, consent_tier=ConsentTier.CONFIRM,
        tool_changes=ToolChanges.REVIEW, forward_user_id=True, timeout_seconds=30,
    )  # fmt: skip
    row = await put(database, new)
    stored = {name: getattr(row, name) for name in ServerRow.__struct_fields__}
    for name in set(NewServer.__struct_fields__) & set(stored):
        assert stored[name] == getattr(new, name)
    assert (row.version, row.config_version, row.credential_version) == (1, 1, 0)
    assert row.approved_at == row.created_at == row.updated_at
    assert row.disabled_by is None
    found = await seen(database, row)
    assert found.row == row
    assert (found.state.status, found.state.status_reason) == (Status.ERROR, "discovering")
    assert (found.state.state_seq, found.state.consecutive_failures) == (0, 0)
    assert found.state.next_check_at is not None
    assert found.state.next_check_at <= found.state.read_at


async def test_a_server_that_waits_for_approval_is_not_due(database: Database) -> None:
    row = await put(
        database,
        server("tnt_wait", approved_by=None, status=Status.PENDING_APPROVAL, status_reason=None),
    )
    assert (row.approved_by, row.approved_at) == (None, None)
    assert (await seen(database, row)).state.next_check_at is None


async def test_the_slug_is_taken_once_per_scope(database: Database) -> None:
    first = await put(database, server("tnt_slug"))
    again = await insert(database, server("tnt_slug"), PLENTY)
    assert again == SlugTaken(first.id)
    for other in (
        shared("tnt_slug"),
        server("tnt_slug", owner_user_id="usr_2", scope_key="usr_2"),
        server("tnt_slug2"),
    ):
        assert isinstance(await insert(database, other, PLENTY), ServerRow)
    assert await count(database, "remote_servers", "tnt_slug") == 3
    assert await count(database, "remote_server_state", "tnt_slug") == 3


async def test_of_two_equal_registrations_at_once_one_names_the_other(database: Database) -> None:
    both = await asyncio.gather(*(insert(database, server("tnt_equal"), PLENTY) for _ in range(2)))
    (row,) = [found for found in both if isinstance(found, ServerRow)]
    assert SlugTaken(row.id) in both
    assert await count(database, "remote_servers", "tnt_equal") == 1


async def test_twenty_at_once_cannot_pass_the_quota_of_the_tenant(database: Database) -> None:
    quota = Quota(per_tenant=7, per_user=100)
    found = await asyncio.gather(
        *(
            insert(
                database,
                server("tnt_full", f"n{at}", owner_user_id=f"usr_{at}", scope_key=f"usr_{at}"),
                quota,
            )
            for at in range(20)
        )
    )
    assert Counter(type(one) for one in found) == {ServerRow: 7, QuotaReached: 13}
    assert QuotaReached("tenant", 7) in found
    assert await count(database, "remote_servers", "tnt_full") == 7
    assert isinstance(await insert(database, server("tnt_full_other"), quota), ServerRow)


async def test_twenty_at_once_cannot_pass_the_quota_of_the_user(database: Database) -> None:
    quota = Quota(per_tenant=100, per_user=3)
    found = await asyncio.gather(
        *(insert(database, server("tnt_mine", f"n{at}"), quota) for at in range(20))
    )
    assert Counter(type(one) for one in found) == {ServerRow: 3, QuotaReached: 17}
    assert QuotaReached("user", 3) in found
    theirs = server("tnt_mine", owner_user_id="usr_2", scope_key="usr_2")
    assert isinstance(await insert(database, theirs, quota), ServerRow)


async def test_shared_servers_count_for_the_tenant_only(database: Database) -> None:
    quota = Quota(per_tenant=3, per_user=1)
    assert isinstance(await insert(database, shared("tnt_sh", "a"), quota), ServerRow)
    assert isinstance(await insert(database, shared("tnt_sh", "b"), quota), ServerRow)
    assert isinstance(await insert(database, server("tnt_sh", "c"), quota), ServerRow)
    assert await insert(database, shared("tnt_sh", "d"), quota) == QuotaReached("tenant", 3)


async def test_rows_are_as_old_as_their_order_of_insertion(database: Database) -> None:
    rows = await asyncio.gather(*(put(database, server("tnt_order", f"n{at}")) for at in range(6)))
    times = [row.created_at for row in rows]
    assert len(set(times)) == 6
    ordered = [row.name for row in sorted(rows, key=lambda row: row.created_at, reverse=True)]
    assert await names(database, everything("tnt_order")) == ordered


# --- visibility -------------------------------------------------------------------------------

SIGHTS = {
    (): set(),
    ("own",): {"mine"},
    ("shared",): {"common"},
    ("others",): {"theirs"},
    ("own", "shared"): {"mine", "common"},
    ("own", "shared", "others"): {"mine", "common", "theirs"},
}


@pytest.mark.parametrize("sight", SIGHTS)
async def test_rows_are_seen_by_the_list_as_by_their_id(
    database: Database, sight: tuple[str, ...]
) -> None:
    tenant = "tnt_sight_" + "_".join(sight)
    rows = [
        await put(database, server(tenant, "mine")),
        # Whoever made a shared row sees it as shared, not as their own.
        await put(database, shared(tenant, "common")),
        await put(database, server(tenant, "theirs", owner_user_id="usr_2", scope_key="usr_2")),
    ]
    by = Visibility(tenant, "usr_1", **dict.fromkeys(sight, True))
    assert set(await names(database, by)) == SIGHTS[sight]
    for row in rows:
        is_seen = row.name in SIGHTS[sight]
        assert (await get(database, by, row.id) is not None) == is_seen
        async with database.transaction() as connection:
            assert (await store.lock_server(connection, by, row.id) is not None) == is_seen


async def test_no_function_reaches_into_another_tenant(database: Database) -> None:
    row = await put(database, server("tnt_a"))
    foreign = everything("tnt_b")
    async with database.transaction() as connection:
        assert await store.get_server(connection, foreign, row.id) is None
        assert await store.lock_server(connection, foreign, row.id) is None
        assert (await store.list_servers(connection, foreign, ALL, None, 9)).items == ()
        assert await store.tenant_servers(connection, "tnt_b") == []
        stolen = msgspec.structs.replace(row, tenant_id="tnt_b", name="stolen")
        assert await store.update_server(connection, stolen) is None
        assert not await store.delete_server(connection, "tnt_b", row.id)
        assert not await store.delete_server(connection, "tnt_b", row.id, row.version)
    assert (await seen(database, row)).row == row


@pytest.mark.parametrize("odd", ["", "rs_", "\0", "rs_\0", "\ud800", "' OR 1=1 --", "x" * 5000])
async def test_a_strange_id_is_missing(database: Database, odd: str) -> None:
    by = everything("tnt_odd")
    async with database.transaction() as connection:
        assert await store.get_server(connection, by, odd) is None
        assert await store.lock_server(connection, by, odd) is None


def test_a_scope_takes_away_and_never_gives() -> None:
    some = Visibility("t", "u", own=True, shared=True)
    every = everything("t", "u")
    assert some.narrowed(Scope.ALL) == some.narrowed(None) == some
    assert every.narrowed(None) == some
    assert every.narrowed(Scope.ALL) == every
    assert every.narrowed(Scope.PERSONAL) == Visibility("t", "u", own=True)
    assert every.narrowed(Scope.TENANT) == Visibility("t", "u", shared=True)
    assert Visibility("t", "u").narrowed(Scope.ALL) == Visibility("t", "u")


# --- lists ------------------------------------------------------------------------------------


async def test_pages_meet_although_rows_come_and_go(database: Database) -> None:
    tenant = "tnt_pages"
    rows = [await put(database, server(tenant, f"n{at}")) for at in range(7)]
    by, after, found = everything(tenant), None, []
    while True:
        async with database.transaction() as connection:
            page = await store.list_servers(connection, by, ALL, after, 3)
            await store.delete_server(connection, tenant, page.items[-1].row.id)
        found += [one.row.name for one in page.items]
        last = page.items[-1].row
        after = Position(last.created_at, last.id)
        await put(database, server(tenant, f"late{len(found)}"))
        if not page.has_more:
            break
    assert found == [row.name for row in reversed(rows)]


async def test_rows_of_one_moment_are_paged_by_id(database: Database) -> None:
    tenant = "tnt_moment"
    rows = [await put(database, server(tenant, f"n{at}")) for at in range(5)]
    await execute(
        database, "UPDATE remote_servers SET created_at = now() WHERE tenant_id = $1", tenant
    )
    after, found = None, []
    for _ in rows:
        async with database.transaction() as connection:
            page = await store.list_servers(connection, everything(tenant), ALL, after, 1)
        (one,) = page.items
        found.append(one.row.id)
        after = Position(one.row.created_at, one.row.id)
    assert not page.has_more
    assert found == sorted((row.id for row in rows), reverse=True)


async def test_a_list_is_narrowed_by_status_and_prefix(database: Database) -> None:
    tenant = "tnt_narrow"
    for name in ("Alpha", "alpine", "Beta", "100%"):
        slug = f"{name.lower().strip('%')}-0123af"
        row = await put(database, server(tenant, name, slug=slug))
        if name == "Beta":
            await activate(database, row)
    by = everything(tenant)
    assert await names(database, by, ServerFilter(Status.ACTIVE)) == ["Beta"]
    assert await names(database, by, ServerFilter(Status.DISABLED)) == []
    assert await names(database, by, ServerFilter(q="ALP")) == ["alpine", "Alpha"]
    assert await names(database, by, ServerFilter(Status.ACTIVE, "alp")) == []
    assert await names(database, by, ServerFilter(q="beta-01")) == ["Beta"]
    assert await names(database, by, ServerFilter(q="100%")) == ["100%"]
    for nothing in ("%", "_", "eta", "\0", "al\ud800"):
        assert await names(database, by, ServerFilter(q=nothing)) == []


async def test_the_snapshot_holds_the_whole_tenant_in_order(database: Database) -> None:
    tenant = "tnt_snap"
    await put(database, shared(tenant, "b"))
    await put(database, server(tenant, "z", owner_user_id="usr_2", scope_key="usr_2"))
    await put(database, server(tenant, "y"))
    await put(database, server(tenant, "a", owner_user_id="Z", scope_key="Z"))
    async with database.transaction() as connection:
        found = await store.tenant_servers(connection, tenant)
    assert [one.row.name for one in found] == ["a", "b", "y", "z"]
    assert all(one.state.server_id == one.row.id for one in found)


# --- changes ----------------------------------------------------------------------------------


async def update(database: Database, row: ServerRow) -> ServerRow | None:
    async with database.transaction() as connection:
        return await store.update_server(connection, row)


async def test_a_change_raises_the_version_and_keeps_the_identity(database: Database) -> None:
    row = await put(database, server("tnt_patch"))
    changed = msgspec.structs.replace(
        row, name="Other", description="d", endpoint_url="https://b.example/",
        endpoint_origin="https://b.example:443", transport=Transport.SSE,
        auth_type=AuthType.PER_USER, consent_tier=ConsentTier.LOCKED,
        tool_changes=ToolChanges.REVIEW, forward_user_id=True, timeout_seconds=5,
        config_version=2, credential_version=1, approved_by=None, disabled_by="usr_9",
        slug="other-000000", owner_user_id="usr_9", is_tenant_shared=True, scope_key="tenant",
    )  # fmt: skip
    written = await update(database, changed)
    assert written is not None
    assert written == msgspec.structs.replace(
        changed, version=2, approved_at=None, updated_at=written.updated_at, slug=row.slug,
        owner_user_id="usr_1", is_tenant_shared=False, scope_key="usr_1",
    )  # fmt: skip
    assert written.updated_at > row.updated_at
    assert (await seen(database, row)).row == written


async def test_an_approval_takes_its_time_from_the_database_once(database: Database) -> None:
    row = await put(database, server("tnt_appr", approved_by=None))
    approved = await update(database, msgspec.structs.replace(row, approved_by="usr_boss"))
    assert approved is not None
    assert approved.approved_at == approved.updated_at
    later = await update(database, msgspec.structs.replace(approved, name="n"))
    assert later is not None
    assert later.approved_at == approved.approved_at


async def test_of_two_changes_to_one_version_one_is_written(database: Database) -> None:
    row = await put(database, server("tnt_two"))
    both = await asyncio.gather(
        *(update(database, msgspec.structs.replace(row, name=name)) for name in ("x", "y"))
    )
    assert both.count(None) == 1
    assert (await seen(database, row)).row.version == 2
    assert await update(database, msgspec.structs.replace(row, id="rs_none")) is None


async def test_a_locked_server_waits_for_its_holder(database: Database) -> None:
    row = await put(database, server("tnt_lock"))
    by = everything("tnt_lock")
    async with database.transaction() as first:
        held = await store.lock_server(first, by, row.id)
        assert held is not None

        async def second() -> RegisteredServer | None:
            async with database.transaction() as connection:
                return await store.lock_server(connection, by, row.id)

        waiting = asyncio.gather(second())
        # Rows that refer to the server, and reads of it, do not wait.
        await asyncio.wait_for(serve(database, row, tool("t")), 3)
        assert await get(database, by, row.id) is not None
        assert not waiting.done()
        changed = msgspec.structs.replace(held.row, name="held")
        assert await store.update_server(first, changed) is not None
        state = msgspec.structs.replace(held.state, status_reason="held")
        assert await state_store.write_state(first, state) == 1
    (found,) = await waiting
    assert found is not None
    assert (found.row.name, found.row.version) == ("held", 2)
    assert (found.state.status_reason, found.state.state_seq) == ("held", 1)


# --- deletion ---------------------------------------------------------------------------------


async def test_a_server_goes_with_everything_and_its_name_is_free(database: Database) -> None:
    tenant = "tnt_gone"
    row = await put(database, server(tenant))
    keeper = await put(database, server(tenant, "keeper"))
    for one in (row, keeper):
        await serve(database, one, tool("t"))
        async with database.transaction() as connection:
            await change_store.pin_served(connection, tenant, one.id, "usr_1")
            change = NewChange(
                new_id("chg_"), Kind.TOOL, "t", "changed", "breaking", None, digest("n"), b"{}",
                [], [],
            )  # fmt: skip
            await change_store.record_changes(connection, tenant, one.id, [change])
            bound = Binding(tenant, "usr_1", one.id, "t", digest("a"), digest("d"))
            await approval_store.ask(connection, NewApproval(new_id("apr_"), bound, "link", 60))
            await connection.execute(
                "INSERT INTO remote_credentials VALUES ($1, $2, 'f', '', '', 'k', 1, now(),"
                " now(), 'u')",
                tenant,
                one.id,
            )
    async with database.transaction() as connection:
        assert not await store.delete_server(connection, tenant, row.id, 9)
        assert await store.delete_server(connection, tenant, row.id, 1)
        assert not await store.delete_server(connection, tenant, row.id)
    for table in (
        "remote_servers", "remote_server_state", "remote_credentials", "remote_capabilities",
        "remote_tool_pins", "remote_tool_changes", "remote_approvals",
    ):  # fmt: skip
        assert await count(database, table, tenant) == 1
    assert (await put(database, server(tenant))).slug == row.slug


async def test_a_deletion_and_a_discovery_that_stores_do_not_block_each_other(
    database: Database,
) -> None:
    row = await put(database, server("tnt_race"))
    async with database.transaction() as connection:
        lease = await state_store.take_lease(connection, "tnt_race", row.id, "discovery")
    assert lease is not None
    async with database.transaction() as discovery:
        assert await state_store.hold_lease(discovery, "tnt_race", row.id, lease)

        async def delete() -> bool:
            async with database.transaction() as connection:
                return await store.delete_server(connection, "tnt_race", row.id)

        deleting = asyncio.gather(delete())
        await until(partial(is_somebody_waiting, database))
        state = await state_store.read_state(discovery, "tnt_race", row.id)
        assert state is not None
        assert await state_store.write_state(discovery, state)
        await capability_store.store_capabilities(discovery, "tnt_race", row.id, [tool("found")])
    assert await deleting == [True]
    async with database.transaction() as connection:
        assert not await state_store.hold_lease(connection, "tnt_race", row.id, lease)


# --- what later versions may have written -----------------------------------------------------


async def test_unknown_words_mean_less_rights(database: Database, database_url: str) -> None:
    row = await put(database, server("tnt_words"))
    connection = await asyncpg.connect(database_url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        for table, column in (
            ("remote_servers", "transport"),
            ("remote_servers", "auth_type"),
            ("remote_servers", "consent_tier"),
            ("remote_servers", "tool_changes"),
            ("remote_server_state", "status"),
        ):
            await connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_check")
            await connection.execute(
                f"UPDATE {table} SET {column} = 'newer' WHERE tenant_id = 'tnt_words'"
            )
        found = await store.get_server(connection, everything("tnt_words"), row.id)
        await transaction.rollback()
    finally:
        await connection.close()
    assert found is not None
    assert (found.row.transport, found.row.auth_type) == (None, None)
    assert found.row.consent_tier is ConsentTier.LOCKED
    assert found.row.tool_changes is ToolChanges.REVIEW
    assert found.state.status is Status.DISABLED


# --- the schema itself ------------------------------------------------------------------------

BROKEN = (
    "transport = 'x'", "auth_type = 'x'", "consent_tier = 'x'", "tool_changes = 'x'",
    "scope_key = 'tenant'", "is_tenant_shared = true", "slug = 'no-hash'", "slug = 'UP-0123af'",
    "slug = 'a--0123af'", f"slug = '{'a' * 34}-0123af'",
)  # fmt: skip


@pytest.mark.parametrize("assignment", BROKEN)
async def test_the_table_refuses_what_the_contract_excludes(
    database: Database, database_url: str, assignment: str
) -> None:
    tenant = f"tnt_{digest(assignment).hex()[:8]}"
    await put(database, server(tenant))
    connection = await asyncpg.connect(database_url)
    try:
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(
                f"UPDATE remote_servers SET {assignment} WHERE tenant_id = '{tenant}'"
            )
    finally:
        await connection.close()


async def test_a_child_row_cannot_cross_tenants(database: Database, database_url: str) -> None:
    row = await put(database, server("tnt_parent"))
    connection = await asyncpg.connect(database_url)
    try:
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await connection.execute(
                "INSERT INTO remote_tool_pins VALUES"
                " ('tnt_other', $1, 'tool', 't', '{}', '', 'u', now())",
                row.id,
            )
    finally:
        await connection.close()


async def test_times_are_in_utc(database: Database) -> None:
    row = await put(database, server("tnt_utc"))
    found = await seen(database, row)
    for moment in (row.created_at, found.state.read_at):
        assert moment.utcoffset() == timedelta(0)
        assert abs(moment - datetime.now(UTC)) < timedelta(minutes=1)
    state = await change_state(database, row, failing_since=row.created_at)
    assert state.failing_since == row.created_at
