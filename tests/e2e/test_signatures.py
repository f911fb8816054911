"""Requests of webhooks, verified by a receiver in Node: with the library of Standard Webhooks from npm, unmodified.

That of Python does so in ``tests/workers``.
"""

import asyncio
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from realtime.settings import Settings
from realtime.triggers.model import Webhook
from tests.receiver import Request, receiving
from workers.outbound.guard import Guard
from workers.store.sealing import Sealer
from workers.webhooks.request import Delivery
from workers.webhooks.sending import Sender

SDK_FOLDER = Path(__file__).parent / "sdk"
SEALER = Sealer(["the key of tests"])
PAYLOAD = {"$id": "row1", "name": "Äda Lövelace", "emoji": "🛒", "total": 12.5}
DELIVERY = Delivery(
    "shop", "msg_abc", "1-0", ("databases.d.tables.t.rows.row1.create",), "ada", json.dumps(PAYLOAD).encode()
)
SECRETS = {
    "of somebody": "a secret of mine",
    "of the server": "0f" * 64,
    "beyond ASCII": "größtes Geheimnis 🛒",
    "in Base64": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}


@pytest.fixture(autouse=True)
def library(require: Callable[[bool, str], None]) -> None:
    """Skip without Node.js or the library."""
    require(shutil.which("node") is not None, "Node.js is missing")
    require(
        (SDK_FOLDER / "node_modules" / "standardwebhooks").is_dir(),
        "the library is not installed (make test-e2e installs it)",
    )


async def send(secret: str, **members: Any) -> tuple[str, Request]:
    """Have a delivery sent; return the URL of its webhook, and what came."""
    sender = Sender(Settings(), Guard(allow_private=True), SEALER)
    async with receiving() as receiver, sender.running():
        url = f"http://127.0.0.1:{receiver.port}/hook?größe=1"
        webhook = Webhook("w1", "Orders", url, ("databases.*",), SEALER.seal(secret), **members)
        assert (await sender.attempt(webhook, DELIVERY)).is_success
    return url, receiver.requests[0]


async def verify(secret: str, url: str, request: Request) -> dict[str, Any]:
    """Have Node verify a request as the documentation says."""
    given = {
        "secret": secret,
        "format": "" if secret.startswith("whsec_") else "raw",
        "url": url,
        "headers": {name: value.decode() for name, value in request.headers},
        "body": request.body.decode(),
    }
    node = await asyncio.create_subprocess_exec(
        "node", SDK_FOLDER / "verify.cjs", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await node.communicate(json.dumps(given).encode())
    found: dict[str, Any] = json.loads(output)
    return found


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
async def test_both_signatures_verify(secret: str) -> None:
    url, request = await send(secret)
    assert await verify(secret, url, request) == {"standard": PAYLOAD, "appwrite": True}


async def test_either_secret_verifies_while_one_is_replaced() -> None:
    former = {"former_secret": SEALER.seal("the former one"), "former_secret_until": time.time() + 60}
    url, request = await send("the newest one", **former)
    assert await verify("the newest one", url, request) == {"standard": PAYLOAD, "appwrite": True}
    # The older kind of signature has room for one secret only.
    assert await verify("the former one", url, request) == {"standard": PAYLOAD, "appwrite": False}


async def test_what_was_changed_on_its_way_does_not_verify() -> None:
    url, request = await send("a secret of mine")
    found = await verify("a secret of mine", url, request._replace(body=request.body + b" "))
    assert found == {"standard": {"refused": "No matching signature found"}, "appwrite": False}
    assert "refused" in (await verify("another secret", url, request))["standard"]
