"""The dispatcher: sends what is due, in every API process, each message by one of them."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from workers.messaging.claims import Claim, Due, claim, next_due
from workers.messaging.routes import Routes
from workers.messaging.sending import Delivery, utc_now
from workers.store.failures import Failure, failure_of
from workers.store.identities import load_project
from workers.store.store import Store
from workers.store.times import to_text, to_unix

log = structlog.get_logger("realtime.messaging")

MAX_SENDING = 20
"""How many messages a process sends at a time."""

MAX_SENDING_OF_PROJECT = 2
"""How many of them may be of one project, whose mail server may take its time over each letter."""

LOOK_INTERVAL_S = 5.0
"""How often a process looks for what others have scheduled or left behind."""

STOP_TIMEOUT_S = 5.0
"""How long the letters that are going out may take when a process stops."""


class Dispatcher:
    """Sends the messages of one database. For one event loop; :meth:`running` opens and closes it.

    A message is sent at least once: what went out in the seconds before a process died goes out again.

    Args:
        store: where messages are.
        routes: the ways by which e-mails go out.
        clock: the time, aware.
    """

    def __init__(self, store: Store, routes: Routes, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._routes = routes
        self._clock = clock
        self._awake = asyncio.Event()
        self._stopping = asyncio.Event()
        # What is being sent, and of which project.
        self._deliveries: dict[asyncio.Task[None], str] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Dispatcher"]:
        """Send what is due until the block ends. What is not sent then stays for whoever runs next."""
        looking = asyncio.create_task(self._look_again_and_again(), name="realtime-messages")
        try:
            yield self
        finally:
            self._stopping.set()
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            if self._deliveries:
                _, late = await asyncio.wait(self._deliveries, timeout=STOP_TIMEOUT_S)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)

    def wake(self) -> None:
        """Have what is due sent soon. Never blocks, never fails."""
        self._awake.set()

    async def _look_again_and_again(self) -> None:
        while True:
            self._awake.clear()
            try:
                wait_s = await self._begin_what_is_due()
            except (SQLAlchemyError, OSError) as error:
                log.warning("messages wait to be sent", error=type(error).__name__)
                wait_s = LOOK_INTERVAL_S
            except Exception:
                # Whatever it is, what waits must not be given up.
                log.exception("messages wait to be sent")
                wait_s = LOOK_INTERVAL_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._awake.wait()

    async def _begin_what_is_due(self) -> float:
        """Begin to send what is due, and return after how many seconds to look again."""
        now = self._clock()
        async with self._store.read() as connection:
            waiting = await next_due(connection, MAX_SENDING, without=self._busy_projects())
        has_begun = False
        for due in waiting:
            if due.at > to_text(now):
                return min(to_unix(due.at) - now.timestamp(), LOOK_INTERVAL_S)
            if len(self._deliveries) == MAX_SENDING:
                # Whoever ends wakes us.
                return LOOK_INTERVAL_S
            if due.project_id not in self._busy_projects():
                has_begun |= await self._begin(due, now)
        return 0.0 if has_begun else LOOK_INTERVAL_S

    def _busy_projects(self) -> list[str]:
        """Return the projects of which no further message may be begun."""
        counts = Counter(self._deliveries.values())
        return [project_id for project_id, count in counts.items() if count >= MAX_SENDING_OF_PROJECT]

    async def _begin(self, due: Due, now: datetime) -> bool:
        """Begin to send a message; False when somebody else does."""
        claimed = await self._claim(due, now)
        if claimed is None:
            return False
        task = asyncio.create_task(self._deliver(claimed), name=f"realtime-message-{due.seq}")
        self._deliveries[task] = due.project_id
        task.add_done_callback(self._forget)
        return True

    async def _claim(self, due: Due, now: datetime) -> Claim | None:
        async with self._store.read() as connection:
            project = await load_project(connection, due.project_id)
        if project is None:
            # It is being deleted, with its messages.
            return None
        async with self._store.write(project) as tx:
            return await claim(tx, due.seq, now)

    async def _deliver(self, claimed: Claim) -> None:
        delivery = Delivery(self._store, self._routes, claimed, self._stopping, self._clock)
        try:
            await delivery.run()
        except Exception as error:
            if _is_passing(error):
                log.warning("a message waits to be sent", error=type(error).__name__)
                return
            log.exception(
                "a message could not be sent", project=claimed.project.id, message=claimed.row["id"]
            )
            # It would fail in the same way again.
            with contextlib.suppress(SQLAlchemyError, OSError):
                await delivery.break_off()

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._deliveries[task]
        self._awake.set()


def _is_passing(error: Exception) -> bool:
    """Tell whether the database was away; what it refused before, it would refuse again."""
    if isinstance(error, SQLAlchemyError):
        return failure_of(error) is Failure.UNAVAILABLE
    return isinstance(error, OSError)
