"""The client of a Redis Cluster, against a real one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError, TryAgainError

from realtime.bus import RedisBus, connect
from realtime.bus.cluster import SLOTS, ClusterNodes, parse_slots, slot_of
from realtime.bus.keys import log_key
from realtime.bus.topology import ClusterUrl, Credentials
from realtime.identity.model import ApiKey, Project, User
from realtime.identity.store import IdentityStore
from realtime.publisher import Publisher
from tests.topologies import DEADLINE_S, Cluster


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Redis]:
    client = connect(cluster.url)
    yield client
    await client.aclose()


class TestSlotOf:
    @pytest.mark.parametrize(
        "command",
        [
            ("GET", "{b1}:project:x"),
            ("XINFO STREAM", "{b1}:log:x"),
            ("EVALSHA", "0" * 40, 2, "{b1}:log:x", "{b1}:idempotency:x", "argument"),
            ("SPUBLISH", b"{b1}:live:x", b"hello"),
            ("SCAN", 0, b"MATCH", "{b1}:user:x:*", b"COUNT", 1000),
        ],
    )
    def test_key_decides(self, command: tuple[object, ...]) -> None:
        assert slot_of(command) == slot_of(("GET", "b1"))

    @pytest.mark.parametrize("command", [("TIME",), ("INFO", "server"), ("SCAN", 0), ("DBSIZE",)])
    def test_command_without_a_key_has_none(self, command: tuple[object, ...]) -> None:
        assert slot_of(command) is None


class TestParseSlots:
    def test_owner_is_the_first_server_of_a_range(self) -> None:
        owners = parse_slots([[0, 1, [b"a", 1, b"id"], [b"r", 2, b"id"]], [3, 3, [b"b", 2, b"id"]]], "asked")

        assert owners[:5] == [("a", 1), ("a", 1), None, ("b", 2), None]
        assert len(owners) == SLOTS

    @pytest.mark.parametrize("host", [b"", None])
    def test_server_that_does_not_know_its_host_is_where_it_was_asked(self, host: bytes | None) -> None:
        assert parse_slots([[0, 0, [host, 1, b"id"]]], "asked")[0] == ("asked", 1)


class TestCommands:
    async def test_everything_that_others_use_works(self, client: Redis) -> None:
        bus, store = RedisBus(client), IdentityStore(client)
        projects = [f"p{number}" for number in range(20)]
        await asyncio.gather(*(store.put_project(Project(id=project)) for project in projects))
        for project in projects:
            (event_id,) = await bus.publish(project, [b'{"n":1}'])
            assert (await bus.log_state(project)).last == event_id
            assert (await bus.read_page(project, "0-0")).is_complete
            assert (await bus.read_page(project, "0-0")).events == [
                (event_id, b'{"id":"%s","n":1}' % event_id.encode())
            ]
        await store.put_user("p1", User(id="ann", email="ann@example.com"))
        await store.put_key("p1", ApiKey(id="k", name="k"), "secret")

        assert await bus.ping() < 5
        assert [project.id for project in await store.list_projects()] == sorted(projects)
        assert await store.find_user_by_email("p1", "ann@example.com") is not None
        assert await store.delete_project("p1")
        assert await store.get_user("p1", "ann") is None
        assert await client.time()
        assert await client.info("server")

    async def test_moved_slot_is_followed(self, cluster: Cluster, client: Redis) -> None:
        bus = RedisBus(client)
        (first,) = await bus.publish("demo", [b'{"n":1}'])
        await asyncio.to_thread(cluster.move, "demo")
        (second,) = await bus.publish("demo", [b'{"n":2}'])

        assert [event_id for event_id, _ in (await bus.read_page("demo", "0-0")).events] == [first, second]

    async def test_slot_that_is_being_moved_is_followed(self, cluster: Cluster, client: Redis) -> None:
        """Its keys are with the new owner already, which answers only who asks for it."""
        bus = RedisBus(client)
        await bus.publish("demo", [b'{"n":1}'])
        source = await asyncio.to_thread(cluster.primary_of, "demo")
        target = next(owner for owner in cluster.primaries().values() if owner is not source)
        slot = slot_of(("GET", log_key("demo")))
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))
        source.ask("MIGRATE", "127.0.0.1", target.port, log_key("demo"), 0, 5000)
        assert await client.xlen(log_key("demo")) == 1

        # Publishing needs several keys, of which nobody knows which are still to come: it waits for the end.
        with pytest.raises(TryAgainError):
            await bus.publish("demo", [b'{"n":2}'])
        async with Publisher("demo", bus=bus, retry_s=DEADLINE_S) as publisher:
            publishing = [
                asyncio.create_task(publisher.publish(f"teams.t{n}.create", {"n": n})) for n in range(30)
            ]
            for server in (target, source):
                server.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID"))
            await asyncio.gather(*publishing)
        assert await client.xlen(log_key("demo")) == 31

    async def test_failed_shard_is_an_error_until_its_replica_has_taken_over(
        self, cluster: Cluster, client: Redis
    ) -> None:
        bus = RedisBus(client)
        await bus.publish("demo", [b'{"n":1}'])
        old = await asyncio.to_thread(cluster.kill_primary_of, "demo")
        with pytest.raises(RedisError):
            await bus.publish("demo", [b'{"n":2}'])

        async with asyncio.timeout(DEADLINE_S):
            while True:
                with contextlib.suppress(RedisError):
                    await bus.publish("demo", [b'{"n":3}'])
                    break
                await asyncio.sleep(0.02)
        # The others hear of the new owner from it, each in its time.
        await asyncio.to_thread(cluster.wait_for_primary_of, "demo", other_than=old)

    async def test_command_that_was_given_up_is_not_repeated(self, cluster: Cluster, client: Redis) -> None:
        async def one_more() -> int:
            return await client.incr("{b1}:counter")

        await client.set("{b1}:counter", 0)
        owner = next(
            o for (a, b), o in cluster.primaries().items() if a <= (slot_of(("GET", "b1")) or 0) <= b
        )
        owner.pause()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one_more(), 0.1)
        owner.resume()

        assert await one_more() == 2

    async def test_no_server_that_answers_is_an_error(self) -> None:
        nodes = ClusterNodes(
            ClusterUrl((("127.0.0.1", 1),), is_tls=False, credentials=Credentials(), query="")
        )

        with pytest.raises(RedisError, match="No server"):
            await nodes.find_owners()
        await nodes.aclose()
