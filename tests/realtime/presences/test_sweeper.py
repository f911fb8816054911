"""Removing what is over: what has expired, and what hubs that died have left."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from realtime.bus import RedisBus, connect
from realtime.bus.keys import (
    PRESENCE_SWEEP_KEY,
    bucket,
    presence_ends_key,
    presence_hub_key,
    presence_leases_key,
    presences_key,
)
from realtime.identity.store import IdentityStore
from realtime.presences.model import Draft, default_permissions
from realtime.presences.store import PAGE, Holder, PresenceStore
from realtime.presences.sweeper import Sweeper

if TYPE_CHECKING:
    from tests.conftest import Proxy
    from tests.topologies import Cluster

PROJECT = "demo"
PROJECTS = [f"project{number}" for number in range(20)]
"""Of many buckets."""


def draft(user_id: str = "ada", presence_id: str = "p1", **lifetime: float) -> Draft:
    ends = timedelta(**(lifetime or {"days": 1}))
    return Draft(presence_id, user_id, "on", default_permissions(user_id), {}, "rest", ends)


async def names(store: PresenceStore, project: str = PROJECT) -> list[str]:
    page = await RedisBus(store.redis).read_page(project, "0-0", limit=5000)
    return [json.loads(message)["data"]["events"][0] for _, message in page.events]


async def count(store: PresenceStore, project: str = PROJECT) -> int:
    return len([each async for page in store.pages(project) for each in page])


async def lapse(store: PresenceStore, hub_id: str, *projects: str) -> None:
    """Let the leases of a hub be over."""
    for project in projects:
        await store.redis.zadd(presence_leases_key(bucket(project)), {hub_id: 1})


async def until_gone(store: PresenceStore, project: str = PROJECT) -> None:
    async with asyncio.timeout(10):
        while await count(store, project):
            pass


@pytest.fixture
async def live(redis_url: str) -> AsyncIterator[PresenceStore]:
    """A store by the real clock, whose leases are short."""
    client = connect(redis_url)
    yield PresenceStore(RedisBus(client), lease_s=0.05)
    await client.aclose()


@contextlib.asynccontextmanager
async def sweeping(store: PresenceStore, *, lease_s: float = 0.05) -> AsyncIterator[None]:
    async with Sweeper(store, lease_s=lease_s).running():
        yield


class TestExpired:
    async def test_each_is_removed_and_told_once(self, live: PresenceStore) -> None:
        for project in PROJECTS:
            await live.upsert(project, draft(milliseconds=1))
            await live.upsert(project, draft("bob", "p2"))
        await asyncio.sleep(0.002)
        await asyncio.gather(*(Sweeper(live, lease_s=1).sweep() for _ in range(4)))

        for project in PROJECTS:
            assert await names(live, project) == [
                "presences.p1.upsert",
                "presences.p2.upsert",
                "presences.p1.delete",
            ]

    async def test_prolonged_one_stays(self, live: PresenceStore) -> None:
        await live.upsert(PROJECT, draft(milliseconds=1))
        await live.upsert(PROJECT, draft("bob", "p2", milliseconds=50))
        await live.upsert(PROJECT, draft("bob", "p2"))
        await until_gone_user(live, "ada")
        assert await names(live) == [
            "presences.p1.upsert",
            *["presences.p2.upsert"] * 2,
            "presences.p1.delete",
        ]

    async def test_connections_that_hold_it_hold_nothing_then(self, live: PresenceStore) -> None:
        await live.upsert(PROJECT, draft(milliseconds=1), Holder("hub", 1))
        await until_gone_user(live, "ada")
        assert await live.held_by(bucket(PROJECT), "hub") == []

    async def test_more_than_a_page_go_one_page_after_the_other(self, live: PresenceStore) -> None:
        for start in range(0, PAGE + 50, 50):
            users = [f"u{number}" for number in range(start, start + 50)]
            await asyncio.gather(*(live.upsert(PROJECT, draft(user, user, milliseconds=1)) for user in users))
        sweeper = Sweeper(live, lease_s=1)
        await sweeper.sweep()
        await sweeper.sweep()
        deletes = [name for name in await names(live) if name.endswith(".delete")]
        assert len(deletes) == len(set(deletes)) == PAGE + 50

    async def test_record_that_nobody_can_read_holds_nobody_up(self, live: PresenceStore) -> None:
        for project in PROJECTS:
            await live.upsert(project, draft(milliseconds=1))
            await live.redis.hset(presences_key(project), "p0", b"1 nonsense")
            await live.redis.zadd(presence_ends_key(bucket(project)), {f"{project}:p0": 0})
        await live.redis.delete(*(presences_key(project) for project in PROJECTS[1:]))
        for project in PROJECTS[1:]:
            await live.upsert(project, draft("bob", "p2", milliseconds=1))
        await asyncio.sleep(0.002)
        await Sweeper(live, lease_s=1).sweep()
        for project in PROJECTS[1:]:
            assert await count(live, project) == 0
            assert "presences.p2.delete" in await names(live, project)

    async def test_leftovers_of_a_deleted_project_are_dropped(self, live: PresenceStore) -> None:
        await live.upsert(PROJECT, draft(milliseconds=1))
        await IdentityStore(live.redis).delete_project(PROJECT)
        await asyncio.sleep(0.002)
        await Sweeper(live, lease_s=1).sweep()
        assert await live.redis.keys("*presence-ends*") == []
        assert await names(live) == ["presences.p1.upsert"]


async def until_gone_user(store: PresenceStore, user_id: str) -> None:
    """Sweep until a user has no presence."""
    sweeper = Sweeper(store, lease_s=1)
    async with asyncio.timeout(10):
        while await store.redis.hexists(f"{{b{bucket(PROJECT)}}}:presence-users:{PROJECT}", user_id):
            await sweeper.sweep()


class TestLostHubs:
    async def test_what_only_they_held_is_removed_once(self, store: PresenceStore) -> None:
        lost, other = Holder("lost", 1), Holder("other", 1)
        for project in PROJECTS:
            await store.upsert(project, draft(), lost)
            await store.upsert(project, draft("bob", "p2"), lost)
            await store.upsert(project, draft("bob", "p2"), other)
            await store.upsert(project, draft("eve", "p3"))
        await lapse(store, "lost", *PROJECTS)
        await asyncio.gather(*(Sweeper(store, lease_s=1).sweep() for _ in range(4)))

        for project in PROJECTS:
            assert (await names(store, project))[4:] == ["presences.p1.delete"]
            assert await count(store, project) == 2
            assert not await store.redis.exists(presence_hub_key(bucket(project), "lost"))
            assert await store.redis.zscore(presence_leases_key(bucket(project)), "lost") is None

    async def test_hundreds_are_all_removed(self, store: PresenceStore) -> None:
        for start in range(0, 600, 100):
            users = [f"u{number}" for number in range(start, start + 100)]
            await asyncio.gather(
                *(store.upsert(PROJECT, draft(user, user), Holder("lost", int(user[1:]))) for user in users)
            )
        await lapse(store, "lost", PROJECT)
        await Sweeper(store, lease_s=1).sweep()
        assert await count(store) == 0

    async def test_one_that_comes_back_in_the_middle_keeps_the_rest(
        self, store: PresenceStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await store.upsert(PROJECT, draft(), Holder("lost", 1))
        await lapse(store, "lost", PROJECT)
        release = store.release

        async def release_late(*arguments: Any, **options: Any) -> bool:
            await store.renew(bucket(PROJECT), "lost")
            return await release(*arguments, **options)

        monkeypatch.setattr(store, "release", release_late)
        await Sweeper(store, lease_s=1).sweep()
        assert await count(store) == 1

    async def test_without_hubs_they_are_left(self, store: PresenceStore) -> None:
        await store.upsert(PROJECT, draft(), Holder("lost", 1))
        await lapse(store, "lost", PROJECT)
        await Sweeper(store, lease_s=1).sweep(with_hubs=False)
        assert await count(store) == 1


class TestRunning:
    async def test_it_goes_on_by_itself(self, live: PresenceStore) -> None:
        await live.upsert(PROJECT, draft(milliseconds=1))
        await live.upsert(PROJECT, draft("bob", "p2"), Holder("lost", 1))
        async with sweeping(live), sweeping(live):
            await until_gone(live)
        assert sorted(await names(live))[:2] == ["presences.p1.delete", "presences.p1.upsert"]

    async def test_one_sweeps_at_a_time(self, live: PresenceStore) -> None:
        async with sweeping(live):
            async with asyncio.timeout(10):
                while not await live.redis.exists(PRESENCE_SWEEP_KEY):
                    pass
            assert 0 < await live.redis.pttl(PRESENCE_SWEEP_KEY) <= 800

    async def test_hubs_have_time_to_renew_after_redis_was_away(
        self, live: PresenceStore, proxy: "Proxy"
    ) -> None:
        """What has expired goes at once, so that it shows that there was a sweep."""
        client = connect(proxy.url)
        far = PresenceStore(RedisBus(client), lease_s=3600)
        await live.upsert(PROJECT, draft("bob", "p2"), Holder("slow", 1))
        proxy.refuse()
        async with sweeping(far, lease_s=3600):
            proxy.accept()
            await live.upsert(PROJECT, draft(milliseconds=1))
            async with asyncio.timeout(10):
                while "presences.p1.delete" not in await names(live):
                    pass
            assert await count(live) == 1
        await client.aclose()

    async def test_it_outlives_redis(self, live: PresenceStore, proxy: "Proxy") -> None:
        client = connect(proxy.url)
        proxy.refuse()
        await live.upsert(PROJECT, draft(milliseconds=1))
        async with sweeping(PresenceStore(RedisBus(client), lease_s=1)):
            async with asyncio.timeout(10):
                while True:
                    if proxy.accepted > 1:
                        break
                    await asyncio.sleep(0.01)
            proxy.accept()
            async with asyncio.timeout(10):
                while "presences.p1.delete" not in await names(live):
                    pass
        await client.aclose()


class TestCluster:
    async def test_everything_works_on_one(self, cluster: "Cluster") -> None:
        client = connect(cluster.url)
        store = PresenceStore(RedisBus(client), lease_s=60)
        for project in PROJECTS:
            await store.upsert(project, draft(milliseconds=1))
            await store.upsert(project, draft("bob", "p2"), Holder("lost", 1))
            await store.upsert(project, draft("eve", "p3"), Holder("alive", 1))
            assert await store.renew(bucket(project), "alive") == (True, 1)
        await lapse(store, "lost", *PROJECTS)
        await Sweeper(store, lease_s=1).sweep()

        for project in PROJECTS:
            fired = (await names(store, project))[3:]
            assert sorted(fired) == ["presences.p1.delete", "presences.p2.delete"]
            assert await store.release(project, [("eve", Holder("alive", 1))])
            assert await count(store, project) == 0
        await client.aclose()
