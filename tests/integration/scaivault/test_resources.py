"""Resources and completion on top of the tools, as the stand-alone command has them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scaimcp.dev.vault.fixture import AGENT, AGENT_Y, NO_SCOPES, PARTNER_ADMIN
from scaimcp.scaivault.completion import Completions
from scaimcp.scaivault.cursors import Cursors, process_ring
from scaimcp.scaivault.errors import VaultError
from scaimcp.scaivault.guards import Guards
from scaimcp.scaivault.records import ToolRecord
from scaimcp.scaivault.resources import PAGE, Resources, Who, everyone
from tests.integration.scaivault.desk import Desk, identity_of
from tests.integration.scaivault.world import furnish

OPEN = Guards()
SECRETS = {"type": "ref/resource", "uri": "scaivault://secrets/{tenant}/{+path}"}


def resources(desk: Desk) -> Resources:
    return Resources(desk.tools, Cursors(process_ring(b"k" * 32)))


def who(token: str = AGENT, /, **guards: Any) -> Who:
    return Who(identity_of(token), Guards(**guards))


async def shown(desk: Desk, uri: str, asking: Who) -> Any:
    content = await resources(desk).read(uri, asking)
    assert content["uri"] == uri
    assert content["mimeType"] == "application/json"
    return msgspec.json.decode(content["text"])


async def refused(desk: Desk, uri: str, asking: Who) -> VaultError:
    with pytest.raises(VaultError) as failure:
        await resources(desk).read(uri, asking)
    return failure.value


async def all_pages(desk: Desk, asking: Who) -> list[list[str]]:
    pages: list[list[str]] = []
    cursor = None
    while True:
        page = await resources(desk).page(asking, cursor)
        pages.append([entry["uri"] for entry in page.resources])
        cursor = page.next_cursor
        if cursor is None:
            return pages


async def values(desk: Desk, ref: Any, name: str, typed: str, asking: Who) -> list[str]:
    given = {"name": name, "value": typed}
    found = await Completions(resources(desk)).complete(ref, given, asking)
    assert found is not None
    return list(found["values"])


# -- reading -------------------------------------------------------------------------------------


async def test_every_kind_is_read_by_the_code_of_its_tool(desk: Desk) -> None:
    ids = await furnish(desk)
    asking = who(mask_values=True)
    secret = await shown(desk, "scaivault://secrets/tnt_a/app/db", asking)
    assert secret["data"] == {"user": "\u2022" * 6, "password": "\u2022" * 6}
    assert (await shown(desk, "scaivault://policies/pol_everything", asking))["rules"]
    rotation = await shown(desk, f"scaivault://rotation-policies/{ids['rotation']}", asking)
    assert rotation["name"] == "monthly"
    certificate = await shown(desk, f"scaivault://certificates/{ids['certificate']}", asking)
    assert certificate["common_name"] == "www.example.com"
    trail = await shown(desk, "scaivault://audit/tnt_a/app/db", asking)
    assert trail["path"] == "app/db"


async def test_g47_no_private_key_is_shown_even_unmasked(desk: Desk) -> None:
    ids = await furnish(desk)
    for masked in (True, False):
        uri = f"scaivault://certificates/{ids['certificate']}"
        certificate = await shown(desk, uri, who(mask_values=masked))
        assert "private_key" not in certificate
        assert "BEGIN CERTIFICATE" in certificate["certificate"]
    stored = await desk.call("get_certificate", certificate_id=ids["certificate"])
    assert "PRIVATE KEY" in stored["private_key"]


async def test_g47_a_secret_is_read_with_the_same_bytes(desk: Desk) -> None:
    await desk.secret("app/db", {"password": "hunter2"})
    # From here on it was read once, at a time that stands still.
    await desk.call("read_secret", path="app/db")
    for guards in (OPEN, Guards(mask_values=True)):
        by_tool = await desk.raw("scaivault_read_secret", b'{"path":"app/db"}', guards)
        content = await resources(desk).read(
            "scaivault://secrets/tnt_a/app/db", Who(desk.identity, guards)
        )
        assert content["text"].encode() == by_tool


async def test_the_tenant_is_the_tokens_own_without_a_lock(desk: Desk) -> None:
    await desk.secret("app/db")
    desk.forget()
    assert (await refused(desk, "scaivault://secrets/tnt_b/app/db", who())).code == "TENANT_LOCKED"
    assert desk.lines() == ["GET /v1/auth/whoami"]
    assert await shown(desk, "scaivault://secrets/tnt_a/app/db", who())


async def test_g55_the_tenant_is_the_locked_one(desk: Desk) -> None:
    locked = who(PARTNER_ADMIN, tenant_id="tnt_b")
    error = await refused(desk, "scaivault://secrets/tnt_a/app/db", locked)
    assert error.code == "TENANT_LOCKED"
    assert desk.lines() == []
    error = await refused(desk, "scaivault://secrets/tnt_b/app/none", locked)
    assert error.code == "secret_not_found"
    assert desk.sent()[-1]["headers"]["x-tenant-id"] == "tnt_b"


async def test_paths_are_judged_before_anybody_is_asked(desk: Desk) -> None:
    limited = who(allowed=("app",))
    for kind in ("secrets", "audit"):
        for path, code in (("infra/db", "PATH_DENIED"), ("App", "INVALID_PATH")):
            error = await refused(desk, f"scaivault://{kind}/tnt_a/{path}", limited)
            assert error.code == code
    off = who(groups=frozenset({"pki"}))
    assert (await refused(desk, "scaivault://secrets/tnt_a/app", off)).code == "TOOL_NOT_FOUND"
    assert desk.lines() == []


async def test_what_the_caller_may_not_call_is_not_read(desk: Desk) -> None:
    nothing = Who(identity_of(AGENT), OPEN, lambda record: False)
    error = await refused(desk, "scaivault://policies/pol_everything", nothing)
    assert error.code == "PERMISSION_DENIED"
    assert desk.lines() == []


async def test_the_guards_tell_who_one_is(desk: Desk) -> None:
    told = await shown(desk, "scaivault://guards", who(allowed=("app",), denied=("app/x",)))
    assert told == {
        "identity": "sa:agent",
        "tenant": "tnt_a",
        "read_only": False,
        "mask_values": False,
        "allowed_paths": ["app"],
        "tool_groups": None,
    }
    locked = who(PARTNER_ADMIN, tenant_id="tnt_b", groups=frozenset({"pki", "audit"}))
    told = await shown(desk, "scaivault://guards", locked)
    assert (told["tenant"], told["tool_groups"]) == ("tnt_b", ["pki", "audit"])
    error = await refused(desk, "scaivault://guards", who(AGENT_Y, partner_id="ptn_x"))
    assert error.code == "TENANT_LOCKED"


async def test_who_one_is_is_masked_where_the_vault_refuses(desk: Desk) -> None:
    details = {"password": "hunter2"}
    desk.fault("/v1/auth/whoami", status=403, code="access_denied", details=details)
    error = await refused(desk, "scaivault://guards", who(mask_values=True))
    assert error.code == "access_denied"
    assert "hunter2" not in str(error.members)


# -- listing -------------------------------------------------------------------------------------


async def test_a_list_holds_the_guards_then_secrets_then_policies(desk: Desk) -> None:
    (page,) = await all_pages(desk, who())
    assert page[0] == "scaivault://guards"
    kinds = [uri.split("/")[2] for uri in page[1:]]
    assert kinds == sorted(kinds, key=["secrets", "policies"].index)
    assert "scaivault://secrets/tnt_a/integrations/stripe/api-key" in page
    assert "scaivault://policies/pol_everything" in page


async def test_g39_a_list_keeps_to_the_guards(desk: Desk) -> None:
    await desk.secret("app/one")
    (page,) = await all_pages(desk, who(allowed=("app",)))
    secrets = [uri for uri in page if uri.startswith("scaivault://secrets/")]
    assert secrets == ["scaivault://secrets/tnt_a/app/one"]
    (page,) = await all_pages(desk, who(allowed=()))
    assert not [uri for uri in page if uri.startswith("scaivault://secrets/")]


async def test_groups_that_are_off_are_left_out(desk: Desk) -> None:
    assert await all_pages(desk, who(groups=frozenset({"audit"}))) == [["scaivault://guards"]]
    (page,) = await all_pages(desk, who(groups=frozenset({"policies"})))
    assert {uri.split("/")[2] for uri in page} == {"guards", "policies"}


async def test_a_long_list_has_pages_of_a_hundred(desk: Desk) -> None:
    for number in range(PAGE + 30):
        await desk.secret(f"many/s{number:03}")
    pages = await all_pages(desk, who())
    assert [len(page) for page in pages[:-1]] == [PAGE] * (len(pages) - 1)
    uris = [uri for page in pages for uri in page]
    assert len(uris) == len(set(uris))
    assert len([uri for uri in uris if "/many/" in uri]) == PAGE + 30
    first = await resources(desk).page(who())
    for asking, cursor in (
        (who(denied=("many",)), first.next_cursor),
        (who(), "x" + str(first.next_cursor)),
    ):
        with pytest.raises(VaultError) as failure:
            await resources(desk).page(asking, cursor)
        assert failure.value.code == "INVALID_ARGUMENTS"


async def test_a_token_that_may_not_list_still_sees_the_guards(desk: Desk) -> None:
    assert await all_pages(desk, who(NO_SCOPES)) == [["scaivault://guards"]]


async def test_a_vault_that_fails_fails_the_list(desk: Desk) -> None:
    desk.fault("/v1/secrets/", status=500, code="internal_error", count=9)
    with pytest.raises(VaultError) as failure:
        await resources(desk).page(who())
    assert failure.value.code == "internal_error"


async def test_names_that_no_uri_could_hold_are_left_out(desk: Desk) -> None:
    desk.fault("/v1/policies", extra_rows={"id": "a/b%2e"})
    (page,) = await all_pages(desk, who(groups=frozenset({"policies"})))
    assert page == ["scaivault://guards"]


# -- completion ----------------------------------------------------------------------------------


async def test_paths_are_completed_from_their_directory(desk: Desk) -> None:
    for path in ("app/db", "app/dx/y", "app/web", "apply/x"):
        await desk.secret(path)
    desk.forget()
    assert await values(desk, SECRETS, "path", "app/d", who()) == ["app/db", "app/dx/y"]
    (listing,) = [line for line in desk.lines() if "/v1/secrets/" in line]
    assert "prefix=app&" in listing
    for name in ("rotate-credential", "audit-investigation"):
        ref = {"type": "ref/prompt", "name": name}
        assert await values(desk, ref, "path", "app/d", who()) == ["app/db", "app/dx/y"]
    ref = {"type": "ref/prompt", "name": "migrate-from-env"}
    assert await values(desk, ref, "prefix", "app/w", who()) == ["app/web"]
    assert await values(desk, ref, "service", "a", who()) == []


async def test_a_refusal_by_a_guard_is_an_empty_list(desk: Desk) -> None:
    for asking in (who(allowed=("app",)), who(groups=frozenset({"pki"}))):
        assert await values(desk, SECRETS, "path", "infra/", asking) == []
    locked = who(partner_id="ptn_y")
    assert await values(desk, SECRETS, "path", "", locked) == []
    assert await values(desk, SECRETS, "tenant", "", locked) == []


async def test_what_one_may_not_list_is_not_completed(desk: Desk) -> None:
    def audits(record: ToolRecord) -> bool:
        return record.group == "audit"

    ref = {"type": "ref/resource", "uri": "scaivault://audit/{tenant}/{+path}"}
    asking = Who(identity_of(AGENT), OPEN, audits)
    assert await values(desk, ref, "path", "", asking) == []
    assert desk.lines() == []
    assert await values(desk, ref, "path", "rep", who()) == ["reports/mailer"]


async def test_a_hundred_values_at_most(desk: Desk) -> None:
    for number in range(130):
        await desk.secret(f"many/s{number:03}")
    completions = Completions(resources(desk))
    given = {"name": "path", "value": "many/s"}
    found = await completions.complete(SECRETS, given, who())
    assert found is not None
    assert len(found["values"]) == 100
    assert found["hasMore"] is True


async def test_a_failure_of_the_vault_is_no_empty_list(desk: Desk) -> None:
    desk.fault("/v1/secrets/", status=500, code="internal_error", count=9)
    with pytest.raises(VaultError):
        await values(desk, SECRETS, "path", "", who())


async def test_others_references_are_not_completed(desk: Desk) -> None:
    ref = {"type": "ref/prompt", "name": "remote.x"}
    assert await Completions(resources(desk)).complete(ref, {}, who()) is None


def test_the_stand_alone_command_asks_for_no_permission() -> None:
    assert all(everyone(record) for record in ())
    assert who().may is everyone
