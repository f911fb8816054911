import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

import pytest
import redis.asyncio
from sqlalchemy import func, insert, select, text
from structlog.testing import capture_logs

from realtime.bus import RedisBus
from realtime.bus.keys import live_channel
from realtime.events.event import Event, prepare
from realtime.identity.model import Project
from realtime.identity.store import IdentityStore
from realtime.settings import Settings
from tests.topologies import DEADLINE_S
from workers.store import relay as relay_module
from workers.store import tables
from workers.store.database import Database, open_database
from workers.store.relay import BATCH, Relay
from workers.store.store import Store, Transaction

DEMO = Project(id="demo")

OpenRelay = Callable[..., AbstractAsyncContextManager[Relay]]


def event(number: int) -> Event:
    return Event("teams.[teamId].create", {"$id": "red", "n": number}, params={"teamId": "red"})


async def write(store: Store, *numbers: int) -> None:
    async with store.write(DEMO) as tx:
        for number in numbers:
            tx.emit(event(number))


async def insert_user(tx: Transaction, user_id: str, **values: Any) -> None:
    defaults: dict[str, Any] = {"password_options": {}, "password_history": [], "labels": [], "prefs": {}}
    await tx.connection.execute(
        insert(tables.users).values(
            project_id="demo",
            id=user_id,
            mfa_recovery_codes=[],
            registered_at=tx.now_text,
            created_at=tx.now_text,
            updated_at=tx.now_text,
            **defaults | values,
        )
    )


async def published(bus: RedisBus, project: str = "demo") -> list[int]:
    found: list[int] = []
    after = "0-0"
    while events := (await bus.read_page(project, after)).events:
        after = events[-1][0]
        found += [json.loads(message)["data"]["payload"]["n"] for _, message in events]
    return found


async def waiting(database: Database) -> int:
    async with database.reading() as connection:
        return int((await connection.execute(select(func.count()).select_from(tables.outbox))).scalar_one())


async def until_empty(database: Database) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while await waiting(database):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


@pytest.fixture
def store(database: Database, relay: Relay) -> Store:
    return Store(database, relay)


class Forgetful:
    """A database that refuses to delete what was published, as if each relay died before it did."""

    def __init__(self, database: Database) -> None:
        self._database = database
        if database.is_sqlite:
            self._trigger = "BEFORE DELETE ON outbox BEGIN SELECT RAISE(ABORT, 'no delete'); END"
        else:
            self._trigger = "BEFORE DELETE ON outbox EXECUTE FUNCTION no_delete()"

    async def refuse(self) -> None:
        async with self._database.writing() as connection:
            if not self._database.is_sqlite:
                body = "BEGIN RAISE EXCEPTION 'no delete'; END"
                await connection.execute(
                    text(f"CREATE FUNCTION no_delete() RETURNS trigger AS $${body}$$ LANGUAGE plpgsql")
                )
            await connection.execute(text(f"CREATE TRIGGER no_delete {self._trigger}"))

    async def allow(self) -> None:
        async with self._database.writing() as connection:
            await connection.execute(
                text("DROP TRIGGER no_delete" + ("" if self._database.is_sqlite else " ON outbox"))
            )


@pytest.fixture
async def forgetful(database: Database, monkeypatch: pytest.MonkeyPatch) -> Forgetful:
    """Such a database; nobody waits long for a relay that cannot go on."""
    monkeypatch.setattr(relay_module, "FLUSH_TIMEOUT_S", 0.2)
    fault = Forgetful(database)
    await fault.refuse()
    return fault


class TestOrder:
    async def test_events_are_published_in_the_order_of_their_commits(
        self, store: Store, relay: Relay, bus: RedisBus, database: Database
    ) -> None:
        for number in range(50):
            await write(store, number, number + 1000)
        assert await relay.flush("demo")
        assert await published(bus) == [n for number in range(50) for n in (number, number + 1000)]
        assert await waiting(database) == 0

    async def test_more_than_a_batch_is_published_whole(
        self, store: Store, relay: Relay, bus: RedisBus
    ) -> None:
        await write(store, *range(2 * BATCH + 1))
        assert await relay.flush("demo")
        assert await published(bus) == list(range(2 * BATCH + 1))

    async def test_projects_do_not_wait_for_each_other(
        self, store: Store, relay: Relay, bus: RedisBus
    ) -> None:
        async with store.write(Project(id="other")) as tx:
            tx.emit(event(1))
        await write(store, 2)
        assert await relay.flush("demo")
        assert await relay.flush("other")
        assert await published(bus) == [2]
        assert await published(bus, "other") == [1]

    async def test_writers_at_once_are_each_published_once(
        self, store: Store, relay: Relay, bus: RedisBus
    ) -> None:
        await asyncio.gather(*(write(store, number) for number in range(100)))
        assert await relay.flush("demo")
        assert sorted(await published(bus)) == list(range(100))


