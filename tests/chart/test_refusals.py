"""What the chart refuses, and the words it refuses with."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from scaimcp.settings import TABLE
from tests.chart import support

pytestmark = pytest.mark.slow

# Change to the minimal values, and a word of the message.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown value": ({"replicaCount": 3}, "replicaCount"),
    "an unknown nested value": ({"server": {"replicas": 3}}, "replicas"),
    "a number as text": ({"server": {"replicaCount": "x"}}, "replicaCount"),
    "no image": ({"image": {"repository": ""}}, "image.repository is required"),
    "no public URL": ({"publicUrl": ""}, "publicUrl is required"),
    "no secret": ({"existingSecret": ""}, "existingSecret (or secrets.databaseUrl.existingSecret)"),
    "a public URL with a path": ({"publicUrl": "https://mcp.example.com/x"}, "publicUrl"),
    "a plain public URL": ({"publicUrl": "http://mcp.example.com"}, "publicUrl"),
    "a short digest": ({"image": {"digest": "sha256:abc"}}, "digest"),
    "a pull policy": ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    "a log level": ({"log": {"level": "loud"}}, "level"),
    "the user root": ({"podSecurityContext": {"runAsUser": 0}}, "runAsUser"),
    "a weaker context": ({"podSecurityContext": {"runAsNonRoot": False}}, "runAsNonRoot"),
    "an empty secret key": ({"secrets": {"stateKeys": {"key": ""}}}, "key"),
    "a secret by value": ({"secrets": {"stateKeys": {"value": "x"}}}, "value"),
    "a setting without prefix": (
        {"config": {"LOG_LEVEL": "debug"}},
        "invalid propertyName 'LOG_LEVEL'",
    ),
    "a lower-case setting": ({"config": {"SCAIMCP_log_level": "debug"}}, "'SCAIMCP_log_level'"),
    "a setting the chart owns": (
        {"config": {"SCAIMCP_SERVER_BIND": "0.0.0.0:1"}},
        "'SCAIMCP_SERVER_BIND'",
    ),
    "a setting that is a map": (
        {"config": {"SCAIMCP_AUTH_ISSUER": {"a": "b"}}},
        "SCAIMCP_AUTH_ISSUER",
    ),
    "a fraction": ({"config": {"SCAIMCP_AUTH_CACHE_SECONDS": 1.5}}, "SCAIMCP_AUTH_CACHE_SECONDS"),
    "a list with a comma": ({"config": {"SCAIMCP_MCP_SURFACES": ["a,b"]}}, "SCAIMCP_MCP_SURFACES"),
    "an owned optional secret": (
        {"secrets": {"optional": {"SCAIMCP_STATE_KEYS": {"key": "k"}}}},
        "invalid propertyName 'SCAIMCP_STATE_KEYS'",
    ),
    "an optional secret without a key": (
        {"secrets": {"optional": {"SCAIMCP_PLATFORM_SERVICE_TOKEN": {}}}},
        "key",
    ),
    "an owned extra variable": (
        {"server": {"extraEnv": [{"name": "SCAIMCP_DATABASE_URL", "value": "x"}]}},
        "extraEnv",
    ),
    "a volume over /tmp": (
        {"server": {"extraVolumeMounts": [{"name": "x", "mountPath": "/tmp"}]}},
        "mountPath",
    ),
    "a grace period as long as the drain": (
        {"server": {"terminationGracePeriodSeconds": 35}},
        "must be greater than",
    ),
    "an autoscaler upside down": (
        {"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 2}},
        "minReplicas",
    ),
    "an ingress to everything": ({"ingress": {"paths": ["/"]}}, "paths"),
    "an ingress to the probes": ({"ingress": {"paths": ["/mcp", "/readyz"]}}, "paths"),
    "an ingress to the metrics": ({"ingress": {"paths": ["/metrics"]}}, "paths"),
    "an ingress below the metrics": ({"ingress": {"paths": ["/metrics/x"]}}, "paths"),
    "no ingress path": ({"ingress": {"paths": []}}, "paths"),
    "metrics on the server's port": ({"metrics": {"port": 8080}}, "port"),
    "a host with a port": ({"server": {"allowedHosts": ["a.example.com:80"]}}, "allowedHosts"),
    "a proxy by name": ({"server": {"trustedProxies": ["proxy.example.com"]}}, "trustedProxies"),
    "a spread without a key": (
        {"server": {"topologySpreadConstraints": [{"maxSkew": 1}]}},
        "topologySpreadConstraints",
    ),
    "a long label": ({"commonLabels": {"team": "x" * 64}}, "team"),
}


@pytest.fixture(scope="module")
def refused() -> dict[str, Any]:
    minimal = support.value_set("minimal")
    cases = {name: support.merged(minimal, change) for name, (change, _) in REFUSED.items()}
    for setting in TABLE:
        if setting.is_secret:
            cases[setting.name] = support.merged(minimal, {"config": {setting.name: "x"}})
    return support.check(cases | {"nothing": {}})


@pytest.mark.parametrize("name", REFUSED)
def test_the_chart_refuses(name: str, refused: dict[str, Any]) -> None:
    error = refused[name]["error"]
    assert error is not None
    assert REFUSED[name][1] in error
    assert refused[name]["documents"] == []


@pytest.mark.parametrize("name", [s.name for s in TABLE if s.is_secret])
def test_no_secret_setting_fits_into_the_config_map(name: str, refused: dict[str, Any]) -> None:
    assert f"invalid propertyName '{name}'" in (refused[name]["error"] or "")


def test_a_missing_interpreter_fails_with_what_to_do() -> None:
    with pytest.raises(
        AssertionError, match=r"/nowhere is missing: .* deploy/requirements/chart\.txt"
    ):
        support.chart_python({"SCAIMCP_CHART_PYTHON": "/nowhere"})


def test_the_defaults_alone_lint_but_do_not_render(refused: dict[str, Any]) -> None:
    assert refused["nothing"]["lint"] == []
    assert "is required" in refused["nothing"]["error"]


def test_the_schema_closes_every_object_it_describes() -> None:
    schema = json.loads((support.CHART / "values.schema.json").read_text())
    open_on_purpose = {"spread", "volume", "volumeMount"}

    def visit(node: Any, path: str) -> None:
        if isinstance(node, dict):
            if "properties" in node and path.rpartition("/")[2] not in open_on_purpose:
                assert node.get("additionalProperties") is False, path
            for key, value in node.items():
                visit(value, f"{path}/{key}")

    visit(schema, "")


def test_the_schema_knows_every_default() -> None:
    schema = json.loads((support.CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((support.CHART / "values.yaml").read_text())

    def visit(node: dict[str, Any], values: dict[str, Any], path: str) -> None:
        for key, value in values.items():
            part = node.get("properties", {}).get(key)
            assert part is not None or "additionalProperties" in node, f"{path}.{key}"
            if part is not None and isinstance(value, dict) and "properties" in part:
                visit(part, value, f"{path}.{key}")

    visit(schema, defaults, "")
    assert set(schema["properties"]) - set(defaults) == {"global"}
