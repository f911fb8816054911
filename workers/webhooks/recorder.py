"""What attempts made of deliveries and of their webhooks, recorded: many at once, in the transaction of the caller.

Recording an attempt again records nothing, so that a transaction of which nobody knows whether it was committed can be
repeated. Rows are locked in one order by everybody, webhooks before deliveries, as by who deletes a webhook.

What an attempt says of its endpoint is about the URL that it was made to. If the webhook has another one by now, that
is neither a failure nor a success of the webhook; and if the former one is gone, the present one is to be asked.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, String, and_, bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.store.tables import webhooks
from workers.store.times import from_unix, to_text
from workers.webhooks.ends import Ended, record_ends
from workers.webhooks.outcomes import Outcome, Verdict


class WebhookKey(NamedTuple):
    """A webhook, as the store knows it."""

    seq: int
    project_id: str
    id: str
    url: str
    """Where it was sent to."""


async def record(connection: AsyncConnection, ended: Sequence[Ended], now: datetime) -> Sequence[Ended]:
    """Record what attempts made of their deliveries, and of their webhooks.

    A delivery that somebody else has claimed meanwhile, because this took too long, is left to that one.

    Args:
        connection: a transaction that writes.
        ended: the attempts, in the order in which they ended.
        now: the time, aware.

    Returns:
        The attempts with their outcomes as they were recorded.
    """
    if not ended:
        return ended
    told = [each for each in ended if each.outcome.verdict is not Verdict.UNKNOWN]
    urls = await _lock_webhooks(connection, told)
    await _record_webhooks(connection, [each for each in told if urls.get(_number_of(each)) == each.url])
    recorded = [_ask_again(each, urls) for each in ended]
    await record_ends(connection, recorded, now)
    return recorded


def fails_for_long(before: datetime, least_attempts: int) -> ColumnElement[bool]:
    """Return the condition for webhooks that have failed since ``before``, and so many times."""
    return and_(webhooks.c.attempts >= least_attempts, webhooks.c.failing_since <= to_text(before))


async def find_failing(
    connection: AsyncConnection, numbers: Sequence[int], fails: ColumnElement[bool]
) -> list[WebhookKey]:
    """Return those webhooks, of ``numbers``, that are enabled, and of which :func:`fails_for_long` is true."""
    if not numbers:
        return []
    found = await connection.execute(
        select(webhooks.c.seq, webhooks.c.project_id, webhooks.c.id, webhooks.c.url).where(
            webhooks.c.seq.in_(numbers), webhooks.c.enabled, fails
        )
    )
    return [WebhookKey(*row) for row in found]


_number_of = attrgetter("claimed.webhook_seq")


def _ask_again(ended: Ended, urls: Mapping[int, str]) -> Ended:
    """Return the attempt; if its endpoint is gone, and the webhook has moved, as one that is repeated at once."""
    if ended.outcome.verdict is not Verdict.GONE or urls.get(_number_of(ended), ended.url) == ended.url:
        return ended
    return ended._replace(outcome=Outcome("pending", Verdict.GONE, 0.0))


async def _record_webhooks(connection: AsyncConnection, told: Sequence[Ended]) -> None:
    """Count the failures of webhooks, one after another, from the last success on."""
    changes: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    working: list[int] = []
    for number, group in groupby(sorted(told, key=_number_of), key=_number_of):
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
            update(webhooks).where(webhooks.c.seq.in_(working)).values(attempts=0, failing_since=None)
        )
    for has_success, parameters in changes.items():
        if parameters:
            await connection.execute(_FAIL_ANEW if has_success else _FAIL_AGAIN, parameters)


async def _lock_webhooks(connection: AsyncConnection, told: Sequence[Ended]) -> dict[int, str]:
    """Lock the webhooks that attempts may change, and return where these are sent to now, by their ``seq``.

    All at once and in order: two workers that changed them one after another, each its working ones first, would wait
    for each other. Most webhooks work and have not failed before: these are not written, nor locked.
    """
    numbers = sorted({_number_of(each) for each in told})
    failed = sorted({_number_of(each) for each in told if each.outcome.verdict is not Verdict.WORKS})
    if not numbers:
        return {}
    found = await connection.execute(
        select(webhooks.c.seq, webhooks.c.url)
        .where(webhooks.c.seq.in_(numbers), or_(webhooks.c.attempts > 0, webhooks.c.seq.in_(failed)))
        .order_by(webhooks.c.seq)
        .with_for_update()
    )
    return {row[0]: row[1] for row in found}


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
