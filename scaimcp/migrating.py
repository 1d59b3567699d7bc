"""Run the schema migrations from a checkout or from an installed package."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config

from alembic import command
from scaimcp.types import Secret

_PACKAGE = Path(__file__).parent


def scripts() -> Path:
    """Return the folder of the migration scripts: in the wheel, else beside the package."""
    packaged = _PACKAGE / "migrations"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "alembic"


def migrate(url: Secret, revision: str = "head", *, down: bool = False) -> None:
    """Bring the database to `revision`; ``down`` goes back to it."""
    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.attributes["database_url"] = url.reveal()
    if down:
        command.downgrade(config, revision)
    else:
        command.upgrade(config, revision)
