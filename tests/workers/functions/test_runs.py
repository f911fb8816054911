"""Running one call."""

import asyncio
import dataclasses

import pytest

from workers.functions.executor import Call, Code, Failure, NoExecutor, Outcome
from workers.functions.runs import given_up, no_deployment, run

CALL = Call(
    project_id="demo",
    code=Code(
        function_id="hello",
        name="Hello",
        runtime="node-22",
        entrypoint="main.js",
        commands="",
        timeout_s=15,
        scopes=(),
        deployment_id="d",
        storage_key="demo/deployment/d",
        size_bytes=1,
    ),
    execution_id="e",
    trigger="http",
    method="POST",
    path="/",
    headers={},
    body=b"",
    variables=dict,
)


class Answering:
    """Returns or raises what it is given."""

    def __init__(self, answer: Outcome | Exception) -> None:
        self._answer = answer

    async def execute(self, call: Call) -> Outcome:
        assert call is CALL
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class Hanging:
    """Never ends by itself."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.has_ended = False

    async def execute(self, _call: Call) -> Outcome:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.has_ended = True
        raise AssertionError


class TestRun:
    async def test_outcome_is_that_of_the_executor(self) -> None:
        outcome = Outcome(200, {"a": "b"}, b"ok", duration_s=0.5)
        assert await run(Answering(outcome), CALL, limit_s=5) is outcome

    async def test_duration_is_measured_if_the_executor_did_not(self) -> None:
        assert (await run(Answering(Outcome(200)), CALL, limit_s=5)).duration_s > 0

    async def test_time_limit_ends_the_code_and_is_told(self) -> None:
        executor = Hanging()
        outcome = await run(executor, CALL, limit_s=0.01)
        assert executor.has_ended
        assert (outcome.status, outcome.failure) == (500, Failure.TIMEOUT)
        assert "after 0.01 seconds" in outcome.errors
        assert "asynchronous" in outcome.errors
        short = dataclasses.replace(CALL, code=dataclasses.replace(CALL.code, timeout_s=0))
        assert "asynchronous" not in (await run(Hanging(), short, limit_s=0.01)).errors

    @pytest.mark.parametrize(
        "error", [RuntimeError("a secret"), TimeoutError("a secret"), OSError("a secret")]
    )
    async def test_exception_of_the_executor_is_a_crash_without_its_text(self, error: Exception) -> None:
        outcome = await run(Answering(error), CALL, limit_s=5)
        assert (outcome.status, outcome.failure) == (500, Failure.CRASH)
        assert type(error).__name__ in outcome.errors
        assert "secret" not in outcome.errors

    async def test_whoever_cancels_gets_no_outcome_and_the_code_has_ended(self) -> None:
        executor = Hanging()
        running = asyncio.create_task(run(executor, CALL, limit_s=5))
        await executor.begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert executor.has_ended

    async def test_no_executor_says_so_and_what_becomes_of_the_execution(self) -> None:
        outcome = await run(NoExecutor(), CALL, limit_s=5)
        assert (outcome.status, outcome.failure, outcome.duration_s) == (500, Failure.NO_EXECUTOR, 0.0)
        assert "no executor" in outcome.errors
        assert "not repeated" in outcome.errors


class TestReasons:
    def test_execution_without_code_has_no_status_code(self) -> None:
        assert (no_deployment().status, no_deployment().failure) == (0, Failure.NO_DEPLOYMENT)

    def test_execution_that_is_given_up_says_how_often_it_was_begun(self) -> None:
        assert "3 times" in given_up(3).errors
