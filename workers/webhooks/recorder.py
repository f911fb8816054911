"""What attempts made of deliveries and of their webhooks, recorded: many at once, in the transaction of the caller.

Recording an attempt again records nothing, so that a transaction of which nobody knows whether it was committed can be
repeated. Rows are changed in one order by everybody, webhooks before deliveries, as by who deletes a webhook.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import Double, Integer, String, Text, bindparam, exists, func, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.store.tables import attempts, deliveries, webhooks
from workers.store.tables.base import Sequence as Number
from workers.store.times import from_unix, to_text
from workers.webhooks.outcomes import Outcome, Verdict, describe
from workers.webhooks.queue import Claimed
from workers.webhooks.sending import AttemptResult


class Ended(NamedTuple):
    """An attempt that has ended."""

    claimed: Claimed
    result: AttemptResult
    outcome: Outcome
    log: str
    """What the webhook's ``logs`` are to say, if it failed."""

    def without_texts(self) -> "Ended":
        """Return the same without what the endpoint answered, for a database that cannot keep it."""
        error = "The response cannot be stored." if self.result.error or self.result.response else ""
        return self._replace(result=self.result._replace(response="", error=error), log="")


class WebhookKey(NamedTuple):
    """A webhook, as the store knows it."""

    seq: int
    project_id: str
    id: str


async def record(connection: AsyncConnection, ended: Sequence[Ended], now: datetime) -> None:
    """Record what attempts made of their deliveries, and of their webhooks.

    A delivery that somebody else has claimed meanwhile, because this took too long, is left to that one.

    Args:
        connection: a transaction that writes.
        ended: the attempts, in the order in which they ended.
        now: the time, aware.
    """
    if not ended:
        return
    await _record_webhooks(connection, ended)
    in_order = sorted(ended, key=lambda each: each.claimed.seq)
    parameters = [_parameters(each, now) for each in in_order]
    await connection.execute(_insert_attempt(connection), parameters)
    await connection.execute(_END, parameters)


async def find_failing(
    connection: AsyncConnection, numbers: Sequence[int], *, before: datetime, least_attempts: int
) -> list[WebhookKey]:
    """Return those webhooks, of ``numbers``, that have failed since ``before``, so many times, and are enabled."""
    if not numbers:
        return []
    found = await connection.execute(
        select(webhooks.c.seq, webhooks.c.project_id, webhooks.c.id).where(
            webhooks.c.seq.in_(numbers),
            webhooks.c.enabled,
            webhooks.c.attempts >= least_attempts,
            webhooks.c.failing_since <= to_text(before),
        )
    )
    return [WebhookKey(*row) for row in found]


async def _record_webhooks(connection: AsyncConnection, ended: Sequence[Ended]) -> None:
    """Count the failures of webhooks, one after another, from the last success on."""
    told = [each for each in ended if each.outcome.verdict is not Verdict.UNKNOWN]
    number_of = attrgetter("claimed.webhook_seq")
    changes: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    working: list[int] = []
    for number, group in groupby(sorted(told, key=number_of), key=number_of):
        since_success: list[Ended] = []
        has_success = False
        for each in group:
            if each.outcome.verdict is Verdict.WORKS:
                has_success = True
                since_success.clear()
            else:
                since_success.append(each)
        if since_success:
            changes[has_success].append(
                {
                    "seq_": number,
                    "count_": len(since_success),
                    "log_": since_success[-1].log,
                    "since_": from_unix(since_success[0].result.started_at),
                }
            )
        else:
            working.append(number)
    if working:
        await connection.execute(
            update(webhooks)
            # Most have not failed before, and are not written.
            .where(webhooks.c.seq.in_(working), webhooks.c.attempts > 0)
            .values(attempts=0, failing_since=None)
        )
    for has_success, parameters in changes.items():
        if parameters:
            await connection.execute(_FAIL_ANEW if has_success else _FAIL_AGAIN, parameters)


def _parameters(ended: Ended, now: datetime) -> dict[str, Any]:
    claimed, result, outcome, _ = ended
    is_over = outcome.delay_s is None
    return {
        "seq_": claimed.seq,
        "project_": claimed.project_id,
        "delivery_": claimed.id,
        "attempts_": claimed.attempts,
        "started_": from_unix(result.started_at),
        "duration_": result.duration_s,
        "response_": result.response,
        "response_status_": result.status,
        "error_": result.error,
        "describes_": describe(result),
        "status_": outcome.status,
        "failures_": 0 if outcome.verdict is Verdict.WORKS else 1,
        "due_": None if is_over else to_text(now + timedelta(seconds=outcome.delay_s or 0)),
        "now_": to_text(now),
    }


_END = (
    update(deliveries)
    .where(
        deliveries.c.seq == bindparam("seq_"),
        deliveries.c.attempts == bindparam("attempts_"),
        deliveries.c.held,
    )
    .values(
        status=bindparam("status_"),
        round=deliveries.c.round + bindparam("failures_", type_=Integer),
        response_status=bindparam("response_status_"),
        error=bindparam("describes_"),
        due_at=bindparam("due_"),
        held=False,
        updated_at=bindparam("now_"),
    )
)

_FAIL_ANEW = (
    update(webhooks)
    .where(webhooks.c.seq == bindparam("seq_"))
    .values(attempts=bindparam("count_"), failing_since=bindparam("since_"), logs=bindparam("log_"))
)

_FAIL_AGAIN = (
    update(webhooks)
    .where(webhooks.c.seq == bindparam("seq_"))
    .values(
        attempts=webhooks.c.attempts + bindparam("count_", type_=Integer),
        failing_since=func.coalesce(webhooks.c.failing_since, bindparam("since_", type_=String)),
        logs=bindparam("log_"),
    )
)

# Nothing is said of a delivery that was removed meanwhile.
_ATTEMPT: dict[str, Any] = {
    "project_id": bindparam("project_", type_=String),
    "delivery_id": bindparam("delivery_", type_=String),
    "number": bindparam("attempts_", type_=Integer),
    "started_at": bindparam("started_", type_=String),
    "duration_s": bindparam("duration_", type_=Double),
    "response_status": bindparam("response_status_", type_=Integer),
    "response": bindparam("response_", type_=Text),
    "error": bindparam("error_", type_=Text),
}
_ATTEMPT_VALUES = select(*_ATTEMPT.values()).where(
    exists(literal(1)).where(deliveries.c.seq == bindparam("seq_", type_=Number))
)
_INSERT_SQLITE = sqlite.insert(attempts).from_select(list(_ATTEMPT), _ATTEMPT_VALUES).on_conflict_do_nothing()
_INSERT_POSTGRESQL = (
    postgresql.insert(attempts).from_select(list(_ATTEMPT), _ATTEMPT_VALUES).on_conflict_do_nothing()
)


def _insert_attempt(connection: AsyncConnection) -> Any:
    return _INSERT_SQLITE if connection.dialect.name == "sqlite" else _INSERT_POSTGRESQL
