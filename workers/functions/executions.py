"""Running executions: at once for whoever waits for the answer, or later, out of the store.

Whoever answers requests has one of these for the former. The processes that run functions take what is due in the
store: an execution that was accepted is run, whatever becomes of the process that accepted it
(:mod:`workers.functions.queue`).
"""

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import structlog

from workers.functions import queue
from workers.functions.allowed import find_objection
from workers.functions.calls import CallFactory, Request
from workers.functions.ephemeral_keys import EphemeralKeys
from workers.functions.executor import FAILED, Call, Executor, Failure, Outcome
from workers.functions.loading import LoadedFunction, load_function
from workers.functions.pace import Limits, Pace
from workers.functions.places import Person, Places
from workers.functions.recorder import PASSING, End, Recorder
from workers.functions.runs import cut_off, given_up, no_deployment, not_allowed, run
from workers.functions.shares import Lane
from workers.functions.turns import NoTurnError, Turns
from workers.models.people import Row
from workers.store.metrics import WorkerMetrics
from workers.store.sealing import Sealer, UnsealError
from workers.store.store import Store

log = structlog.get_logger("realtime.functions")

POLL_INTERVAL_S = 0.5
"""How often each process looks for what has become due, was accepted by others, or left behind."""

MAX_ATTEMPTS = 5
"""How often an execution is begun, if whoever runs it dies each time."""

STOP_TIMEOUT_S = 5.0
"""How long a process that stops waits for what it runs, before that is ended and left to others."""

MAX_LANES = 200
"""At how many functions a look for what is due goes by; the next look begins behind them."""

MAX_HELD_S = 5.0
"""How long an execution that is claimed waits for its turn, before others may claim it."""

_MAX_UNRECORDED = 1_000
"""How many ends may wait for the database before nothing more is begun."""


class _Claimed(NamedTuple):
    row: Row
    lane: Lane
    function: LoadedFunction | None


