"""What a hub holds, while Redis is there, away, or has lost what it had."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from realtime.bus import RedisBus, connect
from realtime.bus.keys import bucket, presence_leases_key
from realtime.errors import PresenceExistsError
from realtime.presences.holdings import Holdings
from realtime.presences.model import Draft, Presence, default_permissions
from realtime.presences.store import Holder, PresenceStore
from realtime.presences.sweeper import Sweeper

if TYPE_CHECKING:
    from tests.conftest import Proxy

PROJECT = "demo"


def draft(user_id: str = "ada", presence_id: str = "p1", **members: Any) -> Draft:
    fields: dict[str, Any] = {"metadata": {}, "source": "realtime", "lifetime": timedelta(days=1)}
    return Draft(presence_id, user_id, "on", default_permissions(user_id), **(fields | members))


class Tasks:
    """Runs what is spawned, and ends it."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def aclose(self) -> None:
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


@contextlib.asynccontextmanager
async def holding(store: PresenceStore, hub_id: str = "hub", lease_s: float = 10) -> AsyncIterator[Holdings]:
    tasks = Tasks()
    yield Holdings(store, hub_id=hub_id, lease_s=lease_s, spawn=tasks.spawn)
    await tasks.aclose()


@pytest.fixture
async def holdings(store: PresenceStore) -> AsyncIterator[Holdings]:
    async with holding(store) as held:
        yield held


async def present(store: PresenceStore, project: str = PROJECT) -> list[Presence]:
    return [each async for page in store.pages(project) for each in page]


async def lapse(store: PresenceStore, hub_id: str = "hub") -> None:
    """Let the hub's lease be over, as if it had not been renewed."""
    await store.redis.zadd(presence_leases_key(bucket(PROJECT)), {hub_id: 1})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0.001)


