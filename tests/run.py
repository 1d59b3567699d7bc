"""Run the gates: ``quick`` for `make check`, ``all`` for `make test`.

Every gate runs even when an earlier one failed; the exit code says whether all passed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait

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
# Beside each other, so that the answer comes while one still looks at the screen.
UNIT_SHARE = ["scaivault", "remotes", "credentials", "rest"]
SHARED = [f"tests/unit/{name}" for name in UNIT_SHARE]
PYTEST = [sys.executable, "-m", "pytest", "-m", "not slow"]
UNIT = {
    "unit tests": [*PYTEST, "tests/unit", *(f"--ignore={folder}" for folder in SHARED)],
    "more unit tests": [*PYTEST, *SHARED],
    "architecture": [*PYTEST, "tests/architecture"],
}
THOROUGH = [f"{BIN}/coverage", "run", "-m", "pytest", "--hypothesis-profile=thorough"]
# Most tests wait more than they work, so three runs at a time share two cores well. The longest
# are begun first, and whatever no other run has is in the last.
SHARES = {
    "remote servers": ["tests/integration/remotes"],
    "ScaiVault": ["tests/integration/scaivault"],
    "processes": ["tests/dev", "tests/serving"],
    "foreign clients and servers, faults": [
        f"tests/{name}" for name in ("clients", "conformance", "faults", "foreign")
    ],
    "tests without a gateway": [
        f"tests/{name}" for name in ("architecture", "chart", "platform", "unit", "vault")
    ],
}
AT_ONCE = 3
ALL = {
    **{name: [*THOROUGH, *folders] for name, folders in SHARES.items()},
    "all other tests": [
        *(*THOROUGH, "tests"),
        *(f"--ignore={folder}" for folders in SHARES.values() for folder in folders),
    ],
}
COVERAGE = {
    "coverage data": [f"{BIN}/coverage", "combine", "--quiet"],
    "coverage": [f"{BIN}/coverage", "report", "--fail-under=95", "--precision=1"],
}


# No gate may hold up a machine for ever; a test that hangs ends its run long before.
MOST_SECONDS = 1200
# Whoever waits sees that it goes on.
NEWS_SECONDS = 60


def run(name: str, command: list[str]) -> bool:
    """Run one gate; show its output only when it fails."""
    started = time.monotonic()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=MOST_SECONDS
        )
    except subprocess.TimeoutExpired:
        print(f"FAIL {name} (not done after {MOST_SECONDS} s)", flush=True)
        return False
    seconds = time.monotonic() - started
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n")
    print(f"{'ok  ' if done.returncode == 0 else 'FAIL'} {name} ({seconds:.1f} s)", flush=True)
    return done.returncode == 0


def run_beside(gates: dict[str, list[str]]) -> list[str]:
    """Run gates at the same time; return the names of those that failed."""
    started = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = {name: pool.submit(run, name, command) for name, command in gates.items()}
        while wait(runs.values(), timeout=NEWS_SECONDS).not_done:
            rest = ", ".join(name for name, done in runs.items() if not done.done())
            print(f"     after {time.monotonic() - started:.0f} s: {rest}", flush=True)
        return [name for name, done in runs.items() if not done.result()]


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
