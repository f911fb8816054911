"""A web page with the newest SDK, in Chromium: what a person's browser does."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import Page, async_playwright

from tests.e2e.pages import serving

if TYPE_CHECKING:
    from tests.e2e.conftest import ProxyTo, Server

FOLDER = Path(__file__).parent
SDK = FOLDER / "sdk/node_modules/appwrite-27/dist/iife/sdk.js"
SCREENSHOTS = FOLDER / "screenshots"

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Posts</title>
<link rel="icon" href="data:,">
<style>
  body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 40rem; }
  li { border-bottom: 1px solid #ddd; list-style: none; padding: .4rem 0; }
  ul { padding: 0; }
</style>
<h1>Posts</h1>
<p id="state">connecting ...</p>
<ul id="posts"></ul>
<script src="/sdk.js"></script>
<script>
  const { Client, Realtime, Channel, Query } = Appwrite;
  const { endpoint, project } = Object.fromEntries(new URLSearchParams(location.search));
  const client = new Client().setEndpoint(endpoint).setProject(project);
  const realtime = new Realtime(client);
  const state = document.querySelector("#state");
  realtime.onOpen(() => { state.textContent = "connected"; });
  realtime.onClose(() => { state.textContent = "disconnected"; });
  realtime.onError((error) => { state.textContent = "error: " + error.message; });
  const show = ({ events, payload }) => {
    const post = document.createElement("li");
    post.textContent = `${payload.title} (${events[0].split(".").at(-1)})`;
    document.querySelector("#posts").append(post);
  };
  const published = [Query.equal("status", ["published"])];
  realtime.subscribe(Channel.tablesdb("main").table("posts").row(), show, published);
</script>
</html>
"""

# Opens a WebSocket, keeps its messages in `texts`, and returns the extensions in use once it is greeted.
OPEN_SOCKET = """url => new Promise((resolve, reject) => {
  window.texts = [];
  const socket = new WebSocket(url);
  socket.onmessage = ({ data }) => {
    texts.push(data);
    resolve(socket.extensions);
  };
  socket.onerror = () => reject(new Error("the WebSocket failed"));
})"""


@pytest.fixture
def page_url() -> Iterator[str]:
    with serving(PAGE, SDK) as url:
        yield url


@pytest.fixture
async def page(require: Callable[[bool, str], None]) -> AsyncIterator[Page]:
    names = ("chromium", "chromium-browser", "google-chrome")
    browser_path = next(filter(None, map(shutil.which, names)), None)
    require(browser_path is not None, "Chromium is missing")
    require(SDK.exists(), "the SDKs are not installed (make test-e2e installs them)")
    async with async_playwright() as playwright:
        # Containers run the tests as the superuser, for whom Chromium has no sandbox.
        browser = await playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 900, "height": 500})
        yield page
        await browser.close()


async def subscribed(page: Page, visit: Callable[[], Any]) -> None:
    """Visit the page and wait until the server has confirmed its subscription."""
    confirmed = asyncio.Event()

    def watch(frame: str | bytes) -> None:
        if '"to":"subscribe"' in str(frame):
            confirmed.set()

    page.on("websocket", lambda websocket: websocket.on("framereceived", watch))
    await visit()
    async with asyncio.timeout(15):
        await confirmed.wait()


async def test_page_shows_what_is_published_while_it_is_open(
    server: "Server", page: Page, page_url: str
) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    url = f"{page_url}?endpoint={server.endpoint}&project={server.project}"
    await subscribed(page, lambda: page.goto(url))

    async def publish(row_id: str, action: str, **columns: str) -> None:
        name = f"databases.main.tables.posts.rows.{row_id}.{action}"
        await server.publish(name, {"$id": row_id, **columns}, permissions=['read("any")'])

    await publish("1", "create", title="Hello, realtime", status="published")
    await publish("2", "create", title="Not ready yet", status="draft")
    await publish("1", "update", title="Hello, realtime <b>world</b>", status="published")

    posts = page.locator("#posts li")
    await posts.nth(1).wait_for()
    assert await posts.all_text_contents() == [
        "Hello, realtime (create)",
        "Hello, realtime <b>world</b> (update)",
    ]
    assert await page.locator("#state").text_content() == "connected"
    assert problems == []
    SCREENSHOTS.mkdir(exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / "sdk-page.png")


async def test_browser_reads_compressed_events(
    server: "Server", proxy_to: "ProxyTo", page: Page, page_url: str
) -> None:
    """A plain WebSocket of Chromium's, which offers permessage-deflate by itself."""
    async with proxy_to(server) as proxy:
        await page.goto(page_url)
        url = f"ws://127.0.0.1:{proxy.port}/v1/realtime?project={server.project}&channels[]=rows"
        extensions = await page.evaluate(OPEN_SOCKET, url)
        before = proxy.received_bytes
        for number in range(20):
            name = f"databases.main.tables.compressed.rows.{number}.create"
            payload = {"$id": str(number), "text": "é"}
            await server.publish(name, payload, permissions=['read("any")'])
        await page.wait_for_function("texts.length === 21")
        greeting, *texts = await page.evaluate("texts")
        received_bytes = proxy.received_bytes - before

    assert "permessage-deflate" in extensions
    assert json.loads(greeting)["type"] == "connected"
    payloads = [json.loads(text)["data"]["payload"] for text in texts]
    assert payloads == [{"$id": str(number), "text": "é"} for number in range(20)]
    # Each event was compressed by itself, and came in less than a third of its own size.
    assert received_bytes * 3 < sum(len(text.encode()) for text in texts)
