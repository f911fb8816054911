"""Where presences are kept: in Redis, under the tag of their project's bucket (names: :mod:`realtime.bus.keys`).

A presence and the event that tells of its change are written in one script, so no crash loses one of the two. The event
is made here, of what was read a moment before; the script compares the version, and whoever was overtaken reads again.

A presence is held by connections, or by nobody: then it stays until it expires or is deleted. The last holder that lets
go takes it along. A hub that holds something has a lease; when that lapses anybody may let go in its place.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from redis.asyncio import Redis

from realtime.bus import RedisBus
from realtime.bus.bus import APPEND_SCRIPT
from realtime.bus.keys import (
    bucket,
    presence_ends_key,
    presence_holders_key,
    presence_hub_key,
    presence_leases_key,
    presence_lists_key,
    presence_number_key,
    presence_order_key,
    presence_users_key,
    presences_key,
)
from realtime.bus.scripts import read_script
from realtime.bus.work import telling_full
from realtime.errors import PresenceExistsError
from realtime.events.event import NOBODY, Acting
from realtime.presences.model import (
    Action,
    Draft,
    Presence,
    decode_record,
    encode_presence_event,
    encode_record,
    unix_ms,
    updated,
    upserted,
)

PAGE = 500
"""How many presences one command reads."""

_BATCH = 100
"""How many presences one script removes: it must not keep others waiting for long."""

_FOLDER = Path(__file__).parent
_KEEP = "keep"
_NONE = "none"
_ANYBODY = "*"


class Holder(NamedTuple):
    """A connection that holds its user's presence."""

    hub_id: str
    """Of its hub, unlike that of any other hub, ever. Without colons."""
    number: int
    """Its own, unlike that of any other connection of the hub."""

    @property
    def token(self) -> str:
        """The text by which it is kept."""
        return f"{self.hub_id}:{self.number}"


class Held(NamedTuple):
    """The presence that an upsert led to."""

    presence: Presence
    is_first: bool
    """Whether the holder's hub had no lease in the bucket before."""


class _Removal(NamedTuple):
    user_id: str
    holder: str
    # None when the user has no presence.
    presence: Presence | None
    # Whether webhooks and functions may wait for the event.
    is_waited_for: bool = False
    by: Acting = NOBODY


class _Told(NamedTuple):
    """What the event of a change says beside the presence."""

    action: Action
    now: datetime
    by: Acting
    # Whether webhooks and functions may wait for it.
    is_waited_for: bool


Change = Callable[[Presence], Presence | None]
"""Returns a presence as it is to be; None to leave it. What it raises is raised to whoever asked for the change."""


