"""What the chart and compose tests share: running the checker, reading what it rendered."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "scaimcp"
# The chart asks for 1.30 or later.
VERSIONS = ["1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]
SETTING = re.compile(r"\bSCAIMCP_[A-Z0-9_]*[A-Z0-9]\b")
# Test keys; any 32 different bytes do.
STATE_KEYS = base64.b64encode(bytes(range(32))).decode()

Document = dict[str, Any]


def value_set(name: str) -> dict[str, Any]:
    """Return one of the chart's own value sets by its short name."""
    values: dict[str, Any] = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text())
    return values


def chart_python(env: Mapping[str, str] = os.environ) -> Path:
    """Return the interpreter that has the chart libraries; fail where there is none."""
    path = Path(env.get("SCAIMCP_CHART_PYTHON") or ROOT / ".venv/chart/bin/python")
    if not path.exists():
        raise AssertionError(
            f"{path} is missing: the chart checks need an environment of their own with "
            "deploy/requirements/chart.txt installed (docs/deploy.md), or SCAIMCP_CHART_PYTHON"
        )
    return path


def check(cases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Run the checker over value sets; return its answer by case name."""
    request = {
        "chart": str(CHART),
        "versions": VERSIONS,
        "cases": {name: {"values": values} for name, values in cases.items()},
    }
    done = subprocess.run(
        [chart_python(), Path(__file__).with_name("check_chart.py")],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `change` laid over it, maps merged."""
    result = dict(base)
    for key, value in change.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result


def bodies(case: dict[str, Any], kind: str) -> list[Document]:
    """Return the rendered objects of one kind."""
    return [d["body"] for d in case["documents"] if d["body"]["kind"] == kind]


def named(case: dict[str, Any], kind: str, suffix: str = "") -> Document:
    """Return the one object of a kind whose name ends in `suffix`."""
    [found] = [b for b in bodies(case, kind) if b["metadata"]["name"].endswith(suffix)]
    return found


def pods(case: dict[str, Any]) -> dict[str, Document]:
    """Return the pod templates by component."""
    owners = [*bodies(case, "Deployment"), *bodies(case, "Job")]
    templates = [owner["spec"]["template"] for owner in owners]
    return {t["metadata"]["labels"]["app.kubernetes.io/component"]: t for t in templates}


def container(case: dict[str, Any], component: str) -> Document:
    """Return the one container of a component."""
    found: list[Document] = pods(case)[component]["spec"]["containers"]
    assert len(found) == 1
    return found[0]


def secret_refs(node: Any) -> Iterator[tuple[str, str]]:
    """Yield (Secret, key) of every reference below `node`; the key of an envFrom is empty."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name in ("secretKeyRef", "secretRef", "secret"):
                yield value.get("name") or value["secretName"], value.get("key", "")
            else:
                yield from secret_refs(value)
    elif isinstance(node, list):
        for value in node:
            yield from secret_refs(value)


def environment(case: dict[str, Any], component: str, secrets: dict[str, str]) -> dict[str, str]:
    """Return a container's environment as the kubelet would build it, secrets by variable name."""
    spec = container(case, component)
    result: dict[str, str] = {}
    for source in spec.get("envFrom", []):
        name = source["configMapRef"]["name"]
        [config] = [c for c in bodies(case, "ConfigMap") if c["metadata"]["name"] == name]
        result |= config["data"]
    for variable in spec["env"]:
        value = variable.get("value")
        result[variable["name"]] = secrets[variable["name"]] if value is None else value
    return result
