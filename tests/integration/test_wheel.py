"""The built wheel: complete, and able to migrate a database on its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import asyncpg
import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (built,) = folder.glob("scaimcp-*-py3-none-any.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files, laid out as an installer would; pure Python needs no more."""
    target = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def scaimcp(installed: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the installed package, outside the checkout."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("SCAIMCP_")}
    start = "import sys; from scaimcp.cli.main import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", start, *arguments],
        env={**clean, **settings, "PYTHONPATH": str(installed)},
        cwd=installed,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def tables(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname='public'")
        return {row["tablename"] for row in found}
    finally:
        await connection.close()


def test_the_wheel_holds_package_and_migrations_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"scaimcp"}
    assert "scaimcp/migrations/env.py" in names
    revisions = {path.name for path in (ROOT / "alembic" / "versions").glob("*.py")}
    assert {f"scaimcp/migrations/versions/{name}" for name in revisions} <= names
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "scaimcp").rglob("*.py")}
    assert modules <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests/")]


def test_the_installed_package_is_the_one_that_runs(installed: Path) -> None:
    where = subprocess.run(
        [sys.executable, "-c", "import scaimcp.migrating as m; print(m.scripts())"],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=installed,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.strip() == str(installed / "scaimcp" / "migrations")


async def test_it_migrates_a_database_up_and_down(installed: Path, database_url: str) -> None:
    settings = {"SCAIMCP_DATABASE_URL": database_url}
    up = await asyncio.to_thread(scaimcp, installed, "migrate", **settings)
    assert (up.returncode, up.stdout) == (0, "schema is at head\n"), up.stderr
    assert {"catalog_versions", "audit_events"} <= await tables(database_url)
    down = await asyncio.to_thread(
        scaimcp, installed, "migrate", "--to", "base", "--down", **settings
    )
    assert down.returncode == 0, down.stderr
    assert await tables(database_url) == {"alembic_version"}
    again = await asyncio.to_thread(scaimcp, installed, "migrate", **settings)
    assert again.returncode == 0, again.stderr


async def test_several_at_once_take_turns(installed: Path, database_url: str) -> None:
    settings = {"SCAIMCP_DATABASE_URL": database_url}
    await asyncio.to_thread(scaimcp, installed, "migrate", "--to", "base", "--down", **settings)
    runs = await asyncio.gather(
        *(asyncio.to_thread(scaimcp, installed, "migrate", **settings) for _ in range(3))
    )
    assert [run.returncode for run in runs] == [0, 0, 0], [run.stderr for run in runs]


def test_without_a_database_it_ends_with_one_and_no_secret(installed: Path) -> None:
    for url in ("postgresql://u:hunter2@127.0.0.1:1/d", "postgresql://u:p/hunter2@h:x/d"):
        run = scaimcp(installed, "migrate", SCAIMCP_DATABASE_URL=url)
        assert run.returncode == 1
        assert run.stderr.startswith("scaimcp: migration failed (")
        assert "hunter2" not in run.stderr
        assert "Traceback" not in run.stderr


def test_without_its_setting_it_ends_with_five(installed: Path) -> None:
    run = scaimcp(installed, "migrate")
    assert run.returncode == 5
    assert "SCAIMCP_DATABASE_URL" in run.stderr
