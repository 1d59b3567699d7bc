"""Run the schema migrations from a checkout or from an installed package."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from alembic import command
from scaimcp.postgres import Database
from scaimcp.types import Secret

_PACKAGE = Path(__file__).parent


def scripts() -> Path:
    """Return the folder of the migration scripts: in the wheel, else beside the package."""
    packaged = _PACKAGE / "migrations"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "alembic"


def head_revision() -> str:
    """Return the revision that this version of the package needs."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


async def current_revision(database: Database) -> str | None:
    """Return the revision that the database is at, None before the first migration.

    Raises:
        DatabaseUnavailable: the database cannot be asked.
    """
    async with database.transaction() as connection:
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
            return None
        found: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
        return found


def migrate(url: Secret, revision: str = "head", *, down: bool = False) -> None:
    """Bring the database to `revision`; ``down`` goes back to it.

    Processes that start together take turns. Runs an event loop of its own.

    Raises:
        OSError: no connection, or another migration holds the database for a minute.
        sqlalchemy.exc.SQLAlchemyError: a statement failed; its revision is rolled back.
    """
    config = _config()
    config.attributes["database_url"] = url.reveal()
    if down:
        command.downgrade(config, revision)
    else:
        command.upgrade(config, revision)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    return config
