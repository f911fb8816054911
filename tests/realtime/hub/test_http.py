"""What operators look at: health, and metrics that are exact."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
import redis.asyncio
from prometheus_client.parser import text_string_to_metric_families

from realtime.hub.metrics import COUNTERS, GAUGES

if TYPE_CHECKING:
    from tests.conftest import Proxy
    from tests.realtime.hub.conftest import RunningHub, Start


class TestHealth:
    async def test_serving_hub_passes(self, hub: "RunningHub") -> None:
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"{hub.http}/v1/health")
        assert answer.status_code == 200
        assert answer.json() == {"name": "http", "ping": 0, "status": "pass", "redis": {"status": "pass"}}

    async def test_probe_travels_through_redis(self, hub: "RunningHub") -> None:
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"{hub.http}/v1/health/pubsub")
        assert answer.status_code == 200
        assert answer.json() == {"name": "pubsub", "ping": answer.json()["ping"], "status": "pass"}

    async def test_probe_that_does_not_come_back_fails(
        self, start_hub: "Start", redis_client: redis.asyncio.Redis
    ) -> None:
        """Redis answers commands, but the hub's own subscription hears nothing: only a probe can tell."""
        async with start_hub(probe_interval_s=60, probe_timeout_s=0.2) as hub, httpx.AsyncClient() as http:
            await redis_client.client_pause(600_000, all=False)
            try:
                answer = await http.get(f"{hub.http}/v1/health/pubsub")
            finally:
                await redis_client.client_unpause()
        assert (answer.status_code, answer.json()["status"]) == (503, "fail")

    async def test_redis_away_fails_until_it_is_back(self, start_hub: "Start", proxy: "Proxy") -> None:
        async with (
            start_hub(redis_url=proxy.url) as hub,
            httpx.AsyncClient() as http,
            hub.greeted() as client,
        ):
            session = await hub.add_user("ada")
            proxy.refuse()
            await hub.until(lambda: not hub.hub.listener.healthy)
            answer = await http.get(f"{hub.http}/v1/health/pubsub")
            assert (answer.status_code, answer.json()["status"]) == (503, "fail")
            # It serves all the same: who is connected stays, who has something to prove is told to come back.
            answer = await http.get(f"{hub.http}/v1/health")
            assert (answer.status_code, answer.json()["redis"]["status"]) == (200, "fail")
            since = datetime.fromisoformat(answer.json()["redis"]["since"])
            assert timedelta() <= datetime.now(UTC) - since < timedelta(seconds=10)
            assert (await hub.metrics())["realtime_redis_up"] == 0
            await client.assert_silent()
            refused = await hub.refusal(headers={"x-appwrite-session": session})
            assert (refused.code, refused.close_code) == (503, 1013)

            proxy.accept()
            async with asyncio.timeout(10):
                # The first connections after a break may turn out to be broken themselves.
                while (await http.get(f"{hub.http}/v1/health/pubsub")).status_code != 200:
                    await hub.until(lambda: hub.hub.listener.healthy)
            assert (await hub.metrics())["realtime_redis_up"] == 1
            assert (await http.get(f"{hub.http}/v1/health")).json()["redis"] == {"status": "pass"}


class TestMetrics:
    async def test_page_has_what_the_tables_say(self, hub: "RunningHub") -> None:
        async with httpx.AsyncClient() as http:
            text = (await http.get(f"{hub.http}/metrics")).text
        families = {family.name for family in text_string_to_metric_families(text)}
        assert families == {*COUNTERS, *GAUGES}

    async def test_traffic_is_counted_to_the_event(self, hub: "RunningHub") -> None:
        async with hub.greeted() as first, hub.greeted() as second:
            await first.subscribe("rows")
            await second.subscribe("rows", id="a")
            await second.subscribe("files", id="b")
            await second.ask("nonsense")
            await hub.deliver("databases.d.tables.t.rows.1.create", {}, roles=["any"])
            await hub.deliver("databases.d.tables.t.rows.2.create", {}, roles=["user:nobody"])
            counted = await hub.metrics()
        assert counted["realtime_connections"] == 2
        assert counted["realtime_subscriptions"] == 3
        assert counted["realtime_projects"] == 1
        assert counted["realtime_redis_up"] == 1
        assert counted["realtime_connections_opened_total"] == 2
        assert counted["realtime_events_received_total/demo"] == 2
        assert counted["realtime_deliveries_total"] == 2
        assert counted["realtime_events_total/delivered/demo/"] == 1
        assert counted["realtime_events_total/filtered/demo/no_permission"] == 1
        assert counted["realtime_messages_received_total/subscribe"] == 3
        assert counted["realtime_message_errors_total/realtime_message_format_invalid"] == 1

    async def test_ends_and_refusals_are_counted_by_reason(self, hub: "RunningHub") -> None:
        async with hub.greeted():
            pass
        await hub.refusal("unknown")
        await hub.until(lambda: hub.hub.registry.connection_count == 0)
        counted = await hub.metrics()
        assert counted["realtime_connections"] == 0
        assert counted["realtime_connections_closed_total/client"] == 1
        assert counted["realtime_connections_refused_total/realtime_policy_violation"] == 1


class TestOtherPaths:
    @pytest.mark.parametrize("path", ["/", "/v1", "/v1/health/x"])
    async def test_unknown_path_is_not_found(self, hub: "RunningHub", path: str) -> None:
        async with httpx.AsyncClient() as http:
            assert (await http.get(hub.http + path)).status_code == 404
