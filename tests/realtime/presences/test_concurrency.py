"""Many who change the same presences at the same moment: the log tells one story, and it is what there is."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from realtime.bus import RedisBus, connect
from realtime.bus.keys import bucket, presence_leases_key, presence_users_key, presences_key
from realtime.errors import PresenceExistsError
from realtime.presences.model import Draft, Presence
from realtime.presences.store import Holder, PresenceStore
from realtime.presences.sweeper import Sweeper

PROJECT = "demo"
USERS = [f"u{number}" for number in range(4)]
IDS = [f"p{number}" for number in range(4)]
HUBS = ["h0", "h1"]
ACTORS = 12
STEPS = 60


@pytest.fixture
async def stores(redis_url: str) -> AsyncIterator[list[PresenceStore]]:
    """One for each of several processes."""
    clients = [connect(redis_url) for _ in range(3)]
    yield [PresenceStore(RedisBus(client), lease_s=60) for client in clients]
    for client in clients:
        await client.aclose()


def renamed(presence: Presence) -> Presence:
    return presence


async def act(store: PresenceStore, chance: random.Random) -> None:
    """Take random steps."""
    for _ in range(STEPS):
        user, presence_id = chance.choice(USERS), chance.choice(IDS)
        holder = Holder(chance.choice(HUBS), chance.randrange(2))
        match chance.randrange(6):
            case 0 | 1:
                ends = timedelta(milliseconds=chance.choice([1, 20, 60_000]))
                draft = Draft(presence_id, user, "on", ('read("any")',), {}, "rest", ends)
                try:
                    await store.upsert(PROJECT, draft, chance.choice([None, holder]))
                except PresenceExistsError:
                    continue
            case 2:
                await store.update(PROJECT, presence_id, renamed)
            case 3:
                await store.delete(PROJECT, presence_id)
            case 4:
                await store.release(PROJECT, [(user, holder)])
            case 5:
                if not chance.randrange(4):
                    await store.redis.zadd(presence_leases_key(bucket(PROJECT)), {holder.hub_id: 1})
                await Sweeper(store, lease_s=60).sweep()


async def test_log_tells_what_there_is(stores: list[PresenceStore]) -> None:
    seed = random.randrange(2**32)
    actors = [act(stores[number % 3], random.Random(f"{seed}-{number}")) for number in range(ACTORS)]
    async with asyncio.timeout(60):
        await asyncio.gather(*actors)

    present: set[str] = set()
    page = await RedisBus(stores[0].redis).read_page(PROJECT, "0-0", limit=100_000)
    assert len(page.events) > 100
    for _, message in page.events:
        _, presence_id, action = json.loads(message)["data"]["events"][0].split(".")
        if action == "upsert":
            present.add(presence_id)
        else:
            assert presence_id in present, (seed, presence_id, action)
        if action == "delete":
            present.remove(presence_id)
    # What has expired is still there, unseen, until it is swept.
    records: Any = await stores[0].redis.hkeys(presences_key(PROJECT))
    assert {record.decode() for record in records} == present, seed
    index: Any = await stores[0].redis.hgetall(presence_users_key(PROJECT))
    assert sorted(id_.decode() for id_ in index.values()) == sorted(present)
    held = {
        (user, holder)
        for hub in HUBS
        async for _, user, holder in stores[0].scan_held_by(bucket(PROJECT), hub)
    }
    assert {user for user, _ in held} <= {user.decode() for user in index}
