"""What operators look at: health, and metrics that are exact."""

from typing import TYPE_CHECKING

import httpx
import pytest
import redis.asyncio
from prometheus_client.parser import text_string_to_metric_families

from realtime.hub.metrics import COUNTERS, GAUGES

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import RunningHub, Start


async def metrics_of(hub: "RunningHub") -> dict[str, float]:
    """Return every sample of `/metrics` by its name, with the label's value behind a slash if it has one."""
    async with httpx.AsyncClient() as http:
        text = (await http.get(f"{hub.http}/metrics")).text
    return {
        "/".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class TestHealth:
    async def test_serving_hub_passes(self, hub: "RunningHub") -> None:
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"{hub.http}/v1/health")
        assert (answer.status_code, answer.json()["status"]) == (200, "pass")

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
            counted = await metrics_of(hub)
        assert counted["realtime_connections"] == 2
        assert counted["realtime_subscriptions"] == 3
        assert counted["realtime_projects"] == 1
        assert counted["realtime_redis_up"] == 1
        assert counted["realtime_connections_opened_total"] == 2
        assert counted["realtime_events_received_total"] == 2
        assert counted["realtime_deliveries_total"] == 2
        assert counted["realtime_events_without_receiver_total"] == 1
        assert counted["realtime_messages_received_total/subscribe"] == 3
        assert counted["realtime_message_errors_total/realtime_message_format_invalid"] == 1

    async def test_ends_and_refusals_are_counted_by_reason(self, hub: "RunningHub") -> None:
        async with hub.greeted():
            pass
        await hub.refusal("unknown")
        await hub.until(lambda: hub.hub.registry.connection_count == 0)
        counted = await metrics_of(hub)
        assert counted["realtime_connections"] == 0
        assert counted["realtime_connections_closed_total/client"] == 1
        assert counted["realtime_connections_refused_total/realtime_policy_violation"] == 1


class TestOtherPaths:
    @pytest.mark.parametrize("path", ["/", "/v1", "/v1/health/x"])
    async def test_unknown_path_is_not_found(self, hub: "RunningHub", path: str) -> None:
        async with httpx.AsyncClient() as http:
            assert (await http.get(hub.http + path)).status_code == 404
