"""The commands that show executions, on both databases."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from realtime.settings import Settings
from workers.cli import app
from workers.store import tables
from workers.store.database import open_database

PAST, LATER = (f"{year}-01-01T00:00:00.000+00:00" for year in (2001, 2002))

Realtime = Callable[..., Result]


@pytest.fixture
def realtime(redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Realtime:
    """Calls the command line on a database with the project ``shop`` and executions of its functions."""
    monkeypatch.setenv("REALTIME_REDIS_URL", redis_url)
    monkeypatch.setenv("REALTIME_DATABASE_URL", database_url)

    def call(*arguments: str, exit_code: int = 0) -> Result:
        result = CliRunner().invoke(app, ["executions", *arguments])
        assert result.exit_code == exit_code, result.output
        return result

    CliRunner().invoke(app, ["projects", "create", "shop"])
    insert(
        execution("e1"),
        execution(
            "e2", created_at=LATER, status="failed", response_status=500, errors="Oops\x1b[2J\n\tat line 3"
        ),
        execution("e3", created_at=LATER, status="waiting", function_id="other", response_status=0),
        execution("e4", project_id="elsewhere"),
    )
    monkeypatch.setenv("REALTIME_DEV_PROJECT", "shop")
    return call


def execution(execution_id: str, **columns: Any) -> dict[str, Any]:
    return {
        "project_id": "shop",
        "id": execution_id,
        "function_id": "resize",
        "deployment_id": "d",
        "permissions": [],
        "trigger": "event",
        "status": "completed",
        "request_method": "POST",
        "request_path": "/",
        "request_headers": [],
        "response_status": 200,
        "response_headers": [],
        "logs": "begins",
        "errors": "",
        "duration_s": 0.25,
        "attempts": 1,
        "sealed_request": "",
        "created_at": PAST,
        "updated_at": PAST,
    } | columns


def insert(*rows: dict[str, Any]) -> None:
    async def run() -> None:
        database = open_database(Settings())
        try:
            async with database.writing() as connection:
                await connection.execute(tables.executions.insert(), list(rows))
        finally:
            await database.aclose()

    asyncio.run(run())


class TestList:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ((), ["e3", "e2", "e1"]),
            (("--status", "failed"), ["e2"]),
            (("--function", "resize"), ["e2", "e1"]),
            (("--function", "resize", "--function", "other", "--since", "2001-06-01"), ["e3", "e2"]),
            (("--since", "1h"), []),
        ],
    )
    def test_options_choose(self, realtime: Realtime, options: tuple[str, ...], expected: list[str]) -> None:
        result = realtime("list", "--json", *options)
        assert [json.loads(line)["$id"] for line in result.stdout.splitlines()] == expected
        assert result.stderr == ""

    def test_line_tells_what_went_wrong_under_a_heading_that_is_not_piped(self, realtime: Realtime) -> None:
        result = realtime("list", "--status", "failed")
        assert result.stderr.split()[:3] == ["created", "id", "status"]
        (line,) = result.stdout.splitlines()
        assert line.split()[1:7] == ["e2", "failed", "event", "500", "0.250", "resize"]
        assert line.endswith("Oops\ufffd[2J at line 3")

    def test_rest_is_counted(self, realtime: Realtime) -> None:
        assert realtime("list", "--limit", "1").stderr.endswith("2 more; --limit shows them.\n")

    def test_nothing_is_told_as_such(self, realtime: Realtime) -> None:
        assert realtime("list", "--since", "1h").output == "There are no such executions.\n"

    def test_project_that_there_is_not_is_an_error(self, realtime: Realtime) -> None:
        result = realtime("list", "--project", "nowhere", exit_code=1)
        assert result.stderr == "error: There is no project nowhere.\n"


class TestShow:
    def test_what_was_written_is_told_and_nothing_steers_the_terminal(self, realtime: Realtime) -> None:
        lines = realtime("show", "e2").stdout.splitlines()
        assert "function    resize" in lines
        assert lines[-5:] == ["logs", "  begins", "errors", "  Oops\ufffd[2J", "          at line 3"]
        shown = json.loads(realtime("show", "e2", "--json").stdout)
        assert (shown["status"], shown["logs"]) == ("failed", "begins")

    @pytest.mark.parametrize("execution_id", ["e9", "e4"])
    def test_execution_that_there_is_not_is_an_error(self, realtime: Realtime, execution_id: str) -> None:
        result = realtime("show", execution_id, exit_code=1)
        assert f"Project shop has no execution {execution_id}" in result.stderr
