"""SQLAlchemy engines that are used by one test after the other: what one has compiled, the next need not compile.

An engine that was disposed of has no connections left, and makes new ones in the event loop that uses it next.
"""

from realtime.settings import Settings
from workers.store.database import Database, open_database

_Key = tuple[str, int, float]


class Engines:
    """What has :func:`workers.store.database.open_database` return the engine of an earlier test, if there is one."""

    def __init__(self) -> None:
        self._engines: dict[_Key, Database] = {}

    def open(self, settings: Settings) -> Database:
        """Return a database like :func:`~workers.store.database.open_database`; one at a time for each URL."""
        key = (settings.database_url, settings.database_pool_size, settings.database_timeout_s)
        known = self._engines.get(key)
        if known is None:
            known = self._engines[key] = open_database(settings)
        # A new one around it, since its lock belongs to one event loop.
        return Database(known.engine, known.pool_size, read_timeout_s=settings.database_read_timeout_s)
