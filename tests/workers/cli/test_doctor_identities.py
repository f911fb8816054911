import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import insert

from realtime.identity.model import Project
from realtime.settings import Settings
from workers.cli.context import open_stores
from workers.cli.doctor_identities import check_identities, judge_identities
from workers.cli.findings import Level
from workers.store import tables

pytestmark = pytest.mark.integration

TIMES = {"created_at": "2026-01-01T00:00:00.000+00:00", "updated_at": "2026-01-01T00:00:00.000+00:00"}


@pytest.fixture
def settings(redis_url: str, database_url: str, tmp_path: Path) -> Settings:
    return Settings(redis_url=redis_url, database_url=database_url, data_dir=tmp_path)


async def add_projects(settings: Settings, *, stored: list[str], known: list[str]) -> None:
    async with open_stores(settings) as stores:
        async with stores.store.database.writing() as connection:
            for project_id in stored:
                values = {"id": project_id, "name": "", "disabled": {}, "policies": {}, **TIMES}
                await connection.execute(insert(tables.projects).values(**values))
        for project_id in known:
            await stores.identities.put_project(Project(id=project_id))


class TestCheckIdentities:
    def test_project_that_redis_has_lost_fails_with_what_to_do(self, settings: Settings) -> None:
        asyncio.run(add_projects(settings, stored=["shop", "lost"], known=["shop", "of-a-backend"]))
        (finding,) = check_identities(settings)
        assert finding.level is Level.FAIL
        assert "1 project of the database: lost;" in finding.text
        assert finding.advice == "`realtime identities rebuild`"

    def test_projects_that_both_have_are_fine(self, settings: Settings) -> None:
        asyncio.run(add_projects(settings, stored=["shop"], known=["shop"]))
        assert [finding.level for finding in check_identities(settings)] == [Level.OK]

    def test_servers_that_are_away_are_left_to_their_own_checks(
        self, settings: Settings, tmp_path: Path, free_port: Callable[[], int]
    ) -> None:
        asyncio.run(add_projects(settings, stored=["shop"], known=[]))
        away = {"redis_url": f"redis://127.0.0.1:{free_port()}"}
        assert check_identities(settings.model_copy(update=away)) == []
        absent = {"database_url": "", "data_dir": tmp_path / "nowhere"}
        assert check_identities(settings.model_copy(update=absent)) == []
        assert not (tmp_path / "nowhere").exists()


class TestJudgeIdentities:
    def test_few_of_many_projects_are_named(self) -> None:
        text = judge_identities([f"p{number}" for number in range(1, 1235)]).text
        assert "1,234 projects of the database: p1, p2, p3, p4, p5 and 1,229 more;" in text
