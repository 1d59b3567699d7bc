"""Every named action is written down where it happens, with what the contract says of it.

One story does all of them; then each is looked for. Spec: remote-servers 10.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.cli.keys import AuditJournal
from scaimcp.credentials.keys import LocalKeys
from scaimcp.credentials.rotation import Pace, rotate
from scaimcp.dev.platform import SEED_LOGINS
from scaimcp.jobs.approvals import expire_approvals
from scaimcp.postgres import Database
from scaimcp.settings import KeyRing
from tests.integration.remotes.consenting import APPROVALS
from tests.integration.remotes.rest import ROLES, Registry, Rest, open_registry
from tests.integration.remotes.test_rest_definitions import SEARCH, Lists, listing
from tests.world import KEK

ORIGIN, FIELD, CHANGE = ("origin",), ("field", "key_id"), ("name", "class", "old_hash", "new_hash")
CONSENT = ("approval_id", "tool", "digest", "mode")
ACTIONS: dict[str, tuple[str, ...]] = {
    "remote_server.register": ("origin", "fields"),
    "remote_server.update": ("origin", "fields"),
    "remote_server.delete": ORIGIN,
    "remote_server.approve": (),
    "remote_server.disable": ("reason",),
    "remote_server.enable": (),
    "remote_server.refresh": ("outcome",),
    "remote_server.status": ("from", "to", "class", "n"),
    "remote_credential.set": FIELD,
    "remote_credential.delete": FIELD,
    "remote_credential.corrupt": FIELD,
    "remote_tool.change": CHANGE,
    "remote_tool.hold": (*CHANGE, "rules"),
    "remote_tool.accept": (*CHANGE, "rules"),
    "remote_tool.reject": (*CHANGE, "rules"),
    "remote_call.tool": ("name", "outcome", "duration_ms", "digest", "tier"),
    "consent.request": CONSENT,
    "consent.approve": CONSENT,
    "consent.deny": CONSENT,
    "consent.consume": CONSENT,
    "consent.expire": CONSENT,
    "kek.rotate": ("rows",),
    "remote_endpoint.refuse": ("origin", "reason"),
}
PROGRAMS_OWN = {"remote_server.status", "remote_credential.corrupt", "remote_tool.hold",
                "remote_tool.change", "consent.expire", "kek.rotate"}  # fmt: skip
BEARER = {"auth_type": "bearer", "credentials": {"authorization": "ntn_s3cret"}}
KEY_HEADERS = {"auth_type": "api_key_header", "credentials": {"x-key": "s3cret1", "x-two": "2"}}


def changed(count: int) -> dict[str, Any]:
    """The tool with as many more required arguments."""
    names = [f"a{number}" for number in range(count)]
    schema = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": names,
    }
    return {**SEARCH, "inputSchema": schema}


class Story:
    """Does what leaves rows behind."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.owner = registry.as_("owner")
        self.manager = registry.as_("manager")

    @property
    def database(self) -> Database:
        services = self.registry.world.app.services
        assert services is not None
        return services.database

    async def run(self) -> None:
        async with self.registry.upstream("search", token="ntn_s3cret") as upstream:
            await self.administer(upstream.url)
        async with listing(self.registry) as lists:
            await self.review(lists)
        async with self.registry.upstream("search") as upstream:
            await self.ask(upstream.url)
        reply = await self.owner.post(
            body={"name": "bad", "endpoint_url": "https://10.0.0.5/x?key=s3cret",
                  "auth_type": "none"}
        )  # fmt: skip
        assert reply.status == 422
        await self.owner.registered(self.registry.closed(), "kept", **BEARER)
        ring = KeyRing(("new", "test"), (b"n" * 32, base64.b64decode(KEK.partition(":")[2])))
        await rotate(self.database, LocalKeys(ring), AuditJournal(), Pace())

    async def administer(self, url: str) -> None:
        """The verbs, credentials, and one that was tampered with."""
        server = await self.owner.registered(url, "one", **BEARER)
        path = f"/{server['id']}"
        assert server["status"] == "pending_approval"
        await done(self.manager.post(f"{path}/approve"))
        await done(self.owner.patch(path, {"description": "Other."}))
        await done(self.owner.post(f"{path}/refresh"))
        await done(self.owner.put(f"{path}/credentials/authorization", {"value": "ntn_s3cret"}))
        await self.registry.fetch(
            "UPDATE remote_credentials SET ciphertext = ciphertext || '\\x00' WHERE server_id = $1"
            " RETURNING 1",
            server["id"],
        )
        await done(self.owner.post(f"{path}/refresh"))
        await done(self.owner.post(f"{path}/disable", {"reason": "tired"}))
        await done(self.owner.post(f"{path}/enable"))
        await done(self.owner.delete(f"{path}/credentials/authorization"))
        await done(self.owner.delete(path))

    async def review(self, lists: Lists) -> None:
        """Changes that are noted, held, accepted and rejected."""
        plain = await self.approved(lists.url, "plain")
        held = await self.approved(lists.url, "held", tool_changes="review")
        for count, verb in ((1, "accept"), (2, "reject")):
            lists.lists["tools"] = [changed(count)]
            for server in (plain, held):
                await done(self.owner.post(f"/{server['id']}/refresh"))
            path = f"/{held['id']}/changes"
            (change,) = (await self.owner.get(path)).json["data"]["items"]
            body = {"new_hash": change["new_hash"]}
            await done(self.owner.post(f"{path}/{change['id']}/{verb}", body))

    async def ask(self, url: str) -> None:
        """Questions that are answered and one that is not."""
        server = await self.approved(url, "asking", consent_tier="confirm")
        name = f"{server['name_prefix']}search"
        login = {"login": SEED_LOGINS[ROLES["owner"]]}
        token = (await self.registry.world.control("POST", "/tokens", login))["token"]
        person = Rest(self.registry.world.with_token(str(token)))
        for number, verb in enumerate(("approve", "deny")):
            approval = await self.question(name, str(number))
            shown = (await person.get(f"{APPROVALS}/{approval}")).json["data"]
            word = {"arguments_digest": shown["arguments_digest"]}
            await done(person.post(f"{APPROVALS}/{approval}/{verb}", word))
        assert not (await self.owner.client.call(name, {"q": "0"})).is_error
        await self.question(name, "late")
        await self.registry.fetch(
            "UPDATE remote_approvals SET expires_at = now() - interval '1 s'"
            " WHERE state = 'pending' RETURNING 1"
        )
        await expire_approvals(self.database, "job_1")

    async def approved(self, url: str, name: str, **more: Any) -> dict[str, Any]:
        server = await self.owner.registered(url, name, **more)
        await done(self.manager.post(f"/{server['id']}/approve"))
        return server

    async def question(self, name: str, text: str) -> str:
        called = await self.owner.client.call(name, {"q": text})
        assert called.code == "CONSENT_REQUIRED"
        return str(called.error["approval_id"])


