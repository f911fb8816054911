import sqlite3
from typing import Any

import orjson
import pytest
from sqlalchemy import exc

from workers.store.failures import Failure, failure_of


def from_sqlite(code: int) -> exc.DBAPIError:
    error = sqlite3.OperationalError("text")
    error.sqlite_errorcode = code
    return exc.OperationalError("SELECT 1", {}, error)


def from_postgres(sqlstate: str | None) -> exc.DBAPIError:
    class DriverError(Exception):
        pass

    error: Any = DriverError("text")
    error.sqlstate = sqlstate
    return exc.DBAPIError("SELECT 1", {}, error)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


class TestFailureOf:
    @pytest.mark.parametrize(
        ("code", "failure"),
        [
            (sqlite3.SQLITE_BUSY, Failure.UNAVAILABLE),
            (sqlite3.SQLITE_BUSY_SNAPSHOT, Failure.UNAVAILABLE),
            (sqlite3.SQLITE_FULL, Failure.UNAVAILABLE),
            (sqlite3.SQLITE_CANTOPEN_ISDIR, Failure.UNAVAILABLE),
            (sqlite3.SQLITE_ERROR, Failure.MISTAKE),
        ],
    )
    def test_code_of_sqlite_says_whether_to_try_again(self, code: int, failure: Failure) -> None:
        assert failure_of(from_sqlite(code)) is failure

    @pytest.mark.parametrize(
        ("sqlstate", "failure"),
        [
            ("22P05", Failure.VALUE),
            ("22003", Failure.VALUE),
            ("40P01", Failure.UNAVAILABLE),
            ("08006", Failure.UNAVAILABLE),
            ("57P01", Failure.UNAVAILABLE),
            ("53300", Failure.UNAVAILABLE),
            ("42P01", Failure.MISTAKE),
            (None, Failure.MISTAKE),
        ],
    )
    def test_sqlstate_says_whose_fault_it_is(self, sqlstate: str | None, failure: Failure) -> None:
        assert failure_of(from_postgres(sqlstate)) is failure

    def test_connection_that_was_lost_can_be_made_again(self) -> None:
        error = from_postgres("42P01")
        error.connection_invalidated = True
        assert failure_of(error) is Failure.UNAVAILABLE

    def test_others_are_known_by_their_class(self) -> None:
        assert failure_of(exc.IntegrityError("INSERT", {}, Exception())) is Failure.CONFLICT
        assert failure_of(exc.TimeoutError()) is Failure.UNAVAILABLE
        assert failure_of(exc.NoResultFound()) is Failure.MISTAKE

    @pytest.mark.parametrize(
        ("value", "failure"),
        [
            ("\ud800", Failure.VALUE),
            (2**70, Failure.VALUE),
            (nested(1000), Failure.VALUE),
            (object(), Failure.MISTAKE),
        ],
    )
    def test_json_that_cannot_be_written_is_the_callers_unless_it_is_none(
        self, value: object, failure: Failure
    ) -> None:
        with pytest.raises(TypeError) as raised:
            orjson.dumps(value)
        assert failure_of(exc.StatementError("", "", {}, raised.value)) is failure
