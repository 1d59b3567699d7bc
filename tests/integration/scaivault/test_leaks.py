"""No secret value leaves under masking, whatever is called. Spec: scaivault 2.5, 9.

The command runs as a process, so that what is searched is all that it writes. Letters of markers
survive every escaping of JSON and URLs; forms in which they would not are searched as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from scaimcp.dev.vault.server import serve_vault
from scaimcp.outbound import open_http
from scaimcp.scaivault.catalogue import BY_NAME, TOOLS
from scaimcp.scaivault.errors import MARKER
from tests.integration.scaivault.cases import CASES, filled
from tests.integration.scaivault.child import Child, environment, started
from tests.integration.scaivault.desk import Desk
from tests.integration.scaivault.markers import Markers, forms_of
from tests.integration.scaivault.planting import TYPES, failures, plant, strange

Call = tuple[str, dict[str, Any]]
_ORDER = {"account_id": "{acme}", "domains": ["y.example.com"], "challenge_type": "http-01"}
_SOURCES = "scaivault://"
# What a case of `cases` leaves out.
FURTHER: list[Call] = [
    ("read_secret", {"path": "app/db"}),
    *[("read_secret", {"path": f"app/of-{kind}"}) for kind in TYPES],
    ("list_secrets", {}),
    ("query_audit", {}),
    ("find_unauthorized_access", {}),
    ("list_subscriptions", {}),
    ("request_certificate", {**_ORDER, "wait_seconds": 0}),
]
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


def _of_class(name: str) -> str:
    return BY_NAME[f"scaivault_{name}"].tool_class


def ordered() -> Iterator[Call]:
    """Give every tool with arguments, so that none takes away what the next one needs."""
    calls = [(case.tool, case.arguments) for case in CASES] + FURTHER
    for group in ("read", "issue", "write"):
        yield from (call for call in calls if _of_class(call[0]) == group)
    yield from (call for call in reversed(calls) if _of_class(call[0]) == "delete")


@dataclass
class Watch:
    """A running command, the vault behind it, and what it has shown by the name of the call."""

    child: Child
    desk: Desk
    markers: Markers = field(default_factory=Markers)
    shown: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    async def ask(self, label: str, method: str, params: dict[str, Any]) -> Any:
        """Send a request and search everything that comes back."""
        answer = await self.child.ask(method, params)
        found = self.markers.found_in(msgspec.json.encode(answer).decode())
        if found:
            self.shown[label] |= found
        return answer

    async def call(self, name: str, arguments: dict[str, Any]) -> Any:
        params = {"name": f"scaivault_{name}", "arguments": arguments}
        return (await self.ask(name, "tools/call", params))["result"]

    async def every_tool(self) -> set[str]:
        """Call every tool; return the names of those that have failed."""
        ids = await plant(self.desk, self.markers)
        results = [(name, await self.call(name, filled(args, ids))) for name, args in ordered()]
        return {name for name, result in results if result.get("isError")}

    async def every_tool_with_strange_members(self) -> None:
        ids = await plant(self.desk, self.markers)
        for name, arguments in ordered():
            more = strange(BY_NAME[f"scaivault_{name}"], self.markers)
            if name == "request_certificate":
                more |= {"status": "valid", "certificate_id": ids["certificate"]}
            self.desk.fault(".*", extra=more, extra_rows=more, count=20)
            await self.call(name, filled(arguments, ids))
            self.desk.served.vault.faults.clear()

    async def every_tool_failing(self) -> None:
        ids = await plant(self.desk, self.markers)
        for name, arguments in ordered():
            for failure in failures(self.markers):
                self.desk.fault(".*", **failure, count=20)
                await self.call(name, filled(arguments, ids))
                self.desk.served.vault.faults.clear()

    async def every_argument_wrong(self) -> set[str]:
        """Put a value where it does not belong; return the tools that repeat it in a refusal."""
        value, telling = self.markers.text("argument"), set()
        for record in TOOLS:
            for member in record.arguments:
                for wrong in (value, [value], {"member": value}, f"{MARKER}{value}"):
                    params = {"name": record.name, "arguments": {member.name: wrong}}
                    result = (await self.child.ask("tools/call", params))["result"]
                    text = msgspec.json.encode(result).decode()
                    if result.get("isError") and self.markers.found_in(text):
                        telling.add(f"{record.name} {member.name}: {text}")
        return telling

    async def every_content(self) -> None:
        """Read resources, get prompts, complete arguments."""
        ids = await plant(self.desk, self.markers)
        for method, params in contents(ids, self.markers):
            await self.ask(f"{method} {params}", method, params)
        for method, params in contents(ids, self.markers):
            more = strange(BY_NAME["scaivault_get_policy"], self.markers)
            self.desk.fault(".*", extra=more, extra_rows=more, count=20)
            await self.ask(f"{method} {params}", method, params)
            self.desk.served.vault.faults.clear()
            for failure in failures(self.markers):
                self.desk.fault("/v1/(?!auth).*", **failure, count=20)
                await self.ask(f"{method} {params}", method, params)
                self.desk.served.vault.faults.clear()

    def told(self) -> set[str]:
        """Return whose values stand on stderr."""
        return self.markers.found_in(self.child.stderr.decode())


def contents(ids: dict[str, str], markers: Markers) -> Iterator[tuple[str, dict[str, Any]]]:
    value = markers.text("argument")
    for kind in ("tools", "resources", "resources/templates", "prompts"):
        yield f"{kind}/list", {}
    paths = ("app/db", "external/app/db", "app/none", *(f"app/of-{kind}" for kind in TYPES))
    uris = [f"{kind}/tnt_a/{path}" for kind in ("secrets", "audit") for path in paths]
    uris += ["guards", "policies/pol_everything", f"rotation-policies/{ids['rotation']}"]
    uris += [f"certificates/{ids['certificate']}"]
    for uri in uris:
        yield "resources/read", {"uri": _SOURCES + uri}
    path, names = {"path": "app/db"}, {"prefix": "app", "names": "DB_PASS,API_KEY"}
    for name, arguments in (
        ("audit-investigation", path),
        ("rotate-credential", path),
        ("migrate-from-env", names),
        ("migrate-from-env", {**names, "names": f"DB_PASS={value}"}),
        ("migrate-from-env", {**names, "service": value}),
        ("rotate-credential", {"path": value}),
        ("audit-investigation", {**path, "identity": value}),
    ):
        yield "prompts/get", {"name": name, "arguments": arguments}
    prompt = {"type": "ref/prompt", "name": "rotate-credential"}
    secrets = f"{_SOURCES}secrets/{{tenant}}/{{+path}}"
    for name, uri in (("path", secrets), ("tenant", secrets), ("id", "certificates/{id}")):
        full = uri if uri.startswith(_SOURCES) else _SOURCES + uri
        for reference in ({"type": "ref/resource", "uri": full}, prompt):
            for typed in ("", "app/", "app/of", value):
                argument = {"name": name, "value": typed}
                yield "completion/complete", {"ref": reference, "argument": argument}


@asynccontextmanager
async def watching(**guards: str) -> AsyncIterator[Watch]:
    more = {"SCAIVAULT_DEBUG": "true", "LOG_LEVEL": "debug", **guards}
    async with (
        serve_vault() as served,
        open_http("scaimcp/9.9") as http,
        started(environment(served.url, **more)) as child,
    ):
        await child.initialize()
        yield Watch(child, Desk(served, http))


def test_a_value_is_found_in_every_form() -> None:
    markers = Markers()
    value = markers.text("here")
    for form in forms_of(value):
        assert markers.found_in(f"xx{form}yy") == {"here"}
    for before in ("", "a", "ab"):
        wrapped = msgspec.json.encode({"v": (before + value + "tail").encode()}).decode()
        assert markers.found_in(wrapped) == {"here"}
    assert markers.found_in("nothing") == set()


async def test_no_value_is_seen_in_any_output_under_masking() -> None:
    async with watching(SCAIVAULT_MASK_VALUES="true") as watch:
        assert await watch.every_tool() == set()
        await watch.every_tool_with_strange_members()
        await watch.every_tool_failing()
        await watch.every_content()
        assert await watch.every_argument_wrong() == set()
        assert dict(watch.shown) == {}
        assert watch.told() == set()
        assert len(watch.child.stderr.splitlines()) > len(TOOLS)


async def test_without_masking_the_same_calls_show_them_where_they_should() -> None:
    async with watching() as watch:
        assert await watch.every_tool() == set()
        assert set(watch.shown) == OPEN
        assert watch.told() == set()
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
        assert watch.told() == set()
