"""`scaimcp catalog`, and the page that is made with it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scaimcp.cli.main import main
from scaimcp.reference import built_in, render

PAGE = Path(__file__).parents[3] / "docs" / "tools.md"


def test_the_tools_page_is_up_to_date() -> None:
    made = render("markdown")
    text = PAGE.read_text(encoding="utf-8")
    assert text == made, "run: scaimcp catalog --format markdown > docs/tools.md"


def test_the_page_has_every_tool_argument_and_result() -> None:
    sections = re.split(r"^### ", render("markdown"), flags=re.MULTILINE)[1:]
    tools = built_in()
    assert [section.partition("\n")[0] for section in sections] == [tool.name for tool in tools]
    for section, tool in zip(sections, tools, strict=True):
        assert tool.description in section
        assert tool.permission in section
        for name in tool.input_schema["properties"]:
            required = name in tool.input_schema.get("required", ())
            assert f"| `{name}`{' **required**' if required else ''} | " in section
        for name, _ in tool.result.fields:
            always = name in tool.result.always
            assert f"| `{name}`{' *always*' if always else ''} | " in section


@pytest.mark.parametrize(
    "line",
    [
        "| `limit` | integer, 1–100; default `25` | ",
        "| `messages[].role` **required** | `system` · `user` · `assistant` · `tool` | ",
        "| `metadata` | open object | ",
        "| `temperature` | number, 0–2 | ",
        "No arguments.",
        "Permission: none, any caller · Hints: read-only, idempotent",
        "with role `super_admin`",
    ],
)
def test_the_page_says(line: str) -> None:
    assert line in render("markdown")


def test_rows_of_the_page_have_as_many_cells_as_their_table() -> None:
    for line in render("markdown").splitlines():
        if line.startswith("| "):
            assert len(re.split(r"(?<!\\)\|", line)) in (4, 5), line


def test_the_table_has_one_line_per_tool(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["catalog"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "GROUP", "PERMISSION", "TITLE"]
    assert [line.split()[0] for line in lines[1:]] == [tool.name for tool in built_in()]


def test_json_has_what_a_program_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["catalog", "--format", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [tool["name"] for tool in listed] == [tool.name for tool in built_in()]
    assert set(listed[0]) == {
        *("name", "title", "description", "group", "module_id", "permission", "roles"),
        *("hints", "input_schema", "output_schema"),
    }
    assert listed[0]["hints"]["read_only"] is True
