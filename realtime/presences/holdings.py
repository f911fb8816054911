"""What a hub holds for its connections: taken with each presence message, let go when the connection is gone.

The hub remembers what each connection asked for and says every few seconds that it is alive. Should it have been out
of touch for longer than its lease runs, others may have let go in its place; then it asserts again what is gone.
Nothing that it does not know of stays held under its name, whatever answers were lost: it compares what Redis has with
what it knows.

Letting go is gathered, so that thousands of connections that end together cost a few round trips.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import structlog
from redis.exceptions import RedisError

from realtime.bus.backoff import backoff_s
from realtime.bus.keys import bucket
from realtime.errors import PresenceExistsError
from realtime.presences.model import Draft, Presence
from realtime.presences.store import Holder, PresenceStore

log = structlog.get_logger("realtime.presences")

_BATCH = 100
"""How many presences are let go in one go of a project."""

_LINGER_S = 0.005
"""How long the next batch of a project is gathered."""

_RENEWALS_PER_LEASE = 4


class _Key(NamedTuple):
    """What is held: the presence of a user, by a connection."""

    project: str
    user_id: str
    number: int


@dataclass(slots=True)
class _Holding:
    draft: Draft
    # How many writes of it are under way: until they are over nobody can say whether Redis knows of it.
    writing: int = 0


@dataclass(slots=True, eq=False)
class _Leaving:
    # Done when it has been let go; None while nobody waits for that.
    done: asyncio.Future[None] | None = None


class Holdings:
    """The presences that the connections of a hub hold. Used from one event loop.

    Args:
        store: where presences are.
        hub_id: unlike that of any other hub, ever; without colons.
        lease_s: how long the hub's leases run, as the store knows it.
        spawn: runs a task.
    """

    def __init__(
        self,
        store: PresenceStore,
        *,
        hub_id: str,
        lease_s: float,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._store = store
        self._hub_id = hub_id
        self._lease_s = lease_s
        self._spawn = spawn
        # Bucket -> what is held there.
        self._held: dict[int, dict[_Key, _Holding]] = {}
        # Project -> what is to be let go; present while its writer runs.
        self._leaving: dict[str, dict[_Key, _Leaving]] = {}
        # Buckets in which others may have let go in this hub's place.
        self._lapsed: set[int] = set()
        # Bucket -> when its lease was last renewed or made, in event loop time; while something is held there.
        self._renewed: dict[int, float] = {}
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))

    async def hold(
        self, project: str, draft: Draft, number: int, is_wanted: Callable[[], bool] = lambda: True
    ) -> Presence | None:
        """Make or change a user's presence and hold it for a connection; return it.

        Waits for as long as Redis is away. Returns None if by then it is not wanted any more, because the connection
        ended or acts as somebody else; then nothing is held.

        Raises:
            PresenceExistsError: the ID for a new presence is that of another user's.
        """
        key = _Key(project, draft.user_id, number)
        # What the connection let go of before, as the same user, must not be let go of after this.
        await self._until_left(key)
        failures = 0
        while is_wanted():
            try:
                presence = await self._write(key, draft)
            except PresenceExistsError:
                self._forget(key)
                raise
            except RedisError as error:
                if not failures:
                    log.warning("a presence could not be written", project=project, error=repr(error))
                await asyncio.sleep(backoff_s(failures, random.random()))  # noqa: S311 - not a secret
                failures += 1
            else:
                if is_wanted() and self._find(key) is not None:
                    return presence
                break
        # It may have been written after it was let go.
        self._forget(key)
        self._let_go(key)
        return None

    def release(self, project: str, user_id: str, number: int) -> None:
        """Let go of what a connection holds, if it holds anything, soon."""
        key = _Key(project, user_id, number)
        if self._forget(key):
            self._let_go(key)

    async def flush(self, timeout_s: float) -> None:
        """Wait until what was let go is written, for ``timeout_s`` at most."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._is_idle.wait()
        except TimeoutError:
            log.warning("presences were not removed; their lease will end", projects=len(self._leaving))

    async def run(self) -> None:
        """Renew the hub's leases until cancelled; while Redis is away, try again."""
        while True:
            await asyncio.sleep(self._lease_s / _RENEWALS_PER_LEASE)
            try:
                await self.renew()
            except RedisError as error:
                log.warning("leases of presences could not be renewed", error=repr(error))
            except Exception:
                log.exception("renewing leases of presences failed")

    async def renew(self) -> None:
        """Say that the hub is alive, and put right what Redis and the hub disagree about.

        Raises:
            redis.RedisError: Redis failed.
        """
        now = asyncio.get_running_loop().time
        for number, held in list(self._held.items()):
            if not held:
                del self._held[number]
                self._renewed.pop(number, None)
                continue
            began, known = now(), len(held)
            still_ran, count = await self._store.renew(number, self._hub_id)
            if not still_ran or began - self._renewed.get(number, began) > self._lease_s:
                self._lapsed.add(number)
            self._renewed[number] = began
            if count != known or number in self._lapsed:
                await self._compare(number)

    def _find(self, key: _Key) -> _Holding | None:
        return self._held.get(bucket(key.project), {}).get(key)

    def _forget(self, key: _Key) -> bool:
        """Hold something no more, as far as this hub is concerned; tell whether it did."""
        return self._held.get(bucket(key.project), {}).pop(key, None) is not None

    async def _write(self, key: _Key, draft: Draft) -> Presence:
        number = bucket(key.project)
        had_lease = number in self._renewed
        holding = self._held.setdefault(number, {}).setdefault(key, _Holding(draft))
        holding.draft = draft
        holding.writing += 1
        try:
            presence, is_first = await self._store.upsert(
                key.project, draft, Holder(self._hub_id, key.number)
            )
        finally:
            holding.writing -= 1
        if is_first:
            self._renewed[number] = asyncio.get_running_loop().time()
            if had_lease:
                # Redis did not know the lease under which others are held.
                self._lapsed.add(number)
        # Asserted again, it keeps the ID that others know.
        holding.draft = msgspec.structs.replace(draft, presence_id=presence.id)
        return presence

    async def _compare(self, number: int) -> None:
        """Let go of what Redis has and the hub does not; forget, or assert again, what is the other way round."""
        held = self._held.get(number, {})
        settled = [key for key, holding in held.items() if not holding.writing]
        found = {
            _Key(project, user_id, holder.number)
            async for project, user_id, holder in self._store.scan_held_by(number, self._hub_id)
        }
        for key in found:
            if self._find(key) is None and key not in self._leaving.get(key.project, {}):
                self._let_go(key)
        is_lapsed = number in self._lapsed
        for key in settled:
            holding = self._find(key)
            if key in found or holding is None or holding.writing:
                continue
            if is_lapsed:
                await self._assert_again(key, holding.draft)
            else:
                # Somebody took the presence over by the API, or deleted it: it is the connection's no more.
                self._forget(key)
        if is_lapsed:
            self._lapsed.discard(number)

    async def _assert_again(self, key: _Key, draft: Draft) -> None:
        """Set a presence once more that others let go of in this hub's place; not one that the API has set since."""
        present = await self._store.get(key.project, draft.presence_id)
        if self._find(key) is None:
            return
        if present is not None and present.source != draft.source:
            self._forget(key)
            return
        try:
            await self._write(key, draft)
        except PresenceExistsError:
            self._forget(key)
        if self._find(key) is None:
            # It went while this was written.
            self._let_go(key)

    def _let_go(self, key: _Key) -> None:
        leaving = self._leaving.get(key.project)
        if leaving is None:
            leaving = self._leaving[key.project] = {}
            self._is_idle.clear()
            self._spawn(self._let_all_go(key.project, leaving))
        # Anew, also if it is on its way already: that may come before what is to be undone.
        before = leaving.get(key)
        leaving[key] = _Leaving() if before is None else _Leaving(before.done)

    async def _until_left(self, key: _Key) -> None:
        """Wait until something is let go that was to be, if it was."""
        leaving = self._leaving.get(key.project, {}).get(key)
        if leaving is not None:
            if leaving.done is None:
                leaving.done = asyncio.get_running_loop().create_future()
            await asyncio.shield(leaving.done)

    async def _let_all_go(self, project: str, leaving: dict[_Key, _Leaving]) -> None:
        """Let go of what waits in a project until nothing does. While Redis is away it is tried again."""
        failures = 0
        while leaving:
            batch = list(islice(leaving.items(), _BATCH))
            pairs = [(key.user_id, Holder(self._hub_id, key.number)) for key, _ in batch]
            try:
                await self._store.release(project, pairs)
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody must stay present because of it
                log.warning("presences could not be let go", project=project, error=repr(error))
                await asyncio.sleep(backoff_s(failures, random.random()))  # noqa: S311 - not a secret
                failures += 1
                continue
            failures = 0
            for key, each in batch:
                if leaving[key] is each:
                    del leaving[key]
                    if each.done is not None and not each.done.done():
                        each.done.set_result(None)
            await asyncio.sleep(_LINGER_S)
        del self._leaving[project]
        if not self._leaving:
            self._is_idle.set()