class Executions:
    """What runs executions in one process. For one event loop.

    Runs those for which somebody waits; :meth:`dispatching` has it run those that wait in the store as well.
    """

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        executor: Executor,
        *,
        secrets: tuple[str, ...],
        concurrency: int,
        function_concurrency: int | None = None,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        """Make it.

        Args:
            store: where executions wait.
            sealer: what their requests, and variables, are encrypted with.
            executor: what runs code.
            secrets: what the tokens in calls are signed with, oldest first.
            concurrency: how many executions run at a time out of the store, and as many again for those who wait.
                One project has at most three quarters of them.
            function_concurrency: how many of one function run at a time out of the store, and as many again for people
                who wait; None for no limit.
            metrics: where executions that end are counted.
        """
        self.executor = executor
        self.keys = EphemeralKeys(sealer)
        self.calls = CallFactory(secrets, self.keys)
        self._store = store
        self._sealer = sealer
        self.metrics = metrics or WorkerMetrics()
        self._recorder = Recorder(store, self.metrics)
        limits = Limits(concurrency, max(1, concurrency * 3 // 4), function_concurrency or concurrency)
        # For those who wait for the answer; and how many of them there are.
        self._places = Places(limits)
        self._placed = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._pace = Pace(limits)
        self._turns = Turns(limits)
        # What was claimed in the store and has not ended, by its tasks; and how many of that there are of each lane.
        self._runs: dict[asyncio.Task[bool], _Claimed] = {}
        self._claimed: Counter[Lane] = Counter()
        # Where something was due at the last look, those first that have waited longest, or before that and was left
        # out; when that look was, by the loop's clock; and where the next one begins.
        self._due: dict[Lane, queue.Due] = {}
        self._looked_at = -math.inf
        self._after = queue.BEGINNING
        self._woken = asyncio.Event()
        self._is_stopping = False

    @contextlib.asynccontextmanager
    async def dispatching(self) -> AsyncIterator["Executions"]:
        """Run what is due until the block ends; then wait a little, and leave the rest to other processes."""
        self._is_stopping = False
        async with self._recorder.running(stop_timeout_s=STOP_TIMEOUT_S):
            loop = asyncio.create_task(self._serve(), name="realtime-executions")
            try:
                yield self
            finally:
                self._is_stopping = True
                self.wake()
                # Not cancelled at once: what it has just claimed would wait until its claim has run out.
                await asyncio.wait([loop], timeout=STOP_TIMEOUT_S)
                loop.cancel()
                await asyncio.gather(loop, return_exceptions=True)
                await self._stop()

    def wake(self) -> None:
        """Look soon for what is due. Never blocks, and does nothing where nothing is taken from the store."""
        self._looked_at = -math.inf
        self._woken.set()

    @contextlib.contextmanager
    def place(self, lane: Lane, person: Person | None) -> Iterator[None]:
        """Hold a place to run an execution for who waits, and to keep what came of it, until the block ends.

        Args:
            lane: the project and the function.
            person: who wants it; None for a server.

        Raises:
            TooManyError: it has to be tried again later.
        """
        with self._places.take(lane, person):
            self._placed += 1
            self._idle.clear()
            try:
                yield
            finally:
                self._placed -= 1
                if not self._placed:
                    self._idle.set()

    async def run(self, call: Call, *, limit_s: float) -> Outcome:
        """Run ``call`` now, for which there is a place, and return what came of it."""
        return await run(self.executor, call, limit_s=limit_s)

    @contextlib.asynccontextmanager
    async def ending(self) -> AsyncIterator[None]:
        """When the block ends, give what is run for those who wait a little to be ended and kept."""
        try:
            yield
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self._idle.wait()

    async def _serve(self) -> None:
        while not self._is_stopping:
            self._woken.clear()
            try:
                await self._take()
            except PASSING as error:
                log.warning("executions wait in the store", error=type(error).__name__)
            except Exception:
                # Whatever it is, what waits must not be given up.
                log.exception("executions wait in the store")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_INTERVAL_S):
                    await self._woken.wait()

    async def _take(self) -> None:
        """Claim what is due, as much as there is room for, and begin to run it."""
        if self._recorder.pending >= _MAX_UNRECORDED:
            return
        now = datetime.now(UTC)
        clock = asyncio.get_running_loop().time
        if not self._due or clock() - self._looked_at >= POLL_INTERVAL_S:
            self._looked_at = clock()
            await self._look(now)
        if asked := self._pace.ask(self._due, self._claimed):
            for each in await self._claim(asked, now):
                self._begin(each)
            # There may be more.
            self._woken.set()
        elif self._after != queue.BEGINNING:
            # These have all that they may have. Others may not.
            self.wake()

    async def _look(self, now: datetime) -> None:
        async with self._store.read() as connection:
            found, last = await queue.find_due(connection, now, after=self._after, limit=MAX_LANES)
        # Those whose turn has not come stay, or those of other looks would have all there is each time.
        kept = [self._due[lane] for lane in self._pace.left_out(self._claimed) if lane in self._due]
        self._due = {each.lane: each for each in [*kept[:MAX_LANES], *found]}
        self._after = last or queue.BEGINNING

    async def _claim(self, asked: Mapping[Lane, int], now: datetime) -> list[_Claimed]:
        claimed: list[_Claimed] = []
        async with self._store.database.writing() as connection:
            for lane, count in asked.items():
                due = self._due[lane]
                rows = await queue.claim(connection, due, count, now)
                self._pace.got(lane, count, len(rows))
                if len(rows) < count:
                    del self._due[lane]
                if rows:
                    function = await load_function(connection, self._sealer, lane)
                    claimed += [_Claimed(row, lane, function) for row in rows]
        return claimed

    def _begin(self, claimed: _Claimed) -> None:
        task = asyncio.create_task(self._take_turn(claimed), name="realtime-execution")
        self._runs[task] = claimed
        self._claimed[claimed.lane] += 1
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[bool]) -> None:
        claimed = self._runs[task]
        self._claimed[claimed.lane] -= 1
        if not self._claimed[claimed.lane]:
            del self._claimed[claimed.lane]
        if not task.cancelled():
            del self._runs[task]
            if (error := task.exception()) is not None:
                # It is due again when the claim has run out.
                log.error("an execution broke off", execution=claimed.row["id"], exc_info=error)
            elif task.result():
                # Not before: whoever looked for a place would not see that this one is free.
                self._woken.set()

    async def _take_turn(self, claimed: _Claimed) -> bool:
        """Run one execution when there is room; if it has to wait for too long, leave it to other processes.

        Returns whether its end calls for more to be claimed.
        """
        clock = asyncio.get_running_loop().time
        try:
            async with self._turns.wait(claimed.lane, timeout_s=MAX_HELD_S):
                begun = clock()
                await self._carry_out(claimed)
        except NoTurnError:
            # So many are not run that soon.
            self._pace.ended(claimed.lane, MAX_HELD_S, self._claimed[claimed.lane] - 1)
            await self._give_back([claimed])
            return False
        return self._pace.ended(claimed.lane, clock() - begun, self._claimed[claimed.lane] - 1)

    async def _carry_out(self, claimed: _Claimed) -> None:
        """Run one execution, and have recorded what came of it."""
        try:
            outcome = await self._outcome(claimed)
        except PASSING as error:
            # Nothing was run. It is due again when the claim has run out.
            log.warning(
                "an execution waits in the store", execution=claimed.row["id"], error=type(error).__name__
            )
            return
        logging = claimed.function is not None and claimed.function.logging
        self._recorder.add(End(claimed.row, outcome, logging))

    async def _outcome(self, claimed: _Claimed) -> Outcome:
        if not claimed.row["sealed_request"]:
            # It was begun for somebody who waited for the answer, and cannot be repeated.
            return cut_off()
        if claimed.row["attempts"] > MAX_ATTEMPTS:
            return given_up(MAX_ATTEMPTS)
        try:
            call = await self._call(claimed)
        except UnsealError as error:
            return Outcome(FAILED, errors=str(error), failure=Failure.CRASH)
        if isinstance(call, Outcome):
            return call
        return await run(self.executor, call, limit_s=min(call.code.timeout_s, claimed.row["limit_s"]))

    async def _call(self, claimed: _Claimed) -> Call | Outcome:
        """Return the call for an execution, or what comes of it if there is nothing to run, or not any more."""
        row, function = claimed.row, claimed.function
        if function is None:
            return no_deployment()
        request = Request.unseal(self._sealer, row["sealed_request"])
        if objection := await find_objection(self._store, function, row, request):
            return not_allowed(objection)
        if function.code is None:
            return no_deployment()
        return self.calls.make(row["project_id"], function.code, row, request, function.variables)

    async def _stop(self) -> None:
        if not self._runs:
            return
        _, late = await asyncio.wait(list(self._runs), timeout=STOP_TIMEOUT_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await self._give_back([self._runs.pop(task) for task in late if task in self._runs])

    async def _give_back(self, claimed: Sequence[_Claimed]) -> None:
        with contextlib.suppress(*PASSING):
            async with self._store.database.writing() as connection:
                for each in claimed:
                    await queue.give_back(connection, each.row, datetime.now(UTC))
