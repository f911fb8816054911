"""One subscription by itself; what it does together with a hub is tested as the client."""

import asyncio

from realtime.client.frames import Event, SubscribedItem
from realtime.client.subscription import Subscription


class Session:
    async def open_subscription(self, subscription: Subscription) -> None:
        pass

    async def close_subscription(self, subscription: Subscription) -> None:
        pass


def make(*, since: str = "", queue_size: int = 10) -> Subscription:
    subscription = Subscription(
        Session(), "s", ["teams"], [], since=since, queue_size=queue_size, on_gap=lambda _: None
    )
    subscription.begin()
    return subscription


def item(*, recovered: bool | None) -> SubscribedItem:
    return SubscribedItem(subscription_id="s", channels=("teams",), recovered=recovered)


def event(event_id: str) -> Event:
    return Event(id=event_id, events=(), channels=(), timestamp="", payload={}, subscriptions=("s",))


async def catching_up() -> Subscription:
    """Return one that catches up, and whose reader has left its queue full."""
    subscription = make(since="1-0", queue_size=2)
    subscription.confirm(item(recovered=True), "9-0")
    subscription.push(event("2-0"))
    subscription.push(event("3-0"))
    assert subscription.is_full
    return subscription


class TestMakeRoom:
    async def test_reader_that_takes_nothing_is_waited_for_once(self) -> None:
        subscription = await catching_up()
        await subscription.make_room(0.01)

        assert not subscription.is_full
        async with asyncio.timeout(1):
            await subscription.make_room(60)

    async def test_reader_that_left_is_not_waited_for(self) -> None:
        subscription = await catching_up()
        waiting = asyncio.create_task(subscription.make_room(60))
        await asyncio.sleep(0)
        subscription.end()

        async with asyncio.timeout(1):
            await waiting


class TestConfirm:
    async def test_log_that_began_anew_meanwhile_is_followed_from_where_it_is(self) -> None:
        subscription = make()
        subscription.confirm(item(recovered=None), "500-0")
        subscription.push(event("600-0"))
        subscription.confirm(item(recovered=False), "3-0")
        subscription.push(event("4-0"))

        events = aiter(subscription)
        assert [(await anext(events)).id, (await anext(events)).id] == ["600-0", "4-0"]
        assert subscription.position == "4-0"
