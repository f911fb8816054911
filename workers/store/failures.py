"""What it means when the database fails: the same few answers for both databases. Pure."""

import enum
import sqlite3

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

_SQLITE_UNAVAILABLE = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_INTERRUPT,
})  # fmt: skip

_SQLSTATE_CLASSES_UNAVAILABLE = frozenset({"08", "25", "40", "53", "55", "57", "58"})
"""Connection lost; read-only standby; deadlock and serialization; resources; locks; shutdown and time-out; system."""

_SQLSTATE_CLASSES_VALUE = frozenset({"22", "54"})
"""Not of the column's type; too long, such as a text for an index."""

_SQLSTATES_GAVE_WAY = frozenset({"40001", "40P01"})
"""Of two transactions that could not both go on, the one that was ended: serialization, deadlock."""


_JSON_REFUSALS = ("str is not valid UTF-8", "Integer exceeds 64-bit range", "Recursion limit reached")
"""How orjson's errors for values begin; they are plain TypeErrors, as those for our own mistakes are."""


class Failure(enum.Enum):
    """Whose fault it is."""

    VALUE = "value"
    """A value cannot be stored: who sent it is to change it."""
    CONFLICT = "conflict"
    """A unique key is taken."""
    UNAVAILABLE = "unavailable"
    """The database cannot be reached, or is busy: the same may succeed later."""
    MISTAKE = "mistake"
    """The statement is wrong, or the tables are not those of this version."""


def failure_of(error: SQLAlchemyError) -> Failure:
    """Return what went wrong when ``error`` was raised."""
    if isinstance(error, IntegrityError):
        return Failure.CONFLICT
    if isinstance(error, PoolTimeoutError):
        # No connection of the pool became free.
        return Failure.UNAVAILABLE
    if isinstance(error, DBAPIError):
        return Failure.UNAVAILABLE if error.connection_invalidated else _of_driver(error.orig)
    if isinstance(error, StatementError) and str(error.orig).startswith(_JSON_REFUSALS):
        return Failure.VALUE
    return Failure.MISTAKE


def gave_way(error: DBAPIError) -> bool:
    """Tell whether a transaction was ended for another one to go on: the same may succeed if it is done again."""
    return getattr(error.orig, "sqlstate", "") in _SQLSTATES_GAVE_WAY


def _of_driver(error: BaseException | None) -> Failure:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        # The low byte is the primary code.
        return Failure.UNAVAILABLE if code & 0xFF in _SQLITE_UNAVAILABLE else Failure.MISTAKE
    state = getattr(error, "sqlstate", None) or ""
    if state[:2] in _SQLSTATE_CLASSES_VALUE:
        return Failure.VALUE
    return Failure.UNAVAILABLE if state[:2] in _SQLSTATE_CLASSES_UNAVAILABLE else Failure.MISTAKE
