"""Bringing a database to the newest version of its tables."""

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from workers.store.database import Database

_LOCK = 0x7265616C74696D65  # "realtime": apart from the locks of relays, and of other programs


class NewerDatabaseError(RuntimeError):
    """The database was migrated by a newer version of this program, which alone knows its tables."""


async def migrate(database: Database) -> None:
    """Make or change the tables as needed; all of it or nothing. Safe to call from several processes at once.

    Raises:
        NewerDatabaseError: the database is of a version that is not known here; it is left as it is.
        sqlalchemy.exc.SQLAlchemyError, OSError: the database cannot be reached or changed.
    """
    # In SQLite this waits for whoever else writes; in PostgreSQL a lock does that.
    async with database.writing() as connection:
        if not database.is_sqlite:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "workers.store:migrations")
    version = MigrationContext.configure(connection).get_current_revision()
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise NewerDatabaseError(
            f"The database is of version {version}, which this program does not know: a newer one has migrated it. "
            "Run that one, or restore a backup from before."
        )
    command.upgrade(config, "head")
