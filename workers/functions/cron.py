"""When schedules are due: cron expressions of five fields, in UTC. Pure."""

from datetime import datetime, timedelta

from cronsim import CronSim, CronSimError

_SECOND = timedelta(seconds=1)


def next_due(schedule: str, after: datetime) -> datetime | None:
    """Return the first time after ``after``, which is in UTC, at which a schedule is due; None if it never is again.

    A schedule that is no cron expression is never due.
    """
    return _first(schedule, after, is_reverse=False)


def last_due(schedule: str, until: datetime) -> datetime | None:
    """Return the last time at which a schedule was due, ``until`` included; None if it never was."""
    return _first(schedule, until.replace(microsecond=0) + _SECOND, is_reverse=True)


def _first(schedule: str, start: datetime, *, is_reverse: bool) -> datetime | None:
    try:
        return next(CronSim(schedule, start, reverse=is_reverse), None)
    except CronSimError:
        return None
