"""What the tests of delivering share: a store without a relay, and a sender whose reins the test holds."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import RowMapping, insert, select, update

from realtime.events.work import WorkEvent
from realtime.settings import Settings
from realtime.triggers.index import TriggerIndex
from realtime.triggers.model import Triggers, Webhook
from workers.store.database import open_database
from workers.store.metrics import WorkerMetrics
from workers.store.store import Store
from workers.store.tables import projects, webhooks
from workers.webhooks import dispatcher
from workers.webhooks.dispatcher import Dispatcher
from workers.webhooks.recording import Recording
from workers.webhooks.request import Delivery
from workers.webhooks.sending import AttemptResult

NOW = "2026-03-01T12:00:00.000+00:00"
NAMES = ["teams.red.create", "teams.*.create", "teams.red", "teams.*"]


class _Unpublished:
    """In place of the relay: what is in the outbox stays there."""

    def wake(self, project_id: str) -> None:
        pass

    async def flush(self, project_id: str) -> bool:
        return True


class ScriptedSender:
    """Sends nothing: a webhook answers as it was told to, by its ID, and not before its gate is open."""

    def __init__(self) -> None:
        # The webhook and the delivery of each attempt, in the order in which they began.
        self.seen: list[tuple[str, Delivery]] = []
        # How many attempts are being made, and were at a time at most: by webhook, and by delivery.
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self._answers: dict[str, Callable[[], AttemptResult]] = {}
        self._gates: dict[str, asyncio.Event] = {}

    def shut(self, webhook_id: str) -> asyncio.Event:
        """Have a webhook answer when the event is set that is returned."""
        return self._gates.setdefault(webhook_id, asyncio.Event())

    def answer(self, webhook_id: str, status: int, **result: Any) -> None:
        """Have a webhook, or whatever is at a URL, answer so from now on."""
        self._answers[webhook_id] = lambda: AttemptResult(time.time(), 0.01, status, **result)

    def fail(self, webhook_id: str, error: Exception) -> None:
        """Have attempts at a webhook raise."""

        def raise_it() -> AttemptResult:
            raise error

        self._answers[webhook_id] = raise_it

    def events(self, webhook_id: str) -> list[str]:
        """Return the IDs of the events that a webhook was told of, in order."""
        return [delivery.event_id for each, delivery in self.seen if each == webhook_id]

    async def attempt(self, webhook: Webhook, delivery: Delivery) -> AttemptResult:
        self.seen.append((webhook.id, delivery))
        for name in (webhook.id, delivery.delivery_id):
            self.running[name] += 1
            self.most[name] = max(self.most[name], self.running[name])
        try:
            if (gate := self._gates.get(webhook.id)) is not None:
                await gate.wait()
            await asyncio.sleep(0)
            answer = self._answers.get(webhook.url) or self._answers.get(webhook.id)
            return answer() if answer else AttemptResult(time.time(), 0.01, 200, "Thanks.")
        finally:
            for name in (webhook.id, delivery.delivery_id):
                self.running[name] -= 1


class World:
    """A store with webhooks, each of which wants what happens to teams, and those who record and deliver."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.sender = ScriptedSender()
        self.metrics = WorkerMetrics()
        self.indexes: dict[str, TriggerIndex] = {}

    async def put_webhooks(self, *ids: str, project_id: str = "demo", **columns: Any) -> list[int]:
        """Make webhooks, and return their ``seq``; workers know only those of the last call for a project."""
        row = {
            "project_id": project_id,
            "name": "A webhook",
            "url": "https://endpoint.example/",
            "events": ["teams.*"],
            "tls": True,
            "secret": "sealed",
            "created_at": NOW,
            "updated_at": NOW,
            **columns,
        }
        async with self.store.database.writing() as connection:
            await connection.execute(insert(webhooks), [row | {"id": each} for each in ids])
            found = await connection.execute(
                select(webhooks.c.id, webhooks.c.seq).where(webhooks.c.project_id == project_id)
            )
            numbers = {row.id: row.seq for row in found}
        self.indexes[project_id] = TriggerIndex(
            Triggers(1, tuple(Webhook(each, each, "", ("teams.*",), "") for each in ids))
        )
        return [numbers[each] for each in ids]

    async def put_project(self, project_id: str = "demo") -> None:
        async with self.store.database.writing() as connection:
            await connection.execute(
                insert(projects),
                {
                    "id": project_id, "name": "Demo", "team_id": "", "region": "", "disabled": {}, "policies": {},
                    "schema_version": 0, "created_at": NOW, "updated_at": NOW,
                },
            )  # fmt: skip

    def event(self, event_id: str, project_id: str = "demo", *, names: Sequence[str] = NAMES) -> WorkEvent:
        return WorkEvent(project_id, event_id, list(names), "ada", 0, NOW, b'{"$id": "red"}')

    def recording(
        self, *, max_pending: int = 100_000, announce: Callable[[Mapping[int, str]], None] = lambda _: None
    ) -> Recording:
        return Recording(self.store.database, self.metrics, max_pending=max_pending, announce=announce)

    async def record(
        self, *event_ids: str, project_id: str = "demo", recording: Recording | None = None
    ) -> None:
        """Record events for all webhooks of a project."""
        recording = recording or self.recording()
        index = self.indexes[project_id]
        await recording.record([(self.event(each, project_id), index) for each in event_ids])

    @contextlib.asynccontextmanager
    async def running(self, *, store: Store | None = None, **settings: Any) -> AsyncIterator[Dispatcher]:
        """Deliver, by settings that are named without ``webhooks_``, until the block ends."""
        named = {f"webhooks_{name}": value for name, value in settings.items()}
        delivering = Dispatcher(store or self.store, self.sender, Settings(**named), self.metrics)
        async with delivering.running():
            yield delivering

    async def rows(self, table: Any, **columns: Any) -> list[RowMapping]:
        """Return the rows of a table that have these values, in the order in which they were made."""
        async with self.store.read() as connection:
            found = await connection.execute(select(table).filter_by(**columns).order_by("seq"))
            return list(found.mappings())

    async def change(self, table: Any, **columns: Any) -> None:
        """Give all rows of a table these values."""
        async with self.store.database.writing() as connection:
            await connection.execute(update(table).values(**columns))

    async def move(self, webhook_id: str) -> None:
        """Give a webhook another URL."""
        async with self.store.database.writing() as connection:
            await connection.execute(
                update(webhooks).where(webhooks.c.id == webhook_id).values(url="https://new.example/")
            )

    async def until_rows(self, count: int, table: Any, **columns: Any) -> list[RowMapping]:
        """Wait until there are so many rows like that, and return them."""
        async with asyncio.timeout(20):
            while len(rows := await self.rows(table, **columns)) != count:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        return rows

    def counted(self, outcome: str) -> int:
        """Return how many deliveries the metrics say had this outcome."""
        start = f'realtime_webhook_deliveries_total{{outcome="{outcome}"}} '
        lines = self.metrics.render().decode().splitlines()
        return int(float(next(line for line in lines if line.startswith(start)).removeprefix(start)))


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


@pytest.fixture
def until_true() -> Callable[..., Any]:
    """Wait until a condition holds."""
    return until


@pytest.fixture
async def world(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """On each kind of database, where nobody has to wait for what is looked for every second."""
    monkeypatch.setattr(dispatcher, "POLL_INTERVAL_S", 0.05)
    database = open_database(Settings(database_url=database_url))
    yield World(Store(database, _Unpublished()))
    await database.aclose()
