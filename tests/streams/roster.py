"""Users of the read model who join and leave teams while their clients read."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from redis.exceptions import RedisError

from realtime.identity.model import User
from realtime.identity.store import IdentityStore
from realtime.publisher import Publisher
from tests.streams.checker import Stream
from tests.streams.journal import Journal
from tests.streams.people import Person, roles_of, signed_in, user
from tests.streams.readers import PROJECT

_PAUSE_S = 0.15
"""How long a team stays as it is: long enough that events fall clearly between two changes."""


class Roster:
    """Changes memberships as an API does: first the record, then the event that announces it."""

    def __init__(self, journal: Journal, store: IdentityStore, publisher: Publisher) -> None:
        self._journal = journal
        self._store = store
        self._publisher = publisher
        self._streams: dict[str, list[Stream]] = {}
        self._teams: dict[str, tuple[str, ...]] = {}
        self._is_running = False
        # How many were made.
        self._changes = 0

    async def enrol(self, name: str, *teams: str) -> Person:
        """Write the record of a new user."""
        await self._store.put_user(PROJECT, user(name, *teams))
        self._teams[name] = teams
        self._streams[name] = []
        return signed_in(name, *teams)

    def follow(self, name: str, streams: Iterable[Stream], *, is_delayed: bool) -> None:
        """Let streams read as a user from now on; ``is_delayed`` says whether events may come to them late."""
        for stream in streams:
            stream.is_delayed = is_delayed
            self._streams[name].append(stream)

    async def change(self, name: str, *teams: str) -> None:
        """Let a user be in exactly these teams."""
        before, began = self._teams[name], self._journal.tick()
        await self._write(user(name, *teams))
        for team in sorted(set(before) ^ set(teams)):
            membership = f"{name}-{team}"
            await self._publisher.publish(
                f"teams.{team}.memberships.{membership}.{'create' if team in teams else 'delete'}",
                {"$id": membership, "teamId": team, "userId": name, "roles": []},
                roles=[f"team:{team}"],
            )
        self._teams[name] = teams
        self._journal.become(self._streams[name], roles_of(name, *teams), began)
        self._changes += 1

    async def _write(self, record: User) -> None:
        """Write a record; while Redis is away try again, which does no harm."""
        while True:
            try:
                await self._store.put_user(PROJECT, record)
            except RedisError:
                await asyncio.sleep(_PAUSE_S)
            else:
                return

    @asynccontextmanager
    async def changing(self, team: str) -> AsyncIterator[None]:
        """Let one user after the other leave or join ``team``, for the length of an ``async with``; all have a turn."""
        self._is_running = True
        async with asyncio.TaskGroup() as group:
            group.create_task(self._go_on_changing(team))
            try:
                yield
            finally:
                self._is_running = False

    async def _go_on_changing(self, team: str) -> None:
        for name in itertools.cycle(list(self._teams)):
            if not self._is_running and self._changes >= len(self._teams):
                return
            others = tuple(each for each in self._teams[name] if each != team)
            await self.change(name, *(others if team in self._teams[name] else (*others, team)))
            await asyncio.sleep(_PAUSE_S)
