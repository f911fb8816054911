"""Compressed events and the clients that people have: npm's `ws` here, Chromium in ``test_browser.py``."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.e2e.conftest import ProxyTo, Server

SDK = Path(__file__).parent / "sdk"
EVENTS = 20


async def report(lines: asyncio.StreamReader) -> dict[str, Any]:
    """Return what the client reports next."""
    message: dict[str, Any] = json.loads(await lines.readline())
    return message


async def test_ws_reads_compressed_events(
    server: "Server", proxy_to: "ProxyTo", require: Callable[[bool, str], None]
) -> None:
    require(which("node") is not None, "Node is missing")
    require((SDK / "node_modules/ws").exists(), "the SDKs are not installed (make test-e2e installs them)")
    async with proxy_to(server) as proxy, asyncio.timeout(30):
        url = f"ws://127.0.0.1:{proxy.port}/v1/realtime?project={server.project}&channels[]=rows"
        process = await asyncio.create_subprocess_exec(
            "node", "socket.cjs", url, cwd=SDK, stdout=asyncio.subprocess.PIPE, limit=2**22
        )
        try:
            assert process.stdout is not None
            lines = process.stdout
            assert await report(lines) == {"extensions": "permessage-deflate"}
            assert json.loads((await report(lines))["text"])["type"] == "connected"
            before = proxy.received_bytes
            texts = []
            for number in range(EVENTS):
                name = f"databases.main.tables.compressed.rows.{number}.create"
                payload = {"$id": str(number), "text": "é"}
                await server.publish(name, payload, permissions=['read("any")'])
                texts.append((await report(lines))["text"])
        finally:
            process.kill()
            await process.wait()

    payloads = [json.loads(text)["data"]["payload"] for text in texts]
    assert payloads == [{"$id": str(number), "text": "é"} for number in range(EVENTS)]
    # Each event was compressed by itself, and came in less than a third of its own size.
    assert (proxy.received_bytes - before) * 3 < sum(len(text.encode()) for text in texts)
