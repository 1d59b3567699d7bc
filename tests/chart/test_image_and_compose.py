"""Facts of the image, of what reaches its build, and of the compose file."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from scaimcp.settings import known_names, load, require
from tests.chart import support

DEPLOY = support.ROOT / "deploy"
GIVEN = {"POSTGRES_PASSWORD": "0a1b2c", "SCAIMCP_STATE_KEYS": support.STATE_KEYS}
OURS = ["migrate", "server", "worker"]
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


class MissingVariableError(Exception):
    """A required variable of the compose file is unset; holds name and message."""


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile as (instruction, arguments), continued lines joined."""
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", text)
    found = (line.partition(" ") for line in joined.splitlines() if line.strip())
    return [(name, rest.strip()) for name, _, rest in found]


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions by stage, each beginning with its FROM."""
    result: list[list[tuple[str, str]]] = []
    for name, rest in instructions():
        if name == "FROM":
            result.append([])
        if result:
            result[-1].append((name, rest))
    return result


def one(stage: list[tuple[str, str]], instruction: str) -> str:
    [found] = [rest for name, rest in stage if name == instruction]
    return found


def resolve(node: Any, given: Mapping[str, str]) -> Any:
    """Fill in ${NAME}, ${NAME:-default} and ${NAME:?message} as compose does."""
    if isinstance(node, dict):
        return {key: resolve(value, given) for key, value in node.items()}
    if isinstance(node, list):
        return [resolve(value, given) for value in node]
    if not isinstance(node, str):
        return node

    def fill(match: re.Match[str]) -> str:
        name, kind, word = match.groups()
        if not given.get(name) and kind == "?":
            raise MissingVariableError(name, word)
        return given.get(name) or (word if kind == "-" else "") or ""

    return _VARIABLE.sub(fill, node)


def compose(given: Mapping[str, str]) -> dict[str, Any]:
    resolved: dict[str, Any] = resolve(yaml.safe_load((DEPLOY / "compose.yaml").read_text()), given)
    return resolved


def example() -> dict[str, str]:
    lines = (DEPLOY / ".env.example").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = compose(example() | GIVEN)["services"]
    return found


# --- the image


def test_the_image_has_a_build_stage_and_a_final_stage_on_one_base() -> None:
    assert instructions()[0] == ("ARG", "PYTHON_IMAGE=python:3.12-slim-bookworm")
    build, final = stages()
    assert one(build, "FROM") == "${PYTHON_IMAGE} AS build"
    assert one(final, "FROM") == "${PYTHON_IMAGE} AS final"


def test_dependencies_come_by_hash_and_the_wheel_without_any() -> None:
    [runs] = [" ".join(r for n, r in stage if n == "RUN") for stage in stages()[:1]]
    installs = [part for part in re.split(r"&&", runs) if " install " in part]
    dependencies, backend, wheel = installs
    assert "--require-hashes" in dependencies
    assert "-r deploy/requirements/runtime.txt" in dependencies
    assert "--require-hashes -r deploy/build-requirements.txt" in backend
    assert {"--no-deps", "--no-index"} <= set(wheel.split())
    for install in installs[:2]:
        assert "--only-binary :all:" in install


def test_the_build_backend_is_the_one_the_project_is_developed_with() -> None:
    def pins(file: str) -> set[str]:
        return set(re.findall(r"^(\S+==[^\s;]+)", (DEPLOY / file).read_text(), re.MULTILINE))

    build = pins("build-requirements.txt")
    assert any(pin.startswith("hatchling==") for pin in build)
    assert build <= pins("requirements/dev.txt")


def test_the_final_stage_takes_only_the_venv_and_installs_nothing() -> None:
    final = stages()[1]
    assert [rest for name, rest in final if name == "COPY"] == ["--from=build /opt/venv /opt/venv"]
    assert "ADD" not in {name for name, _ in final}
    run = one(final, "RUN")
    assert "pip uninstall" in run
    assert not re.search(r"\b(apt-get|apk|curl|wget|pip install)\b", run)


def test_the_image_runs_as_a_numeric_user_that_is_not_root() -> None:
    final = stages()[1]
    assert one(final, "USER") == "10001:10001"
    names = [name for name, _ in final]
    assert "RUN" not in names[names.index("USER") :]


def test_the_image_starts_the_server_and_checks_that_it_lives() -> None:
    final = stages()[1]
    assert json.loads(one(final, "ENTRYPOINT")) == ["scaimcp"]
    assert json.loads(one(final, "CMD")) == ["serve"]
    assert one(final, "EXPOSE") == "8080"
    options, _, command = one(final, "HEALTHCHECK").partition("CMD ")
    *python, program = json.loads(command)
    assert python == ["python", "-I", "-c"]
    assert "http://127.0.0.1:8080/livez" in program
    compile(program, "healthcheck", "exec")
    assert "--timeout" in options


def test_the_image_is_labelled_with_the_projects_version() -> None:
    final = stages()[1]
    project = tomllib.loads((support.ROOT / "pyproject.toml").read_text())["project"]
    assert f"VERSION={project['version']}" in [rest for name, rest in final if name == "ARG"]
    labels = one(final, "LABEL")
    for label in ("title", "description", "licenses", "version", "revision", "base.name"):
        assert f"org.opencontainers.image.{label}=" in labels
    assert f'licenses="{project["license"]}"' in labels


def test_chart_and_image_carry_the_projects_version() -> None:
    version = tomllib.loads((support.ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((support.CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == version
    assert f"IMAGE:-scaimcp:{version}" in (DEPLOY / "compose.yaml").read_text()
    assert example()["IMAGE"] == f"scaimcp:{version}"


def test_everything_the_build_copies_reaches_it() -> None:
    lines = (support.ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines, "the build sees what is named and nothing else"
    allowed = {line[1:].removesuffix("/**").rstrip("/") for line in lines if line.startswith("!")}
    copied = {
        source.rstrip("/")
        for name, rest in stages()[0]
        if name == "COPY"
        for source in rest.split()[:-1]
    }
    assert copied <= allowed
    assert not {".git", ".venv", "deploy/.env", "tests"} & allowed


def test_the_image_and_compose_name_only_settings_that_exist() -> None:
    for file in ("Dockerfile", "compose.yaml", ".env.example"):
        used = set(support.SETTING.findall((DEPLOY / file).read_text()))
        assert used
        assert used - known_names() == set(), file


# --- compose


@pytest.mark.parametrize("name", GIVEN)
def test_compose_stops_with_a_message_when_a_secret_is_missing(name: str) -> None:
    given = {key: value for key, value in (example() | GIVEN).items() if key != name}
    for env in (given, given | {name: ""}):
        with pytest.raises(MissingVariableError) as refused:
            compose(env)
        missing, message = refused.value.args
        assert missing == name
        assert message.startswith(f"set {name} in deploy/.env")


def test_the_example_holds_no_secret() -> None:
    assert {name: example()[name] for name in GIVEN} == dict.fromkeys(GIVEN, "")
    assert example()["SCAIMCP_PLATFORM_SERVICE_TOKEN"] == ""


def test_the_example_names_every_variable_that_compose_reads() -> None:
    used = {name for name, _, _ in _VARIABLE.findall((DEPLOY / "compose.yaml").read_text())}
    assert used == set(example())


def test_the_filled_in_files_are_never_committed() -> None:
    assert {".env", "settings.env"} <= set((DEPLOY / ".gitignore").read_text().splitlines())


def test_compose_has_the_five_services(services: dict[str, Any]) -> None:
    assert set(services) == {"postgres", "valkey", *OURS}
    assert services["postgres"]["image"] == "postgres:16"
    assert services["valkey"]["image"] == "valkey/valkey:8"
    assert [services[name]["command"] for name in OURS] == [["migrate"], ["serve"], ["worker"]]


def test_one_image_is_built_once_and_run_three_times(services: dict[str, Any]) -> None:
    assert len({services[name]["image"] for name in OURS}) == 1
    assert [name for name, service in services.items() if "build" in service] == ["migrate"]
    build = services["migrate"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).exists()


def test_the_program_accepts_the_environment_compose_gives_it(services: dict[str, Any]) -> None:
    for name in ("server", "worker"):
        settings = load(services[name]["environment"])
        require(settings, "public_url", "database_url", "redis_url", "state_keys")
    server = load(services["server"]["environment"])
    assert server.server_bind == ("0.0.0.0:8080",)
    assert server.metrics_bind == "0.0.0.0:9090"
    migrate = services["migrate"]["environment"]
    require(load(migrate), "database_url")
    assert "SCAIMCP_STATE_KEYS" not in migrate


def test_the_grace_period_outlasts_the_drain(services: dict[str, Any]) -> None:
    drain = load(services["server"]["environment"]).server_drain_seconds
    assert int(services["server"]["stop_grace_period"].removesuffix("s")) > drain


def test_services_start_in_order(services: dict[str, Any]) -> None:
    def waits(name: str) -> dict[str, str]:
        return {on: c["condition"] for on, c in services[name]["depends_on"].items()}

    assert waits("migrate") == {"postgres": "service_healthy"}
    for name in ("server", "worker"):
        assert waits(name) == {
            "postgres": "service_healthy",
            "valkey": "service_healthy",
            "migrate": "service_completed_successfully",
        }


def test_what_is_waited_for_has_a_health_check(services: dict[str, Any]) -> None:
    for name in ("postgres", "valkey", "server"):
        check = services[name]["healthcheck"]
        assert check["test"][0] == "CMD"
        assert {"interval", "timeout", "retries"} <= check.keys()
    compile(services["server"]["healthcheck"]["test"][-1], "healthcheck", "exec")
    # The image's own check asks the HTTP port, which these two do not open.
    assert (
        services["migrate"]["healthcheck"] == services["worker"]["healthcheck"] == {"disable": True}
    )


def ports(services: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, service in services.items():
        for port in service.get("ports", []):
            yield name, port


def test_only_the_gateway_is_published_and_only_on_loopback(services: dict[str, Any]) -> None:
    assert list(ports(services)) == [("server", "127.0.0.1:8080:8080")]
    assert list(ports(compose(GIVEN)["services"])) == [("server", "127.0.0.1:8080:8080")]


def test_the_database_and_the_queue_have_no_way_out(services: dict[str, Any]) -> None:
    assert compose(GIVEN)["networks"]["backend"] == {"internal": True}
    for name in ("postgres", "valkey", "migrate"):
        assert services[name]["networks"] == ["backend"]


def test_our_containers_are_hardened(services: dict[str, Any]) -> None:
    for name in OURS:
        service = services[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["tmpfs"][0].startswith("/tmp:")
