"""Rooms are made once, watched before anybody relies on them, and left a while after the last one went."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from realtime.errors import CloseCode
from realtime.hub.connection import Connection
from realtime.hub.metrics import Stats
from realtime.hub.registry import ROOM_LINGER_S, Registry
from realtime.hub.resumption import Resumption
from realtime.hub.room import Room
from realtime.identity.model import GUEST, Identity, Project

ADA = Identity(roles=frozenset({"user:ada", "users"}), user_id="ada", stored=True)
BOB = Identity(roles=frozenset({"user:bob", "users"}), user_id="bob", stored=True)

TURN_S = 25


class FakeWatcher:
    """Lets the test decide when Redis answers, and how."""

    def __init__(self) -> None:
        self.watched: list[str] = []
        self.unwatched: list[str] = []
        self.failure: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()

    async def watch(self, project: str) -> str:
        self.watched.append(project)
        await self.answers.wait()
        if self.failure is not None:
            raise self.failure
        return "7-0"

    async def unwatch(self, project: str) -> None:
        self.unwatched.append(project)


class RecordingWire:
    """Remembers what became of a connection."""

    buffered_bytes = 0

    def __init__(self) -> None:
        self.closes: list[tuple[int, str]] = []

    @property
    def write(self) -> Callable[[bytes], None]:
        return self.send

    def send(self, frame: bytes) -> None: ...

    def close(self, code: int, reason: str = "") -> None:
        self.closes.append((code, reason))

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Bench:
    """A registry with everything around it in the test's hands."""

    def __init__(self) -> None:
        self.watcher = FakeWatcher()
        self.projects = {"demo": Project(id="demo")}
        self.loads = 0
        self.stats = Stats()
        self.loop_time = 1000.0
        self.now = 1_700_000_000.0
        self.registry = Registry(
            self.watcher,
            self.load,
            self.stats,
            Resumption(None, loop_time=lambda: self.loop_time),
            turn_s=TURN_S,
            loop_time=lambda: self.loop_time,
            clock=lambda: self.now,
        )

    async def load(self, project_id: str, /) -> Project | None:
        self.loads += 1
        return self.projects.get(project_id)

    async def room(self) -> Room:
        room = await self.registry.enter("demo")
        assert room is not None
        return room

    async def admit(self, identity: Identity = GUEST) -> Connection:
        room = await self.room()
        connection = Connection(RecordingWire(), "192.0.2.1")
        self.registry.admit(connection, room, identity)
        self.registry.unpin(room)
        return connection


@pytest.fixture
async def bench() -> Bench:
    return Bench()


def closes_of(connection: Connection) -> Any:
    return connection.wire.closes  # type: ignore[attr-defined]


class TestEnter:
    async def test_unknown_project_has_no_room(self, bench: Bench) -> None:
        assert await bench.registry.enter("nowhere") is None
        assert bench.registry.rooms == {}
        assert bench.watcher.watched == []

    async def test_first_connection_makes_the_room_at_the_position_of_the_log(self, bench: Bench) -> None:
        room = await bench.room()
        assert (room.project.id, room.position, room.pins) == ("demo", "7-0", 1)
        assert bench.watcher.watched == ["demo"]

    async def test_event_that_came_while_watching_is_not_forgotten(self, bench: Bench) -> None:
        bench.watcher.answers.clear()
        entering = asyncio.create_task(bench.room())
        await until(lambda: "demo" in bench.registry.rooms)
        bench.registry.rooms["demo"].position = "8-0"
        bench.watcher.answers.set()
        assert (await entering).position == "8-0"

    async def test_second_one_waits_until_the_channel_is_watched(self, bench: Bench) -> None:
        bench.watcher.answers.clear()
        first = asyncio.create_task(bench.room())
        await until(lambda: bool(bench.watcher.watched))
        second = asyncio.create_task(bench.room())
        await turns()
        assert not second.done()
        bench.watcher.answers.set()
        assert await first is await second
        assert bench.watcher.watched == ["demo"]
        assert bench.loads == 1

    async def test_channel_that_cannot_be_watched_leaves_no_room(self, bench: Bench) -> None:
        bench.watcher.answers.clear()
        entering = [asyncio.create_task(bench.room()) for _ in range(2)]
        await until(lambda: bool(bench.watcher.watched))
        bench.watcher.failure = ConnectionError("away")
        bench.watcher.answers.set()
        results = await asyncio.gather(*entering, return_exceptions=True)
        assert [str(result) for result in results] == ["away", "away"]
        assert bench.registry.rooms == {}
        bench.watcher.failure = None
        assert (await bench.room()).is_watched

    async def test_cancelled_one_leaves_no_room(self, bench: Bench) -> None:
        bench.watcher.answers.clear()
        entering = asyncio.create_task(bench.room())
        await until(lambda: bool(bench.watcher.watched))
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        assert bench.registry.rooms == {}

    async def test_deleted_project_lets_nobody_in(self, bench: Bench) -> None:
        room = await bench.room()
        room.is_deleted = True
        assert await bench.registry.enter("demo") is None
        assert room.pins == 1


