"""Running one call: its time limit, and an outcome whatever happens."""

import asyncio
import dataclasses

import structlog

from workers.functions.executor import FAILED, Call, Executor, Failure, Outcome

log = structlog.get_logger("realtime.functions")


async def run(executor: Executor, call: Call, *, limit_s: float) -> Outcome:
    """Run ``call`` for at most ``limit_s`` seconds, and return what came of it, with how long it took.

    Raises nothing but :class:`asyncio.CancelledError`; the code has ended then.
    """
    clock = asyncio.get_running_loop().time
    begun = clock()
    limit = asyncio.timeout(limit_s)
    try:
        async with limit:
            outcome = await executor.execute(call)
    except Exception as error:
        if limit.expired():
            outcome = _timed_out(call, limit_s)
        else:
            log.exception("an executor failed", project=call.project_id, function=call.code.function_id)
            outcome = _crashed(error)
    if outcome.duration_s == 0.0 and outcome.failure is not Failure.NO_EXECUTOR:
        outcome = dataclasses.replace(outcome, duration_s=clock() - begun)
    return outcome


def _timed_out(call: Call, limit_s: float) -> Outcome:
    text = f"The function was ended, since it had not answered after {limit_s:g} seconds."
    if limit_s < call.code.timeout_s:
        text += f" Its timeout is {call.code.timeout_s} seconds, for which only an asynchronous execution can run."
    errors = "\n".join(filter(None, (call.left.errors.rstrip("\n"), text)))
    return Outcome(FAILED, logs=call.left.logs, errors=errors, failure=Failure.TIMEOUT)


def _crashed(error: Exception) -> Outcome:
    text = f"The function could not be run: its executor failed with {type(error).__name__}."
    return Outcome(FAILED, errors=text, failure=Failure.CRASH)


def no_deployment() -> Outcome:
    """Return the outcome of an execution for which there is no code by now."""
    return Outcome(
        0,
        errors="The function was not run: it has no active deployment that is ready.",
        failure=Failure.NO_DEPLOYMENT,
    )


def not_allowed(objection: str) -> Outcome:
    """Return the outcome of an execution that must not be run any more (:mod:`workers.functions.allowed`)."""
    return Outcome(0, errors=f"The function was not run: {objection}", failure=Failure.NOT_ALLOWED)


def given_up(attempts: int) -> Outcome:
    """Return the outcome of an execution whose process died each time."""
    return Outcome(
        FAILED,
        errors=f"The function was given up: the process that ran it ended, {attempts} times.",
        failure=Failure.CRASH,
    )


def cut_off() -> Outcome:
    """Return the outcome of an execution that somebody waited for, and whose process stopped or died meanwhile."""
    return Outcome(
        FAILED,
        errors="The function was cut off: the process that ran it ended. It may have done some of what it does.",
        failure=Failure.CRASH,
    )
