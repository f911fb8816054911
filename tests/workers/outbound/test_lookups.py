"""Resolving names in threads of their own."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from workers.outbound.lookups import LookUps, LookUpsBusyError
from workers.outbound.names import FRESH_S, PROMPT_S


class SlowResolver:
    """Stands in for the system's resolver: name servers do not answer until they are let."""

    def __init__(self) -> None:
        self.answering = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **_options: Any) -> list[Any]:
        self.asked.append(host)
        if host.startswith("slow"):
            self.answering.wait(10)
        address = ("192.0.2.1", port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)] * 2


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowResolver]:
    resolver = SlowResolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.answering.set()


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def look_ups(threads: int, max_waiting: int, clock: Callable[[], float] = time.monotonic) -> LookUps:
    return LookUps(threads=threads, max_waiting=max_waiting, thread_name="test-names", clock=clock)


class TestLookUps:
    async def test_name_leads_to_each_address_once(self, resolver: SlowResolver) -> None:
        assert await look_ups(1, 0)("example.com", 80) == [ip_address("192.0.2.1")]

    async def test_name_without_addresses_cannot_be_resolved(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: [])
        with pytest.raises(OSError, match="no addresses"):
            await look_ups(1, 0)("example.com", 80)

    async def test_look_up_that_was_given_up_still_counts_until_it_ends(self, resolver: SlowResolver) -> None:
        names = look_ups(2, 0)
        for host in ("slow1", "slow2"):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await names(host, 80)
        with pytest.raises(LookUpsBusyError):
            await names("third", 80)
        assert resolver.asked == ["slow1", "slow2"]
        resolver.answering.set()
        async with asyncio.timeout(5):
            while True:
                try:
                    assert await names("third", 80)
                    break
                except LookUpsBusyError:
                    await asyncio.sleep(0.01)

    async def test_look_up_that_waits_gives_its_place_back_when_given_up(
        self, resolver: SlowResolver
    ) -> None:
        names = look_ups(1, 1)
        first = asyncio.create_task(names("slow", 80))
        await asyncio.sleep(0)
        for host in ("second", "third"):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await names(host, 80)
        resolver.answering.set()
        assert await first
        assert await names("fourth", 80)
        assert resolver.asked == ["slow", "fourth"]

    async def test_others_keep_their_threads(self, resolver: SlowResolver) -> None:
        """Those of asyncio serve whatever waits in a thread, and would all be taken."""
        names = look_ups(64, 0)
        slow = [asyncio.create_task(names(f"slow{number}", 80)) for number in range(64)]
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert await asyncio.to_thread(lambda: True)
            assert await look_ups(1, 0)("example.com", 80)
        resolver.answering.set()
        await asyncio.gather(*slow)

    async def test_name_that_was_resolved_a_moment_ago_is_not_asked_for(self, resolver: SlowResolver) -> None:
        clock = Clock()
        names = look_ups(1, 0, clock)
        first = await names("example.com", 80)
        assert await names("example.com", 443) == first
        assert resolver.asked == ["example.com"]
        clock.now += FRESH_S
        assert await names("example.com", 80) == first
        assert resolver.asked == ["example.com"] * 2

    async def test_error_is_not_remembered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        names = look_ups(1, 0)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: [])
        with pytest.raises(OSError, match="no addresses"):
            await names("example.com", 80)
        monkeypatch.setattr(socket, "getaddrinfo", SlowResolver())
        assert await names("example.com", 80)

    async def test_name_that_is_no_name_cannot_be_resolved(self) -> None:
        with pytest.raises(OSError, match="cannot be resolved"):
            await look_ups(1, 0)("a..b", 80)

    async def test_names_of_a_domain_that_does_not_answer_keep_no_other_waiting(
        self, resolver: SlowResolver
    ) -> None:
        names = look_ups(32, 1_024)
        slow = [asyncio.create_task(names(f"slow{number}.example.net", 80)) for number in range(200)]
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert await names("never-asked-before.example.com", 80)
        resolver.answering.set()
        await asyncio.gather(*slow)

    async def test_names_of_many_such_domains_keep_no_proven_one_waiting(
        self, resolver: SlowResolver
    ) -> None:
        clock = Clock()
        names = look_ups(4, 100, clock)
        assert await names("example.com", 80)
        clock.now += FRESH_S
        slow = [asyncio.create_task(names(f"slow.example{number}.net", 80)) for number in range(50)]
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert await names("example.com", 80)
        assert resolver.asked.count("example.com") == 2
        resolver.answering.set()
        await asyncio.gather(*slow)

    async def test_names_of_a_domain_that_was_slow_lately_keep_no_new_one_waiting(
        self, resolver: SlowResolver
    ) -> None:
        clock = Clock()
        names = look_ups(2, 100, clock)
        once = [asyncio.create_task(names(f"slow.example{number}.net", 80)) for number in range(2)]
        async with asyncio.timeout(5):
            while len(resolver.asked) < 2:  # noqa: ASYNC110 - threads set no event of this loop
                await asyncio.sleep(0.001)
        clock.now += PROMPT_S
        resolver.answering.set()
        await asyncio.gather(*once)
        resolver.answering.clear()
        again = [asyncio.create_task(names(f"slow2.example{number}.net", 80)) for number in range(2)]
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert await names("example.com", 80)
        resolver.answering.set()
        await asyncio.gather(*again)
