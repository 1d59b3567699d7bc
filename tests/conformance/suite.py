"""Run the official conformance suite against a server and read every check it made.

The suite counts a scenario without a FAILURE as passed, so warnings, skipped checks and plain
error replies count as well. Its totals and exit codes are therefore ignored here; `gate` judges
the checks themselves.
"""

import asyncio
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tests.clients.node import Finished, package_file, run_node

HERE = Path(__file__).resolve().parent
PRELOADED = ("inject_auth.cjs", "remote_names.cjs")
SCENARIO_SECONDS = 60
DID_NOT_RUN = "scenario-did-not-run"


class Check(msgspec.Struct, rename="camel", kw_only=True):
    """One check of a scenario; an `id` may come several times in one scenario.

    `status` is SUCCESS, FAILURE, WARNING, SKIPPED or INFO. `details` has no fixed shape.
    """

    id: str
    status: str
    name: str = ""
    error_message: str | None = None
    details: Any = None


@dataclass(frozen=True)
class Target:
    """The server under test.

    Attributes:
        url: The endpoint; the DNS rebinding scenario wants a loopback address.
        token: Bearer of the caller; it travels in the environment, not on the command line.
        names: What tools and prompts are called there, by the names that the suite calls; those
            that are not in it keep the suite's.
    """

    url: str
    token: str
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Return what the preloaded scripts read."""
        return {"MCP_TOKEN": self.token, "MCP_NAMES": msgspec.json.encode(self.names).decode()}


def entry_point(version: str) -> Path:
    """Return the script of an installed suite version."""
    return package_file(f"conformance-{version}/dist/index.js")


def parse_listing(text: str) -> list[str]:
    """Read the scenario names of `list --server`, in its order."""
    return re.findall(r"^  - (\S+)", text, flags=re.MULTILINE)


async def list_scenarios(version: str, spec_version: str | None = None) -> list[str]:
    """Ask the suite for its server scenarios; `spec_version` None means all of every kind."""
    chosen = ["--spec-version", spec_version] if spec_version else []
    done = await run_node([entry_point(version), "list", "--server", *chosen])
    return parse_listing(done.stdout.decode())


def read_checks(folder: Path, done: Finished) -> list[Check]:
    """Read the one checks.json below `folder`.

    A scenario that left none, or an empty one, has one failed check `DID_NOT_RUN` with the end
    of the suite's output.
    """
    written = sorted(folder.glob("**/checks.json"))
    checks = msgspec.json.decode(written[0].read_bytes(), type=list[Check]) if written else []
    if checks:
        return checks
    said = (done.stdout.decode(errors="replace") + done.stderr).strip()[-1000:]
    return [did_not_run(f"exit code {done.code}: {said}")]


def did_not_run(why: str) -> Check:
    """Return the failed check that stands for a scenario without checks."""
    return Check(id=DID_NOT_RUN, status="FAILURE", error_message=why)


async def run_scenario(
    version: str, spec_version: str, target: Target, scenario: str
) -> list[Check]:
    """Run one scenario in a process of its own and return its checks, never none."""
    preloaded = [word for name in PRELOADED for word in ("--require", HERE / name)]
    with tempfile.TemporaryDirectory(prefix="scaimcp-conformance-") as folder:
        try:
            done = await run_node(
                [
                    *(*preloaded, entry_point(version), "server"),
                    *("--url", target.url, "--scenario", scenario),
                    *("--spec-version", spec_version, "--output-dir", folder),
                ],
                extra=target.environment,
                timeout=SCENARIO_SECONDS,
            )
        except TimeoutError:
            return [did_not_run(f"no end within {SCENARIO_SECONDS} seconds")]
        return read_checks(Path(folder), done)


async def run_suite(
    version: str,
    spec_version: str,
    target: Target,
    scenarios: Sequence[str],
    *,
    at_once: int = 2,
) -> dict[str, list[Check]]:
    """Run server scenarios, `at_once` processes at a time.

    Args:
        version: Installed version of the suite, such as "0.1.16".
        spec_version: Protocol revision to speak, such as "2025-11-25".
        target: The server and the caller.
        scenarios: Names as `list_scenarios` gives them.
        at_once: Upper bound of Node processes.

    Returns:
        Scenario to its checks, in the order of `scenarios`.
    """
    slots = asyncio.Semaphore(at_once)
    results: dict[str, list[Check]] = {scenario: [] for scenario in scenarios}

    async def run_one(scenario: str) -> None:
        async with slots:
            results[scenario] = await run_scenario(version, spec_version, target, scenario)

    async with asyncio.TaskGroup() as group:
        for scenario in scenarios:
            group.create_task(run_one(scenario))
    return results