class TestCrash:
    """A relay that dies between publishing and forgetting leaves events in doubt: none is published twice."""

    async def test_what_was_published_is_left_out(
        self, store: Store, bus: RedisBus, database: Database, forgetful: Forgetful
    ) -> None:
        await write(store, 1, 2)
        await self._until_published(bus, 2)
        await write(store, 3)
        await self._until_published(bus, 3)
        await forgetful.allow()
        await until_empty(database)
        assert await published(bus) == [1, 2, 3]

    async def test_another_relay_goes_on_where_the_first_one_died(
        self, database: Database, bus: RedisBus, open_relay: OpenRelay, forgetful: Forgetful
    ) -> None:
        async with open_relay() as first:
            await write(Store(database, first), 1, 2)
            await self._until_published(bus, 2)
        await forgetful.allow()
        async with open_relay() as second:
            await write(Store(database, second), 3)
            assert await second.flush("demo")
        assert await published(bus) == [1, 2, 3]

    async def test_events_around_identities_are_left_out_too(
        self, database: Database, relay: Relay, bus: RedisBus, forgetful: Forgetful
    ) -> None:
        """A batch is then handed to Redis in pieces; all of it stays in doubt."""
        async with Store(database, _Deaf()).write(DEMO) as tx:
            for number in range(3):
                tx.emit(event(number))
                tx.change_user(f"user{number}")
            tx.emit(event(3))
        relay.wake("demo")
        await self._until_published(bus, 4)
        await forgetful.allow()
        await until_empty(database)
        assert await published(bus) == [0, 1, 2, 3]

    async def test_late_commit_before_a_full_batch_puts_nothing_in_danger(
        self, database: Database, relay: Relay, bus: RedisBus, forgetful: Forgetful
    ) -> None:
        """An entry with a lower number may appear beside those in doubt: the last of them is then not in the batch."""
        await self._insert(database, 1000, range(BATCH))
        relay.wake("demo")
        await self._until_published(bus, BATCH)
        await self._insert(database, 500, range(BATCH, BATCH + 1))
        await self._until_published(bus, BATCH + 1)
        await forgetful.allow()
        await until_empty(database)
        assert await published(bus) == list(range(BATCH + 1))

    async def test_restored_database_may_give_a_number_out_again(
        self, database: Database, relay: Relay, bus: RedisBus
    ) -> None:
        await self._insert(database, 7, range(2))
        assert await relay.flush("demo")
        await self._insert(database, 7, range(2, 3))
        assert await relay.flush("demo")
        assert await published(bus) == [0, 1, 2]

    async def _insert(self, database: Database, seq: int, numbers: range) -> None:
        rows = []
        for number in numbers:
            (prepared,) = prepare(event(number), "demo", now=datetime.now(UTC))
            rows.append({"project_id": "demo", "kind": "event", "body": prepared.envelope})
        async with database.writing() as connection:
            await connection.execute(
                insert(tables.outbox), [{"seq": seq + offset, **row} for offset, row in enumerate(rows)]
            )

    async def _until_published(self, bus: RedisBus, count: int) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while len(await published(bus)) < count:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.005)


class _Deaf:
    """A relay that does nothing."""

    def wake(self, project_id: str) -> None:
        pass

    async def flush(self, project_id: str) -> bool:
        return True


class TestRedisAway:
    async def test_events_wait_and_are_published_when_it_is_back(
        self, database: Database, open_relay: OpenRelay, proxy: Any, bus: RedisBus
    ) -> None:
        async with open_relay(proxy.url) as relay:
            proxy.refuse()
            store = Store(database, relay)
            await write(store, 1, 2)
            await write(store, 3)
            assert await waiting(database) == 3
            proxy.accept()
            await until_empty(database)
        assert await published(bus) == [1, 2, 3]

    async def test_lost_answer_publishes_nothing_twice(
        self, database: Database, open_relay: OpenRelay, proxy: Any, bus: RedisBus
    ) -> None:
        async with open_relay(proxy.url) as relay:
            store = Store(database, relay)
            await write(store, 1)
            assert await relay.flush("demo")
            proxy.lose_next_reply()
            await write(store, 2, 3)
            await until_empty(database)
        assert await published(bus) == [1, 2, 3]

    async def test_change_of_identities_waits_for_a_while_only(
        self, database: Database, open_relay: OpenRelay, proxy: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relay_module, "FLUSH_TIMEOUT_S", 0.2)
        async with open_relay(proxy.url) as relay:
            proxy.refuse()
            async with Store(database, relay).write(DEMO) as tx:
                tx.change_user("ada")
            assert not await relay.flush("demo")
            assert await waiting(database) == 1


class TestSweep:
    async def test_what_a_dead_process_left_is_published(
        self, database: Database, open_relay: OpenRelay, bus: RedisBus
    ) -> None:
        await write(Store(database, _Deaf()), 1, 2)
        async with open_relay():
            await until_empty(database)
        assert await published(bus) == [1, 2]

    async def test_what_another_process_leaves_later_is_published_too(
        self, database: Database, relay: Relay, bus: RedisBus
    ) -> None:
        await write(Store(database, relay), 1)
        assert await relay.flush("demo")
        await write(Store(database, _Deaf()), 2)
        await until_empty(database)
        assert await published(bus) == [1, 2]

    async def test_what_was_woken_is_published_before_the_end(
        self, database: Database, open_relay: OpenRelay, bus: RedisBus
    ) -> None:
        async with open_relay() as relay:
            await write(Store(database, relay), *range(BATCH + 1))
        assert len(await published(bus)) == BATCH + 1


