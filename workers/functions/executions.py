"""Running executions: at once for whoever waits for the answer, or later, out of the store.

Every API process has one of these, and each takes what is due: an execution that was accepted is run, whatever
becomes of the process that accepted it (:mod:`workers.functions.queue`).
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from realtime.bus.backoff import backoff_s
from realtime.identity.model import Project
from workers.functions import queue
from workers.functions.allowed import find_objection
from workers.functions.calls import CallFactory, Request, load_code, load_variables
from workers.functions.ephemeral_keys import EphemeralKeys
from workers.functions.executor import FAILED, Call, Executor, Failure, Outcome
from workers.functions.record import ended
from workers.functions.runs import given_up, no_deployment, not_allowed, run
from workers.models.people import Row
from workers.store.identities import load_project
from workers.store.sealing import Sealer, UnsealError
from workers.store.store import Store
from workers.store.tables import functions

log = structlog.get_logger("realtime.functions")

POLL_INTERVAL_S = 1.0
"""How often each process looks for what has become due, or was left behind by others."""

MAX_ATTEMPTS = 3
"""How often an execution is begun, if whoever runs it dies each time."""

STOP_TIMEOUT_S = 5.0
"""How long a process that stops waits for what it runs, before that is ended and left to others."""

_PASSING = (SQLAlchemyError, OSError)
"""What it looks like when the database is away for a while."""


class TooManyError(Exception):
    """As many executions run in this process as may."""


class Executions:
    """What runs executions in one process. For one event loop; :meth:`running` opens and closes it."""

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        executor: Executor,
        *,
        secrets: tuple[str, ...],
        concurrency: int,
    ) -> None:
        """Make it.

        Args:
            store: where executions wait.
            sealer: what their requests, and variables, are encrypted with.
            executor: what runs code.
            secrets: what the tokens in calls are signed with, oldest first.
            concurrency: how many executions run at a time out of the store, and as many again for those who wait.
                One project has at most three quarters of them.
        """
        self.executor = executor
        self.keys = EphemeralKeys(sealer)
        self.calls = CallFactory(secrets, self.keys)
        self._store = store
        self._sealer = sealer
        self._concurrency = concurrency
        self._share = max(1, concurrency * 3 // 4)
        # Runs for those who wait for the answer, by project.
        self._direct: Counter[str] = Counter()
        # Runs of what waited in the store, by their tasks.
        self._runs: dict[asyncio.Task[None], Row] = {}
        self._woken = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Executions"]:
        """Run what is due until the block ends; then wait a little, and leave the rest to other processes."""
        loop = asyncio.create_task(self._serve(), name="realtime-executions")
        try:
            yield self
        finally:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)
            await self._stop()

    def wake(self) -> None:
        """Look soon for what is due. Never blocks."""
        self._woken.set()

    async def run(self, call: Call, *, limit_s: float) -> Outcome:
        """Run ``call`` now, and return what came of it.

        Raises:
            TooManyError: it has to be tried again later.
        """
        if self._direct.total() >= self._concurrency or self._direct[call.project_id] >= self._share:
            raise TooManyError
        self._direct[call.project_id] += 1
        try:
            return await run(self.executor, call, limit_s=limit_s)
        finally:
            self._direct[call.project_id] -= 1
            # Without its zeros.
            self._direct = +self._direct

    async def _serve(self) -> None:
        while True:
            self._woken.clear()
            try:
                await self._take()
            except _PASSING as error:
                log.warning("executions wait in the store", error=type(error).__name__)
            except Exception:
                # Whatever it is, what waits must not be given up.
                log.exception("executions wait in the store")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_INTERVAL_S):
                    await self._woken.wait()

    async def _take(self) -> None:
        """Claim what is due, as much as there is room for, and begin to run it."""
        free = self._concurrency - len(self._runs)
        if free <= 0:
            return
        now = datetime.now(UTC)
        held = Counter(row["project_id"] for row in self._runs.values())
        full = {project_id for project_id, count in held.items() if count >= self._share}
        async with self._store.read() as connection:
            found = await queue.find_due(connection, now, free, except_projects=full)
        for due in found:
            if held[due["project_id"]] >= self._share:
                # The others of what was found had their turn; what is left is looked for anew.
                self.wake()
                continue
            held[due["project_id"]] += 1
            async with self._store.database.writing() as connection:
                claimed = await queue.claim(connection, due, now)
            if claimed is not None:
                task = asyncio.create_task(self._carry_out(claimed), name="realtime-execution")
                self._runs[task] = claimed
                task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            claimed = self._runs.pop(task, None)
            if claimed is not None and (error := task.exception()) is not None:
                # It is due again when the claim has run out.
                log.error("an execution broke off", execution=claimed["id"], exc_info=error)
        # There may be more than there was room for.
        self.wake()

    async def _carry_out(self, claimed: Row) -> None:
        """Run one execution, and record what came of it; again and again while the database is away."""
        try:
            outcome = await self._outcome(claimed)
        except _PASSING as error:
            # Nothing was run. It is due again when the claim has run out.
            log.warning(
                "an execution waits in the store", execution=claimed["id"], error=type(error).__name__
            )
            return
        attempt = 0
        while True:
            try:
                await self._record(claimed, outcome)
            except _PASSING as error:
                log.warning(
                    "the end of an execution waits", execution=claimed["id"], error=type(error).__name__
                )
                await asyncio.sleep(backoff_s(attempt, random.random()))  # noqa: S311 - not a secret
                attempt += 1
            else:
                return

    async def _outcome(self, claimed: Row) -> Outcome:
        if claimed["attempts"] > MAX_ATTEMPTS:
            return given_up(MAX_ATTEMPTS)
        try:
            call = await self._call(claimed)
        except UnsealError as error:
            return Outcome(FAILED, errors=str(error), failure=Failure.CRASH)
        if isinstance(call, Outcome):
            return call
        return await run(self.executor, call, limit_s=min(call.code.timeout_s, claimed["limit_s"]))

    async def _call(self, claimed: Row) -> Call | Outcome:
        """Return the call for an execution, or what comes of it if there is nothing to run, or not any more."""
        project_id, function_id = claimed["project_id"], claimed["function_id"]
        request = Request.unseal(self._sealer, claimed["sealed_request"])
        async with self._store.read() as connection:
            if objection := await find_objection(connection, claimed, request):
                return not_allowed(objection)
            code = await load_code(connection, project_id, function_id)
            variables = await load_variables(connection, self._sealer, project_id, function_id)
        if code is None:
            return no_deployment()
        return self.calls.make(project_id, code, claimed, request, variables)

    async def _record(self, claimed: Row, outcome: Outcome) -> None:
        async with self._store.read() as connection:
            project = await load_project(connection, claimed["project_id"])
            logging = await connection.scalar(
                functions.select()
                .with_only_columns(functions.c.logging)
                .where(
                    functions.c.project_id == claimed["project_id"], functions.c.id == claimed["function_id"]
                )
            )
        project = project or Project(id=claimed["project_id"])
        async with self._store.write(project) as tx:
            await queue.end(tx, claimed, ended(outcome, logging=bool(logging)))

    async def _stop(self) -> None:
        if not self._runs:
            return
        _, late = await asyncio.wait(list(self._runs), timeout=STOP_TIMEOUT_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        with contextlib.suppress(*_PASSING):
            async with self._store.database.writing() as connection:
                for task in late:
                    if task in self._runs:
                        await queue.give_back(connection, self._runs.pop(task), datetime.now(UTC))
