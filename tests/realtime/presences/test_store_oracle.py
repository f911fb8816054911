"""Random sequences of changes against a plain model in Python: the same presences, holders and events."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.bus import RedisBus, connect
from realtime.bus.keys import bucket
from realtime.errors import PresenceExistsError
from realtime.presences.model import Draft, Presence
from realtime.presences.store import Holder, PresenceStore
from workers.embedded import EmbeddedValkey

PROJECT = "demo"
USERS = st.sampled_from(["ada", "bob", "eve"])
IDS = st.sampled_from(["p1", "p2", "p3"])
HOLDERS = st.sampled_from([Holder("h1", 1), Holder("h1", 2), Holder("h2", 1)])

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), USERS, IDS, st.none() | HOLDERS, st.integers(1, 20)),
        st.tuples(st.just("update"), IDS, st.booleans()),
        st.tuples(st.just("delete"), IDS),
        st.tuples(st.just("release"), USERS, HOLDERS),
        st.tuples(st.just("advance"), st.integers(1, 20)),
        st.tuples(st.just("expire")),
    ),
    max_size=25,
)


@dataclass
class Row:
    id: str
    ends_at: int
    holders: set[Holder] = field(default_factory=set)


@dataclass
class Oracle:
    """What there should be: rows by user, in the order of making, and the events so far."""

    now: int = 0
    rows: dict[str, Row] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)

    def upsert(self, user: str, id_: str, holder: Holder | None, lasts: int) -> bool:
        """Return whether it is allowed."""
        while True:
            owner = user if user in self.rows else self._owner(id_)
            if owner is None or self.rows[owner].ends_at > self.now:
                break
            self._remove(owner)
        if owner not in (None, user):
            return False
        row = self.rows.setdefault(user, Row(id_, 0))
        row.ends_at = self.now + lasts
        row.holders = set() if holder is None else row.holders | {holder}
        self.events.append(f"{row.id}.upsert")
        return True

    def update(self, id_: str, changes: bool) -> None:
        owner = self._owner(id_)
        if owner is not None and changes and self.rows[owner].ends_at > self.now:
            self.events.append(f"{id_}.update")

    def delete(self, id_: str) -> None:
        owner = self._owner(id_)
        if owner is not None:
            self._remove(owner)

    def release(self, user: str, holder: Holder) -> None:
        row = self.rows.get(user)
        if row is not None and holder in row.holders:
            row.holders.remove(holder)
            if not row.holders:
                self._remove(user)

    def expire(self) -> None:
        for user in [user for user, row in self.rows.items() if row.ends_at <= self.now]:
            self._remove(user)

    def visible(self) -> list[str]:
        return [row.id for row in self.rows.values() if row.ends_at > self.now]

    def held(self) -> set[tuple[str, Holder]]:
        return {(user, holder) for user, row in self.rows.items() for holder in row.holders}

    def _owner(self, id_: str) -> str | None:
        return next((user for user, row in self.rows.items() if row.id == id_), None)

    def _remove(self, user: str) -> None:
        self.events.append(f"{self.rows.pop(user).id}.delete")


async def check(url: str, steps: list[tuple[Any, ...]]) -> None:
    client = connect(url)
    await client.flushall()
    oracle, begun = Oracle(), datetime.now(UTC)
    store = PresenceStore(RedisBus(client), lease_s=60, clock=lambda: begun + timedelta(minutes=oracle.now))

    async def upsert(user: str, id_: str, holder: Holder | None, lasts: int) -> None:
        draft = Draft(id_, user, "on", ('read("any")',), {}, "rest", timedelta(minutes=lasts))
        try:
            await store.upsert(PROJECT, draft, holder)
        except PresenceExistsError:
            assert not oracle.upsert(user, id_, holder, lasts)
        else:
            assert oracle.upsert(user, id_, holder, lasts)

    async def update(id_: str, changes: bool) -> None:
        def change(presence: Presence) -> Presence | None:
            return presence if changes else None

        await store.update(PROJECT, id_, change)
        oracle.update(id_, changes)

    async def delete(id_: str) -> None:
        await store.delete(PROJECT, id_)
        oracle.delete(id_)

    async def release(user: str, holder: Holder) -> None:
        await store.release(PROJECT, [(user, holder)])
        oracle.release(user, holder)

    async def advance(minutes: int) -> None:
        oracle.now += minutes

    async def expire() -> None:
        await store.expire(PROJECT, ["p1", "p2", "p3"])
        # In the order of the IDs, as it was asked for.
        oracle.rows = dict(sorted(oracle.rows.items(), key=lambda item: item[1].id))
        oracle.expire()

    actions: dict[str, Callable[..., Awaitable[None]]] = {
        "upsert": upsert,
        "update": update,
        "delete": delete,
        "release": release,
        "advance": advance,
        "expire": expire,
    }
    for name, *arguments in steps:
        await actions[name](*arguments)
    found = [each.id async for page in store.pages(PROJECT) for each in page]
    assert sorted(found) == sorted(oracle.visible())
    assert await events(store) == oracle.events
    held = {
        (user, holder)
        for hub in ("h1", "h2")
        for _, user, holder in await store.held_by(bucket(PROJECT), hub)
    }
    assert held == oracle.held()
    await client.aclose()


async def events(store: PresenceStore) -> list[str]:
    page = await RedisBus(store.redis).read_page(PROJECT, "0-0")
    names = [json.loads(message)["data"]["events"][0] for _, message in page.events]
    return [name.removeprefix("presences.") for name in names]


@given(steps=STEPS)
@settings(max_examples=60)
def test_any_sequence_of_changes_leads_to_the_same(valkey: EmbeddedValkey, steps: Any) -> None:
    asyncio.run(check(valkey.url, steps))
