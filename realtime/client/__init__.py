"""Subscribe to events from Python: an async client that keeps one connection and survives its loss.

    async with RealtimeClient("http://localhost:8080/v1", "demo", key=secret) as client:
        async with client.subscribe(["databases.main.tables.posts.rows"]) as events:
            async for event in events:
                print(event.events[0], event.payload)

All subscriptions of a client share one WebSocket. Inside ``async with client.subscribe(...)`` every event
published from then on is delivered, in the order of the project's log. When the connection is lost the client
comes back by itself and asks for what it missed; where the hub cannot give all of that, the subscription is
told of a :class:`Gap`. ``frames`` and ``schedule`` are pure; ``connection`` is one WebSocket, ``client`` the
sequence of them. Source: wire specification 1, 3, 4 and 16.
"""

from realtime.client.client import RealtimeClient, TokenSource
from realtime.client.errors import ConnectionLostError, RefusedError, UnreachableError
from realtime.client.frames import Event
from realtime.client.subscription import Gap, GapHook, GapReason, Subscription

__all__ = [
    "ConnectionLostError",
    "Event",
    "Gap",
    "GapHook",
    "GapReason",
    "RealtimeClient",
    "RefusedError",
    "Subscription",
    "TokenSource",
    "UnreachableError",
]