async def done(answer: Any) -> None:
    reply = await answer
    assert reply.status in (200, 204), reply.content


@pytest_asyncio.fixture(scope="module")
async def rows(database_url: str, redis_url: str) -> AsyncIterator[dict[str, list[Any]]]:
    """All rows of the story by their action."""
    settings = {"REMOTE_APPROVAL_REQUIRED": "all"}
    async with open_registry(database_url, redis_url, **settings) as registry:
        await registry.fresh()
        await Story(registry).run()
        services = registry.world.app.services
        assert services is not None
        found: dict[str, list[Any]] = {}
        while "remote_call.tool" not in found:
            found = {}
            for row in await registry.fetch("SELECT * FROM audit_events ORDER BY id"):
                found.setdefault(row["action"], []).append(dict(row))
        yield found


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_is_written_down_with_what_belongs_to_it(
    rows: dict[str, list[Any]], action: str
) -> None:
    assert action in rows
    for row in rows[action]:
        data = msgspec.json.decode(row["data"])
        is_count = action == "remote_tool.change" and data["class"] == "removed"
        assert is_count or set(ACTIONS[action]) <= set(data), data
        assert row["request_id"]
        is_own = row["actor_type"] == "system"
        assert is_own is (action in PROGRAMS_OWN)
        assert is_own is (row["actor_id"] == "scaimcp")


def test_the_story_leaves_no_action_without_a_name(rows: dict[str, list[Any]]) -> None:
    assert set(rows) == set(ACTIONS)


def test_all_that_concerns_a_server_is_found_by_its_id(rows: dict[str, list[Any]]) -> None:
    for action, found in rows.items():
        kinds = {row["resource_type"] for row in found}
        assert kinds == ({"kek"} if action == "kek.rotate" else {"remote_server"})
        if action not in ("kek.rotate", "remote_endpoint.refuse"):
            assert all(row["resource_id"].startswith("rs_") for row in found)


def test_failures_are_told_from_successes(rows: dict[str, list[Any]]) -> None:
    failed = {"remote_credential.corrupt", "remote_endpoint.refuse"}
    for action, found in rows.items():
        status = "FAILURE" if action in failed else "SUCCESS"
        assert {row["status"] for row in found} == {status}, action


def test_who_did_it_is_known_with_address_and_client(rows: dict[str, list[Any]]) -> None:
    for action, found in rows.items():
        for row in found:
            is_own = action in PROGRAMS_OWN
            assert (row["ip_address"] == "127.0.0.1") is not is_own
            assert bool(row["user_agent"]) is not is_own


def test_credentials_are_named_with_the_key_that_sealed_them(rows: dict[str, list[Any]]) -> None:
    for verb in ("set", "delete", "corrupt"):
        for row in rows[f"remote_credential.{verb}"]:
            assert msgspec.json.decode(row["data"]) == {"field": "authorization", "key_id": "test"}


def test_no_secret_is_in_any_row(rows: dict[str, list[Any]]) -> None:
    said = str(rows)
    for secret in ("s3cret", "eyJ", "sgk_", "?key"):
        assert secret not in said


async def test_a_new_set_of_credentials_names_those_that_went(
    database_url: str, redis_url: str
) -> None:
    async with open_registry(database_url, redis_url) as registry:
        await registry.fresh()
        owner = registry.as_("owner")
        server = await owner.registered(registry.closed(), "keys", **KEY_HEADERS)
        await done(owner.patch(f"/{server['id']}", {"credentials": {"x-two": "2", "x-new": "3"}}))
        told = [
            (action, data["field"])
            for action, data in await registry.audited(server["id"])
            if action.startswith("remote_credential")
        ]
    assert told == [
        ("remote_credential.set", "x-key"),
        ("remote_credential.set", "x-two"),
        ("remote_credential.delete", "x-key"),
        ("remote_credential.set", "x-new"),
        ("remote_credential.set", "x-two"),
    ]
