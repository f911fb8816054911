"""Numbered events, published one by one and in batches until somebody says stop."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from realtime.events.event import Event
from realtime.publisher import Publisher
from tests.streams.journal import Journal, until

TABLES = ("posts", "notes", "likes")
AUTHORS = 3


def rows_channel(table: str) -> str:
    """Return the channel of all rows of a table."""
    return f"databases.main.tables.{table}.rows"


class Load:
    """Publishes events about the rows of :data:`TABLES` for varying readers.

    Args:
        journal: Where they are written down.
        publisher: For the project.
        readers: Roles that some of the events are for; most are for anybody.
        seed: For the choice of tables, readers and batches.
        pause_s: How long each of the :data:`AUTHORS` waits between two batches, on average.
    """

    def __init__(
        self,
        journal: Journal,
        publisher: Publisher,
        readers: Sequence[str],
        *,
        seed: int = 0,
        pause_s: float = 0.12,
    ) -> None:
        self._journal = journal
        self._publisher = publisher
        self._readers = readers
        self._random = random.Random(seed)
        self.pause_s = pause_s
        # How much text the largest events carry; sizes vary from nothing to this.
        self.text_bytes = 1200
        self._is_running = False

    async def publish(self, *events: tuple[str, Sequence[str]]) -> list[int]:
        """Publish a batch, a table and the roles of readers for each event; return the events' numbers.

        Raises:
            NotPublishedError: Redis was away for too long.
        """
        numbers = [self._journal.next_number() for _ in events]
        batch = [
            Event(
                name=f"databases.main.tables.{table}.rows.row{number}.create",
                payload={
                    "$id": f"row{number}",
                    "n": number,
                    "text": "x" * (number % 7 * self.text_bytes // 6),
                },
                roles=roles,
            )
            for number, (table, roles) in zip(numbers, events, strict=True)
        ]
        began = self._journal.tick()
        for number, confirmation in zip(numbers, await self._publisher.publish_many(batch), strict=True):
            self._journal.confirmed(number, confirmation, began)
        return numbers

    async def publish_to_all(self) -> list[int]:
        """Publish one event that anybody may read about each table; return the events' numbers."""
        return await self.publish(*((table, ["any"]) for table in TABLES))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Publish for the length of an ``async with``; at its end all that was sent is confirmed."""
        self._is_running = True
        async with asyncio.TaskGroup() as group:
            for _ in range(AUTHORS):
                group.create_task(self._write())
            try:
                yield
            finally:
                self._is_running = False

    async def go_on(self, count: int) -> None:
        """Wait until so many more events are published."""
        goal = len(self._journal.published) + count
        await until(lambda: len(self._journal.published) >= goal, f"{count} more events to be published")

    async def _write(self) -> None:
        while self._is_running:
            size = self._random.choice((1, 1, 1, 2, 8))
            await self.publish(*(self._choose() for _ in range(size)))
            await asyncio.sleep(self._random.uniform(0, 2 * self.pause_s))

    def _choose(self) -> tuple[str, Sequence[str]]:
        others = self._random.sample(self._readers, min(2, len(self._readers)))
        return self._random.choice(TABLES), self._random.choice((["any"], ["any"], others))
