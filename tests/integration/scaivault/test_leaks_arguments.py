"""What a caller writes stays between them and ScaiVault, even where nothing is masked.

Spec: scaivault 2.6, 3 (gateway audit), 4 (logs).
"""

from __future__ import annotations

from typing import Any

import pytest

from scaimcp.scaivault.errors import MARKER, VaultError
from scaimcp.scaivault.guards import Guards
from tests.integration.scaivault.channels import opened_channels
from tests.integration.scaivault.desk import Desk, identity_of
from tests.integration.scaivault.gateway import set_guards
from tests.integration.scaivault.test_leaks import watching
from tests.integration.scaivault.test_leaks_gateway import watched
from tests.integration.scaivault.wires import TRANSPORTS


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_commands_log_and_refusals_repeat_no_argument(transport: str) -> None:
    async with watching(transport) as (watch, child):
        assert await watch.every_secret_argument() == set()
        said = child.stderr.decode()
        assert '"path":"app/written"' in said
        assert watch.markers.found_in(said) == set()


@pytest.mark.slow
async def test_no_channel_of_the_gateway_repeats_an_argument(
    database_url: str, redis_url: str
) -> None:
    async with opened_channels(database_url, redis_url, "json") as channels:
        await set_guards(channels.world.as_("tenant_admin"))
        watch = await watched(channels)
        assert await watch.every_secret_argument() == set()
        await channels.settled(channels.world.with_token(watch.desk.bearer))
        assert await channels.found(watch.markers) == {}


async def test_a_refusal_that_repeats_the_bearer_is_cleaned_whatever_it_looks_like(
    desk: Desk,
) -> None:
    token = 'plain-text/of "no" known\\looks'
    desk.identity = identity_of(token)
    details = {"token": token, "all": [f"<{token}>"]}
    desk.fault(".*", status=401, code="token_invalid", message=f"{token} is old", details=details)
    error = await desk.refused("read_secret", path="app/db")
    assert error.message == "[redacted] is old"
    assert dict(error.members) == {"details": {"token": "[redacted]", "all": ["<[redacted]>"]}}


@pytest.mark.parametrize(
    "said",
    [
        "The value {value} is too weak.",
        "It begins with {value:.16}.",
        "Was {value!r}.",
        "x" * 490 + "{value}",
    ],
)
async def test_a_refusal_that_repeats_a_value_is_masked(desk: Desk, said: str) -> None:
    value = "correct-horse-battery-staple"
    failure = {"status": 400, "code": "invalid_request", "message": said.format(value=value)}
    for guards, is_told in ((Guards(mask_values=True), False), (Guards(), True)):
        desk.fault(".*", **failure)
        written = {"path": "app/db", "data": {"deep": [{"value": value}]}}
        error = await desk.refused("write_secret", guards, **written)
        assert error.code == "invalid_request"
        assert (value[:10] in error.message) == is_told


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("write_secret", {"data": {"on": True, "n": None, "s": "abc"}}, "true and None and abc"),
        ("write_secret", {"data": {"k": "v" * 9}, "metadata": {"owner": "team-pay"}}, "team-pay"),
        ("read_secret", {}, "app/db is not there"),
        ("write_secret", {"data": {"k": 10**30, "short": "abc"}}, "abc is not 1e30"),
    ],
)
async def test_words_of_the_vault_pass_where_they_repeat_no_value(
    desk: Desk, tool: str, arguments: dict[str, Any], said: str
) -> None:
    desk.fault(".*", status=400, code="invalid_request", message=said)
    error = await desk.refused(tool, Guards(mask_values=True), path="app/db", **arguments)
    assert error.message == said


async def test_numbers_and_fields_that_repeat_a_value_are_masked(desk: Desk) -> None:
    guards = Guards(mask_values=True)
    written: dict[str, Any] = {
        "path": "app/db",
        "data": {"pin": 481516},
        "metadata": {"old_password": "hunter2x"},
    }
    details = {"given": 481516, "note": "was hunter2x", "kind": "kv"}
    desk.fault(".*", status=409, code="conflict", details=details)
    error = await desk.refused("write_secret", guards, **written)
    shown = {"given": MARKER, "note": MARKER, "kind": "kv"}
    assert dict(error.members) == {"details": shown}
    fields = [{"field": "data.pin", "message": "481516 is short"}, {"field": "a", "message": "b"}]
    desk.fault(".*", status=422, code="validation_error", details={"fields": fields})
    written["data"]["words"] = ["message", "field", "details"]
    error = await desk.refused("write_secret", guards, **written)
    assert error.details == ({"field": "data.pin", "message": MARKER}, fields[1])


async def test_the_programs_own_words_stay_even_if_a_value_is_one_of_them(desk: Desk) -> None:
    desk.fault(".*", status=502, count=9)
    written = {"path": "app/db", "data": {"k": "ScaiVault answered"}}
    error = await desk.refused("write_secret", Guards(mask_values=True), **written)
    assert error.message == "ScaiVault answered with status 502."


async def test_a_path_is_no_name_of_a_secret(desk: Desk) -> None:
    desk.fault(".*", status=400, code="invalid_request", message="kv/data/app is no template")
    backend = {
        "name": "aws",
        "type": "aws-secrets-manager",
        "config": {"region": "eu-west-1"},
        "path_mapping": {"secrets/app/**": "kv/data/app"},
        "mode": "proxy",
    }
    error = await desk.refused("create_federation_backend", Guards(mask_values=True), **backend)
    assert error.message == "kv/data/app is no template"


async def test_a_call_without_arguments_can_fail_under_masking(desk: Desk) -> None:
    desk.fault(".*", status=400, code="invalid_request", message="no")
    for arguments in (b"", b" ", b"null"):
        with pytest.raises(VaultError, match="no"):
            await desk.raw("scaivault_list_cas", arguments, Guards(mask_values=True))
        desk.fault(".*", status=400, code="invalid_request", message="no")
