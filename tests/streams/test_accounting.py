"""Every event that was published is accounted for by every hub, to the event, whatever breaks."""

from collections import Counter

import pytest

from tests.streams.hubs import HubProcess
from tests.streams.people import GUEST
from tests.streams.readers import PROJECT, RawReader
from tests.streams.stage import ALL_ROWS, QUICK, Stage
from tests.topologies import Server

pytestmark = pytest.mark.integration

NOT_EVENTS = [b'{"data":{"no":"channels"}}', b'{"data":17}', b'{"data":{"channels":"rows"}}']


async def stay_at(stage: Stage, *hubs: HubProcess) -> None:
    """Connect a client to each hub, past the gateway: the hub then hears of every event from now on."""
    wanted = {"all": (ALL_ROWS,)}
    await stage.add(*(RawReader(stage.journal, hub.port, GUEST, f"at-{hub.port}", wanted) for hub in hubs))


async def outcomes(hub: HubProcess) -> tuple[int, Counter[str]]:
    """Return how many events of the project a hub has received, and what became of them."""
    received, settled = 0, Counter[str]()
    for name, labels, value in await hub.samples():
        if labels.get("project") != PROJECT:
            continue
        if name == "realtime_events_received_total":
            received += int(value)
        elif name == "realtime_events_total":
            settled[labels["outcome"]] += int(value)
    return received, settled


class TestAccounting:
    async def test_published_is_delivered_and_filtered_and_dropped_under_load_and_faults(
        self, server: Server, stage: Stage
    ) -> None:
        await stage.start_hubs(2, **QUICK)
        await stay_at(stage, *stage.hubs)
        await stage.connect(python=20, raw=20)
        async with stage.under_load():
            stage.gateway.cut()
            await stage.bus.publish(PROJECT, NOT_EVENTS)
            await stage.restart(server)
            await stage.load.go_on(30)
            await stage.cut(away_s=0.2)
        await stage.check()
        published = len(await stage.logged())
        for hub in stage.hubs:
            received, settled = await outcomes(hub)
            assert received == settled.total() == published, settled
            assert settled["dropped"] == len(NOT_EVENTS)
            # The client that stayed was shown whatever anybody may read.
            assert settled["delivered"] >= sum(
                "any" in event.roles for event in stage.journal.published.values()
            )

    async def test_events_for_nobody_are_filtered(self, stage: Stage) -> None:
        await stage.start_hubs(1)
        await stay_at(stage, *stage.hubs)
        await stage.load.publish(*[("posts", ["user:nobody"])] * 7, *[("posts", ["any"])] * 5)
        await stage.check()
        _, settled = await outcomes(stage.hubs[0])
        assert settled["filtered"] == 7
        assert settled.total() == len(stage.journal.published)
