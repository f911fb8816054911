"""What an attempt makes of a delivery, and of its webhook. Pure. Sources: wire specification 11.4 and 11.5."""

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Literal, NamedTuple

from workers.webhooks.schedule import retry_delay_s

if TYPE_CHECKING:
    from workers.webhooks.sending import AttemptResult


GONE = 410
"""The status by which an endpoint says that it is never to be sent anything again."""

_BODY_CHARACTERS = 10_000
"""How much of a response a webhook's ``logs`` show."""


class Verdict(Enum):
    """What an attempt says about its endpoint."""

    WORKS = "works"
    FAILS = "fails"
    GONE = "gone"
    """It fails, and wants to be left alone for good."""
    UNKNOWN = "unknown"
    """Nothing: it was never asked."""


class Outcome(NamedTuple):
    """What becomes of a delivery after an attempt."""

    status: Literal["pending", "delivered", "dead"]
    verdict: Verdict
    delay_s: float | None = None
    """When it is attempted again, if it is pending: this long from now."""


def judge(result: "AttemptResult", failures: int, schedule_s: Sequence[float], jitter: float) -> Outcome:
    """Return what becomes of a delivery.

    Args:
        result: of the attempt.
        failures: how many attempts failed before this one, since somebody last asked for the delivery.
        schedule_s: how long after each failure the next attempt is made.
        jitter: a random number in [0, 1).
    """
    if result.is_success:
        return Outcome("delivered", Verdict.WORKS)
    if result.refused:
        return Outcome("dead", Verdict.UNKNOWN)
    if result.status == GONE:
        return Outcome("dead", Verdict.GONE)
    delay_s = retry_delay_s(schedule_s, failures + 1, jitter, result.retry_after_s)
    # Tried again, for the key may come back.
    verdict = Verdict.UNKNOWN if result.unsigned else Verdict.FAILS
    return Outcome("dead" if delay_s is None else "pending", verdict, delay_s)


def describe(result: "AttemptResult") -> str:
    """Return what went wrong in an attempt, as the delivery says it; empty for nothing."""
    if result.error or result.is_success:
        return result.error
    return f"The endpoint answered {result.status}."


def failure_text(url: str, names: Sequence[str], result: "AttemptResult") -> str:
    """Return what a webhook's ``logs`` say of a failed attempt at an event with these names."""
    head = f"URL: {url}\nMethod: POST\n"
    if not result.status:
        return f"{head}Client Error: {result.error}\nEvents: {', '.join(names)}\n"
    return f"{head}Status code: {result.status}\nBody: \n{result.response[:_BODY_CHARACTERS]}\n"
