"""Acts about what a backend has done: a function, messages to a topic, a webhook."""

import asyncio
import base64
import hmac
import json
import re
from pathlib import Path
from typing import Any

from tests.firing.functions import code
from tests.receiver import receiving
from tests.story.cast import Story

GREET = {"functionId": "greet"}


CODE = b"""
export default ({ req, res, log }) => {
  log("somebody said", req.bodyText);
  return res.text(`Hello, ${req.bodyText}!`);
};
"""


async def run_a_function(story: Story, folder: Path) -> None:
    """Bob has it run, at once and later, and is told of it; what it says besides is for the backend."""
    await story.backend.call(
        "functions.create", **GREET, name="Greet", runtime="node-22", execute=["users"], entrypoint="main.js"
    )
    path = folder / "code.tar.gz"
    path.write_bytes(code(CODE))
    deployment = await story.backend.call(
        "functions.createDeployment",
        **GREET,
        code={"path": str(path), "name": path.name, "mediaType": "application/gzip"},
        activate=True,
    )
    assert deployment["status"] == "ready"
    await story.refuse(story.visitor, "functions.createExecution", "user_unauthorized", **GREET)
    at_once = await story.bob.call("functions.createExecution", **GREET, body="Ada")
    assert (at_once["status"], at_once["responseBody"]) == ("completed", "Hello, Ada!")
    story.known[at_once["$id"]] = "at-once"
    later = await story.bob.call("functions.createExecution", **GREET, body="Bob", **{"async": True})
    assert later["status"] == "waiting"
    story.known[later["$id"]] = "later"
    await story.bob.until_event(f"functions.greet.executions.{later['$id']}.update")
    ended = await story.backend.call("functions.getExecution", **GREET, executionId=later["$id"])
    assert (ended["status"], ended["responseStatusCode"]) == ("completed", 200)
    assert "somebody said Bob" in ended["logs"]
    seen = await story.bob.call("functions.listExecutions", **GREET)
    assert {execution["logs"] for execution in seen["executions"]} == {""}
    await story.backend.call("functions.delete", **GREET)


async def tell_the_news(story: Story) -> None:
    """Bob subscribes to a topic, and is sent what is told to it by e-mail."""
    await story.backend.call("messaging.createTopic", topicId="news", name="News", subscribe=["users"])
    account = await story.bob.call("account.get")
    named = {"topicId": "news", "subscriberId": "bob"}
    subscriber = await story.bob.call(
        "messaging.createSubscriber", **named, targetId=account["targets"][0]["$id"]
    )
    assert subscriber["userId"] == "bob"
    await story.backend.call(
        "messaging.createEmail",
        messageId="first-news",
        subject="The first news",
        content="There are news.",
        topics=["news"],
    )
    message = await _sent(story, "first-news")
    assert (message["status"], message["deliveredTotal"]) == ("sent", 1)
    letters = await story.mailbox.letters(0)
    to_bob = [letter["subject"] for address, letter in letters if address == "bob@example.com"]
    assert to_bob.count("The first news") == 1
    await story.bob.call("messaging.deleteSubscriber", **named)


async def set_up_a_webhook(story: Story) -> None:
    """Its secret is told once; into the network it may not lead; and it is sent what happens."""
    settings = {"name": "Hook", "events": ["users.*.create"]}
    await story.refuse(
        story.backend,
        "webhooks.create",
        "general_argument_invalid",
        webhookId="inside",
        url="http://10.0.0.1:9000/hook",
        **settings,
    )
    async with receiving() as receiver:
        url = f"http://127.0.0.1:{receiver.port}/hook"
        made = await story.backend.call("webhooks.create", webhookId="hook", url=url, **settings)
        assert re.fullmatch(r"\S{16,}", made["secret"])
        rotated = await story.backend.call("webhooks.updateSecret", webhookId="hook")
        assert rotated["secret"] not in ("", made["secret"])
        listed = await story.backend.call("webhooks.list")
        assert [(hook["$id"], hook["secret"]) for hook in listed["webhooks"]] == [("hook", "")]

        dora = await story.backend.call("users.create", userId="dora", email="dora@example.com")
        async with asyncio.timeout(10):
            while not receiver.requests:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        (request,) = receiver.requests
        assert request.header("x-appwrite-webhook-events").split(",")[0] == "users.dora.create"
        signature = hmac.digest(rotated["secret"].encode(), url.encode() + request.body, "sha1")
        assert request.header("x-appwrite-webhook-signature") == base64.b64encode(signature).decode()
        assert json.loads(request.body)["email"] == dora["email"]
        await story.backend.call("webhooks.delete", webhookId="hook")


async def _sent(story: Story, message_id: str) -> dict[str, Any]:
    """Wait until a message was sent, or failed."""
    async with asyncio.timeout(10):
        while True:
            message: dict[str, Any] = await story.backend.call("messaging.getMessage", messageId=message_id)
            if message["status"] in ("sent", "failed"):
                return message
