"""A peer of what delivers: a plain loop that posts, with httpx or aiohttp, and keeps nothing of it.

python -m benchmarks.peers.http_loop CLIENT URL REQUESTS CONCURRENCY
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable

import aiohttp
import httpx
import orjson
import uvloop

from benchmarks.jobs import payload

HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": "A loop of the benchmark",
    "X-Webhook-Id": "hook",
    "X-Webhook-Name": "A webhook of the benchmark",
    "X-Webhook-Signature": "0" * 28,
    "Webhook-Id": "msg_" + "0" * 26,
    "Webhook-Timestamp": "1700000000",
    "Webhook-Signature": "v1," + "0" * 44,
}
"""About as much as a delivery has."""

Post = Callable[[bytes], Awaitable[None]]


def open_client(concurrency: int) -> httpx.AsyncClient:
    """Return a client of httpx that keeps that many connections."""
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    return httpx.AsyncClient(headers=HEADERS, limits=limits, timeout=15, trust_env=False)


async def post(client: httpx.AsyncClient, url: str, body: bytes) -> None:
    """Send one request, which must be answered with success."""
    (await client.post(url, content=body)).raise_for_status()


async def work(post_body: Post, requests: int, concurrency: int) -> None:
    """Send so many requests, that many at a time."""
    numbers = iter(range(requests))

    async def go() -> None:
        for number in numbers:
            await post_body(orjson.dumps(payload(number)))

    await asyncio.gather(*(go() for _ in range(concurrency)))
    # Whoever measures it ends it.
    await asyncio.Event().wait()


async def main(client_name: str, url: str, requests: int, concurrency: int) -> None:
    if client_name == "httpx":
        async with open_client(concurrency) as client:
            await work(lambda body: post(client, url, body), requests, concurrency)
        return
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector, headers=HEADERS) as session:

        async def send(body: bytes) -> None:
            async with session.post(url, data=body) as answer:
                await answer.read()
                answer.raise_for_status()

        await work(send, requests, concurrency)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
