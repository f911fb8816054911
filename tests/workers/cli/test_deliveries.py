"""The commands that look after deliveries, on both databases."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner, Result

from realtime.settings import Settings
from workers.cli import app
from workers.store import tables
from workers.store.database import open_database
from workers.webhooks import delivery_log

PAST, LATER, FUTURE = (f"{year}-01-01T00:00:00.000+00:00" for year in (2001, 2002, 2999))

Realtime = Callable[..., Result]


@pytest.fixture
def realtime(redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Realtime:
    """Calls the command line on a database with the project ``shop``, its webhooks and their deliveries."""
    monkeypatch.setenv("REALTIME_REDIS_URL", redis_url)
    monkeypatch.setenv("REALTIME_DATABASE_URL", database_url)

    def call(*arguments: str, exit_code: int = 0, answer: str = "") -> Result:
        result = CliRunner().invoke(app, arguments, input=answer)
        assert result.exit_code == exit_code, result.output
        return result

    call("projects", "create", "shop")
    insert(tables.webhooks, webhook(1, "w1"), webhook(2, "w2"))
    insert(
        tables.deliveries,
        delivery("d1"),
        delivery("d2", created_at=LATER, event_id="2-0"),
        delivery("d3", created_at=LATER, event_id="2-0", webhook_id="w2", webhook_seq=2),
        delivery("d4", status="delivered", response_status=204, error=""),
        delivery("d5", status="pending", due_at=FUTURE),
        delivery("d6", status="pending", due_at=FUTURE, held=True),
    )
    insert(tables.attempts, attempt("d1", 1), attempt("d1", 2), attempt("d4", 1))
    monkeypatch.setenv("REALTIME_DEV_PROJECT", "shop")
    return call


def webhook(seq: int, webhook_id: str) -> dict[str, Any]:
    return {
        "seq": seq,
        "project_id": "shop",
        "id": webhook_id,
        "name": "Orders",
        "url": "https://93.184.216.34/",
        "events": ["users.*"],
        "tls": True,
        "secret": "sealed",
        "enabled": True,
        "created_at": PAST,
        "updated_at": PAST,
    }


def delivery(delivery_id: str, **columns: Any) -> dict[str, Any]:
    return {
        "project_id": "shop",
        "id": delivery_id,
        "webhook_id": "w1",
        "webhook_seq": 1,
        "event_id": "1-0",
        "event": "users.7.create",
        "status": "dead",
        "attempts": 12,
        "round": 12,
        "response_status": 500,
        "error": "The endpoint answered 500.",
        "due_at": None,
        "held": False,
        "created_at": PAST,
        "updated_at": PAST,
    } | columns


def attempt(delivery_id: str, number: int) -> dict[str, Any]:
    return {
        "project_id": "shop",
        "delivery_id": delivery_id,
        "number": number,
        "started_at": PAST,
        "duration_s": 0.25,
        "response_status": 500,
        "response": "oops\x1b[2J\nsorry",
        "error": "The endpoint answered 500.",
    }


def insert(table: Any, *rows: dict[str, Any]) -> None:
    async def run() -> None:
        database = open_database(Settings())
        try:
            async with database.writing() as connection:
                await connection.execute(table.insert(), list(rows))
        finally:
            await database.aclose()

    asyncio.run(run())


def column(table: Any, name: str) -> list[Any]:
    """Return a column of all rows of a table."""

    async def run() -> list[Any]:
        database = open_database(Settings())
        try:
            async with database.reading() as connection:
                found = await connection.execute(select(table.c[name]).order_by(table.c.seq))
                return list(found.scalars())
        finally:
            await database.aclose()

    return asyncio.run(run())


def disable(webhook_id: str) -> None:
    async def run() -> None:
        database = open_database(Settings())
        try:
            async with database.writing() as connection:
                wanted = tables.webhooks.c.id == webhook_id
                await connection.execute(update(tables.webhooks).where(wanted).values(enabled=False))
        finally:
            await database.aclose()

    asyncio.run(run())


def replayed() -> set[str]:
    """Return the deliveries that are due with all their attempts."""
    columns = (column(tables.deliveries, name) for name in ("id", "status", "round", "due_at"))
    return {
        delivery_id
        for delivery_id, status, round_, due_at in zip(*columns, strict=True)
        if status == "pending" and round_ == 0 and LATER < due_at < FUTURE
    }


class TestList:
    def test_newest_come_first_and_the_rest_is_counted(self, realtime: Realtime) -> None:
        result = realtime("deliveries", "list", "--limit", "2")
        assert [line.split()[1:3] for line in result.stdout.splitlines()] == [
            ["d6", "pending"],
            ["d5", "pending"],
        ]
        heading, more = result.stderr.splitlines()
        assert heading.split()[:4] == ["recorded", "id", "status", "attempts"]
        assert more == "4 more; --limit shows them."

    def test_line_tells_what_went_wrong_and_when_it_is_tried_again(self, realtime: Realtime) -> None:
        insert(
            tables.deliveries,
            delivery("d7", status="pending", due_at=FUTURE, response_status=0, error="no\x1b[2Jbody " * 20),
        )
        line = realtime("deliveries", "list", "--limit", "1").stdout
        assert re.search(
            rf"d7 +pending +12 +- +{re.escape(FUTURE)} +w1 +users\.7\.create +no\ufffd\[2Jbody .*…$", line
        )

    def test_nothing_is_told_as_such_but_not_to_programs(self, realtime: Realtime) -> None:
        assert realtime("deliveries", "list", "--webhook", "w9").output == "There are no such deliveries.\n"
        assert realtime("deliveries", "list", "--webhook", "w9", "--json").output == ""

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (("--status", "delivered"), ["d4"]),
            (("--webhook", "w2"), ["d3"]),
            (("--webhook", "w2", "--webhook", "w1", "--status", "dead"), ["d3", "d2", "d1"]),
            (("--event", "2-0"), ["d3", "d2"]),
            (("--since", "2001-06-01"), ["d3", "d2"]),
            (("--until", "2001-06-01", "--status", "dead"), ["d1"]),
            (("--since", "1h"), []),
        ],
    )
    def test_options_choose(self, realtime: Realtime, options: tuple[str, ...], expected: list[str]) -> None:
        result = realtime("deliveries", "list", "--json", *options)
        assert [json.loads(line)["$id"] for line in result.stdout.splitlines()] == expected
        assert result.stderr == ""

    def test_project_that_there_is_not_is_an_error(self, realtime: Realtime) -> None:
        result = realtime("deliveries", "list", "--project", "nowhere", exit_code=1)
        assert result.stderr == "error: There is no project nowhere.\n"


class TestShow:
    def test_every_attempt_is_told_and_nothing_steers_the_terminal(self, realtime: Realtime) -> None:
        insert(
            tables.webhook_events,
            {
                "project_id": "shop",
                "event_id": "1-0",
                "names": ["users.7.create"],
                "actor_id": "ada",
                "payload": b'{"$id": "7"}',
                "created_at": PAST,
            },
        )
        lines = realtime("deliveries", "show", "d1").stdout.splitlines()
        assert "event     1-0 users.7.create" in lines
        assert 'payload   {"$id":"7"}' in lines
        assert lines[-4:] == [
            "attempt 2  2001-01-01T00:00:00.000+00:00  0.250 s  500  The endpoint answered 500.",
            "  oops\ufffd[2J sorry",
            "attempt 1  2001-01-01T00:00:00.000+00:00  0.250 s  500  The endpoint answered 500.",
            "  oops\ufffd[2J sorry",
        ]
        shown = json.loads(realtime("deliveries", "show", "d1", "--json").stdout)
        assert (shown["payload"], [each["number"] for each in shown["history"]]) == ({"$id": "7"}, [2, 1])

    def test_delivery_that_there_is_not_is_an_error(self, realtime: Realtime) -> None:
        result = realtime("deliveries", "show", "d9", exit_code=1)
        assert "Project shop has no delivery d9" in result.stderr


class TestReplay:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (("d1", "d4"), {"d1", "d4"}),
            (("d5", "d6"), {"d5"}),
            (("--since", "2001-01-01"), {"d1", "d2", "d3"}),
            (("--since", "2001-06-01", "--webhook", "w1"), {"d2"}),
            (("--webhook", "w1", "--status", "delivered"), {"d4"}),
            (("--event", "1-0"), {"d1", "d4", "d5"}),
            (("--event", "1-0", "--status", "dead"), {"d1"}),
            (("d9",), set()),
        ],
    )
    def test_those_that_are_meant_are_due_and_no_others(
        self, realtime: Realtime, options: tuple[str, ...], expected: set[str]
    ) -> None:
        said = f"{len(expected)} {'delivery' if len(expected) == 1 else 'deliveries'}\n"
        assert realtime("deliveries", "replay", *options, "--dry-run").stdout == f"to be replayed {said}"
        assert replayed() == set()
        assert realtime("deliveries", "replay", *options).stdout == f"replayed {said}"
        assert replayed() == expected

    def test_pending_ones_are_hinted_at_where_dead_ones_are_meant(self, realtime: Realtime) -> None:
        hint = "1 pending, to be tried again by themselves; --status pending replays them at once.\n"
        assert realtime("deliveries", "replay", "--webhook", "w1", "--dry-run").stderr == hint
        assert "pending" not in realtime("deliveries", "replay", "--webhook", "w2").stderr
        assert "pending" not in realtime("deliveries", "replay", "d5", "--dry-run").stderr

    def test_webhook_that_there_is_not_is_an_error(self, realtime: Realtime) -> None:
        result = realtime("deliveries", "replay", "--webhook", "nope", exit_code=1)
        assert result.stderr == "error: Project shop has no webhook nope.\n"

    def test_webhook_that_is_disabled_is_an_error(self, realtime: Realtime) -> None:
        disable("w2")
        result = realtime("deliveries", "replay", "--webhook", "w1", "--webhook", "w2", exit_code=1)
        assert result.stderr == "error: Webhook w2 is disabled: enable it first.\n"
        assert replayed() == set()

    @pytest.mark.parametrize(
        ("options", "exit_code"), [(("d3",), 1), (("d1", "d3"), 0), (("--event", "2-0"), 0)]
    )
    def test_what_is_left_out_since_its_webhook_is_disabled_is_told(
        self, realtime: Realtime, options: tuple[str, ...], exit_code: int
    ) -> None:
        disable("w2")
        result = realtime("deliveries", "replay", *options, exit_code=exit_code)
        assert "Left out: webhook w2 is disabled; enable it first.\n" in result.stderr
        assert "d3" not in replayed()

    def test_many_are_replayed_in_steps(self, realtime: Realtime, monkeypatch: pytest.MonkeyPatch) -> None:
        # A default of the function, so that the constant's own change would come too late.
        monkeypatch.setattr(delivery_log.redeliver, "__kwdefaults__", {"after_seq": 0, "limit": 1})
        assert realtime("deliveries", "replay", "--since", "2001-01-01").stdout == "replayed 3 deliveries\n"
        assert replayed() == {"d1", "d2", "d3"}

    def test_nothing_is_replayed_unless_it_is_said_what(self, realtime: Realtime) -> None:
        result = realtime("deliveries", "replay", exit_code=1)
        assert "--since" in result.stderr
        assert replayed() == set()


class TestPurge:
    def test_dead_letters_go_with_their_attempts_once_that_is_confirmed(self, realtime: Realtime) -> None:
        result = realtime("deliveries", "purge", answer="y\n")
        assert "Remove 3 dead deliveries of project shop?" in result.stderr
        assert result.stdout.splitlines()[-1].endswith("purged 3 deliveries")
        assert column(tables.deliveries, "id") == ["d4", "d5", "d6"]
        assert column(tables.attempts, "delivery_id") == ["d4"]

    @pytest.mark.parametrize("answer", ["n\n", ""])
    def test_nothing_goes_unless_it_is_confirmed(self, realtime: Realtime, answer: str) -> None:
        realtime("deliveries", "purge", exit_code=1, answer=answer)
        assert len(column(tables.deliveries, "id")) == 6

    def test_dry_run_only_counts(self, realtime: Realtime) -> None:
        assert realtime("deliveries", "purge", "--dry-run").stdout == "to be purged 3 deliveries\n"
        assert len(column(tables.deliveries, "id")) == 6

    @pytest.mark.parametrize(
        ("options", "left"),
        [
            (("--status", "delivered"), ["d1", "d2", "d3", "d5", "d6"]),
            (("--until", "2001-06-01"), ["d2", "d3", "d4", "d5", "d6"]),
            (("--webhook", "w2"), ["d1", "d2", "d4", "d5", "d6"]),
            (("d2", "d4"), ["d1", "d3", "d4", "d5", "d6"]),
        ],
    )
    def test_options_choose(self, realtime: Realtime, options: tuple[str, ...], left: list[str]) -> None:
        realtime("deliveries", "purge", "--yes", *options)
        assert column(tables.deliveries, "id") == left
