"""The chart renders what Kubernetes accepts, safely, for every value set."""

from __future__ import annotations

import functools
import json
import operator
import re
from typing import Any

import pytest
import yaml

from scaimcp.scaivault.config import vault_policy
from scaimcp.settings import Settings, known_names, load, require
from tests.chart import support

pytestmark = pytest.mark.slow

SETS = ["minimal", "operators", "everything"]
COUNTS = {
    "minimal": {
        "ConfigMap": 1,
        "Deployment": 2,
        "Job": 1,
        "PodDisruptionBudget": 1,
        "Service": 3,
        "ServiceAccount": 1,
    },
    "operators": {"ConfigMap": 1, "Deployment": 1, "Service": 2},
    "everything": {
        "ConfigMap": 1,
        "Deployment": 2,
        "HorizontalPodAutoscaler": 1,
        "Ingress": 1,
        "Job": 1,
        "NetworkPolicy": 2,
        "PodDisruptionBudget": 1,
        "Service": 3,
        "ServiceAccount": 1,
        "ServiceMonitor": 1,
    },
}
SECRETS = {
    "SCAIMCP_DATABASE_URL": "postgresql://u:p@db/scaimcp",
    "SCAIMCP_REDIS_URL": "redis://queue:6379/0",
    "SCAIMCP_STATE_KEYS": support.STATE_KEYS,
    "SCAIMCP_PLATFORM_SERVICE_TOKEN": "token",
    "SCAIMCP_LOGIN_CLIENT_SECRET": "hush",
    "OTEL_EXPORTER_OTLP_HEADERS": "a=b",
}


@pytest.fixture(scope="module")
def rendered() -> dict[str, Any]:
    minimal = support.value_set("minimal")
    changed: dict[str, dict[str, Any]] = {
        "newlevel": {"log": {"level": "debug"}},
        "labelled": {"commonLabels": {"team": "other"}},
        "open_policy": {"networkPolicy": {"enabled": True}},
        "ingress": {"ingress": {"enabled": True}},
        "unlimited_name": {"nameOverride": "n" * 80},
    }
    cases = {name: support.value_set(name) for name in SETS}
    cases |= {name: support.merged(minimal, change) for name, change in changed.items()}
    return support.check(cases)


