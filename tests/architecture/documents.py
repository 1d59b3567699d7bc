"""Pages that are made from the code; ``python -m tests.architecture.documents`` writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from scaimcp.settings import TABLE, Settings

ROOT = Path(__file__).parents[2]
_HEAD = """# Settings

Environment variables. Lists are comma-separated; an empty value counts as unset, except that a
guard of ScaiVault (`READ_ONLY`, `MASK_VALUES`, `ALLOWED_PATHS`, `DENIED_PATHS`, `TOOL_GROUPS`) then
stops the start; each secret can come from a file named by the variable with `_FILE` behind. An
unknown `SCAIMCP_` name stops the start with exit code 5, so that a typing error does not pass
unseen.

Tracing has the names of OpenTelemetry: it is on when `OTEL_EXPORTER_OTLP_ENDPOINT` or
`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set, `OTEL_TRACES_EXPORTER` is unset or `otlp`, and
`OTEL_SDK_DISABLED` is not `true`. Spans go out as OTLP over HTTP with protobuf; sampling, headers,
queue and resource follow the other `OTEL_*` names.

| Variable | Default | Meaning |
|---|---|---|
"""


def settings_page() -> str:
    """Return docs/settings.md."""
    rows = [
        f"| `{setting.name}` | {_default(setting.field)} | {_escaped(setting.meaning)} |"
        for setting in TABLE
    ]
    return _HEAD + "\n".join(rows) + "\n"


def _default(field: str) -> str:
    value: Any = getattr(Settings(), field)
    if value is None or value == "" or value == ():
        return "–"
    if isinstance(value, tuple):
        value = ",".join(value)
    if isinstance(value, bool):
        value = str(value).lower()
    return f"`{value}`"


def _escaped(text: str) -> str:
    return text[:1].upper() + text[1:].replace("|", "\\|")


PAGES: dict[str, Callable[[], str]] = {"docs/settings.md": settings_page}

if __name__ == "__main__":
    for name, make in PAGES.items():
        (ROOT / name).write_text(make(), encoding="utf-8")
        print(f"wrote {name}")
