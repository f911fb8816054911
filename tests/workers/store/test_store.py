import json
from typing import Any

import pytest
from sqlalchemy import select

from realtime.errors import InvalidEventError
from realtime.events.event import Event
from realtime.identity.model import Project
from workers.store import tables
from workers.store.database import Database
from workers.store.store import Store

DEMO = Project(id="demo")
EVENT = Event("teams.[teamId].create", {"$id": "red", "secret": "x"}, params={"teamId": "red"})


class Recorder:
    """Stands where the relay does, and knows what the outbox held when it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def wake(self, project_id: str) -> None:
        self.calls.append(("wake", project_id))

    async def flush(self, project_id: str) -> bool:
        self.calls.append(("flush", project_id))
        return True


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def store(database: Database, recorder: Recorder) -> Store:
    return Store(database, recorder)


async def outbox(database: Database) -> list[Any]:
    async with database.reading() as connection:
        return list(await connection.execute(select(tables.outbox).order_by(tables.outbox.c.seq)))


async def insert_team(tx: Any, team_id: str = "red") -> None:
    await tx.connection.execute(
        tables.teams.insert().values(
            project_id="demo",
            id=team_id,
            name="Red",
            prefs={},
            created_at=tx.now_text,
            updated_at=tx.now_text,
        )
    )


class TestWrite:
    async def test_change_and_events_are_there_together_when_it_ends(
        self, store: Store, database: Database, recorder: Recorder
    ) -> None:
        async with store.write(DEMO) as tx:
            await insert_team(tx)
            tx.emit(EVENT)
            tx.change_user("ada")
        async with store.read() as connection:
            assert (await connection.execute(select(tables.teams.c.id))).scalars().all() == ["red"]
        event, change = await outbox(database)
        assert (event.project_id, event.kind) == ("demo", "event")
        assert json.loads(event.body)["data"]["payload"] == EVENT.payload
        assert (change.kind, bytes(change.body)) == ("user", b"ada")
        assert event.seq < change.seq
        assert recorder.calls == [("wake", "demo"), ("flush", "demo")]

    async def test_block_that_fails_never_happened(
        self, store: Store, database: Database, recorder: Recorder
    ) -> None:
        with pytest.raises(RuntimeError, match="half way"):  # noqa: PT012 - the block is what is tested
            async with store.write(DEMO) as tx:
                await insert_team(tx)
                tx.emit(EVENT)
                raise RuntimeError("half way")
        async with store.read() as connection:
            assert (await connection.execute(select(tables.teams))).all() == []
        assert await outbox(database) == []
        assert recorder.calls == []

    async def test_wrong_event_undoes_the_change(self, store: Store) -> None:
        with pytest.raises(InvalidEventError):  # noqa: PT012 - the block is what is tested
            async with store.write(DEMO) as tx:
                await insert_team(tx)
                tx.emit(Event("teams.[teamId].vanish", {}, params={"teamId": "red"}))
        async with store.read() as connection:
            assert (await connection.execute(select(tables.teams))).all() == []

    async def test_events_alone_do_not_wait_for_the_relay(self, store: Store, recorder: Recorder) -> None:
        async with store.write(DEMO) as tx:
            tx.emit(EVENT)
        assert recorder.calls == [("wake", "demo")]

    async def test_nothing_recorded_wakes_nobody(self, store: Store, recorder: Recorder) -> None:
        async with store.write(DEMO) as tx:
            await insert_team(tx)
        assert recorder.calls == []

    async def test_sensitive_members_are_not_written(self, store: Store, database: Database) -> None:
        async with store.write(DEMO) as tx:
            tx.emit(Event(EVENT.name, EVENT.payload, params=EVENT.params, sensitive=("secret",)))
        (event,) = await outbox(database)
        assert json.loads(event.body)["data"]["payload"] == {"$id": "red"}

    async def test_one_time_is_that_of_all_that_it_writes(self, store: Store, database: Database) -> None:
        async with store.write(DEMO) as tx:
            tx.emit(EVENT)
            tx.emit(EVENT)
            now = tx.now_text
        assert {json.loads(event.body)["data"]["timestamp"] for event in await outbox(database)} == {now}

    async def test_order_of_the_outbox_is_the_order_of_the_calls(
        self, store: Store, database: Database
    ) -> None:
        async with store.write(DEMO) as tx:
            for number in range(20):
                tx.change_key(f"k{number}")
                tx.emit(EVENT)
            tx.change_project()
        kinds = [entry.kind for entry in await outbox(database)]
        assert kinds == ["key", "event"] * 20 + ["project"]

    async def test_event_that_the_console_hears_goes_to_both(
        self, store: Store, database: Database, recorder: Recorder
    ) -> None:
        column = Event(
            "databases.[databaseId].tables.[tableId].columns.[columnId].create",
            {"key": "title"},
            params={"databaseId": "main", "tableId": "posts", "columnId": "title"},
        )
        async with store.write(Project(id="demo", team_id="owners")) as tx:
            tx.emit(column)
        assert {entry.project_id for entry in await outbox(database)} == {"demo", "console"}
        assert sorted(recorder.calls) == [("wake", "console"), ("wake", "demo")]