class PresenceStore:
    """The presences of all projects. Safe to share within an event loop.

    Every method raises :class:`redis.RedisError` when Redis fails: what it was to do may then have happened or not, in
    one piece with its event, and can be repeated. Cancelling leaves the same doubt. Nothing happened at all after
    :class:`~realtime.bus.work.WorkFullError`: too many events wait for webhooks or functions.
    """

    def __init__(
        self,
        bus: RedisBus,
        *,
        lease_s: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep presences where ``bus`` publishes.

        Args:
            bus: whose client and whose limits on the log are used.
            lease_s: how long the lease of a hub runs that is not renewed.
            clock: the time, aware.
        """
        self._bus = bus
        self._redis = bus.redis
        self._lease_ms = max(int(lease_s * 1000), 1)
        self._clock = clock
        self._write = self._script("write.lua")
        self._remove = self._script("remove.lua")
        self._renew = self._redis.register_script((_FOLDER / "renew.lua").read_text())
        self._bury = self._redis.register_script((_FOLDER / "bury.lua").read_text())

    @property
    def redis(self) -> Redis:
        """The client of the server that everything is kept on."""
        return self._redis

    # Reading.

    async def get(self, project: str, presence_id: str) -> Presence | None:
        """Return a presence; None when there is none, or it has expired."""
        presence = await self._find(project, presence_id)
        return None if presence is None or presence.is_over(self._clock()) else presence

    async def pages(self, project: str) -> AsyncIterator[list[Presence]]:
        """Yield the project's presences in the order in which they were made, :data:`PAGE` at a time.

        Those that have expired are left out. One that is made or removed meanwhile is among them or not; no other is
        missed or comes twice.
        """
        last, is_whole = 0.0, True
        while is_whole:
            found: Any = await self._redis.zrangebyscore(
                presence_order_key(project), f"({last:.0f}", "+inf", start=0, num=PAGE, withscores=True
            )
            is_whole = len(found) == PAGE
            if found:
                last = found[-1][1]
                now = self._clock()
                presences = await self._find_all(project, [presence_id for presence_id, _ in found])
                yield [each for each in presences if each is not None and not each.is_over(now)]

    async def lists_version(self, project: str) -> str:
        """Return what changes when lists of the project's presences must not be answered from a cache."""
        version: Any = await self._redis.get(presence_lists_key(project))
        return version.decode() if version else ""

    async def void_lists(self, project: str) -> None:
        """Let no list that was cached before be answered again."""
        await self._redis.incr(presence_lists_key(project))

    # Changing.

    async def upsert(
        self, project: str, draft: Draft, holder: Holder | None = None, *, by: Acting = NOBODY
    ) -> Held:
        """Make a user's presence, or change the one that the user has; event ``upsert``.

        Args:
            project: the project.
            draft: what is asked for.
            holder: the connection that holds it from now on, with others that do; None to have all let go of it. What a
                connection does is of no concern to webhooks and functions (wire specification 13.4).
            by: who acts.

        Raises:
            PresenceExistsError: the ID for a new presence is that of another user's.
        """
        while True:
            existing, number = await self._read_for_upsert(project, draft)
            now = self._clock()
            if existing is not None and existing.is_over(now):
                # What was there is over for everybody; that it is a new one is told by the event of its end.
                await self._remove_all(project, [_expired(existing)])
                continue
            if existing is not None and existing.user_id != draft.user_id:
                raise PresenceExistsError(draft.presence_id)
            presence = upserted(draft, existing, number=number, now=now, by=by)
            token = _NONE if holder is None else holder.token
            told = _Told("upsert", now, by, is_waited_for=holder is None)
            answer = await self._try_write(project, presence, existing, token, told)
            if answer != b"stale":
                return Held(presence, is_first=answer == b"leased")

    async def update(
        self, project: str, presence_id: str, change: Change, *, by: Acting = NOBODY
    ) -> Presence | None:
        """Change a presence, whoever holds it; event ``update``. Return it as it is now.

        ``change`` may be called several times, when others change the presence at the same moment. One that returns
        None changes nothing, and no event is fired. Returns None when there is no presence, or it has expired.

        Raises:
            PresenceExistsError: it was to become that of a user who has one.
        """
        while True:
            existing = await self.get(project, presence_id)
            if existing is None:
                return None
            changed = change(existing)
            if changed is None:
                return existing
            if changed.user_id != existing.user_id and await self._id_of(project, changed.user_id):
                raise PresenceExistsError(presence_id)
            now = self._clock()
            number: int = await self._redis.incr(presence_number_key(project))
            presence = updated(changed, number=number, now=now, by=by)
            told = _Told("update", now, by, is_waited_for=True)
            if await self._try_write(project, presence, existing, _KEEP, told) != b"stale":
                return presence

    async def delete(
        self,
        project: str,
        presence_id: str,
        check: Callable[[Presence], None] = lambda _presence: None,
        *,
        by: Acting = NOBODY,
    ) -> bool:
        """Remove a presence, even one that has expired; event ``delete``. Return False when there is none.

        What ``check`` raises is raised to whoever asked for it.
        """

        def judge(presence: Presence) -> Acting:
            check(presence)
            return by

        return await self._delete(project, presence_id, judge)

    async def delete_of_user(self, project: str, user_id: str) -> bool:
        """Remove the presence of a user who is gone; event ``delete``. Return False when the user has none.

        Who deleted the user is not known here. The chain of functions that set the presence goes on with the event.
        Cached lists become void in any case: one try before may have got no further than the presence.
        """
        presence_id = await self._id_of(project, user_id)
        is_deleted = presence_id is not None and await self._delete(
            project, presence_id, lambda presence: Acting(depth=presence.depth)
        )
        await self.void_lists(project)
        return is_deleted

    async def release(
        self, project: str, held: Sequence[tuple[str, Holder]], *, lapsed_hub: str = ""
    ) -> bool:
        """Have holders let go of the presences of their users; those that nobody holds then are removed.

        Args:
            project: the project.
            held: users, each with a holder of the user's presence; one who does not hold it changes nothing.
            lapsed_hub: the hub in whose place this is done, which has to have no lease.

        Returns:
            False when that hub has one after all; then nothing more was done.
        """
        waiting = list(held)
        while waiting:
            batch = waiting[:_BATCH]
            users = list(dict.fromkeys(user_id for user_id, _ in batch))
            presences = dict(zip(users, await self._find_of_users(project, users), strict=True))
            removals = [_Removal(user, holder.token, presences[user]) for user, holder in batch]
            stale = await self._remove_batch(project, removals, lapsed_hub)
            if stale is None:
                return False
            waiting[:_BATCH] = [
                each for each, removal in zip(batch, removals, strict=True) if removal in stale
            ]
        return True

    async def expire(self, project: str, presence_ids: Sequence[str]) -> int:
        """Remove those of the presences that have expired, each with its event; return how many there were."""
        now = self._clock()
        removals = []
        for presence_id, presence in zip(
            presence_ids, await self._find_all(project, presence_ids), strict=True
        ):
            if presence is None:
                # Left over from a project that was deleted.
                member = f"{project}:{presence_id}"
                await self._redis.zrem(presence_ends_key(bucket(project)), member)
            elif presence.is_over(now):
                removals.append(_expired(presence))
        await self._remove_all(project, removals)
        return len(removals)

    # What hubs hold.

    async def renew(self, number: int, hub_id: str) -> tuple[bool, int]:
        """Renew a hub's lease in a bucket; return whether it still ran, and how much the hub holds there."""
        keys = [presence_leases_key(number), presence_hub_key(number, hub_id)]
        ran, held = await self._renew(keys, [hub_id, self._lease_ms])
        return bool(ran), int(held)

    async def held_by(self, number: int, hub_id: str, *, limit: int = PAGE) -> list[tuple[str, str, Holder]]:
        """Return project, user and holder of what a hub holds in a bucket, at most ``limit`` and in no order."""
        found: Any = await self._redis.srandmember(presence_hub_key(number, hub_id), limit)
        return [_held(member, hub_id) for member in found]

    async def scan_held_by(self, number: int, hub_id: str) -> AsyncIterator[tuple[str, str, Holder]]:
        """Yield the same, all of it; what changes meanwhile is among it or not."""
        async for member in self._redis.sscan_iter(presence_hub_key(number, hub_id), count=PAGE):
            yield _held(member, hub_id)

    async def bury(self, number: int, hub_id: str) -> None:
        """Forget a hub whose lease in a bucket has lapsed, once it holds nothing there."""
        await self._bury([presence_leases_key(number), presence_hub_key(number, hub_id)], [hub_id])

    # Inside.

    def _script(self, name: str) -> Any:
        return self._redis.register_script(read_script(APPEND_SCRIPT, _FOLDER / "shared.lua", _FOLDER / name))

    def _keys(self, project: str) -> list[str]:
        number = bucket(project)
        return [
            *self._bus.append_keys(project),
            presences_key(project),
            presence_users_key(project),
            presence_order_key(project),
            presence_ends_key(number),
            presence_leases_key(number),
        ]

    def _arguments(self, project: str) -> list[str | int]:
        prefixes = presence_holders_key(project, ""), presence_hub_key(bucket(project), "")
        return [*self._bus.append_arguments(project), project, *prefixes]

    async def _id_of(self, project: str, user_id: str) -> str | None:
        found: Any = await self._redis.hget(presence_users_key(project), user_id)
        return found.decode() if found else None

    async def _find(self, project: str, presence_id: str) -> Presence | None:
        record: Any = await self._redis.hget(presences_key(project), presence_id)
        return decode_record(record) if record else None

    async def _find_all(self, project: str, presence_ids: Sequence[Any]) -> list[Presence | None]:
        if not presence_ids:
            return []
        records: Any = await self._redis.hmget(presences_key(project), list(presence_ids))
        return [decode_record(record) if record else None for record in records]

    async def _find_of_users(self, project: str, user_ids: Sequence[str]) -> list[Presence | None]:
        found: Any = await self._redis.hmget(presence_users_key(project), list(user_ids))
        present = [presence_id for presence_id in found if presence_id]
        by_id = dict(zip(present, await self._find_all(project, present), strict=True))
        return [by_id.get(presence_id) for presence_id in found]

    async def _read_for_upsert(self, project: str, draft: Draft) -> tuple[Presence | None, int]:
        """Return the user's presence, or else the one that has the ID, whosever it is; and the next number."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.hget(presence_users_key(project), draft.user_id)
            pipeline.hget(presences_key(project), draft.presence_id)
            pipeline.incr(presence_number_key(project))
            own_id, record, number = await pipeline.execute()
        if own_id and own_id.decode() != draft.presence_id:
            # None when it was removed in between: then writing finds that out.
            return await self._find(project, own_id.decode()), number
        return (decode_record(record) if record else None), number

    async def _try_write(
        self,
        project: str,
        presence: Presence,
        existing: Presence | None,
        holder: str,
        told: _Told,
    ) -> bytes:
        envelope = encode_presence_event(presence, told.action, project, now=told.now, by=told.by)
        arguments = [
            *self._arguments(project),
            presence.id,
            presence.user_id,
            presence.user_id if existing is None else existing.user_id,
            0 if existing is None else existing.version,
            encode_record(presence),
            unix_ms(presence.expires_at),
            presence.sequence,
            envelope,
            holder,
            self._lease_ms,
            int(told.is_waited_for),
        ]
        with telling_full():
            answer: bytes = await self._write(self._keys(project), arguments)
        return answer

    async def _delete(self, project: str, presence_id: str, judge: Callable[[Presence], Acting]) -> bool:
        """Remove a presence; False when there is none. ``judge`` sees what is removed, and returns who does it."""
        while True:
            existing = await self._find(project, presence_id)
            if existing is None:
                return False
            by = judge(existing)
            removal = _Removal(existing.user_id, _ANYBODY, existing, is_waited_for=True, by=by)
            if not await self._remove_batch(project, [removal]):
                return True

    async def _remove_all(self, project: str, removals: Sequence[_Removal]) -> None:
        """Remove presences; one that was changed meanwhile stays."""
        for start in range(0, len(removals), _BATCH):
            await self._remove_batch(project, removals[start : start + _BATCH])

    async def _remove_batch(
        self, project: str, removals: Sequence[_Removal], lapsed_hub: str = ""
    ) -> list[_Removal] | None:
        """Remove presences; return those that have to be read again first, or None if the hub has a lease."""
        now = self._clock()
        arguments: list[str | int | bytes] = []
        for user_id, holder, presence, is_waited_for, by in removals:
            if presence is None:
                arguments += ["", user_id, 0, holder, "", 0]
            else:
                envelope = encode_presence_event(presence, "delete", project, now=now, by=by)
                arguments += [presence.id, user_id, presence.version, holder, envelope, int(is_waited_for)]
        with telling_full():
            answers = await self._remove(
                self._keys(project), [*self._arguments(project), lapsed_hub, *arguments]
            )
        if b"alive" in answers:
            return None
        return [removal for removal, answer in zip(removals, answers, strict=True) if answer == b"stale"]


def _expired(presence: Presence) -> _Removal:
    """Return the removal of a presence that is over, which is the doing of who said for how long it lasts."""
    is_waited_for = presence.source == "rest"
    return _Removal(presence.user_id, _ANYBODY, presence, is_waited_for, by=presence.set_by)


def _held(member: bytes, hub_id: str) -> tuple[str, str, Holder]:
    project, user_id, number = member.decode().split(":")
    return project, user_id, Holder(hub_id, int(number))