class TestTwoRelays:
    async def test_each_event_is_published_once_and_in_order(
        self, database: Database, second_database: Database, open_relay: OpenRelay, bus: RedisBus
    ) -> None:
        async with open_relay() as one, open_relay(on=second_database) as two:
            stores = Store(database, one), Store(second_database, two)
            async with asyncio.TaskGroup() as group:
                for start, store in enumerate(stores):
                    group.create_task(self._write_in_turn(store, range(start, 200, 2)))
            assert await one.flush("demo")
            assert await two.flush("demo")
        found = await published(bus)
        assert sorted(found) == list(range(200))
        for start in range(2):
            assert [number for number in found if number % 2 == start] == list(range(start, 200, 2))

    async def _write_in_turn(self, store: Store, numbers: range) -> None:
        for number in numbers:
            await write(store, number)


class TestIdentities:
    async def test_identity_is_announced_before_the_event_that_follows_it(
        self, store: Store, redis_client: redis.asyncio.Redis
    ) -> None:
        async with redis_client.pubsub() as live:
            await live.subscribe(live_channel("demo"))
            await live.get_message(timeout=5)
            async with store.write(DEMO) as tx:
                await insert_user(tx, "ada")
                tx.change_user("ada")
                tx.emit(event(1))
            messages = [json.loads((await live.get_message(timeout=5))["data"]) for _ in range(2)]
        assert messages[0]["identity"] == {"user": "ada"}
        assert messages[1]["data"]["payload"]["n"] == 1

    async def test_block_ends_when_the_read_model_knows(
        self, store: Store, identities: IdentityStore
    ) -> None:
        async with store.write(DEMO) as tx:
            await insert_user(tx, "ada", email="ada@example.com", labels=["vip"])
            tx.change_user("ada")
        user = await identities.find_user_by_email("demo", "ada@example.com")
        assert user is not None
        assert (user.id, user.labels) == ("ada", ("vip",))
        async with store.write(DEMO) as tx:
            await tx.connection.execute(tables.users.delete())
            tx.change_user("ada")
        assert await identities.get_user("demo", "ada") is None

    async def test_record_that_the_read_model_refuses_holds_nothing_up(
        self, store: Store, relay: Relay, identities: IdentityStore, bus: RedisBus, database: Database
    ) -> None:
        with capture_logs() as logs:
            async with store.write(DEMO) as tx:
                await insert_user(tx, "not an ID")
                tx.change_user("not an ID")
                tx.emit(event(1))
                await insert_user(tx, "ada")
                tx.change_user("ada")
        assert await published(bus) == [1]
        assert await identities.get_user("demo", "ada") is not None
        assert await waiting(database) == 0
        assert [line["event"] for line in logs] == ["a record cannot be written through"]

    async def test_record_that_is_refused_does_not_take_its_neighbours_with_it(
        self, store: Store, identities: IdentityStore
    ) -> None:
        with capture_logs():
            async with store.write(DEMO) as tx:
                for user_id in ("not an ID", "ada"):
                    await insert_user(tx, user_id)
                    tx.change_user(user_id)
        assert await identities.get_user("demo", "ada") is not None

    async def test_keys_and_projects_are_written_through(
        self, store: Store, identities: IdentityStore
    ) -> None:
        times = {"created_at": "2026-01-01T00:00:00.000+00:00", "updated_at": "2026-01-01T00:00:00.000+00:00"}
        async with store.write(DEMO) as tx:
            await tx.connection.execute(
                insert(tables.projects).values(
                    id="demo", name="Demo", disabled={"protocols": ["websocket"]}, policies={}, **times
                )
            )
            tx.change_project()
            await tx.connection.execute(
                insert(tables.keys).values(
                    project_id="demo", id="k1", name="K", secret_hash="0" * 128, scopes=["rows.read"], **times
                )
            )
            tx.change_key("k1")
        project = await identities.get_project("demo")
        assert project is not None
        assert not project.websocket_enabled
        assert [key.scopes for key in await identities.list_keys("demo")] == [("rows.read",)]
        async with store.write(DEMO) as tx:
            await tx.connection.execute(tables.keys.delete())
            tx.change_key("k1")
            await tx.connection.execute(tables.projects.delete())
            tx.change_project()
        assert await identities.list_keys("demo") == []
        assert await identities.get_project("demo") is None


@pytest.fixture
async def second_database(database_url: str) -> AsyncIterator[Database]:
    """The same database, as another process has it."""
    second = open_database(Settings(database_url=database_url))
    yield second
    await second.aclose()
