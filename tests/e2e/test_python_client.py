"""The Python client against a real server."""

import asyncio
import time
from typing import TYPE_CHECKING

import jwt
import pytest

from realtime.client import Event, Gap, GapReason, RealtimeClient, RefusedError, Subscription
from realtime.client.connection import Timeouts
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
    async def test_cut_connection_loses_and_repeats_nothing(
        self, server: "Server", proxy_to: "ProxyTo"
    ) -> None:
        """Also what is published to a subscription that has received nothing yet."""
        gaps: list[Gap] = []
        async with (
            proxy_to(server) as proxy,
            RealtimeClient(
                f"http://127.0.0.1:{proxy.port}/v1", server.project, backoff=Backoff(base_s=0.1)
            ) as client,
            client.subscribe(TABLE, on_gap=gaps.append) as events,
            client.subscribe("teams", on_gap=gaps.append) as quiet,
        ):
            published = []
            for n in range(40):
                if n % 10 == 5:
                    proxy.cut()
                published.append(await publish(server, str(n), 'read("any")'))
            team = (await server.publish("teams.t.update", {"$id": "t"}, roles=["any"]))["id"]
            received = [(await next_event(events)).id for _ in published]
            assert received == published
            assert (await next_event(quiet)).id == team
        assert gaps == []

    async def test_subscription_with_a_gap_in_the_log_is_told(self, server: "Server") -> None:
        gaps: list[Gap] = []
        async with (
            RealtimeClient(server.endpoint, server.project) as client,
            client.subscribe(TABLE, since="1-1", on_gap=gaps.append) as events,
        ):
            event_id = await publish(server, "after", 'read("any")')
            assert (await next_event(events)).id == event_id
            assert events.recovered is False
        assert gaps == [Gap(GapReason.EXPIRED)]

    async def test_subscription_without_events_keeps_up_with_the_log(self, server: "Server") -> None:
        timeouts = Timeouts(position_s=0.05)
        async with (
            RealtimeClient(server.endpoint, server.project, timeouts=timeouts) as client,
            client.subscribe("teams") as quiet,
        ):
            event_id = await publish(server, "for-others", 'read("any")')
            async with asyncio.timeout(10):
                while quiet.position != event_id:  # noqa: ASYNC110  (the client has no event for it)
                    await asyncio.sleep(0.01)


class TestSince:
    async def test_program_that_restarts_gets_what_came_meanwhile(self, server: "Server") -> None:
        async with (
            RealtimeClient(server.endpoint, server.project, jwt=token(server, "ann")) as client,
            client.subscribe(TABLE) as events,
        ):
            stored = [events.since]
            await publish(server, "seen", 'read("any")')
            stored.append((await next_event(events)).id)
        missed = [await publish(server, "missed", 'read("any")')]
        await publish(server, "for-bob", 'read("user:bob")')
        missed.append(await publish(server, "for-ann", 'read("user:ann")'))
        for position, expected in zip(stored, ([stored[1], *missed], missed), strict=True):
            async with (
                RealtimeClient(server.endpoint, server.project, jwt=token(server, "ann")) as client,
                client.subscribe(TABLE, since=position) as events,
            ):
                assert events.recovered is True
                live = await publish(server, "live", 'read("any")')
                received = [(await next_event(events)).id for _ in range(len(expected) + 1)]
                assert received == [*expected, live]
                missed.append(live)

    async def test_replay_larger_than_the_queue_loses_nothing(self, server: "Server") -> None:
        gaps: list[Gap] = []
        first, *others = [await publish(server, str(n), 'read("any")', text="x" * 5_000) for n in range(40)]
        async with (
            RealtimeClient(server.endpoint, server.project, queue_size=3) as client,
            client.subscribe(TABLE, since=first, on_gap=gaps.append) as events,
        ):
            received = []
            for _ in others:
                received.append((await next_event(events)).id)
                await asyncio.sleep(0)
        assert received == others
        assert gaps == []
