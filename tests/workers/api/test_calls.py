"""What the API makes due is begun by workers in other processes at once: they are called."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from realtime.bus.keys import WorkKind, calls_channel
from realtime.settings import Settings
from realtime.triggers.model import Webhook
from tests.api import Api, running_api
from workers.api.services import Services
from workers.cli.worker_wiring import run_functions, run_webhooks
from workers.functions import executions
from workers.functions.executor import Call, Outcome
from workers.webhooks import dispatcher
from workers.webhooks.request import Delivery
from workers.webhooks.sending import AttemptResult, Sender

NEVER_S = 3600.0
SECRET = "a-secret-that-signs-the-tokens-of-tests"
HOOK = {
    "webhookId": "h",
    "name": "Hook",
    "url": "https://8.8.8.8/",
    "events": ["teams.*.create"],
}
FUNCTION = {
    "functionId": "f",
    "name": "Function",
    "runtime": "python-3.11",
    "entrypoint": "https://8.8.8.8/",
}


class Called:
    """An executor that only counts."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[str] = asyncio.Queue()

    async def execute(self, call: Call) -> Outcome:
        self.calls.put_nowait(call.execution_id)
        return Outcome(200)


@pytest.fixture(autouse=True)
def no_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (executions, dispatcher):
        monkeypatch.setattr(module, "POLL_INTERVAL_S", NEVER_S)


@pytest.fixture
async def apis(
    database_url: str, redis_url: str, tmp_path: Path, hastened: None
) -> AsyncIterator[tuple[Api, Services]]:
    """Run an API, and what a worker in another process is made of."""
    settings = Settings(database_url=database_url, redis_url=redis_url, data_dir=tmp_path, secret=SECRET)
    async with (
        running_api(settings, is_dispatching=False) as api,
        running_api(settings, is_first=False, is_dispatching=False) as other,
    ):
        yield api, other.services


async def until_called(api: Api, kind: WorkKind) -> None:
    """Wait until the worker hears calls, and has looked for what was there before."""
    channel = calls_channel(kind)
    async with asyncio.timeout(10):
        while True:
            counts = dict(await api.services.bus.redis.pubsub_numsub(channel))
            if counts[channel.encode()]:
                return
            await asyncio.sleep(0.01)


async def until_delivered(api: Api, path: str) -> None:
    while True:
        if (await api.server.get(path)).json()["status"] == "delivered":
            return
        await asyncio.sleep(0.01)


class TestCalls:
    async def test_execution_that_nobody_waits_for_begins(self, apis: tuple[Api, Services]) -> None:
        api, worker = apis
        executor = worker.executions.executor = Called()
        made = await api.server.post("/v1/functions", json=FUNCTION)
        assert made.status_code == 201, made.text
        async with run_functions(worker), asyncio.timeout(10):
            await until_called(api, "functions")
            for _ in range(3):
                asked = await api.server.post("/v1/functions/f/executions", json={"async": True})
                assert asked.status_code == 202, asked.text
                assert await executor.calls.get() == asked.json()["$id"]

    async def test_ping_and_what_is_sent_again_are_sent(
        self, apis: tuple[Api, Services], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent: asyncio.Queue[str] = asyncio.Queue()

        async def attempt(_: Sender, __: Webhook, delivery: Delivery) -> AttemptResult:
            sent.put_nowait(delivery.delivery_id)
            return AttemptResult(time.time(), 0.0, status=200)

        monkeypatch.setattr(Sender, "attempt", attempt)
        api, worker = apis
        made = await api.server.post("/v1/webhooks", json=HOOK)
        assert made.status_code == 201, made.text
        async with run_webhooks(worker), asyncio.timeout(10):
            await until_called(api, "webhooks")
            pinged = await api.server.post("/v1/webhooks/h/pings")
            assert pinged.status_code == 202, pinged.text
            delivery = pinged.json()["$id"]
            assert await sent.get() == delivery
            path = f"/v1/webhooks/h/deliveries/{delivery}"
            await until_delivered(api, path)
            again = await api.server.post(f"{path}/redelivery")
            assert again.status_code in (200, 202), again.text
            assert await sent.get() == delivery
