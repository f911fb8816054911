"""Resolving names in threads of their own."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from workers.outbound.lookups import LookUps, LookUpsBusyError


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


def look_ups(threads: int, max_waiting: int) -> LookUps:
    return LookUps(threads=threads, max_waiting=max_waiting, thread_name="test-names")


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
