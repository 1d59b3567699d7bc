"""A server under watch: everything is called, every answer is searched for values.

The server is the command over one of its transports, or a gateway; nothing here knows which.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from scaimcp.scaivault.catalogue import BY_NAME, TOOLS
from scaimcp.scaivault.errors import MARKER
from tests.integration.scaivault.cases import CASES, filled
from tests.integration.scaivault.desk import Desk
from tests.integration.scaivault.markers import Markers
from tests.integration.scaivault.planting import (
    TYPES,
    echoes,
    failures,
    outages,
    plant,
    secret_arguments,
    strange,
)
from tests.integration.scaivault.wires import Said, Wire, ask

Call = tuple[str, dict[str, Any]]
_ORDER = {"account_id": "{acme}", "domains": ["y.example.com"], "challenge_type": "http-01"}
_SCHEME = "scaivault://"
# Every request but the one for whose token it is.
ANYTHING = "/v1/(?!auth).*"
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
# Once each: those of the class read are tried again after an outage, which takes time.
_DURING_OUTAGES = ("read_secret", "get_certificate", "write_secret", "generate_credentials")


def tool_class(name: str) -> str:
    return BY_NAME[f"scaivault_{name}"].tool_class


def ordered() -> Iterator[Call]:
    """Give every tool with arguments, so that none takes away what the next one needs."""
    calls = [(case.tool, case.arguments) for case in CASES] + FURTHER
    for group in ("read", "issue", "write"):
        yield from (call for call in calls if tool_class(call[0]) == group)
    yield from (call for call in reversed(calls) if tool_class(call[0]) == "delete")


@dataclass
class Watch:
    """A running server, the vault behind it, and what it has shown by the name of the call.

    Attributes:
        wire: the way to it.
        desk: the vault.
        markers: the values.
        shown: places of values, by the label of what was asked.
        bodies: how many characters of bodies were searched.
        headers: how many of headers.
    """

    wire: Wire
    desk: Desk
    markers: Markers = field(default_factory=Markers)
    shown: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    bodies: int = 0
    headers: int = 0

    def search(self, label: str, said: Said, own: str = "") -> Said:
        """Note whose values an answer shows; `own` is what the caller may see again."""
        self.bodies += len(said.body)
        self.headers += len(said.headers)
        found = self.markers.found_in(said.text) - {own}
        if found:
            self.shown[label] |= found
        return said

    async def ask(self, label: str, method: str, params: dict[str, Any]) -> Any:
        """Send a request and search everything that comes back."""
        return self.search(label, await ask(self.wire, method, params)).answer

    async def call(self, name: str, arguments: Any) -> Any:
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
        left = set(_DURING_OUTAGES)
        for name, arguments in ordered():
            more = outages(self.markers) if name in left else []
            left.discard(name)
            for failure in (*failures(self.markers, self.desk.bearer), *more):
                await self.under(failure, name, filled(arguments, ids))

    async def under(self, failure: dict[str, Any], name: str, arguments: Any) -> Any:
        """Call a tool while everything in the vault fails."""
        self.desk.fault(ANYTHING, **failure, count=20)
        try:
            return await self.call(name, arguments)
        finally:
            self.desk.served.vault.faults.clear()

    async def every_argument_wrong(self) -> set[str]:
        """Put a value where it does not belong; return the tools that repeat it in a refusal."""
        value, telling = self.markers.text("argument"), set()
        for record in TOOLS:
            for member in record.arguments:
                for wrong in (value, [value], {"member": value}, f"{MARKER}{value}"):
                    params = {"name": record.name, "arguments": {member.name: wrong}}
                    said = await ask(self.wire, "tools/call", params)
                    is_error = said.answer["result"].get("isError")
                    if is_error and self.markers.found_in(said.text):
                        telling.add(f"{record.name} {member.name}: {said.text}")
        return telling

    async def every_secret_argument(self) -> set[str]:
        """Call with values of the caller's own; return refusals made here that repeat one."""
        await plant(self.desk, self.markers)
        telling = set()
        for name, arguments in secret_arguments(self.markers):
            results = [await self.call(name, arguments)]
            refusals = echoes(self.markers, arguments)
            results += [await self.under(refusal, name, arguments) for refusal in refusals]
            for result in results:
                text = result["content"][0]["text"]
                is_own = (
                    result.get("isError") and msgspec.json.decode(text)["error"]["code"].isupper()
                )
                if is_own and self.markers.found_in(text):
                    telling.add(f"{name}: {text}")
        return telling

    async def waiting_in_vain(self) -> set[str]:
        """Call while the vault takes too long; return the codes.

        The server's timeout must be a second.
        """
        await plant(self.desk, self.markers)
        more = strange(BY_NAME["scaivault_read_secret"], self.markers)
        slow = {"delay_ms": 1_500, "extra": more}
        written = {"path": "app/db", "data": {"password": self.markers.text("written")}}
        codes = set()
        for name, arguments in (("read_secret", {"path": "app/db"}), ("write_secret", written)):
            result = await self.under(slow, name, arguments)
            codes.add(msgspec.json.decode(result["content"][0]["text"])["error"]["code"])
        return codes

    async def every_message_wrong(self) -> None:
        """Put a value into messages that are none, or that nobody can answer."""
        value, name = self.markers.text("message"), self.markers.text("name of no tool")
        for number, body in enumerate(messages(value, name)):
            self.search(f"message {number}", await self.wire.send(body))

    async def every_content(self) -> None:
        """Read resources, get prompts, complete arguments."""
        ids = await plant(self.desk, self.markers)
        asked = list(contents(ids, self.desk.tenant_id, self.markers.text("argument")))
        for method, params in asked:
            await self.ask(f"{method} {params}", method, params)
        more = strange(BY_NAME["scaivault_get_policy"], self.markers)
        refusals = failures(self.markers, self.desk.bearer)
        faults = [{"extra": more, "extra_rows": more}, *refusals]
        for method, params in asked:
            for fault in faults:
                self.desk.fault(ANYTHING, **fault, count=20)
                await self.ask(f"{method} {params}", method, params)
                self.desk.served.vault.faults.clear()

    async def everything(self) -> None:
        """Do all of it."""
        assert await self.every_tool() == set()
        await self.every_tool_with_strange_members()
        await self.every_tool_failing()
        await self.every_content()
        await self.every_message_wrong()
        assert await self.every_argument_wrong() == set()
        assert await self.every_secret_argument() == set()


