"""The presence of a client's user: set, confirmed, and set again on each connection."""

import asyncio
from typing import Any

import pytest

from realtime.client import ConnectionLostError, RealtimeClient, RefusedError
from realtime.client.schedule import Backoff
from tests.realtime.client.peer import Hub, Peer, opened, until


async def confirmed(peer: Peer, presence_id: str = "p1") -> dict[str, Any]:
    """Take a presence message, confirm it, and return what it said."""
    data: dict[str, Any] = await peer.message("presence")
    await peer.send("response", {"to": "presence", "presence": {"$id": presence_id, **data}})
    return data


class TestSetPresence:
    async def test_it_returns_what_others_see(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            said = tasks.create_task(confirmed(peer))
            shown = await client.set_presence(
                "online", metadata={"page": 1}, permissions=('read("users")',), presence_id="p1"
            )
            assert await said == {
                "status": "online",
                "metadata": {"page": 1},
                "permissions": ['read("users")'],
                "presenceId": "p1",
            }
            assert shown["$id"] == "p1"

    async def test_only_what_is_given_is_said(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            said = tasks.create_task(confirmed(peer))
            await client.set_presence("online")
            assert await said == {"status": "online", "metadata": None}

    async def test_next_connection_sets_the_last_one_under_its_id(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer):
            for status in ("online", "away"):
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(confirmed(peer, "made-by-hub"))
                    await client.set_presence(status)
            peer.websocket.transport.abort()
            again = await hub.accept()
            await again.connected()
            assert await confirmed(again) == {
                "status": "away",
                "metadata": None,
                "presenceId": "made-by-hub",
            }

    async def test_unconfirmed_one_is_said_again(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            setting = tasks.create_task(client.set_presence("online"))
            await peer.message("presence")
            peer.websocket.transport.abort()
            again = await hub.accept()
            await again.connected()
            await confirmed(again)
            assert (await setting)["status"] == "online"

    async def test_set_while_there_is_no_connection_it_waits_for_one(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            peer.websocket.transport.abort()
            await until(lambda: not client.is_connected)
            first = tasks.create_task(client.set_presence("online"))
            second = tasks.create_task(client.set_presence("away"))
            again = await hub.accept()
            await again.connected()
            assert (await confirmed(again))["status"] == "away"
            assert (await first)["status"] == (await second)["status"] == "away"

    async def test_refused_one_is_not_said_again(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            setting = asyncio.create_task(client.set_presence("online"))
            await peer.message("presence")
            await peer.send("error", {"code": 401, "message": "User must be authorized"})
            with pytest.raises(RefusedError, match="User must be authorized"):
                await setting
            peer.websocket.transport.abort()
            again = await hub.accept()
            await again.connected()
            tasks.create_task(again.subscribed())
            await client.subscribe("a").__aenter__()

    async def test_one_that_is_refused_for_now_is_said_again_on_the_same_connection(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer):
            setting = asyncio.create_task(client.set_presence("online"))
            for _ in range(3):
                await peer.message("presence")
                await peer.send("error", {"code": 1013, "message": "Too many messages."})
            await confirmed(peer)
            assert (await setting)["status"] == "online"
            assert hub.connections == 1

    async def test_one_that_is_refused_for_now_is_said_though_nobody_waits(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer):
            impatient = asyncio.create_task(client.set_presence("online"))
            await peer.message("presence")
            impatient.cancel()
            await asyncio.wait([impatient])
            await peer.send("error", {"code": 1013, "message": "Too many messages."})
            assert (await confirmed(peer))["status"] == "online"

    async def test_newer_one_is_said_instead_of_one_refused_for_now(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer):
            first = asyncio.create_task(client.set_presence("online"))
            await peer.message("presence")
            second = asyncio.create_task(client.set_presence("away"))
            # The newer one is set before the older one is refused.
            await asyncio.sleep(0)
            await peer.send("error", {"code": 1013, "message": "Too many messages."})
            assert (await confirmed(peer))["status"] == "away"
            assert (await first)["status"] == (await second)["status"] == "away"

    async def test_subscriptions_do_not_wait_for_one_that_is_refused_for_now(self, hub: Hub) -> None:
        async with opened(hub, backoff=Backoff(base_s=3_600, max_s=3_600)) as (client, peer):
            setting = asyncio.create_task(client.set_presence("online"))
            await peer.message("presence")
            await peer.send("error", {"code": 1013, "message": "Too many messages."})
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(peer.subscribed())
                await client.subscribe("a").__aenter__()
            assert not setting.done()
        with pytest.raises(ConnectionLostError):
            await setting

    async def test_refusal_for_good_is_told(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer):
            setting = asyncio.create_task(client.set_presence("online"))
            await peer.message("presence")
            await peer.refuse(1008, "unknown project", 1008)
            with pytest.raises(RefusedError, match="unknown project"):
                await setting

    async def test_cancelled_wait_disturbs_nobody(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer):
            impatient = asyncio.create_task(client.set_presence("online"))
            data = await peer.message("presence")
            impatient.cancel()
            await asyncio.wait([impatient])
            patient = asyncio.create_task(client.set_presence("away"))
            await peer.send("response", {"to": "presence", "presence": {"$id": "p1", **data}})
            await confirmed(peer)
            assert (await patient)["status"] == "away"

    async def test_closed_client_tells_who_waits(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer):
            waiting = asyncio.create_task(client.set_presence("online"))
            await peer.message("presence")
        with pytest.raises(ConnectionLostError):
            await waiting

    async def test_client_that_is_not_open_sets_nothing(self, hub: Hub) -> None:
        with pytest.raises(RuntimeError, match="not open"):
            await RealtimeClient(hub.endpoint, "demo").set_presence("online")
