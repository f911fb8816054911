import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from realtime.bus import connect
from realtime.bus.keys import WorkKind, work_key
from realtime.bus.work import WorkQueue
from realtime.settings import Settings
from workers.cli import doctor_workers
from workers.cli.context import open_stores
from workers.cli.doctor_workers import (
    MAX_COUNTED,
    Waiting,
    check_encryption,
    check_executor,
    check_workers,
    judge_workers,
)
from workers.cli.findings import Level
from workers.store import tables


def program(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


async def append(redis_url: str, kind: WorkKind) -> None:
    redis = connect(redis_url)
    await redis.xadd(work_key(5, kind), {"e": "{}"})
    await redis.aclose()


async def add_webhook(settings: Settings, *, enabled: bool) -> None:
    values = {
        "id": f"enabled-{enabled}",
        "project_id": "demo",
        "name": "Hook",
        "url": "https://hook.example.com",
    }
    others = {"events": ["users.*.create"], "tls": True, "secret": "", "created_at": "", "updated_at": ""}
    async with open_stores(settings) as stores, stores.store.database.writing() as connection:
        await connection.execute(tables.webhooks.insert().values(**values, **others, enabled=enabled))


async def add_execution(settings: Settings, execution_id: str, *, due_at: str | None) -> None:
    async with open_stores(settings) as stores, stores.store.database.writing() as connection:
        await connection.execute(
            tables.executions.insert().values(
                project_id="demo",
                id=execution_id,
                function_id="f",
                deployment_id="",
                permissions=[],
                trigger="http",
                status="waiting",
                request_method="POST",
                request_path="/",
                request_headers=[],
                response_status=0,
                response_headers=[],
                logs="",
                errors="",
                duration_s=0.0,
                due_at=due_at,
                attempts=0,
                sealed_request="",
                created_at="",
                updated_at="",
            )
        )


async def read(redis_url: str, kind: WorkKind) -> None:
    redis = connect(redis_url)
    await WorkQueue(redis, kind, "a-worker").read(1, block_s=0)
    await redis.aclose()


class TestCheckWorkers:
    @pytest.fixture
    def settings(self, redis_url: str, tmp_path: Path) -> Settings:
        return Settings(redis_url=redis_url, data_dir=tmp_path)

    def test_nobody_is_missed_where_there_is_nothing_to_do(self, settings: Settings) -> None:
        webhooks, functions = check_workers(settings)
        assert (webhooks.check, webhooks.level) == ("webhooks", Level.OK)
        assert (functions.check, functions.level) == ("functions", Level.OK)
        assert not (settings.data_dir / "realtime.db").exists()

    def test_events_that_nobody_takes_are_warned_of_with_what_to_start(self, settings: Settings) -> None:
        asyncio.run(append(settings.redis_url, "functions"))
        webhooks, functions = check_workers(settings)
        assert webhooks.level is Level.OK
        assert functions.level is Level.WARN
        assert "1 event and 0 executions wait" in functions.text
        assert functions.advice == "start `realtime functions`"

    def test_webhook_that_nobody_serves_is_warned_of_before_an_event_waits(self, settings: Settings) -> None:
        asyncio.run(add_webhook(settings, enabled=False))
        assert check_workers(settings)[0].level is Level.OK
        asyncio.run(add_webhook(settings, enabled=True))
        webhooks, functions = check_workers(settings)
        assert (webhooks.level, webhooks.advice) == (Level.WARN, "start `realtime webhooks`")
        assert functions.level is Level.OK

    def test_executions_and_deliveries_that_are_due_are_counted_and_warned_of(
        self, settings: Settings
    ) -> None:
        asyncio.run(add_execution(settings, "due", due_at="2001-01-01T00:00:00.000+00:00"))
        asyncio.run(add_execution(settings, "later", due_at="2999-01-01T00:00:00.000+00:00"))
        asyncio.run(add_execution(settings, "over", due_at=None))
        webhooks, functions = check_workers(settings)
        assert webhooks.level is Level.OK
        assert (functions.level, functions.advice) == (Level.WARN, "start `realtime functions`")
        assert "0 events and 1 execution wait" in functions.text

    def test_worker_that_reads_is_seen_whichever_bucket_has_something(self, settings: Settings) -> None:
        asyncio.run(read(settings.redis_url, "webhooks"))
        webhooks, _ = check_workers(settings)
        assert webhooks.level is Level.OK
        assert "a worker takes what comes, last seen 0 s ago; 0 events and 0 deliveries wait" in webhooks.text

    def test_worker_that_has_gone_is_none(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        asyncio.run(read(settings.redis_url, "webhooks"))
        asyncio.run(append(settings.redis_url, "webhooks"))
        monkeypatch.setattr(doctor_workers, "ALIVE_S", -1)
        assert check_workers(settings)[0].level is Level.WARN

    def test_redis_that_is_away_is_left_to_its_own_check(self, free_port: Callable[[], int]) -> None:
        assert check_workers(Settings(redis_url=f"redis://127.0.0.1:{free_port()}")) == []

    def test_database_that_is_away_is_left_to_its_own_check(
        self, settings: Settings, free_port: Callable[[], int]
    ) -> None:
        away = settings.model_copy(
            update={"database_url": f"postgresql://realtime:hush@127.0.0.1:{free_port()}/realtime"}
        )
        assert [finding.level for finding in check_workers(away)] == [Level.OK, Level.OK]


class TestJudgeWorkers:
    def test_many_that_wait_are_told_with_a_worker_too(self) -> None:
        waiting = Waiting(events=12_345, due=MAX_COUNTED)
        finding = judge_workers("webhooks", waiting, seen_s=3.2, is_wanted=True)
        assert finding.level is Level.OK
        assert "last seen 3 s ago; 12,345 events and 10,000 deliveries or more wait" in finding.text


class TestCheckExecutor:
    def test_functions_at_urls_need_no_program(self) -> None:
        finding = check_executor(Settings(functions_executor="http", functions_node="/nowhere/node"))
        assert finding.level is Level.OK

    def test_both_programs_are_named_with_their_versions(self, tmp_path: Path) -> None:
        node = program(tmp_path, "node", "echo v22.1.0")
        finding = check_executor(Settings(functions_executor="process", functions_node=node))
        assert finding.level is Level.OK
        assert finding.text.startswith("Python 3.")
        assert finding.text.endswith("Node.js v22.1.0")

    @pytest.mark.parametrize("text", ["exit 1", "exec sleep 30"])
    def test_node_that_does_not_run_is_warned_of(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
    ) -> None:
        monkeypatch.setattr(doctor_workers, "TIMEOUT_S", 0.2)
        monkeypatch.setattr("sys.executable", program(tmp_path, "python", "echo Python 3.11"))
        node = program(tmp_path, "node", text)
        finding = check_executor(Settings(functions_executor="process", functions_node=node))
        assert finding.level is Level.WARN
        assert "REALTIME_FUNCTIONS_NODE" in finding.advice

    def test_python_that_is_not_there_fails(self) -> None:
        finding = check_executor(Settings(functions_executor="process", functions_python="/nowhere/python"))
        assert finding.level is Level.FAIL
        assert "/nowhere/python" in finding.text


class TestCheckEncryption:
    def test_given_keys_are_fine_and_not_shown(self) -> None:
        finding = check_encryption(Settings(encryption_keys=("k" * 32,)))
        assert finding.level is Level.OK
        assert "kkk" not in str(finding)

    def test_key_of_the_data_folder_will_do_for_one_machine(self, tmp_path: Path) -> None:
        assert "to be made" in check_encryption(Settings(data_dir=tmp_path)).text
        (tmp_path / "encryption.key").touch()
        finding = check_encryption(Settings(data_dir=tmp_path))
        assert (finding.level, "to be made" in finding.text) == (Level.OK, False)

    def test_key_of_the_data_folder_is_warned_of_where_machines_share_a_database(
        self, tmp_path: Path
    ) -> None:
        finding = check_encryption(
            Settings(data_dir=tmp_path, database_url="postgresql://realtime@db.internal/realtime")
        )
        assert finding.level is Level.WARN
        assert "REALTIME_ENCRYPTION_KEYS" in finding.advice
