"""The commands that look after what waits for webhooks and functions, on a real server."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner, Result

from realtime.bus import connect
from realtime.bus.keys import WorkKind, work_dead_key, work_key
from realtime.settings import Settings
from workers.cli import app

T = TypeVar("T")
Realtime = Callable[..., Result]

ENVELOPE = json.dumps(
    {
        "project": "shop",
        "data": {
            "channels": [],
            "events": ["users.7.create"],
            "timestamp": "2001-01-01T00:00:00.000+00:00",
            "payload": {},
        },
    }
)


@pytest.fixture
def realtime(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Realtime:
    monkeypatch.setenv("REALTIME_REDIS_URL", redis_url)

    def call(*arguments: str, exit_code: int = 0, answer: str = "") -> Result:
        result = CliRunner().invoke(app, arguments, input=answer)
        assert result.exit_code == exit_code, result.output
        return result

    return call


def ask(run: Callable[[Redis], Awaitable[T]]) -> T:
    async def asking() -> T:
        redis = connect(Settings().redis_url)
        try:
            return await run(redis)
        finally:
            await redis.aclose()

    return asyncio.run(asking())


def add(name: str, *, count: int = 1, **fields: str) -> None:
    async def run(redis: Redis) -> None:
        for number in range(count):
            written: dict[Any, Any] = {"e": ENVELOPE, "i": f"{number}-0"} | fields
            await redis.xadd(name, written)

    ask(run)


def lengths(number: int, kind: WorkKind) -> tuple[int, int]:
    """Return how many entries of a bucket wait, and how many were laid aside."""

    async def run(redis: Redis) -> tuple[int, int]:
        return await redis.xlen(work_key(number, kind)), await redis.xlen(work_dead_key(number, kind))

    return ask(run)


@pytest.fixture
def filled(realtime: Realtime) -> None:
    add(work_key(3, "webhooks"), count=205)
    add(work_key(5, "functions"))
    add(work_dead_key(3, "webhooks"), count=101, r="The database refused it.")
    add(work_dead_key(7, "webhooks"), r="The database refused it.")
    add(work_dead_key(7, "functions"), count=2, r="It is\x1b[2J no JSON.", e="{")


@pytest.mark.usefixtures("filled")
class TestList:
    def test_what_there_is_is_counted_by_kind_and_bucket(self, realtime: Realtime) -> None:
        lines = realtime("work", "list", "--json").stdout.splitlines()
        assert [tuple(json.loads(line).values()) for line in lines] == [
            ("webhooks", 3, 205, 101),
            ("webhooks", 7, 0, 1),
            ("functions", 5, 1, 0),
            ("functions", 7, 0, 2),
        ]
        assert json.loads(lines[0]).keys() == {"kind", "bucket", "waiting", "dead"}

    def test_kind_and_bucket_choose(self, realtime: Realtime) -> None:
        result = realtime("work", "list", "--kind", "webhooks", "--bucket", "3")
        assert result.stdout == "webhooks  bucket 3  205 waiting  101 laid aside\n"

    def test_what_was_laid_aside_is_told_with_its_reason(self, realtime: Realtime) -> None:
        lines = realtime("work", "list", "--dead").stdout.splitlines()
        assert len(lines) == 104
        assert lines[0] == "webhooks  3  shop  0-0  users.7.create  The database refused it."
        assert lines[100].startswith("webhooks  3  shop  100-0  ")
        assert lines[-1] == "functions  7  1-0  It is\ufffd[2J no JSON."
        last = realtime("work", "list", "--dead", "--kind", "functions", "--json").stdout.splitlines()[-1]
        assert json.loads(last) == {
            "kind": "functions",
            "bucket": 7,
            "project": "",
            "eventId": "1-0",
            "event": "",
            "reason": "It is\x1b[2J no JSON.",
        }


@pytest.mark.usefixtures("filled")
class TestReplay:
    def test_what_was_laid_aside_waits_again(self, realtime: Realtime) -> None:
        assert realtime("work", "replay", "--dry-run").stdout == "to be replayed 104 events\n"
        assert lengths(3, "webhooks") == (205, 101)
        assert realtime("work", "replay", "--kind", "webhooks").stdout.endswith("replayed 102 events\n")
        assert lengths(3, "webhooks") == (306, 0)
        assert lengths(7, "webhooks") == (1, 0)
        assert lengths(7, "functions") == (0, 2)

    def test_bucket_chooses(self, realtime: Realtime) -> None:
        assert realtime("work", "replay", "--bucket", "7").stdout.endswith("replayed 3 events\n")
        assert lengths(3, "webhooks") == (205, 101)
        assert lengths(7, "functions") == (2, 0)


@pytest.mark.usefixtures("filled")
class TestPurge:
    def test_what_was_laid_aside_goes_once_that_is_confirmed(self, realtime: Realtime) -> None:
        realtime("work", "purge", answer="n\n", exit_code=1)
        assert lengths(3, "webhooks") == (205, 101)
        result = realtime("work", "purge", answer="y\n")
        assert "Remove 104 events that were laid aside?" in result.stderr
        assert lengths(3, "webhooks") == (205, 0)
        assert lengths(7, "functions") == (0, 0)

    def test_what_waits_goes_only_of_a_kind_that_is_named(self, realtime: Realtime) -> None:
        assert "--kind" in realtime("work", "purge", "--waiting", "--yes", exit_code=1).stderr
        result = realtime("work", "purge", "--waiting", "--kind", "webhooks", "--dry-run")
        assert result.stdout == "to be purged 205 events\n"
        realtime("work", "purge", "--waiting", "--kind", "webhooks", "--yes")
        assert lengths(3, "webhooks") == (0, 101)
        assert lengths(5, "functions") == (1, 0)


class TestNothing:
    def test_there_is_nothing_to_list_or_to_do(self, realtime: Realtime) -> None:
        nothing = realtime("work", "list")
        assert (nothing.stdout, nothing.stderr) == ("", "Nothing waits, and nothing was laid aside.\n")
        nothing = realtime("work", "list", "--dead")
        assert (nothing.stdout, nothing.stderr) == ("", "Nothing was laid aside.\n")
        assert realtime("work", "list", "--json").output == ""
        assert realtime("work", "replay").stdout == "replayed 0 events\n"
        assert realtime("work", "purge").stdout == "purged 0 events\n"