def contents(ids: dict[str, str], tenant: str, value: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in ("tools", "resources", "resources/templates", "prompts"):
        yield f"{kind}/list", {}
    paths = ("app/db", "external/app/db", "app/none", *(f"app/of-{kind}" for kind in TYPES))
    uris = [f"{kind}/{tenant}/{path}" for kind in ("secrets", "audit") for path in paths]
    uris += ["guards", "policies/pol_everything", f"rotation-policies/{ids['rotation']}"]
    uris += [f"certificates/{ids['certificate']}"]
    for uri in uris:
        yield "resources/read", {"uri": _SCHEME + uri}
    yield from _prompts(value)
    prompt = {"type": "ref/prompt", "name": "rotate-credential"}
    secrets = f"{_SCHEME}secrets/{{tenant}}/{{+path}}"
    for name, uri in (("path", secrets), ("tenant", secrets), ("id", "certificates/{id}")):
        full = uri if uri.startswith(_SCHEME) else _SCHEME + uri
        for reference in ({"type": "ref/resource", "uri": full}, prompt):
            for typed in ("", "app/", "app/of", value):
                argument = {"name": name, "value": typed}
                yield "completion/complete", {"ref": reference, "argument": argument}


def _prompts(value: str) -> Iterator[tuple[str, dict[str, Any]]]:
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


def messages(value: str, name: str) -> Iterator[bytes]:
    """Give messages that hold a value, or a name, and must be refused."""
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name}}
    yield msgspec.json.encode(asked)
    begin = '{"jsonrpc":"2.0","id":1,"method":'
    call = f'{begin}"tools/call","params":'
    arguments = f'{call}{{"name":"scaivault_write_secret","arguments":'
    encoded = msgspec.json.encode(value).decode()
    for head, tail in (
        (f'{arguments}{{"data":', ""),
        (arguments, "}}"),
        (f"{arguments}[", "]}}"),
        (f'{arguments}{{"path":"a","path":', "}}}"),
        (f'{call}{{"name":[', "]}}"),
        (call, "}"),
        (begin, "}"),
        (f'{begin}"resources/list","params":{{"cursor":', "}}"),
        (f'{begin}"prompts/get","params":{{"name":', "}}"),
        ('{"jsonrpc":', ',"id":1,"method":"ping"}'),
    ):
        yield f"{head}{encoded}{tail}".encode()