class TestReap:
    async def test_empty_room_is_left_after_its_time(self, bench: Bench) -> None:
        bench.registry.unpin(await bench.room())
        bench.loop_time += ROOM_LINGER_S
        await bench.registry.reap()
        assert bench.watcher.unwatched == []
        bench.loop_time += 0.1
        await bench.registry.reap()
        assert bench.watcher.unwatched == ["demo"]
        assert bench.registry.rooms == {}

    async def test_connection_and_pin_keep_it(self, bench: Bench) -> None:
        connection = await bench.admit()
        bench.loop_time += 2 * ROOM_LINGER_S
        await bench.registry.reap()
        room = await bench.room()
        bench.registry.leave(connection, "client")
        bench.loop_time += 2 * ROOM_LINGER_S
        await bench.registry.reap()
        assert bench.registry.rooms == {"demo": room}

    async def test_time_runs_from_when_the_last_one_left(self, bench: Bench) -> None:
        connection = await bench.admit()
        bench.loop_time += 2 * ROOM_LINGER_S
        bench.registry.leave(connection, "client")
        await bench.registry.reap()
        assert "demo" in bench.registry.rooms

    async def test_who_comes_while_it_is_left_gets_a_new_room(self, bench: Bench) -> None:
        old = await bench.room()
        bench.registry.unpin(old)
        bench.loop_time += 2 * ROOM_LINGER_S
        await asyncio.gather(bench.registry.reap(), entering := asyncio.create_task(bench.room()))
        assert (await entering) is bench.registry.rooms["demo"]

    async def test_room_that_was_entered_at_the_last_moment_stays(self, bench: Bench) -> None:
        room = await bench.room()
        bench.registry.unpin(room)
        bench.loop_time += 2 * ROOM_LINGER_S
        async with bench.registry._lock("demo"):
            reaping = asyncio.create_task(bench.registry.reap())
            await turns()
            room.pins += 1
        await reaping
        assert bench.watcher.unwatched == []


class TestConnections:
    async def test_admitted_one_is_counted_until_it_leaves(self, bench: Bench) -> None:
        connection = await bench.admit(ADA)
        room = bench.registry.rooms["demo"]
        room.index.subscribe(connection, "s", ["rows"], None)
        assert (bench.registry.connection_count, bench.registry.subscription_count) == (1, 1)
        assert list(room.users) == ["ada"]

        bench.registry.leave(connection, "client")
        assert (bench.registry.connection_count, bench.registry.subscription_count) == (0, 0)
        assert (room.users, room.connections) == ({}, {})
        assert connection.closed
        bench.registry.leave(connection, "client")
        assert bench.stats.counted == {
            ("realtime_connections_opened", ""): 1,
            ("realtime_connections_closed", "client"): 1,
        }

    async def test_end_closes_once(self, bench: Bench) -> None:
        connection = await bench.admit()
        for _ in range(2):
            bench.registry.end(connection, CloseCode.GOING_AWAY, "bye", reason="drained")
        assert closes_of(connection) == [(1001, "bye")]

    async def test_one_that_opens_is_closed_without_having_been_counted(self, bench: Bench) -> None:
        connection = Connection(RecordingWire(), "192.0.2.1")
        bench.registry.end(connection, CloseCode.GOING_AWAY, reason="drained")
        assert closes_of(connection) == [(1001, "")]
        assert not bench.stats.counted


class TestSetIdentity:
    async def test_who_has_left_stays_as_they_were(self, bench: Bench) -> None:
        connection = await bench.admit(ADA)
        bench.registry.leave(connection, "client")
        bench.registry.set_identity(connection, BOB)
        assert connection.identity is ADA

    async def test_room_knows_the_new_user_only(self, bench: Bench) -> None:
        connection = await bench.admit(ADA)
        bench.registry.set_identity(connection, BOB)
        room = bench.registry.rooms["demo"]
        assert room.users == {"bob": {connection: None}}
        assert connection.roles == BOB.roles

    async def test_same_roles_are_not_indexed_again(self, bench: Bench) -> None:
        connection = await bench.admit(ADA)
        renamed = Identity(roles=ADA.roles, user_id="ada", account={"name": "Ada L."})
        bench.registry.set_identity(connection, renamed, announced=True)
        assert connection.identity is renamed
        assert connection.roles is ADA.roles
        assert bench.registry.rooms["demo"].former == {}

    @pytest.mark.parametrize(("announced", "expected"), [(True, ["ada"]), (False, [])])
    async def test_lost_roles_are_kept_for_an_announcement_only(
        self, bench: Bench, announced: bool, expected: list[str]
    ) -> None:
        connection = await bench.admit(ADA)
        bench.registry.set_identity(connection, GUEST, announced=announced)
        assert list(bench.registry.rooms["demo"].former) == expected

    async def test_gained_roles_leave_nothing_behind(self, bench: Bench) -> None:
        connection = await bench.admit(ADA)
        more = Identity(roles=ADA.roles | {"label:vip"}, user_id="ada")
        bench.registry.set_identity(connection, more, announced=True)
        assert bench.registry.rooms["demo"].former == {}

    async def test_guest_who_signs_in_has_lost_nothing_to_be_told(self, bench: Bench) -> None:
        connection = await bench.admit(GUEST)
        bench.registry.set_identity(connection, ADA, announced=True)
        assert bench.registry.rooms["demo"].former == {}


class TestExpiry:
    @pytest.mark.parametrize(
        ("lasts_s", "queued"), [(None, 0), (10.0, 1), (2 * TURN_S, 1), (2 * TURN_S + 1, 0)]
    )
    async def test_only_what_ends_soon_is_queued(
        self, bench: Bench, lasts_s: float | None, queued: int
    ) -> None:
        expires_at = None if lasts_s is None else bench.now + lasts_s
        await bench.admit(Identity(roles=ADA.roles, user_id="ada", expires_at=expires_at))
        assert len(bench.registry.expiring) == queued


async def turns() -> None:
    """Let everything run that can run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - a fake tells of nothing
            await asyncio.sleep(0)