class TestHolding:
    async def test_last_connection_takes_the_presence_along(
        self, store: PresenceStore, holdings: Holdings
    ) -> None:
        await holdings.hold(PROJECT, draft(), 1)
        await holdings.hold(PROJECT, draft(), 2)
        holdings.release(PROJECT, "ada", 1)
        await holdings.flush(5)
        assert len(await present(store)) == 1
        holdings.release(PROJECT, "ada", 2)
        await holdings.flush(5)
        assert await present(store) == []
        assert len(holdings) == 0

    async def test_what_is_not_held_is_not_let_go(self, store: PresenceStore, holdings: Holdings) -> None:
        await holdings.hold(PROJECT, draft(), 1)
        holdings.release(PROJECT, "ada", 2)
        holdings.release(PROJECT, "bob", 1)
        holdings.release("other", "ada", 1)
        await holdings.flush(5)
        assert len(await present(store)) == 1

    async def test_unwanted_by_the_time_it_is_written_it_is_let_go(
        self, store: PresenceStore, holdings: Holdings
    ) -> None:
        answers = iter([True, False])
        assert await holdings.hold(PROJECT, draft(), 1, lambda: next(answers)) is None
        await holdings.flush(5)
        assert await present(store) == []

    async def test_let_go_while_it_is_written_nothing_stays(
        self, store: PresenceStore, holdings: Holdings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upsert = store.upsert

        async def upsert_late(*arguments: Any) -> Any:
            holdings.release(PROJECT, "ada", 1)
            await holdings.flush(5)
            return await upsert(*arguments)

        monkeypatch.setattr(store, "upsert", upsert_late)
        assert await holdings.hold(PROJECT, draft(), 1) is None
        await holdings.flush(5)
        assert await present(store) == []

    async def test_set_again_right_after_it_was_let_go_it_stays(
        self, store: PresenceStore, holdings: Holdings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As somebody who signs out and in again on one connection: letting go may take its time."""
        await holdings.hold(PROJECT, draft(), 1)
        release, may_go = store.release, asyncio.Event()

        async def release_late(*arguments: Any) -> bool:
            await may_go.wait()
            return await release(*arguments)

        monkeypatch.setattr(store, "release", release_late)
        holdings.release(PROJECT, "ada", 1)
        again = asyncio.create_task(holdings.hold(PROJECT, draft(), 1))
        await asyncio.sleep(0)
        may_go.set()
        assert await again is not None
        await holdings.flush(5)
        assert len(await present(store)) == 1
        assert len(holdings) == 1

    async def test_refused_one_is_not_held(self, store: PresenceStore, holdings: Holdings) -> None:
        await holdings.hold(PROJECT, draft(), 1)
        with pytest.raises(PresenceExistsError):
            await holdings.hold(PROJECT, draft("bob"), 2)
        assert len(holdings) == 1

    async def test_thousands_that_go_together_are_all_gone(
        self, store: PresenceStore, holdings: Holdings
    ) -> None:
        numbers = range(1000)
        for start in numbers[::250]:
            await asyncio.gather(
                *(
                    holdings.hold(PROJECT, draft(f"u{each}", f"p{each}"), each)
                    for each in range(start, start + 250)
                )
            )
        assert len(await present(store)) == 1000
        for each in numbers:
            holdings.release(PROJECT, f"u{each}", each)
        await holdings.flush(10)
        assert await present(store) == []


class TestRenewing:
    async def test_hub_that_renews_is_not_swept(self, store: PresenceStore, holdings: Holdings) -> None:
        await holdings.hold(PROJECT, draft(), 1)
        await lapse(store)
        await holdings.renew()
        await Sweeper(store, lease_s=10).sweep()
        assert len(await present(store)) == 1

    async def test_swept_while_alive_it_is_asserted_again(
        self, store: PresenceStore, holdings: Holdings
    ) -> None:
        made = await holdings.hold(PROJECT, draft(presence_id="p1"), 1)
        await holdings.hold(PROJECT, draft(presence_id="p2"), 2)
        await lapse(store)
        await Sweeper(store, lease_s=10).sweep()
        assert await present(store) == []

        await holdings.renew()
        [again] = await present(store)
        assert made is not None
        assert (again.id, again.user_id, again.metadata) == (made.id, made.user_id, made.metadata)
        for number in (1, 2):
            assert len(await present(store)) == 1
            holdings.release(PROJECT, "ada", number)
            await holdings.flush(5)
        assert await present(store) == []

    async def test_lost_by_redis_it_is_asserted_again(self, store: PresenceStore, holdings: Holdings) -> None:
        await holdings.hold(PROJECT, draft(), 1)
        await store.redis.flushall()
        await holdings.renew()
        assert [each.id for each in await present(store)] == ["p1"]

    async def test_lost_and_noticed_by_another_that_is_set_it_is_asserted_again(
        self, store: PresenceStore, holdings: Holdings
    ) -> None:
        await holdings.hold(PROJECT, draft(), 1)
        await store.redis.flushall()
        await holdings.hold(PROJECT, draft("bob", "p2"), 2)
        await holdings.renew()
        assert {each.id for each in await present(store)} == {"p1", "p2"}

    async def test_out_of_touch_for_longer_than_the_lease_it_looks(self, store: PresenceStore) -> None:
        async with holding(store, lease_s=0) as holdings:
            await holdings.hold(PROJECT, draft(), 1)
            # Let go in the hub's place; the lease was made again since, by whom does not matter.
            await store.release(PROJECT, [("ada", Holder("hub", 1))])
            await holdings.renew()
            await holdings.renew()
            assert len(await present(store)) == 1

    async def test_taken_over_by_the_api_it_is_forgotten(
        self, store: PresenceStore, holdings: Holdings
    ) -> None:
        await holdings.hold(PROJECT, draft(), 1)
        await store.upsert(PROJECT, draft(source="rest"))
        await holdings.renew()
        assert len(holdings) == 0
        assert [each.source for each in await present(store)] == ["rest"]

    async def test_deleted_by_the_api_it_stays_deleted(
        self, store: PresenceStore, holdings: Holdings
    ) -> None:
        await holdings.hold(PROJECT, draft(), 1)
        await store.delete(PROJECT, "p1")
        await holdings.renew()
        assert len(holdings) == 0
        assert await present(store) == []

    async def test_taken_over_while_the_lease_had_lapsed_it_is_forgotten(
        self, store: PresenceStore, holdings: Holdings
    ) -> None:
        await holdings.hold(PROJECT, draft(), 1)
        await store.upsert(PROJECT, draft(source="rest"))
        await lapse(store)
        await holdings.renew()
        assert len(holdings) == 0
        assert [each.source for each in await present(store)] == ["rest"]

    async def test_id_given_to_others_meanwhile_is_not_asserted(
        self, store: PresenceStore, holdings: Holdings
    ) -> None:
        await holdings.hold(PROJECT, draft(), 1)
        await lapse(store)
        await Sweeper(store, lease_s=10).sweep()
        await store.upsert(PROJECT, draft("bob"), Holder("other", 1))
        await holdings.renew()
        assert len(holdings) == 0
        assert [each.user_id for each in await present(store)] == ["bob"]

    async def test_what_the_hub_does_not_know_of_is_let_go(
        self, store: PresenceStore, holdings: Holdings
    ) -> None:
        await holdings.hold(PROJECT, draft(), 1)
        await store.upsert(PROJECT, draft("bob", "p2"), Holder("hub", 2))
        await holdings.renew()
        await holdings.flush(5)
        assert [each.user_id for each in await present(store)] == ["ada"]

    async def test_hub_that_holds_nothing_leaves_its_lease_to_end(
        self, store: PresenceStore, holdings: Holdings
    ) -> None:
        await holdings.hold(PROJECT, draft(), 1)
        holdings.release(PROJECT, "ada", 1)
        await holdings.flush(5)
        await lapse(store)
        await holdings.renew()
        await Sweeper(store, lease_s=10).sweep()
        assert not await store.redis.exists(presence_leases_key(bucket(PROJECT)))

    async def test_it_goes_on_by_itself(self, store: PresenceStore) -> None:
        async with holding(store, lease_s=0.02) as holdings:
            running = asyncio.create_task(holdings.run())
            await holdings.hold(PROJECT, draft(), 1)
            key, number = presence_leases_key(bucket(PROJECT)), bucket(PROJECT)
            before = await store.redis.zscore(key, "hub")
            assert before is not None
            async with asyncio.timeout(10):
                while await store.redis.zscore(key, "hub") == before:
                    pass
            assert await store.renew(number, "hub") == (True, 1)
            running.cancel()


class TestRedisAway:
    @pytest.fixture
    async def far(self, proxy: "Proxy") -> AsyncIterator[PresenceStore]:
        """The store by a way that can be broken."""
        client = connect(proxy.url)
        yield PresenceStore(RedisBus(client), lease_s=10)
        await client.aclose()

    async def test_setting_waits_until_it_is_back(
        self, store: PresenceStore, far: PresenceStore, proxy: "Proxy"
    ) -> None:
        async with holding(far) as holdings:
            proxy.refuse()
            setting = asyncio.create_task(holdings.hold(PROJECT, draft(), 1))
            accepted = proxy.accepted
            await until(lambda: proxy.accepted > accepted + 1)
            assert not setting.done()
            proxy.accept()
            assert await setting is not None
            assert len(await present(store)) == 1

    async def test_letting_go_waits_until_it_is_back(
        self, store: PresenceStore, far: PresenceStore, proxy: "Proxy"
    ) -> None:
        async with holding(far) as holdings:
            await holdings.hold(PROJECT, draft(), 1)
            proxy.refuse()
            holdings.release(PROJECT, "ada", 1)
            await holdings.flush(0.05)
            assert len(await present(store)) == 1
            proxy.accept()
            await holdings.flush(10)
            assert await present(store) == []

    async def test_connection_that_gives_up_meanwhile_leaves_nothing(
        self, store: PresenceStore, far: PresenceStore, proxy: "Proxy"
    ) -> None:
        async with holding(far) as holdings:
            proxy.refuse()
            is_there = True
            setting = asyncio.create_task(holdings.hold(PROJECT, draft(), 1, lambda: is_there))
            accepted = proxy.accepted
            await until(lambda: proxy.accepted > accepted)
            is_there = False
            assert await setting is None
            proxy.accept()
            await holdings.flush(10)
            assert await present(store) == []

    async def test_answer_that_was_lost_is_no_second_presence(
        self, store: PresenceStore, far: PresenceStore, proxy: "Proxy"
    ) -> None:
        async with holding(far) as holdings:
            await holdings.hold(PROJECT, draft(), 1)
            proxy.lose_next_reply()
            shown = await holdings.hold(PROJECT, draft(presence_id="p2"), 1)
            assert shown is not None
            assert [each.id for each in await present(store)] == [shown.id] == ["p1"]

    async def test_renewing_goes_on_when_it_is_back(
        self, store: PresenceStore, far: PresenceStore, proxy: "Proxy"
    ) -> None:
        async with holding(far, lease_s=0.04) as holdings:
            await holdings.hold(PROJECT, draft(), 1)
            running = asyncio.create_task(holdings.run())
            proxy.refuse()
            accepted = proxy.accepted
            await until(lambda: proxy.accepted > accepted + 1)
            await store.release(PROJECT, [("ada", Holder("hub", 1))])
            assert await present(store) == []
            proxy.accept()
            async with asyncio.timeout(10):
                while not await present(store):
                    pass
            running.cancel()
