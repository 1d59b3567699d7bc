"""Run the gates: ``quick`` for `make check`, ``all`` for `make test`.

Every gate runs even when an earlier one failed; the exit code says whether all passed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

BIN = os.path.dirname(sys.executable)
BUDGETS = (
    "module_p90<=400",
    "module_max<=700",
    "code_in_modules_gt500_pct<=15",
    "fn_p90<=40",
    "fn_gt50_pct<=4",
    "fn_branches_gt10_pct<=3",
    "fn_params_gt5_pct<=5",
    "class_max<=350",
    "broad_except_per_kloc<=0.5",
    "lazy_imports_per_kloc<=0.5",
    "import_cycles<=0",
    "annotated_fn_pct>=100",
    "test_to_src_code>=1.0",
    "test_to_src_code<=2.5",
    "test_module_max<=800",
)
SHAPE = [sys.executable, "tests/architecture/codestats.py", "--src", "scaimcp", "--tests", "tests"]
STATIC = {
    "ruff": [f"{BIN}/ruff", "check", "--quiet", "."],
    "format": [f"{BIN}/ruff", "format", "--check", "--quiet", "."],
    "types": [f"{BIN}/mypy"],
    "imports": [f"{BIN}/lint-imports", "--no-cache"],
    "shape": [*SHAPE, *(word for budget in BUDGETS for word in ("--budget", budget)), "."],
}
# Two processes at a time, so that the answer comes while one still looks at the screen.
UNIT_SHARE = ["remotes", "credentials", "upstream", "server", "rest", "telemetry"]
SHARED = [f"tests/unit/{name}" for name in UNIT_SHARE]
PYTEST = [sys.executable, "-m", "pytest", "-m", "not slow"]
UNIT = {
    "unit tests": [*PYTEST, "tests/unit", *(f"--ignore={folder}" for folder in SHARED)],
    "more unit tests": [*PYTEST, *SHARED, "tests/architecture"],
}
THOROUGH = [f"{BIN}/coverage", "run", "-m", "pytest", "--hypothesis-profile=thorough"]
# Those with processes wait more than they work, so three runs share two cores well.
ALONE = [f"tests/{name}" for name in ("architecture", "chart", "platform", "unit", "vault")]
LONGEST = "integration tests"
ALL = {
    LONGEST: [*THOROUGH, "tests/integration"],
    "tests without a gateway": [*THOROUGH, *ALONE],
    "all other tests": [
        *(*THOROUGH, "tests", "--ignore=tests/integration"),
        *(f"--ignore={folder}" for folder in ALONE),
    ],
}
COVERAGE = {
    "coverage data": [f"{BIN}/coverage", "combine", "--quiet"],
    "coverage": [f"{BIN}/coverage", "report", "--fail-under=95", "--precision=1"],
}


# No gate may hold up a machine for ever; a test that hangs ends its run long before.
MOST_SECONDS = 1200


def run(name: str, command: list[str]) -> bool:
    """Run one gate; show its output only when it fails or takes minutes."""
    started = time.monotonic()
    # Of those that take minutes, one shows that it is still going.
    is_shown = name == LONGEST
    try:
        done = subprocess.run(
            command, capture_output=not is_shown, text=True, check=False, timeout=MOST_SECONDS
        )
    except subprocess.TimeoutExpired:
        print(f"FAIL {name} (not done after {MOST_SECONDS} s)", flush=True)
        return False
    seconds = time.monotonic() - started
    if done.returncode and not is_shown:
        print(done.stdout, done.stderr, sep="\n")
    print(f"{'ok  ' if done.returncode == 0 else 'FAIL'} {name} ({seconds:.1f} s)", flush=True)
    return done.returncode == 0


def run_beside(gates: dict[str, list[str]]) -> list[str]:
    """Run gates at the same time; return the names of those that failed."""
    with ThreadPoolExecutor() as pool:
        passed = pool.map(run, gates, gates.values())
        return [name for name, has_passed in zip(gates, passed, strict=True) if not has_passed]


def main(which: str) -> int:
    """Run the gates of `which`."""
    failed = [name for name, command in STATIC.items() if not run(name, command)]
    failed += run_beside(UNIT if which == "quick" else ALL)
    if which != "quick":
        failed += [name for name, command in COVERAGE.items() if not run(name, command)]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
