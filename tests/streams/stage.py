"""A scenario's parts together: hubs on one Redis, clients that reach them through a gateway, and events."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from realtime.bus import RedisBus, connect
from realtime.bus.positions import parse_position
from realtime.identity.model import Project
from realtime.identity.store import IdentityStore
from realtime.publisher import Publisher
from tests.streams.checker import Stream
from tests.streams.crowd import Crowd, Member
from tests.streams.gateway import Gateway
from tests.streams.hubs import HubProcess
from tests.streams.journal import DEADLINE_S, Journal, until
from tests.streams.load import TABLES, Load, rows_channel
from tests.streams.people import GUEST, Person, bearer
from tests.streams.readers import PROJECT, PythonReader, RawReader, Reader, Wanted
from tests.streams.records import confirmed_position
from tests.topologies import Server, free_ports

QUICK: dict[str, Any] = {"probe_interval_s": 0.2, "probe_timeout_s": 0.5}
"""Settings of hubs that soon notice when Redis does not answer, in scenarios in which it does not."""
PATIENT: dict[str, Any] = {"close_timeout_s": 10}
"""Settings of hubs that, when they stop, give clients plenty of time to confirm what they have."""
PUBLISH_RETRY_S = 30.0
TEAMS = ("red", "blue")
READER_ROLES = ("team:red", "team:blue", "users", "user:raw3", "user:python6", "user:sdk9")

ALL_ROWS = "rows"
"""The channel that the rows of every table are on."""


class Stage:
    """What a scenario acts with. Made by :func:`open_stage`."""

    def __init__(self, redis_url: str, folder: Path, redis: Redis, bus: RedisBus, gateway: Gateway) -> None:
        self.journal = Journal()
        self.gateway = gateway
        self.store = IdentityStore(redis)
        self.publisher = Publisher(PROJECT, bus=bus, retry_s=PUBLISH_RETRY_S)
        self.hubs: list[HubProcess] = []
        self.load = Load(self.journal, self.publisher, READER_ROLES)
        self.readers: list[Reader] = []
        self._redis_url, self._redis = redis_url, redis
        self._folder = folder
        self.bus = bus
        self._reading: list[asyncio.Task[None]] = []

    # The frame of a scenario: what there is, and what goes on while something fails.

    async def set_up(
        self, *, hubs: int, python: int = 0, raw: int = 0, sdk: int = 0, **settings: Any
    ) -> None:
        """Start hubs, connect clients of each kind to them, and wait until all are subscribed."""
        await self.start_hubs(hubs, **settings)
        await self.connect(python=python, raw=raw, sdk=sdk)

    @asynccontextmanager
    async def under_load(self) -> AsyncIterator[None]:
        """Publish for the length of an ``async with``, from well before it until all clients are back after it."""
        async with self.load.running():
            await self.load.go_on(30)
            yield
            await self.load.go_on(30)
            await self.all_connected()
            await self.load.go_on(10)

    # Hubs.

    async def start_hubs(self, count: int, **settings: Any) -> None:
        """Start hubs side by side, and route clients to them in turn."""
        self.hubs += [self.make_hub(**settings) for _ in range(count)]
        await asyncio.gather(*(hub.start() for hub in self.hubs[-count:]))
        self.gateway.route(*(hub.port for hub in self.hubs))

    def make_hub(self, **settings: Any) -> HubProcess:
        """Return one more hub, which does not run yet."""
        (port,) = free_ports(1)
        chosen = {"redis_url": self._redis_url, **settings}
        return HubProcess(port, self._folder / f"hub-{port}.log", **chosen)

    async def kill_hub(self) -> None:
        """Kill the oldest hub; its clients go to the others, as the gateway passes over a hub that is gone."""
        await self.note_confirmed()
        await self.hubs.pop(0).kill()

    async def count(self, metric: str, **labels: str) -> float:
        """Return a metric of all hubs together, of the series with these labels."""
        samples = [sample for hub in self.hubs for sample in await hub.samples()]
        return sum(
            value for name, all_, value in samples if name == metric and labels.items() <= all_.items()
        )

    async def roll(self) -> None:
        """Replace every hub by a new one, one after the other, as a deploy does."""
        for old in self.hubs.copy():
            new = self.make_hub(**old.settings)
            self.hubs.append(new)
            await new.start()
            self.gateway.route(*(hub.port for hub in self.hubs if hub is not old))
            await old.stop()
            self.hubs.remove(old)
            await self.all_connected()

    # Redis.

    async def redis_missed(self) -> None:
        """Wait until every hub has noticed that Redis is away, or does not answer."""

        async def nobody_finds_it() -> bool:
            return not any([await hub.finds_redis() for hub in self.hubs])

        await self._until(nobody_finds_it, "all hubs to notice that Redis is away")

    async def restart(self, server: Server) -> None:
        """Kill the Redis server, and start it again when every hub has noticed."""
        await asyncio.to_thread(server.kill)
        await self.redis_missed()
        await asyncio.to_thread(server.start)

    async def silence(self, server: Server) -> None:
        """Stop the Redis server from answering, with its connections open, until every hub has noticed."""
        server.pause()
        await self.redis_missed()
        server.resume()

    # Clients.

    async def connect(self, *, python: int = 0, raw: int = 0, sdk: int = 0) -> None:
        """Connect clients of each kind, guests and members of teams, and wait until all are subscribed."""
        port = self.gateway.port
        added: list[Reader] = [
            *(PythonReader(self.journal, port, *each) for each in _members("python", python)),
            *(RawReader(self.journal, port, *each) for each in _members("raw", raw)),
        ]
        if sdk:
            added.append(Crowd(self.journal, port, list(_members("sdk", sdk))))
        await self.add(*added)

    async def add(self, *readers: Reader) -> None:
        """Connect clients, and wait until all of them are subscribed."""
        self.readers += readers
        self._reading += [asyncio.get_running_loop().create_task(reader.run()) for reader in readers]
        await self.all_connected()

    async def all_connected(self) -> None:
        """Wait until all clients are connected and subscribed."""
        await self._until(
            lambda: all(reader.is_connected() for reader in self.readers), "all to be connected"
        )

    async def carried(self, count: int) -> None:
        """Wait until the gateway has carried so many connections since the beginning: clients have come back."""
        await self._until(lambda: self.gateway.carried >= count, f"{count} connections")

    async def subscribe_messages(self) -> float:
        """Return how many messages that ask for subscriptions the hubs have received."""
        return await self.count("realtime_messages_received_total", type="subscribe")

    async def asked(self, count: float) -> None:
        """Wait until the hubs have received so many messages that ask for subscriptions."""

        async def have_asked() -> bool:
            return await self.subscribe_messages() >= count

        await self._until(have_asked, f"{count} subscribe messages")

    async def all_seen(self) -> None:
        """Wait until all clients have seen what they must, or a generous time is over."""
        await self.journal.until_seen(DEADLINE_S)
        self._raise_failure()

    async def all_settled(self) -> None:
        """Wait until all clients have seen all there is now, and the hubs' records say so."""
        await self.all_seen()
        await self.all_confirmed()

    async def all_confirmed(self) -> None:
        """Wait until the hubs' records say that all clients have what was published up to now."""
        last = parse_position((await self.bus.log_state(PROJECT)).last)

        async def are_confirmed() -> bool:
            return (await confirmed_position(self._redis, PROJECT) or last) >= last

        await self._until(are_confirmed, "the hubs' records to say that all is confirmed")

    async def note_confirmed(self) -> None:
        """Have the checker hold the hubs to what their records say: that is not sent again on another connection."""
        before = self._connections()
        position = await confirmed_position(self._redis, PROJECT)
        if position is not None and before == self._connections():
            self.journal.confirm(position, before)

    def _connections(self) -> list[tuple[Stream, int]]:
        return [each for reader in self.readers for each in reader.connections()]

    def swallow(self) -> None:
        """Let the network lose everything from now on, without anybody noticing, until the next cut."""
        self.gateway.swallow()

    async def cut(self, *, away_s: float) -> None:
        """Break all connections, keep clients away for a while, and wait until all are back."""
        async with self.cut_off():
            # Not for anything to happen meanwhile: how long clients are away is part of the scenario.
            await asyncio.sleep(away_s)

    @asynccontextmanager
    async def cut_off(self) -> AsyncIterator[None]:
        """Break all connections, keep clients away for the length of an ``async with``, and wait until all are back."""
        await self.note_confirmed()
        back = self.gateway.carried + self.gateway.carrying
        self.gateway.refuse()
        yield
        self.gateway.accept()
        # Some may not have noticed yet that they are cut off.
        await self.carried(back)
        await self.all_connected()

    # The end.

    async def check(self, *, redis_may_lose: bool = False) -> None:
        """Wait until everything that is due has arrived, and check what every client saw.

        Args:
            redis_may_lose: Whether Redis may have lost what it had confirmed, as in a failover. Then, and only then,
                clients may have been told that events are missing.
        """
        await self._until_kept()
        lost = self.journal.compare_log(await self.logged())
        assert redis_may_lose or not lost, f"Redis confirmed and lost {len(lost)} events"
        await self.all_seen()
        # Frames of a connection come in order. So when these are there, nothing is still on its way.
        await self.load.publish_to_all()
        await self.all_seen()
        self.journal.assert_clean(gaps=bool(lost))

    async def aclose(self) -> None:
        """Disconnect the clients and kill the hubs."""
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        await asyncio.gather(*(hub.kill() for hub in self.hubs))

    async def logged(self) -> list[str]:
        """Return the IDs of all events in the project's log, as whoever connects now finds it."""
        bus = RedisBus(connect(self._redis_url))
        try:
            ids, after = [], "0-0"
            while page := (await bus.read_page(PROJECT, after)).events:
                ids += [event_id for event_id, _ in page]
                after = ids[-1]
            return ids
        finally:
            await bus.aclose()

    async def _until_kept(self) -> None:
        """Wait until publishers are heard by the server that counts: one that was replaced goes on for a moment."""
        while True:
            last = (await self.load.publish_to_all())[-1]
            if self.journal.published[last].id in await self.logged():
                return

    async def _until(self, condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
        def holds() -> bool | Awaitable[bool]:
            self._raise_failure()
            return condition()

        await until(holds, what)

    def _raise_failure(self) -> None:
        for task in self._reading:
            if task.done():
                task.result()


@asynccontextmanager
async def open_stage(redis_url: str, folder: Path) -> AsyncIterator[Stage]:
    """Set a stage without hubs and clients, with the project in Redis, and clear everything away at the end."""
    async with AsyncExitStack() as stack:
        redis = connect(redis_url)
        stack.push_async_callback(redis.aclose)
        gateway = await stack.enter_async_context(Gateway.running())
        stage = Stage(redis_url, folder, redis, RedisBus(redis), gateway)
        await stage.store.put_project(Project(id=PROJECT))
        stack.push_async_callback(stage.aclose)
        yield stage


def _members(kind: str, count: int) -> Iterator[Member]:
    """Return guests and members of teams in turn, with one subscription or two."""
    tables = itertools.cycle(TABLES)
    for number in range(count):
        name = f"{kind}{number}"
        yield Member(_person(name, number), name, _wanted(next(tables), number))


def _person(name: str, number: int) -> Person:
    return GUEST if number % 4 == 0 else bearer(name, *TEAMS[: number % 3])


def _wanted(table: str, number: int) -> Wanted:
    one = {"table": (rows_channel(table),)}
    return one | {"all": (ALL_ROWS,)} if number % 2 else one