@pytest.fixture(params=SETS)
def case(request: pytest.FixtureRequest, rendered: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = rendered[request.param]
    return found | {"name": request.param}


def test_every_value_set_of_the_chart_is_checked() -> None:
    files = {path.name for path in (support.CHART / "ci").iterdir()}
    assert files == {f"{name}-values.yaml" for name in SETS}


def test_it_lints_without_a_warning_and_renders(case: dict[str, Any]) -> None:
    assert case["error"] is None
    assert case["lint"] == []


def test_it_renders_exactly_the_expected_objects(case: dict[str, Any]) -> None:
    kinds = [document["body"]["kind"] for document in case["documents"]]
    assert {kind: kinds.count(kind) for kind in sorted(set(kinds))} == COUNTS[case["name"]]


def test_every_object_is_valid_in_every_supported_kubernetes(case: dict[str, Any]) -> None:
    core = len(case["documents"]) - len(case["skipped"])
    assert case["invalid"] == []
    assert case["validated"] == core * len(support.VERSIONS) > 0
    assert set(case["skipped"]) <= {"ServiceMonitor"}


def test_no_two_objects_share_a_name_and_all_name_their_namespace(case: dict[str, Any]) -> None:
    keys = [(d["body"]["kind"], d["body"]["metadata"]["name"]) for d in case["documents"]]
    assert len(keys) == len(set(keys))
    assert {d["body"]["metadata"]["namespace"] for d in case["documents"]} == {"prod"}


def test_no_secret_is_rendered_and_no_secret_setting_has_a_value(case: dict[str, Any]) -> None:
    assert support.bodies(case, "Secret") == []
    for config in support.bodies(case, "ConfigMap"):
        assert not SECRETS.keys() & config["data"].keys()
    for component in support.pods(case):
        for variable in support.container(case, component)["env"]:
            assert ("valueFrom" in variable) == (variable["name"] in SECRETS), variable


def test_only_named_secrets_are_referenced(rendered: dict[str, Any]) -> None:
    def refs(name: str) -> set[tuple[str, str]]:
        return {
            ref for pod in support.pods(rendered[name]).values() for ref in support.secret_refs(pod)
        }

    assert refs("minimal") == {
        ("scaimcp", "database-url"),
        ("scaimcp", "redis-url"),
        ("scaimcp", "state-keys"),
    }
    assert refs("operators") == {
        ("scaimcp-db-app", "uri"),
        ("valkey", "VALKEY_URL"),
        ("scaimcp-keys", "state.keys"),
    }
    assert refs("everything") == {
        ("scaimcp-db-app", "uri"),
        ("scaimcp-db-owner", "uri"),
        ("scaimcp", "redis-url"),
        ("scaimcp", "state-keys"),
        ("scaimcp-platform", "token"),
        ("scaimcp-login", "client-secret"),
        ("otel", "headers"),
    }


def test_every_pod_meets_the_restricted_standard(case: dict[str, Any]) -> None:
    for template in support.pods(case).values():
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & spec.keys()
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for part in [*spec["containers"], *spec.get("initContainers", [])]:
            context = part["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["privileged"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["runAsNonRoot"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {"name": "tmp", "mountPath": "/tmp"} in part["volumeMounts"]
            assert "command" not in part, "the image's entry point is the program"


def test_ids_are_numeric_unless_left_to_the_cluster(rendered: dict[str, Any]) -> None:
    for template in support.pods(rendered["minimal"]).values():
        context = template["spec"]["securityContext"]
        assert [context[n] for n in ("runAsUser", "runAsGroup", "fsGroup")] == [10001] * 3
    for template in support.pods(rendered["operators"]).values():
        assert (
            not {"runAsUser", "runAsGroup", "fsGroup"} & template["spec"]["securityContext"].keys()
        )


def test_server_worker_and_migration_run_the_same_image(case: dict[str, Any]) -> None:
    images = {support.container(case, component)["image"] for component in support.pods(case)}
    assert len(images) == 1


def test_the_image_is_named_by_tag_and_digest(rendered: dict[str, Any]) -> None:
    version = yaml.safe_load((support.CHART / "Chart.yaml").read_text())["appVersion"]
    minimal = support.container(rendered["minimal"], "server")["image"]
    assert minimal == f"registry.example.com/team/scaimcp:{version}"
    pinned = support.container(rendered["operators"], "server")["image"]
    assert pinned.startswith(f"registry.example.com:5000/scaimcp:{version}@sha256:")


def test_the_migration_runs_first_and_needs_nothing_of_the_release(
    rendered: dict[str, Any],
) -> None:
    for name in ("minimal", "everything"):
        job = support.named(rendered[name], "Job")
        notes = job["metadata"]["annotations"]
        assert notes["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert notes["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
        assert support.container(rendered[name], "migrate")["args"] == ["migrate"]
        made = {
            (d["body"]["kind"], d["body"]["metadata"]["name"])
            for d in rendered[name]["documents"]
            if "helm.sh/hook" not in d["body"]["metadata"].get("annotations", {})
        }
        assert "configMapRef" not in json.dumps(job)
        account = job["spec"]["template"]["spec"].get("serviceAccountName")
        assert ("ServiceAccount", account) not in made


def test_the_migration_may_use_a_database_user_of_its_own(rendered: dict[str, Any]) -> None:
    def database(name: str, component: str) -> str:
        env = support.container(rendered[name], component)["env"]
        [entry] = [e for e in env if e["name"] == "SCAIMCP_DATABASE_URL"]
        name_of_secret: str = entry["valueFrom"]["secretKeyRef"]["name"]
        return name_of_secret

    assert database("minimal", "migrate") == database("minimal", "server") == "scaimcp"
    assert database("everything", "migrate") == "scaimcp-db-owner"
    assert database("everything", "server") == "scaimcp-db-app"


def test_every_setting_named_in_the_chart_exists() -> None:
    text = "".join(
        path.read_text()
        for path in sorted(support.CHART.rglob("*"))
        if path.is_file() and path.name != "values.schema.json"
    )
    used = set(support.SETTING.findall(text))
    assert used
    assert used - known_names() == set()


@pytest.mark.parametrize("component", ["server", "worker"])
def test_the_program_accepts_the_environment_that_is_rendered(
    case: dict[str, Any], component: str
) -> None:
    if component not in support.pods(case):
        assert case["name"] == "operators"
        return
    settings = load(support.environment(case, component, SECRETS))
    require(settings, "public_url", "database_url", "redis_url", "state_keys")
    assert settings.hosts >= {"mcp.example.com", "localhost"}


def test_the_migration_has_a_database_and_nothing_else_secret(rendered: dict[str, Any]) -> None:
    env = support.environment(rendered["everything"], "migrate", SECRETS)
    assert set(env) == {"SCAIMCP_DATABASE_URL", "SCAIMCP_LOG_LEVEL", "SCAIMCP_LOG_FORMAT"}
    require(load(env), "database_url")


def test_values_reach_their_settings(rendered: dict[str, Any]) -> None:
    settings: Settings = load(support.environment(rendered["everything"], "server", SECRETS))
    assert settings.server_workers == 2
    assert settings.server_drain_seconds == 60
    assert settings.server_bind == ("0.0.0.0:8080",)
    assert settings.metrics_bind == "0.0.0.0:9100"
    assert settings.server_trusted_proxies == ("10.0.0.0/8", "fd00::/8")
    assert settings.origins == {"https://app.example.com"}
    assert "scaimcp.prod.svc" in settings.hosts
    assert settings.limits_request_bytes == 16 * 1024 * 1024
    assert settings.platform_forward_client_ip is True
    assert settings.mcp_surfaces == ("tools", "resources")
    assert settings.platform_service_token is not None
    assert settings.log_format == "console"
    vault = vault_policy(settings)
    assert (vault.url, vault.guards.read_only) == ("https://vault.example.com", True)
    assert vault.guards.allowed == ("integrations", "shared")
    assert load(support.environment(rendered["operators"], "server", SECRETS)).server_bind == (
        "[::]:8080",
    )


def test_probes_ask_the_server_by_a_host_name_it_knows(case: dict[str, Any]) -> None:
    server = support.container(case, "server")
    paths = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    for probe, path in paths.items():
        ask = server[probe]["httpGet"]
        assert (ask["path"], ask["port"]) == (path, "http")
        assert ask["httpHeaders"] == [{"name": "Host", "value": "localhost"}]
    assert server["ports"][0]["containerPort"] == 8080


def test_the_grace_period_outlasts_sleep_and_drain(case: dict[str, Any]) -> None:
    server = support.container(case, "server")
    sleep = server.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    settings = load(support.environment(case, "server", SECRETS))
    grace = support.pods(case)["server"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > sleep + settings.server_drain_seconds
    assert sleep == {"minimal": 5, "operators": 0, "everything": 10}[case["name"]]


def test_a_changed_setting_restarts_the_pods_and_a_changed_label_does_not(
    rendered: dict[str, Any],
) -> None:
    def checksums(name: str) -> set[str]:
        parts = (support.pods(rendered[name])[c]["metadata"] for c in ("server", "worker"))
        return {part["annotations"]["checksum/config"] for part in parts}

    [before] = checksums("minimal")
    assert re.fullmatch(r"[0-9a-f]{64}", before)
    assert checksums("newlevel") != {before}
    assert checksums("labelled") == {before}


def test_selectors_find_their_pods_and_no_other_component(case: dict[str, Any]) -> None:
    templates = support.pods(case)
    paths = {
        "Deployment": ("selector", "matchLabels"),
        "Service": ("selector",),
        "PodDisruptionBudget": ("selector", "matchLabels"),
        "NetworkPolicy": ("podSelector", "matchLabels"),
    }
    for kind, path in paths.items():
        for body in support.bodies(case, kind):
            wanted = functools.reduce(operator.getitem, path, body["spec"]).items()
            found = [c for c, t in templates.items() if wanted <= t["metadata"]["labels"].items()]
            component = "worker" if body["metadata"]["name"].endswith("-worker") else "server"
            assert found == [component], (kind, body["metadata"]["name"])


def test_spread_constraints_select_the_component_unless_they_say_otherwise(
    rendered: dict[str, Any],
) -> None:
    def selectors(name: str) -> list[dict[str, str]]:
        spec = support.pods(rendered[name])["server"]["spec"]
        return [c["labelSelector"]["matchLabels"] for c in spec["topologySpreadConstraints"]]

    own = support.named(rendered["minimal"], "Deployment", "-server")
    assert selectors("minimal") == [own["spec"]["selector"]["matchLabels"]] * 2
    assert selectors("everything")[1] == {"tier": "edge"}
    assert "topologySpreadConstraints" not in support.pods(rendered["operators"])["server"]["spec"]


def test_scheduling_values_reach_the_server(rendered: dict[str, Any]) -> None:
    template = support.pods(rendered["everything"])["server"]
    spec = template["spec"]
    assert spec["priorityClassName"] == "high"
    assert spec["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert spec["tolerations"][0]["key"] == "dedicated"
    assert "podAntiAffinity" in spec["affinity"]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert template["metadata"]["annotations"]["example.com/a"] == "1"
    assert template["metadata"]["labels"]["tier"] == "edge"
    assert {"name": "ca", "configMap": {"name": "private-ca"}} in spec["volumes"]
    assert spec["serviceAccountName"] == "gateway"
    assert support.pods(rendered["operators"])["server"]["spec"]["serviceAccountName"] == "shared"


def test_ingress_routes_the_public_paths_and_neither_probes_nor_metrics(
    rendered: dict[str, Any],
) -> None:
    for name, hosts in {
        "everything": ["mcp.example.com", "tools.example.com"],
        "ingress": ["mcp.example.com"],
    }.items():
        rules = support.named(rendered[name], "Ingress")["spec"]["rules"]
        assert [rule["host"] for rule in rules] == hosts
        service = next(
            s
            for s in support.bodies(rendered[name], "Service")
            if s["spec"]["ports"][0]["name"] == "http"
        )
        for rule in rules:
            paths = rule["http"]["paths"]
            assert [p["path"] for p in paths] == [
                "/mcp",
                "/v1/modules/scaimcp",
                "/.well-known/oauth-protected-resource",
            ]
            for path in paths:
                assert path["pathType"] == "Prefix"
                backend = path["backend"]["service"]
                assert backend == {"name": service["metadata"]["name"], "port": {"name": "http"}}


def test_metrics_have_a_service_of_their_own(case: dict[str, Any]) -> None:
    metrics = support.named(case, "Service", "-metrics")
    assert metrics["spec"]["type"] == "ClusterIP"
    assert [port["name"] for port in metrics["spec"]["ports"]] == ["metrics"]
    others = [s for s in support.bodies(case, "Service") if s is not metrics]
    for worker in [s for s in others if s["metadata"]["name"].endswith("-worker")]:
        assert worker["spec"]["ports"] == metrics["spec"]["ports"]
        assert worker["metadata"]["labels"] == metrics["metadata"]["labels"]
        container = support.container(case, "worker")
        assert [port["name"] for port in container["ports"]] == ["metrics"]
        others.remove(worker)
    [main] = others
    assert [port["name"] for port in main["spec"]["ports"]] == ["http"]
    for monitor in support.bodies(case, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        assert wanted <= metrics["metadata"]["labels"].items()
        assert not wanted <= main["metadata"]["labels"].items()
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        assert monitor["spec"]["endpoints"][0]["port"] == "metrics"


def test_the_autoscaler_owns_the_replicas(rendered: dict[str, Any]) -> None:
    scaler = support.named(rendered["everything"], "HorizontalPodAutoscaler")["spec"]
    scaled = support.named(rendered["everything"], "Deployment", "-server")
    assert scaler["scaleTargetRef"]["name"] == scaled["metadata"]["name"]
    assert "replicas" not in scaled["spec"]
    assert support.named(rendered["minimal"], "Deployment", "-server")["spec"]["replicas"] == 2
    assert "cpu" in support.container(rendered["everything"], "server")["resources"]["requests"]


def test_a_disruption_budget_never_blocks_a_drain(rendered: dict[str, Any]) -> None:
    budget = support.named(rendered["minimal"], "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert "minAvailable" not in budget


def test_network_policies_open_only_what_is_served(rendered: dict[str, Any]) -> None:
    server = support.named(rendered["open_policy"], "NetworkPolicy", "-server")["spec"]
    http, metrics = server["ingress"]
    assert http == {"ports": [{"port": "http", "protocol": "TCP"}]}
    assert metrics["from"] == [{"podSelector": {}}]
    worker = support.named(rendered["open_policy"], "NetworkPolicy", "-worker")["spec"]
    assert worker["ingress"] == [metrics]
    assert server["policyTypes"] == worker["policyTypes"] == ["Ingress"]
    limited = support.named(rendered["everything"], "NetworkPolicy", "-server")["spec"]
    assert limited["policyTypes"] == ["Ingress", "Egress"]
    assert "from" in limited["ingress"][0]


def test_long_names_stay_within_kubernetes_limits(rendered: dict[str, Any]) -> None:
    for document in rendered["unlimited_name"]["documents"]:
        assert len(document["body"]["metadata"]["name"]) <= 63


def test_the_notes_tell_what_is_left_to_do(rendered: dict[str, Any]) -> None:
    assert "https://mcp.example.com/mcp" in rendered["everything"]["notes"]
    assert "No Ingress is made" not in rendered["everything"]["notes"]
    assert "No Ingress is made" in rendered["minimal"]["notes"]
    assert "trustedProxies is empty" in rendered["minimal"]["notes"]
    assert "scaimcp migrate" in rendered["operators"]["notes"]
