"""The client of a master that Sentinels watch, against real ones."""

import asyncio
import contextlib

import pytest
from redis.exceptions import RedisError

from realtime.bus import RedisBus, connect
from realtime.bus.nodes import nodes_of
from realtime.bus.sentinel import NotMasterError
from tests.topologies import DEADLINE_S, Sentinels, until


class TestMaster:
    async def test_commands_go_to_the_new_master_after_a_failover(self, sentinels: Sentinels) -> None:
        client = connect(sentinels.url)
        bus = RedisBus(client)
        (first,) = await bus.publish("demo", [b'{"n":1}'])
        old = await asyncio.to_thread(sentinels.kill_master)
        with pytest.raises(RedisError):
            await bus.publish("demo", [b'{"n":2}'])

        await asyncio.to_thread(sentinels.wait_for_master, other_than=old)
        async with asyncio.timeout(DEADLINE_S):
            while True:
                with contextlib.suppress(RedisError):
                    await bus.publish("demo", [b'{"n":3}'])
                    break
        assert (await bus.read_page("demo", "0-0")).events[0][0] == first
        await client.aclose()

    async def test_demoted_master_is_neither_read_nor_written(self, sentinels: Sentinels) -> None:
        client = connect(sentinels.url)
        await client.set("written", "before")
        old = await asyncio.to_thread(lambda: sentinels.master)
        await asyncio.to_thread(sentinels.switch)
        await asyncio.to_thread(until, lambda: old.role() == "slave", "a demoted master")
        # Reads, too, must not come from what may have fallen behind: `GET` alone would succeed there.
        master = await asyncio.to_thread(lambda: sentinels.master)
        await asyncio.to_thread(master.ask, "SET", "written", "after")

        async with asyncio.timeout(DEADLINE_S):
            while True:
                with contextlib.suppress(RedisError):
                    assert await client.get("written") == b"after"
                    await client.set("written", "again")
                    break
        assert await asyncio.to_thread(master.ask, "GET", "written") == "again"
        await client.aclose()

    async def test_connection_to_a_replica_is_refused(self, sentinels: Sentinels) -> None:
        """The Sentinels' word may be old: the server itself is asked when a connection is made."""
        client = connect(sentinels.url)
        replica = await asyncio.to_thread(lambda: sentinels.replica)
        master = await asyncio.to_thread(lambda: sentinels.master)
        for sentinel in sentinels.sentinels:
            sentinel.pause()
        sentinels.sentinels[0].resume()
        await asyncio.to_thread(master.ask, "REPLICAOF", "127.0.0.1", replica.port)

        with pytest.raises(NotMasterError):
            await client.ping()
        for sentinel in sentinels.sentinels[1:]:
            sentinel.resume()
        await client.aclose()


class TestVerify:
    async def test_server_that_believes_to_be_the_master_is_refused_when_the_sentinels_know_better(
        self, sentinels: Sentinels
    ) -> None:
        nodes = nodes_of(sentinels.url)
        old = await asyncio.to_thread(sentinels.kill_master)
        await asyncio.to_thread(sentinels.wait_for_master, other_than=old)
        await asyncio.to_thread(old.start)
        await asyncio.to_thread(until, lambda: old.role() == "master", "an old master that knows nothing")
        client = nodes.client(("127.0.0.1", old.port))

        with pytest.raises(NotMasterError):
            await nodes.verify(("127.0.0.1", old.port), client)
        new = (await nodes.locate())[0]
        await client.aclose()
        client = nodes.client(new)
        await nodes.verify(new, client)
        await client.aclose()
        await nodes.aclose()
