"""How attempts ended, written to their deliveries and to the log of attempts: many at once.

PostgreSQL is given them all as one parameter of one statement, which takes it half as long as one statement each; to
SQLite, which is in the same process, a statement is cheap.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.store.times import from_unix, to_text
from workers.webhooks.outcomes import Outcome, Verdict, describe
from workers.webhooks.queue import Claimed
from workers.webhooks.sending import AttemptResult


class Ended(NamedTuple):
    """An attempt that has ended."""

    claimed: Claimed
    url: str
    """Where the attempt was made."""
    result: AttemptResult
    outcome: Outcome
    log: str
    """What the webhook's ``logs`` are to say, if it failed."""

    def without_texts(self) -> "Ended":
        """Return the same without what the endpoint answered, for a database that cannot keep it."""
        error = "The response cannot be stored." if self.result.error or self.result.response else ""
        return self._replace(result=self.result._replace(response="", error=error), log="")


# Nothing is logged of a delivery that was removed meanwhile.
_LOG_SQLITE = text("""
    INSERT INTO delivery_attempts
        (project_id, delivery_id, number, started_at, duration_s, response_status, response, error)
    SELECT :project_id, :delivery_id, :number, :started_at, :duration_s, :response_status, :response, :error
    WHERE EXISTS (SELECT 1 FROM deliveries WHERE seq = :seq)
    ON CONFLICT DO NOTHING
""")

_END_SQLITE = text("""
    UPDATE deliveries SET
        status = :status, round = round + :failures, response_status = :response_status, error = :description,
        due_at = :due_at, held = false, updated_at = :now
    WHERE seq = :seq AND attempts = :number AND held
""")

_RECORD_POSTGRESQL = text("""
    WITH ended AS (
        SELECT * FROM jsonb_to_recordset(CAST(:ended AS jsonb)) AS ended (
            seq bigint, project_id text, delivery_id text, number integer, started_at text,
            duration_s double precision, response_status integer, response text, error text, description text,
            status text, failures integer, due_at text, now text
        )
    ), logged AS (
        INSERT INTO delivery_attempts
            (project_id, delivery_id, number, started_at, duration_s, response_status, response, error)
        SELECT project_id, delivery_id, number, started_at, duration_s, response_status, response, error
        FROM ended WHERE EXISTS (SELECT 1 FROM deliveries WHERE deliveries.seq = ended.seq)
        ON CONFLICT DO NOTHING
    )
    UPDATE deliveries SET
        status = ended.status, round = deliveries.round + ended.failures, response_status = ended.response_status,
        error = ended.description, due_at = ended.due_at, held = false, updated_at = ended.now
    FROM ended WHERE deliveries.seq = ended.seq AND deliveries.attempts = ended.number AND deliveries.held
""")


async def record_ends(connection: AsyncConnection, ended: Sequence[Ended], now: datetime) -> None:
    """Write down how attempts ended, unless that was done already, or their deliveries are somebody else's by now.

    Raises:
        UnicodeError, sqlalchemy.exc.SQLAlchemyError: besides what else can be wrong, a text cannot be stored.
    """
    rows = [_row(each, now) for each in sorted(ended, key=lambda each: each.claimed)]
    if connection.dialect.name == "sqlite":
        await connection.execute(_LOG_SQLITE, rows)
        await connection.execute(_END_SQLITE, rows)
    else:
        await connection.execute(_RECORD_POSTGRESQL, {"ended": _encode(rows)})


def _encode(rows: list[dict[str, Any]]) -> str:
    try:
        return orjson.dumps(rows).decode()
    except TypeError as error:
        raise UnicodeError("A text is not valid Unicode.") from error


def _row(ended: Ended, now: datetime) -> dict[str, Any]:
    claimed, _, result, outcome, _ = ended
    due_at = None if outcome.delay_s is None else to_text(now + timedelta(seconds=outcome.delay_s))
    return {
        "seq": claimed.seq,
        "project_id": claimed.project_id,
        "delivery_id": claimed.id,
        "number": claimed.attempts,
        "started_at": from_unix(result.started_at),
        "duration_s": result.duration_s,
        "response_status": result.status,
        "response": result.response,
        "error": result.error,
        "description": describe(result),
        "status": outcome.status,
        "failures": 0 if outcome.verdict is Verdict.WORKS else 1,
        "due_at": due_at,
        "now": to_text(now),
    }
