"""Lint, render and validate the chart; run by the interpreter that has the chart libraries.

Standard input: {"chart": path, "versions": [Kubernetes versions], "cases": {name: {"values": {...},
"release": {...}}}}. Standard output: {name: {"lint", "error", "documents", "notes", "validated",
"skipped", "invalid"}}. `documents` holds {"file", "body"}; `error` is the schema's or a template's
refusal, null when the case renders.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import helm_python as helm
import kubernetes_validate
import yaml

# Custom resources, for which Kubernetes itself has no schema.
_FOREIGN_GROUPS = ("monitoring.coreos.com/",)
_RELEASE = {"name": "demo", "namespace": "prod"}


def _documents(rendered: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"file": file.rpartition("/")[2], "body": body}
        for file, text in sorted(rendered.items())
        if not file.endswith("NOTES.txt")
        for body in yaml.safe_load_all(text)
        if body
    ]


def _validate(documents: list[dict[str, Any]], versions: list[str]) -> dict[str, Any]:
    validated, skipped, invalid = 0, [], []
    for document in documents:
        body = document["body"]
        if body["apiVersion"].startswith(_FOREIGN_GROUPS):
            skipped.append(body["kind"])
            continue
        for version in versions:
            try:
                kubernetes_validate.validate(body, version, strict=True)
                validated += 1
            except kubernetes_validate.ValidationError as error:
                invalid.append(f"{document['file']} {version}: {error.message}")
    return {"validated": validated, "skipped": skipped, "invalid": invalid}


def _case(
    path: str, chart: helm.Chart, case: dict[str, Any], versions: list[str]
) -> dict[str, Any]:
    values = case["values"]
    lint = helm.lint(path, values, strict=True)
    result: dict[str, Any] = {
        "lint": [message for message in lint["messages"] if message["severity"] > 1],
        "error": None,
        "documents": [],
        "notes": "",
    }
    try:
        chart.validate_schema(values)
        rendered = chart.render(values, **(_RELEASE | case.get("release", {})))
    except helm.HelmError as error:
        return result | {"error": str(error)}
    documents = _documents(rendered)
    notes = next(text for file, text in rendered.items() if file.endswith("NOTES.txt"))
    return result | {"documents": documents, "notes": notes} | _validate(documents, versions)


def main() -> None:
    request = json.load(sys.stdin)
    with helm.Chart.load(request["chart"]) as chart:
        answer = {
            name: _case(request["chart"], chart, case, request["versions"])
            for name, case in request["cases"].items()
        }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
