"""No secret value leaves under masking, whatever is called. Spec: scaivault 2.5, 9.

The command runs as a process, so that what is searched is all that it writes. Letters of markers
survive every escaping of JSON and URLs; forms in which they would not are searched as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from scaimcp.dev.vault.server import serve_vault
from scaimcp.outbound import open_http
from scaimcp.scaivault.catalogue import TOOLS
from tests.integration.scaivault.child import Child
from tests.integration.scaivault.desk import Desk
from tests.integration.scaivault.markers import Markers, forms_of
from tests.integration.scaivault.watch import Watch
from tests.integration.scaivault.wires import TRANSPORTS, connected

# Where values are seen as long as nothing is masked; everywhere else there are none.
OPEN = {
    "read_secret", "list_secrets", "check_expiration", "get_secret_policy",
    "generate_secret_preview", "get_certificate", "get_dynamic_engine", "generate_credentials",
    "get_federation_backend", "proxy_read", "query_audit", "secret_audit_trail",
}  # fmt: skip
# Answers of these are made here from known members, or are fixed tables.
CLOSED = {
    "get_policy_types", "list_event_types", "validate_certificate", "find_unauthorized_access",
    "request_certificate",
}  # fmt: skip


@asynccontextmanager
async def watching(transport: str, **more: str) -> AsyncIterator[tuple[Watch, Child]]:
    """Start the command, as talkative as it can be."""
    loud = {"SCAIVAULT_DEBUG": "true", "LOG_LEVEL": "debug", **more}
    async with (
        serve_vault() as served,
        open_http("scaimcp/9.9") as http,
        connected(transport, served.url, **loud) as (wire, child),
    ):
        yield Watch(wire, Desk(served, http)), child


async def test_no_value_of_any_tool_is_seen_under_masking() -> None:
    async with watching("stdio", SCAIVAULT_MASK_VALUES="true") as (watch, child):
        assert await watch.every_tool() == set()
        await watch.every_tool_with_strange_members()
        assert dict(watch.shown) == {}
        assert watch.markers.found_in(child.stderr.decode()) == set()


def test_a_value_is_found_in_every_form() -> None:
    markers = Markers()
    value = markers.text("here")
    for form in forms_of(value):
        assert markers.found_in(f"xx{form}yy") == {"here"}
    for before in ("", "a", "ab"):
        wrapped = msgspec.json.encode({"v": (before + value + "tail").encode()}).decode()
        assert markers.found_in(wrapped) == {"here"}
    assert markers.found_in("nothing") == set()


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_no_value_is_seen_in_any_output_under_masking(transport: str) -> None:
    async with watching(transport, SCAIVAULT_MASK_VALUES="true") as (watch, child):
        await watch.everything()
        assert dict(watch.shown) == {}
        said = child.stderr.decode()
        assert watch.markers.found_in(said) == set()
        # Nothing of it was empty.
        assert said.count('"event":"call"') > len(TOOLS)
        assert '"path":"app/db"' in said
        assert watch.bodies > 100_000
        assert (watch.headers > 0) == (transport != "stdio")


@pytest.mark.slow
async def test_nothing_is_told_of_what_comes_too_late() -> None:
    async with watching("stdio", SCAIVAULT_TIMEOUT="1") as (watch, child):
        assert await watch.waiting_in_vain() == {"UPSTREAM_TIMEOUT"}
        assert dict(watch.shown) == {}
        said = child.stderr.decode()
        assert said.count("UPSTREAM_TIMEOUT") >= 2
        assert watch.markers.found_in(said) == set()


@pytest.mark.slow
async def test_without_masking_the_same_calls_show_them_where_they_should() -> None:
    async with watching("stdio") as (watch, child):
        assert await watch.every_tool() == set()
        assert set(watch.shown) == OPEN
        assert watch.markers.found_in(child.stderr.decode()) == set()
        await watch.every_tool_with_strange_members()
        named = {record.name.removeprefix("scaivault_") for record in TOOLS}
        assert named - set(watch.shown) == CLOSED
        watch.shown.clear()
        await watch.every_tool_failing()
        assert named - set(watch.shown) == {"get_policy_types", "list_event_types"}
        watch.shown.clear()
        await watch.every_content()
        assert {label.split()[0] for label in watch.shown} == {
            "resources/read", "resources/list", "completion/complete",
        }  # fmt: skip
        # Not even an open server writes values into its log.
        assert watch.markers.found_in(child.stderr.decode()) == set()
