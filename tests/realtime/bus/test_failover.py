"""Listening to Sentinels' master and to a Cluster, with servers that are killed, stopped and moved."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import RedisError

from realtime.bus import LiveListener, RedisBus, connect
from realtime.bus.keys import bucket
from realtime.identity.model import User
from realtime.identity.store import IdentityStore
from tests.topologies import DEADLINE_S, Cluster, Sentinels

if TYPE_CHECKING:
    from tests.realtime.bus.conftest import Heard

PROBES = {"probe_interval_s": 0.2, "probe_timeout_s": 1.0}


class Publishing:
    """Publishes numbered events to projects without a pause, each until it is done; remembers how many."""

    def __init__(self, url: str, *projects: str) -> None:
        self._bus = RedisBus(connect(url))
        self._gates = {project: asyncio.Lock() for project in projects}
        self.counts = dict.fromkeys(projects, 0)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Publishing":
        self._tasks = [asyncio.create_task(self._publish(project)) for project in self.counts]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._bus.aclose()

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Nothing is being published in here."""
        async with contextlib.AsyncExitStack() as stack:
            for gate in self._gates.values():
                await stack.enter_async_context(gate)
            yield

    async def more(self, project: str, count: int = 20) -> None:
        """Wait until so many more events have been published."""
        target = self.counts[project] + count
        async with asyncio.timeout(DEADLINE_S):
            while self.counts[project] < target:  # noqa: ASYNC110 - it happens in the servers
                await asyncio.sleep(0.01)

    async def _publish(self, project: str) -> None:
        while True:
            async with self._gates[project]:
                number = self.counts[project]
                body = b'{"project":"%s","n":%d}' % (project.encode(), number)
                while True:
                    with contextlib.suppress(RedisError):
                        await self._bus.publish(project, [body], idempotency_key=str(number))
                        break
                    await asyncio.sleep(0.01)
                self.counts[project] += 1
            await asyncio.sleep(0.002)


Listening = Callable[..., AbstractAsyncContextManager[tuple[LiveListener, Publishing]]]


@pytest.fixture
def listening(listen: Callable[..., Any], heard: "Heard") -> Listening:
    """Listen to projects of which each is published to without a pause; at the end all was heard, once and in order."""

    @contextlib.asynccontextmanager
    async def start(
        url: str, *projects: str, **options: Any
    ) -> AsyncIterator[tuple[LiveListener, Publishing]]:
        one = await listen(url, **PROBES, **options)
        await asyncio.gather(*(one.watch(project) for project in projects))
        async with Publishing(url, *projects) as publishing:
            await asyncio.gather(*(publishing.more(project) for project in projects))
            yield one, publishing
            await asyncio.gather(*(publishing.more(project) for project in projects))
            counts = publishing.counts
            async with publishing.held():
                await heard.until(
                    lambda: all(len(heard.numbers(project)) >= counts[project] for project in counts)
                )
                for project in counts:
                    assert heard.numbers(project) == list(range(counts[project]))

    return start


async def until_noticed(one: LiveListener, heard: "Heard") -> None:
    """Wait until a listener has noticed that it hears a server no more; it may be back already, by way of another."""
    await heard.until(lambda: not one.healthy or heard.resuming)


def node_ports(one: LiveListener) -> set[int]:
    return {port for _, port in one._feeds}


def shards(cluster: Cluster, count: int) -> list[str]:
    """Return a project of each of several shards."""
    found: dict[int, str] = {}
    for number in range(1000):
        found.setdefault(cluster.primary_of(f"p{number}").port, f"p{number}")
        if len(found) == count:
            return list(found.values())
    raise AssertionError("no projects on so many shards")


class TestSentinels:
    async def test_killed_master_loses_and_repeats_nothing(
        self, sentinels: Sentinels, listening: Listening, heard: "Heard"
    ) -> None:
        async with listening(sentinels.url, "demo") as (one, publishing):
            async with publishing.held():
                old = await asyncio.to_thread(sentinels.kill_master)
            await until_noticed(one, heard)
        await heard.until(lambda: one.healthy)
        await heard.until(lambda: heard.resumed == [("demo", True)])
        assert heard.missed == [0]
        assert old.port not in node_ports(one)

    async def test_stopped_master_is_noticed_and_not_listened_to_when_it_goes_on(
        self, sentinels: Sentinels, listening: Listening, heard: "Heard"
    ) -> None:
        """As when a machine hangs: every connection to it stays open."""
        async with listening(sentinels.url, "demo") as (one, publishing), publishing.held():
            old = await asyncio.to_thread(sentinels.pause_master)
            await until_noticed(one, heard)
            await asyncio.to_thread(sentinels.wait_for_master, other_than=old)
            old.resume()
        assert old.port not in node_ports(one)

    async def test_server_that_is_master_no_longer_is_given_up(
        self, sentinels: Sentinels, listen: Callable[..., Any], heard: "Heard"
    ) -> None:
        """Its connections stay open, and what is published at the new master still comes through."""
        one = await listen(sentinels.url, **PROBES)
        await one.watch("demo")
        master, replica = await asyncio.to_thread(lambda: (sentinels.master, sentinels.replica))
        # They would mend it, and cut the connections.
        for sentinel in sentinels.sentinels:
            sentinel.pause()
        await asyncio.to_thread(replica.ask, "REPLICAOF", "NO", "ONE")
        await asyncio.to_thread(master.ask, "REPLICAOF", "127.0.0.1", replica.port)

        await heard.until(lambda: not one.healthy)
        for sentinel in sentinels.sentinels:
            sentinel.resume()

    async def test_planned_failover_is_followed(
        self, sentinels: Sentinels, listening: Listening, heard: "Heard"
    ) -> None:
        async with listening(sentinels.url, "demo") as (one, publishing), publishing.held():
            await asyncio.to_thread(sentinels.switch)
            master = await asyncio.to_thread(lambda: sentinels.master)
            await heard.until(lambda: node_ports(one) == {master.port} and one.healthy)


