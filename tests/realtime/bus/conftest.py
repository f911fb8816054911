"""What the tests of listening share: a listener, and a record of everything that it told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from realtime.bus import LiveListener, RedisBus, connect
from realtime.bus.link import Link
from tests.topologies import DEADLINE_S


class Heard:
    """Everything that a listener told, in order; conditions on it can be awaited."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.resuming: list[str] = []
        self.resumed: list[tuple[str, bool]] = []
        self.missed: list[int | None] = []
        self.ignored: list[str] = []
        self.bridged: list[bytes] = []
        # Messages and resumptions, in one order; of those that begin, the project.
        self.story: list[bytes | bool | str] = []

    def on_message(self, project: str, message: bytes) -> None:
        self.messages.append((project, message))
        self.story.append(message)

    def on_resuming(self, project: str) -> None:
        self.resuming.append(project)
        self.story.append(project)

    def on_resumed(self, project: str, complete: bool, missed: int | None) -> None:
        self.resumed.append((project, complete))
        self.missed.append(missed)
        self.story.append(complete)

    def numbers(self, project: str = "demo") -> list[int]:
        return [int(m.rpartition(b":")[2][:-1]) for p, m in self.messages if p == project and b'"n":' in m]

    @staticmethod
    async def until(condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - callbacks cannot set an event for every condition
                await asyncio.sleep(0.002)


def envelope(number: int) -> bytes:
    return b'{"project":"demo","n":%d}' % number


def link_of(one: LiveListener) -> Link:
    """Return the connection of a listener that has one."""
    (only,) = one._feeds.values()
    assert only._link is not None
    return only._link


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[RedisBus]:
    """A bus that no fault of the proxy reaches."""
    bus = RedisBus(connect(redis_url))
    yield bus
    await bus.aclose()


@pytest.fixture
async def listen(heard: Heard) -> AsyncIterator[Callable[..., Coroutine[Any, Any, LiveListener]]]:
    """Start a listener at a URL; it is stopped at the end."""
    listeners: list[LiveListener] = []

    async def start(url: str, **options: Any) -> LiveListener:
        one = LiveListener(
            url,
            on_message=heard.on_message,
            on_resuming=heard.on_resuming,
            on_resumed=heard.on_resumed,
            on_ignored=heard.ignored.append,
            **options,
        )
        listeners.append(one)
        await one.start()
        return one

    yield start
    for one in listeners:
        await one.stop()
