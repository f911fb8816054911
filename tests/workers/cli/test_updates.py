"""The first start after an update, on what the release before the workers has left in the database and in Redis."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from realtime.bus import connect
from realtime.bus.keys import bucket, triggers_key, triggers_version_key
from realtime.bus.work import WorkQueue
from realtime.publisher import Publisher
from realtime.settings import Settings
from workers.api import standalone
from workers.cli import wiring, worker_wiring
from workers.cli.doctor_workers import check_triggers, judge_triggers
from workers.cli.findings import Level
from workers.store import tables
from workers.store.database import open_database

pytestmark = pytest.mark.integration

TIMES = {"created_at": "2026-01-01T00:00:00.000+00:00", "updated_at": "2026-01-01T00:00:00.000+00:00"}
FUNCTION = {
    "id": "f1",
    "project_id": "shop",
    "name": "Resize",
    "runtime": "python-3.11",
    "execute": [],
    "events": ["teams.*.create"],
    "schedule": "",
    "timeout_s": 30,
    "enabled": True,
    "logging": True,
    "entrypoint": "",
    "commands": "",
    "scopes": [],
    **TIMES,
}
RECORD = '{"id":"f1","name":"Resize","events":["teams.*.create"],"timeout_s":30}'


@pytest.fixture
def settings(redis_url: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Where there is a function of that release, and nothing serves for longer than it takes to start."""
    for module, name in (
        (standalone, "serve"),
        (wiring, "serve"),
        (worker_wiring, "serve_worker"),
    ):
        monkeypatch.setattr(module, name, lambda *_, **__: None)
    settings = Settings(redis_url=redis_url, database_url=database_url, data_dir=tmp_path, dev_key="key")
    asyncio.run(leave_function(settings))
    return settings


async def leave_function(settings: Settings) -> None:
    database, redis = open_database(settings), connect(settings.redis_url)
    async with database.writing() as connection:
        await connection.execute(insert(tables.functions).values(**FUNCTION))
    answer: Any = redis.hset(triggers_key("shop"), "function:f1", RECORD)
    await answer
    await redis.set(triggers_version_key(bucket("shop")), 1)
    await redis.aclose()
    await database.aclose()


async def count_left(settings: Settings) -> int:
    """Publish an event, and return how many are left for functions."""
    async with Publisher("shop", redis_url=settings.redis_url) as publisher:
        await publisher.publish("teams.red.create", {"$id": "red"})
    redis = connect(settings.redis_url)
    try:
        return sum(await WorkQueue(redis, "functions", "test").lengths())
    finally:
        await redis.aclose()


@pytest.mark.parametrize(
    "serve",
    [wiring.serve_api, wiring.serve_dev, worker_wiring.serve_webhooks, worker_wiring.serve_functions],
)
def test_trigger_fires_whichever_server_starts_first(
    serve: Callable[[Settings, Callable[[], None]], None], settings: Settings
) -> None:
    assert asyncio.run(count_left(settings)) == 0
    assert [(each.check, each.level) for each in check_triggers(settings)] == [("triggers", Level.FAIL)]
    serve(settings, lambda: None)
    assert asyncio.run(count_left(settings)) == 1
    assert [each.level for each in check_triggers(settings)] == [Level.OK]


class TestDoctor:
    def test_projects_are_named_and_what_to_do(self, settings: Settings) -> None:
        (finding,) = check_triggers(settings)
        assert finding.text.endswith("wait for in: shop")
        assert "realtime identities rebuild" in finding.advice

    def test_few_of_many_projects_are_named(self) -> None:
        text = judge_triggers([f"p{number}" for number in range(1, 1235)]).text
        assert text.endswith("wait for in: p1, p2, p3, p4, p5 and 1,229 more")

    def test_servers_that_are_away_are_left_to_their_own_checks(
        self, settings: Settings, tmp_path: Path, free_port: Callable[[], int]
    ) -> None:
        away = {"redis_url": f"redis://127.0.0.1:{free_port()}"}
        assert check_triggers(settings.model_copy(update=away)) == []
        absent = {"database_url": "", "data_dir": tmp_path / "nowhere"}
        assert check_triggers(settings.model_copy(update=absent)) == []
        assert not (tmp_path / "nowhere").exists()
