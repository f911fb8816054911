"""A peer of the workers: a queue in Redis made for jobs alone, with its default settings.

A job posts to a URL, or calls a function of Python that returns at once. saq does a job at most once unless it is told
otherwise, and keeps its result for ten minutes.

    python -m benchmarks.peers.saq_worker REDIS_URL CONCURRENCY
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import uvloop
from redis.asyncio import Redis
from saq import Queue, Worker
from saq.queue.redis import RedisQueue

from benchmarks.jobs import payload
from benchmarks.peers.http_loop import open_client
from benchmarks.peers.http_loop import post as post_body

CLIENTS = 50
"""How many jobs are added at once."""


async def post(context: dict[str, Any], *, url: str, body: dict[str, object]) -> None:
    """Post the body."""
    client: httpx.AsyncClient = context["client"]
    await post_body(client, url, orjson.dumps(body))


async def call(_context: dict[str, Any], *, body: dict[str, object]) -> dict[str, object]:
    """Do what the function of the benchmark does."""
    return {"number": body["number"]}


@contextlib.asynccontextmanager
async def open_queue(redis_url: str) -> AsyncIterator[RedisQueue]:
    """Open the queue until the block ends."""
    async with Redis.from_url(redis_url) as redis:
        yield RedisQueue(redis)


async def fill(queue: Queue, count: int, function: str, **arguments: object) -> None:
    """Add jobs, one for each event that the workers get."""
    numbers = iter(range(count))

    async def go() -> None:
        for number in numbers:
            await queue.enqueue(function, body=payload(number), **arguments)

    await asyncio.gather(*(go() for _ in range(CLIENTS)))


async def main(redis_url: str, concurrency: int) -> None:
    async def startup(context: dict[str, Any]) -> None:
        context["client"] = open_client(concurrency)

    async with open_queue(redis_url) as queue:
        await Worker(queue, [post, call], concurrency=concurrency, startup=startup).start()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
