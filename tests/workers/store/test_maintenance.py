"""Maintenance: what is over is removed, and nothing else."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from realtime.identity.model import Project
from realtime.settings import Settings
from workers.store import maintenance, tables
from workers.store.database import Database
from workers.store.locks import try_lock
from workers.store.maintenance import TRANSACTION_KEPT_S, Maintenance
from workers.store.store import Store
from workers.store.times import to_text

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
DAY = timedelta(days=1)
SETTINGS = Settings(activity_max_age_s=86_400, executions_max_age_s=86_400, messages_max_age_s=86_400)
PROJECT = Project(id="demo")


class Wake:
    """Notes whose outbox there is something in."""

    def __init__(self) -> None:
        self.flushed: list[str] = []

    def wake(self, project_id: str) -> None:
        """Do nothing: what is in the outbox is looked at."""

    async def flush(self, project_id: str) -> bool:
        self.flushed.append(project_id)
        return True


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database, Wake())


def at(moment: datetime) -> dict[str, str]:
    return {"created_at": to_text(moment), "updated_at": to_text(moment)}


async def insert(store: Store, table: Any, *rows: Mapping[str, Any]) -> None:
    async with store.database.writing() as connection:
        for row in rows:
            await connection.execute(table.insert(), {"project_id": PROJECT.id, **row})


async def ids(store: Store, table: Any, column: str = "id") -> set[str]:
    async with store.read() as connection:
        return set((await connection.execute(select(table.c[column]))).scalars())


def session(session_id: str, user_id: str, expires_at: datetime, **values: Any) -> dict[str, Any]:
    return {
        "id": session_id,
        "user_id": user_id,
        "provider": "email",
        "secret_hash": "",
        "expires_at": to_text(expires_at),
        "agent": {},
        "factors": [],
        **at(NOW - DAY),
        **values,
    }


def message(message_id: str, status: str, ended: datetime) -> dict[str, Any]:
    empty: dict[str, Any] = {"topics": [], "users": [], "targets": [], "data": {}, "delivery_errors": []}
    return {
        "id": message_id,
        "provider_type": "email",
        "status": status,
        **empty,
        "created_at": to_text(ended - DAY),
        "updated_at": to_text(ended),
    }


def execution(execution_id: str, status: str, ended: datetime) -> dict[str, Any]:
    return {
        "id": execution_id,
        "function_id": "f",
        "deployment_id": "d",
        "permissions": [],
        "trigger": "http",
        "status": status,
        "request_method": "GET",
        "request_path": "/",
        "request_headers": [],
        "response_status": 0,
        "response_headers": [],
        "logs": "",
        "errors": "",
        "duration_s": 0.0,
        "attempts": 1,
        "sealed_request": "",
        "created_at": to_text(ended - DAY),
        "updated_at": to_text(ended),
    }


async def run(store: Store, settings: Settings = SETTINGS, *, now: datetime = NOW) -> Mapping[str, int]:
    return await Maintenance(store, settings, clock=lambda: now).run()


class TestSessions:
    async def test_expired_ones_go_and_hubs_are_told_whose(self, store: Store) -> None:
        rows = [
            session("old", "ann", NOW),
            session("older", "ann", NOW - DAY),
            session("new", "ann", NOW + timedelta(milliseconds=1)),
            session("eve", "eve", NOW + DAY),
            session("other", "bob", NOW - DAY, project_id="other"),
        ]
        await insert(store, tables.sessions, *rows)
        assert await run(store) == {"sessions": 3}
        assert await ids(store, tables.sessions) == {"new", "eve"}
        async with store.read() as connection:
            outbox = tables.outbox.c
            found = await connection.execute(select(outbox.project_id, outbox.kind, outbox.body))
            told = {(project_id, kind, bytes(body)) for project_id, kind, body in found}
        assert told == {("demo", "user", b"ann"), ("other", "user", b"bob")}

    async def test_there_may_be_more_than_one_batch(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(maintenance, "BATCH", 2)
        await insert(store, tables.sessions, *(session(f"s{n}", f"u{n}", NOW - DAY) for n in range(5)))
        assert await run(store) == {"sessions": 5}
        assert await ids(store, tables.sessions) == set()

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_clock_of_another_day_finds_more(self, store: Store) -> None:
        await insert(store, tables.sessions, session("s", "ann", NOW + DAY))
        assert await run(store) == {}
        assert await run(store, now=NOW + DAY) == {"sessions": 1}


class TestFormerSecrets:
    async def test_those_that_sign_no_more_are_forgotten_and_workers_are_told(self, store: Store) -> None:
        columns = {"name": "W", "url": "u", "events": [], "tls": True, "secret": "now", **at(NOW - DAY)}
        ends = {"over": to_text(NOW), "signs": to_text(NOW + DAY)}
        for name, until in ends.items():
            former = {"former_secret": "before", "former_secret_until": until}
            await insert(store, tables.webhooks, {"id": name, **columns, **former})
        await insert(store, tables.webhooks, {"id": "unchanged", **columns})
        assert await run(store) == {"former_secrets": 1}
        assert await run(store) == {}
        async with store.read() as connection:
            table, outbox = tables.webhooks.c, tables.outbox.c
            secrets = await connection.execute(
                select(table.id, table.former_secret, table.former_secret_until).order_by(table.id)
            )
            told = await connection.execute(select(outbox.kind, outbox.body))
            assert [tuple(row) for row in secrets] == [
                ("over", "", None), ("signs", "before", ends["signs"]), ("unchanged", "", None)
            ]  # fmt: skip
            assert [tuple(row) for row in told] == [("webhook", b"over")]


class TestExpired:
    @pytest.mark.parametrize("name", ["tokens", "challenges"])
    async def test_secrets_go_when_they_have_expired(
        self, store: Store, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(maintenance, "BATCH", 2)
        table = tables.metadata.tables[name]
        kinds = {"tokens": {"kind": "recovery"}, "challenges": {"session_id": "s", "factor": "totp"}}
        common = {"user_id": "ann", "secret_hash": "", **kinds[name], **at(NOW - DAY)}
        for number in range(5):
            expires_at = to_text(NOW - timedelta(seconds=number))
            await insert(store, table, {"id": f"old{number}", "expires_at": expires_at, **common})
        await insert(store, table, {"id": "new", "expires_at": to_text(NOW + timedelta(seconds=1)), **common})
        assert await run(store) == {name: 5}
        assert await ids(store, table) == {"new"}

    async def test_transactions_go_a_day_later_with_what_was_staged(self, store: Store) -> None:
        kept = timedelta(seconds=TRANSACTION_KEPT_S)
        for name, expires_at in (("old", NOW - kept), ("new", NOW - kept + timedelta(seconds=1))):
            row = {"id": name, "status": "pending", "expires_at": to_text(expires_at), **at(NOW - 2 * kept)}
            await insert(store, tables.transactions, row)
            await insert(store, tables.operations, {"transaction_id": name, "operation": {}})
        # Of another project, by the same name.
        other = {"project_id": "other", "transaction_id": "old", "operation": {}}
        await insert(store, tables.operations, other)
        assert await run(store) == {"transactions": 1}
        assert await ids(store, tables.transactions) == {"new"}
        async with store.read() as connection:
            operations = tables.operations.c
            found = await connection.execute(select(operations.project_id, operations.transaction_id))
            assert {tuple(row) for row in found} == {("demo", "new"), ("other", "old")}


class TestAged:
    async def test_activity_goes_when_it_is_old(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(maintenance, "BATCH", 2)
        ages = [3 * DAY, 2 * DAY, 2 * DAY, DAY + timedelta(seconds=1), DAY, timedelta()]
        rows = [
            {"user_id": "ann", "event": f"e{number}", "agent": {}, "time": to_text(NOW - age)}
            for number, age in enumerate(ages)
        ]
        await insert(store, tables.logs, *rows)
        assert await run(store) == {"logs": 4}
        assert await ids(store, tables.logs, "event") == {"e4", "e5"}

    async def test_messages_go_when_they_ended_long_ago(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(maintenance, "BATCH", 2)
        long_ago = NOW - 2 * DAY
        rows = [message(status, status, long_ago) for status in ("draft", "scheduled", "processing")]
        rows += [message(status, status, long_ago) for status in ("sent", "failed")]
        rows.append(message("late", "sent", NOW - timedelta(hours=23)))
        await insert(store, tables.messages, *rows)
        assert await run(store) == {"messages": 2}
        assert await ids(store, tables.messages) == {"draft", "scheduled", "processing", "late"}

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_executions_go_when_they_ended_long_ago(self, store: Store) -> None:
        statuses = ("scheduled", "waiting", "processing", "completed", "failed")
        rows = [execution(status, status, NOW - 2 * DAY) for status in statuses]
        rows.append(execution("late", "completed", NOW - timedelta(hours=23)))
        await insert(store, tables.executions, *rows)
        assert await run(store) == {"executions": 2}
        assert await ids(store, tables.executions) == {"scheduled", "waiting", "processing", "late"}

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_zero_keeps_everything(self, store: Store) -> None:
        await insert(store, tables.messages, message("m", "sent", NOW - 1000 * DAY))
        log = {"user_id": "ann", "event": "e", "agent": {}, "time": to_text(NOW - 1000 * DAY)}
        await insert(store, tables.logs, log)
        await insert(store, tables.executions, execution("e", "completed", NOW - 1000 * DAY))
        settings = Settings(activity_max_age_s=0, executions_max_age_s=0, messages_max_age_s=0)
        assert await run(store, settings) == {}


class TestLock:
    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    async def test_what_another_process_is_at_is_left_to_it(self, store: Store) -> None:
        await insert(store, tables.sessions, session("s", "ann", NOW))
        token = {"user_id": "ann", "kind": "recovery", "secret_hash": "", "expires_at": to_text(NOW)}
        await insert(store, tables.tokens, {"id": "t", **token, **at(NOW)})
        async with store.database.writing() as connection:
            assert await try_lock(connection, "maintenance")
            assert await run(store) == {}
        assert await run(store) == {"sessions": 1, "tokens": 1}


class TestRunning:
    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_it_is_done_now_and_then(self, store: Store) -> None:
        settings = SETTINGS.model_copy(update={"maintenance_interval_s": 0.01})
        async with Maintenance(store, settings, clock=lambda: NOW).running():
            for name in ("first", "second"):
                await insert(store, tables.sessions, session(name, "ann", NOW))
                async with asyncio.timeout(10):
                    while await ids(store, tables.sessions):  # noqa: ASYNC110 - a database tells nobody
                        await asyncio.sleep(0.01)

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_failure_does_not_end_it(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        failures = iter([OSError(), ZeroDivisionError()])
        done = asyncio.Event()

        async def fail(_self: Maintenance) -> Mapping[str, int]:
            error = next(failures, None)
            if error is not None:
                raise error
            done.set()
            return {}

        monkeypatch.setattr(Maintenance, "run", fail)
        settings = SETTINGS.model_copy(update={"maintenance_interval_s": 0.01})
        async with Maintenance(store, settings).running(), asyncio.timeout(10):
            await done.wait()
