"""No ghosts: presences of a hub that is killed, drained, or cut off from Redis."""

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import redis.asyncio

from realtime.bus import RedisBus
from realtime.presences.store import PresenceStore

if TYPE_CHECKING:
    from tests.conftest import Proxy
    from tests.realtime.hub.conftest import Client, Start, StartProcess


async def set_presence(client: "Client", presence_id: str) -> None:
    data = {"status": "on", "presenceId": presence_id, "permissions": ['read("any")']}
    frame = await client.ask("presence", data)
    assert frame["type"] == "response", frame


async def until_present(client: redis.asyncio.Redis, *expected: str) -> None:
    """Wait until exactly these presences are there."""
    store = PresenceStore(RedisBus(client), lease_s=1)
    async with asyncio.timeout(20):
        while {each.id async for page in store.pages("demo") for each in page} != set(expected):
            pass


async def next_names(client: "Client", count: int) -> list[str]:
    return [(await client.receive_event())["events"][0] for _ in range(count)]


class TestKilledHub:
    async def test_what_only_it_held_goes_and_is_told_once(
        self, start_process: "StartProcess", start_hub: "Start", redis_client: redis.asyncio.Redis
    ) -> None:
        async with start_hub(presence_lease_s=1) as stays, stays.greeted() as watcher:
            await watcher.subscribe("presences")
            async with (
                start_process(presence_lease_s=1) as killed,
                killed.greeted(jwt=killed.token("ada")) as ada,
                killed.greeted(jwt=killed.token("bob")) as bob,
                stays.greeted(jwt=stays.token("bob")) as bob_elsewhere,
            ):
                await set_presence(ada, "p1")
                await set_presence(bob, "p2")
                await set_presence(bob_elsewhere, "p2")
                assert await next_names(watcher, 3) == [
                    "presences.p1.upsert",
                    "presences.p2.upsert",
                    "presences.p2.upsert",
                ]
                killed.process.send_signal(signal.SIGKILL)
                await killed.ended()

                assert await next_names(watcher, 1) == ["presences.p1.delete"]
                await until_present(redis_client, "p2")
                await watcher.assert_silent()


class TestStoppedHub:
    async def test_its_connections_take_their_presences_along(
        self, start_process: "StartProcess", redis_client: redis.asyncio.Redis
    ) -> None:
        async with (
            start_process(drain_window_s=0, close_timeout_s=0.2, presence_lease_s=60) as hub,
            hub.greeted(jwt=hub.token("ada")) as ada,
        ):
            await set_presence(ada, "p1")
            hub.process.send_signal(signal.SIGTERM)
            assert await hub.ended() == 0
            await until_present(redis_client)


class TestRedisAway:
    async def test_swept_meanwhile_it_is_there_again_afterwards(
        self, start_hub: "Start", proxy: "Proxy", redis_client: redis.asyncio.Redis
    ) -> None:
        """The hub lives, so the person is there; that nobody could see it for a moment is told by two events."""
        near: dict[str, Any] = {"presence_lease_s": 1}
        async with (
            start_hub(**near),
            start_hub(**near, redis_url=proxy.url) as far,
            far.greeted(jwt=far.token("ada")) as ada,
        ):
            await set_presence(ada, "p1")
            proxy.refuse()
            await until_present(redis_client)
            proxy.accept()
            await until_present(redis_client, "p1")
        await until_present(redis_client)

    async def test_set_while_it_is_away_it_is_there_afterwards(
        self, start_hub: "Start", proxy: "Proxy", redis_client: redis.asyncio.Redis
    ) -> None:
        async with start_hub(redis_url=proxy.url) as hub, hub.greeted(jwt=hub.token("ada")) as ada:
            proxy.refuse()
            await ada.send({"type": "presence", "data": {"status": "on", "presenceId": "p1"}})
            assert await ada.ask("ping") == {"type": "pong"}
            proxy.accept()
            assert (await ada.receive())["data"]["presence"]["$id"] == "p1"
            await until_present(redis_client, "p1")
