"""How many deliveries a second one webhook worker makes to an endpoint that is fast, on one core.

The worker reads events from Redis, records each delivery in PostgreSQL before it is sent and each attempt after it, and
signs what it sends twice. The peers send requests of the same size: plain loops, which read no queue, sign nothing and
keep nothing; and saq, a queue of jobs in Redis, whose job posts with httpx. PostgreSQL keeps what it answers; it,
Valkey and the endpoint share the other cores.

    python -m benchmarks.deliveries [--deliveries 5000] [--concurrency 10] [--rounds 2]
"""

import argparse
import tempfile
from pathlib import Path

import uvloop

from benchmarks.api import database
from benchmarks.common import Table, options_of, say, show
from benchmarks.jobs import (
    EVENT,
    Endpoint,
    Result,
    ask,
    best_of,
    counting,
    listening,
    measure,
    measure_saq,
    ours,
    peer,
    project,
    publish,
    row_of,
)
from benchmarks.servers import valkey
from realtime.settings import Settings
from workers.store.tables.delivery_tables import deliveries

OWN = "realtime webhooks"


async def of_worker(settings: Settings, options: argparse.Namespace, url: str) -> Result:
    """Measure the webhook worker, on a database and a Redis that are empty."""
    async with project(settings) as api:
        body = {"webhookId": "hook", "name": "A webhook of the benchmark", "url": url, "events": [EVENT]}
        await ask(api, "/v1/webhooks", body)
    await publish(settings, options.deliveries)
    worker = ours("webhooks", settings, webhooks_endpoint_concurrency=options.concurrency)
    async with counting(settings, deliveries.c.seq, deliveries.c.status == "delivered") as done:
        return await measure(worker, options.deliveries, done)


async def of_loop(client: str, options: argparse.Namespace, url: str, endpoint: Endpoint) -> Result:
    """Measure a loop with the HTTP client of this name."""
    endpoint.requests = 0
    arguments = client, url, str(options.deliveries), str(options.concurrency)
    return await measure(peer(client, "http_loop", *arguments), options.deliveries, endpoint.done)


async def measure_all(settings: Settings, options: argparse.Namespace) -> dict[str, Result | None]:
    """Measure each of them once."""
    results: dict[str, Result | None] = {}
    async with listening() as endpoint:
        url = f"http://127.0.0.1:{endpoint.port}/hook"
        say(f"{options.deliveries:,} deliveries by realtime webhooks")
        results[OWN] = await of_worker(settings, options, url)
        for client in ("httpx", "aiohttp"):
            say(f"by a loop with {client}")
            results[f"{client} in a loop"] = await of_loop(client, options, url, endpoint)
        say("by saq")
        results["saq, with httpx"] = await measure_saq(
            settings.redis_url, options.concurrency, options.deliveries, "post", url=url
        )
    return results


def one_round(options: argparse.Namespace) -> dict[str, Result | None]:
    """Measure each of them once, on servers that are new."""
    with (
        valkey() as redis_url,
        database("") as database_url,
        tempfile.TemporaryDirectory() as folder,
    ):
        settings = Settings(
            database_url=database_url,
            redis_url=redis_url,
            data_dir=Path(folder),
            webhooks_allow_private=True,
            limits="off",
        )
        return uvloop.run(measure_all(settings, options))


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--deliveries", type=int, default=5_000)
    parser.add_argument("--concurrency", type=int, default=10, help="how many requests at a time")
    parser.add_argument("--rounds", type=int, default=2, help="the best one counts")
    options = parser.parse_args()
    rounds = [one_round(options) for _ in range(options.rounds)]
    best = {name: best_of(each[name] for each in rounds) for name in rounds[0]}
    own = best[OWN]
    assert own is not None
    rows = [
        [*row_of(name, result), own.per_cpu_second / result.per_cpu_second if result else ""]
        for name, result in best.items()
    ]
    columns = ["by", "per second", "per CPU second", "webhooks / this"]
    notes = [
        f"{options.concurrency} requests at a time; the best of {options.rounds} rounds.",
        "webhooks / this: by CPU time of the process.",
    ]
    show(Table("deliveries", "Deliveries to one fast endpoint", columns, rows, notes), options)


if __name__ == "__main__":
    main()