class TestCluster:
    async def test_projects_of_all_shards_are_heard(
        self, cluster: Cluster, listening: Listening, heard: "Heard"
    ) -> None:
        projects = await asyncio.to_thread(shards, cluster, 3)
        async with listening(cluster.url, *projects, bridge=True, on_bridge=heard.bridged.append) as (one, _):
            pass
        await heard.until(lambda: one.healthy)
        assert await one.probe() > 0
        assert len(node_ports(one)) == 3

        client = connect(cluster.url)
        await IdentityStore(client).put_user(projects[0], User(id="ann"))
        await client.aclose()
        await heard.until(lambda: heard.messages[-1] == (projects[0], b'{"identity":{"user":"ann"}}'))

        await asyncio.to_thread(cluster.replica_of(cluster.servers[0]).ask, "PUBLISH", "realtime", "hello")
        await heard.until(lambda: heard.bridged == [b"hello"])

        for project in projects:
            await one.unwatch(project)
        # A project that needs a place has the servers that nobody needs any more let go.
        home = await asyncio.to_thread(
            lambda: cluster.primary_of(next(p for p in map(str, range(999)) if not bucket(p)))
        )
        one._is_unplaced.set()
        await heard.until(lambda: node_ports(one) == {home.port})
        assert one.healthy

    async def test_killed_primary_concerns_its_shard_alone_and_loses_and_repeats_nothing(
        self, cluster: Cluster, listening: Listening, heard: "Heard"
    ) -> None:
        first, second, third = await asyncio.to_thread(shards, cluster, 3)
        async with listening(cluster.url, first, second, third) as (one, publishing):
            async with publishing.held():
                await asyncio.to_thread(cluster.kill_primary_of, first)
            await until_noticed(one, heard)
            await publishing.more(second)
        await heard.until(lambda: one.healthy)
        await heard.until(lambda: heard.resumed == [(first, True)])

    async def test_stopped_primary_is_noticed_and_not_listened_to_any_more(
        self, cluster: Cluster, listening: Listening, heard: "Heard"
    ) -> None:
        async with listening(cluster.url, "demo") as (one, publishing), publishing.held():
            old = await asyncio.to_thread(cluster.pause_primary_of, "demo")
            await until_noticed(one, heard)
            await heard.until(lambda: one.healthy and old.port not in node_ports(one))
            old.resume()

    async def test_moved_slot_is_followed_without_loss_or_repetition(
        self, cluster: Cluster, listening: Listening, heard: "Heard"
    ) -> None:
        projects = dict.fromkeys(["demo", *await asyncio.to_thread(shards, cluster, 3)])
        async with listening(cluster.url, *projects) as (one, publishing):
            for _ in range(3):
                new = await asyncio.to_thread(cluster.move, "demo")
                await publishing.more("demo")
                await heard.until(lambda: one._places[bucket("demo")][1] == new.port and one.healthy)  # noqa: B023
                await publishing.more("demo")
        moved = {project for project, _ in heard.resumed}
        assert all(bucket(project) == bucket("demo") for project in moved)
        assert all(complete for _, complete in heard.resumed)

    async def test_restart_of_all_servers_is_survived(
        self, cluster: Cluster, listening: Listening, heard: "Heard"
    ) -> None:
        async with listening(cluster.url, "demo") as (one, publishing), publishing.held():
            for server in cluster.servers:
                await asyncio.to_thread(server.kill)
            await heard.until(lambda: not one.healthy)
            for server in cluster.servers:
                await asyncio.to_thread(server.start)
        await heard.until(lambda: one.healthy)

    @pytest.mark.parametrize("url", ["redis-cluster://127.0.0.1:1", "redis-sentinel://127.0.0.1:1/m"])
    async def test_start_without_servers_returns(self, url: str, listen: Callable[..., Any]) -> None:
        one = await listen(url)

        assert not one.healthy
        with pytest.raises(RedisError):
            await one.probe()
