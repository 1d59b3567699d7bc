"""The entry points of module authors. Spec: core-tools 9, form A."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any, cast

import pytest

from scaimcp.catalog.contributed import Contribution
from scaimcp.catalog.definition import RestRequest as Translated
from scaimcp.catalog.hook import GROUP, McpToolDef, RestRequest, installed, load_modules
from tests.unit.catalog.test_contributed import DESCRIPTION, schema


@dataclass
class Point:
    """An entry point of a package that is not installed."""

    name: str
    value: Any
    loads: int = field(default=0)

    def load(self) -> Any:
        self.loads += 1
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


def load(points: list[Point]) -> Contribution:
    return load_modules(cast("list[EntryPoint]", points))


def tool(**changes: Any) -> McpToolDef:
    fields: dict[str, Any] = {
        "name": "acme_crm_contacts_find",
        "title": "Find CRM contacts",
        "description": DESCRIPTION,
        "input_schema": schema(),
        "required_permission": "acme-crm:contacts.read",
        "annotations": {"readOnlyHint": True},
        "request": RestRequest("GET", "/contacts", query=("q",), result="list"),
    }
    return McpToolDef(**{**fields, **changes})


class AcmeCRM:
    module_id = "acme-crm"
    tools: Any = (tool(),)

    def get_mcp_tools(self) -> list[McpToolDef]:
        return list(self.tools)


def module(*tools: Any, module_id: str = "acme-crm") -> Any:
    loaded = AcmeCRM()
    loaded.module_id = module_id
    loaded.tools = tools
    return loaded


@pytest.mark.parametrize("value", [AcmeCRM, AcmeCRM()], ids=["class", "object"])
def test_a_class_or_an_object_brings_tools(value: Any) -> None:
    contribution = load([Point("acme-crm", value)])
    (found,) = contribution.tools
    assert contribution.dropped == {}
    assert found.name == "acme_crm_contacts_find"
    assert (found.origin, found.module_id) == ("entry_point", "acme-crm")
    assert found.permission == "acme-crm:contacts.read"
    assert found.hints.read_only
    assert found.result.kind == "list"
    assert found.request == Translated("GET", "/v1/modules/acme-crm/contacts", query=("q",))


class Silent:
    pass


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (ImportError("secret path"), "ImportError"),
        (Silent, "AttributeError"),
        (module(tool(), module_id="other"), "ValueError"),
        (module("no tool", module_id="broken"), "AttributeError"),
        (None, "AttributeError"),
        (SystemExit(3), "SystemExit"),
    ],
)
def test_a_module_that_fails_to_load_stops_nothing(value: Any, error: str) -> None:
    points = [Point("broken", value), Point("acme-crm", AcmeCRM)]
    contribution = load(points)
    assert [found.name for found in contribution.tools] == ["acme_crm_contacts_find"]
    assert contribution.dropped == {"broken/broken_*": f"The module failed to load ({error})."}


HANDLER = "Only tools with a REST request are served, not tools with a handler."


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"handler": print}, HANDLER),
        ({"request": None}, HANDLER),
        ({"input_schema": {"type": object()}}, "The definition holds values that JSON does not"),
        ({"title": "Find"}, "The title is not 2 to 5 words."),
        ({"request": RestRequest("GET", "/../x")}, "The path is not relative"),
        ({"request": RestRequest("GET", "/x", body="xml")}, "The definition cannot be read"),
    ],
)
def test_a_tool_that_breaks_a_rule_is_dropped_alone(changes: dict[str, Any], reason: str) -> None:
    loaded = module(tool(**changes), tool(name="acme_crm_good"))
    contribution = load([Point("acme-crm", loaded)])
    assert [found.name for found in contribution.tools] == ["acme_crm_good"]
    ((label, text),) = contribution.dropped.items()
    assert label == "acme-crm/acme_crm_contacts_find"
    assert text.startswith(reason)


def test_a_module_that_brings_too_much_is_left_out() -> None:
    large = tool(input_schema={"type": "object", "x": "y" * 1_100_000})
    contribution = load([Point("acme-crm", module(large))])
    assert contribution.tools == ()
    assert contribution.dropped == {
        "acme-crm/acme_crm_*": "The tools are larger than 1 MiB together."
    }


def test_every_module_is_loaded_once() -> None:
    points = [Point("acme-crm", AcmeCRM), Point("zeta", module(module_id="zeta"))]
    load(points)
    assert [point.loads for point in points] == [1, 1]


def test_installed_modules_are_found_by_their_group() -> None:
    assert GROUP == "scaimcp.modules"
    assert all(isinstance(point, EntryPoint) and point.group == GROUP for point in installed())
