"""The Python client against a real server."""

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import jwt
import pytest

from realtime.client import Event, Gap, GapReason, RealtimeClient, RefusedError, Subscription
from realtime.client.schedule import Backoff

if TYPE_CHECKING:
    from tests.e2e.conftest import ProxyTo, Server

TABLE = "databases.main.tables.python.rows"


def token(server: "Server", user_id: str) -> str:
    claims = {"sub": user_id, "teams": ["editors/owner"], "exp": int(time.time()) + 600}
    return jwt.encode(claims, server.secret, algorithm="HS256")


async def publish(server: "Server", row_id: str, *permissions: str, **columns: object) -> str:
    name = f"{TABLE}.{row_id}.create"
    published = await server.publish(name, {"$id": row_id, **columns}, permissions=list(permissions))
    event_id: str = published["id"]
    return event_id


async def next_event(events: Subscription) -> Event:
    async with asyncio.timeout(10):
        return await anext(events)


class TestSubscribe:
    async def test_guest_receives_what_anybody_may_read(self, server: "Server") -> None:
        async with RealtimeClient(server.endpoint, server.project) as client:
            async with client.subscribe(TABLE) as events:
                await publish(server, "private", 'read("user:ann")')
                event_id = await publish(server, "public", 'read("any")', n=1)
                event = await next_event(events)
            assert client.user is None
        assert event.id == event_id
        assert event.payload == {"$id": "public", "n": 1}
        assert event.events[0] == f"{TABLE}.public.create"
        assert event.subscriptions == (events.id,)

    async def test_token_of_a_team_member_reads_what_the_team_may(self, server: "Server") -> None:
        async with (
            RealtimeClient(server.endpoint, server.project, jwt=token(server, "ann")) as client,
            client.subscribe(TABLE) as events,
        ):
            await publish(server, "for-others", 'read("team:admins")')
            await publish(server, "for-owners", 'read("team:editors/owner")')
            assert (await next_event(events)).payload["$id"] == "for-owners"

    async def test_api_key_reads_every_event(self, server: "Server") -> None:
        async with (
            RealtimeClient(server.endpoint, server.project, key=server.key) as client,
            client.subscribe("databases.main.tables.*.rows") as events,
        ):
            await publish(server, "for-bob", 'read("user:bob")')
            assert (await next_event(events)).payload["$id"] == "for-bob"

    async def test_queries_filter(self, server: "Server") -> None:
        query = '{"method":"greaterThan","attribute":"n","values":[5]}'
        async with (
            RealtimeClient(server.endpoint, server.project) as client,
            client.subscribe(TABLE, [query]) as events,
        ):
            await publish(server, "small", 'read("any")', n=5)
            await publish(server, "large", 'read("any")', n=6)
            assert (await next_event(events)).payload["$id"] == "large"

    async def test_bad_query_is_refused_and_the_client_goes_on(self, server: "Server") -> None:
        async with RealtimeClient(server.endpoint, server.project) as client:
            with pytest.raises(RefusedError, match="Invalid query") as caught:
                await client.subscribe(TABLE, ["nonsense"]).__aenter__()
            assert caught.value.code == 1003
            async with client.subscribe(TABLE) as events:
                await publish(server, "after", 'read("any")')
                assert (await next_event(events)).payload["$id"] == "after"

    async def test_unknown_project_is_refused_for_good(self, server: "Server") -> None:
        with pytest.raises(RefusedError, match="Missing or unknown project ID") as caught:
            await RealtimeClient(server.endpoint, "nowhere").__aenter__()
        assert not caught.value.retryable

    async def test_bad_token_is_refused_for_good(self, server: "Server") -> None:
        with pytest.raises(RefusedError, match="Failed to verify JWT") as caught:
            await RealtimeClient(server.endpoint, server.project, jwt="x.y.z").__aenter__()
        assert (caught.value.code, caught.value.retryable) == (401, False)


class TestReconnect:
    async def test_cut_connection_comes_back_and_tells_where_events_may_be_missing(
        self, server: "Server", proxy_to: "ProxyTo"
    ) -> None:
        story: list[object] = []
        async with (
            proxy_to(server) as proxy,
            RealtimeClient(
                f"http://127.0.0.1:{proxy.port}/v1", server.project, backoff=Backoff(base_s=0)
            ) as client,
            client.subscribe(TABLE, on_gap=story.append) as events,
        ):
            await publish(server, "0", 'read("any")')
            published = ["0"]
            story.append((await next_event(events)).payload["$id"])
            proxy.cut()
            while story[-1] == "0" or isinstance(story[-1], Gap):
                published.append(str(len(published)))
                await publish(server, published[-1], 'read("any")')
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        story.append((await anext(events)).payload["$id"])
        received = [item for item in story if not isinstance(item, Gap)]
        expected = published[: published.index(str(received[-1])) + 1]
        assert received == expected or Gap(GapReason.RECONNECTED) in story
        assert received == [row_id for row_id in expected if row_id in received], "in order, each once"
