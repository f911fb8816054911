"""Which Sentinel is believed, when they do not say the same."""

from typing import Any, cast

import pytest
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import RedisError

from realtime.bus import connect
from realtime.bus.sentinel import find_master, watchers
from realtime.bus.topology import Node, SentinelUrl, parse_redis_url

OLD: Node = ("10.0.0.1", 6379)
NEW: Node = ("10.0.0.2", 6379)


class Watcher:
    """A Sentinel: where it sends clients, and the state of the master that it watches, another one for a moment."""

    def __init__(
        self, master: Node, *, epoch: int, watched: Node | None = None, is_down: bool = False
    ) -> None:
        self._master = master
        ip, port = watched or master
        self._state = {"ip": ip, "port": port, "config-epoch": epoch, "is_sdown": is_down, "is_odown": False}

    async def sentinel_master(self, _: str) -> dict[str, Any]:
        return self._state

    async def sentinel_get_master_addr_by_name(self, _: str) -> tuple[str, str]:
        return self._master[0], str(self._master[1])


class Silent(Watcher):
    async def sentinel_master(self, _: str) -> dict[str, Any]:
        raise RedisError("no answer")


async def ask(*sentinels: Watcher) -> Node:
    url = parse_redis_url("redis-sentinel://127.0.0.1:1/m")
    assert isinstance(url, SentinelUrl)
    asked = watchers(url)
    await asked.sentinels[0].aclose()
    asked.sentinels = cast("Any", list(sentinels))
    return await find_master(asked, "m")


async def test_newest_configuration_is_believed() -> None:
    assert await ask(Watcher(OLD, epoch=1), Watcher(NEW, epoch=2), Watcher(OLD, epoch=1)) == NEW


async def test_one_that_answers_is_enough() -> None:
    assert await ask(Silent(OLD, epoch=9), Watcher(NEW, epoch=2)) == NEW


async def test_master_that_is_down_is_none() -> None:
    with pytest.raises(RedisError, match="down"):
        await ask(Watcher(OLD, epoch=1, is_down=True), Silent(OLD, epoch=1))


async def test_older_word_does_not_stand_in_for_a_master_that_is_down() -> None:
    with pytest.raises(RedisError, match="down"):
        await ask(Watcher(OLD, epoch=1), Watcher(NEW, epoch=2, is_down=True))


async def test_promoted_server_is_the_master_while_the_old_one_is_still_watched_as_down() -> None:
    assert await ask(Watcher(NEW, epoch=1, watched=OLD, is_down=True)) == NEW


async def test_no_answer_is_an_error() -> None:
    with pytest.raises(RedisError, match="No Sentinel"):
        await ask(Silent(OLD, epoch=1))


async def test_word_that_is_old_is_asked_for_again_before_a_connection_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A master that was replaced while it hung says nothing of it on the connections that there are."""
    asked: list[str] = []

    async def discover(service: str) -> Node:
        asked.append(service)
        return NEW

    async def connection(_: object) -> None:
        pass

    client = connect("redis-sentinel://127.0.0.1:1/m")
    pool: Any = client.connection_pool
    monkeypatch.setattr(pool.sentinel_manager, "discover_master", discover)
    monkeypatch.setattr(BlockingConnectionPool, "get_connection", connection)
    await pool.get_connection()
    await pool.get_connection()
    assert asked == ["m"]
    assert pool.master_address == NEW

    pool._ask_at = 0.0
    await pool.get_connection()
    assert asked == ["m", "m"]
    await client.aclose()
