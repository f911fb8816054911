"""Functions in Python and Node, deployed by an SDK and set off by a row: what they write is seen in a browser."""

import asyncio
import io
import shutil
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.callers import SDK_FOLDER, SERVER, Caller, callers
from tests.e2e.pages import serving

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

SDK = SDK_FOLDER / "node_modules/appwrite-27/dist/iife/sdk.js"
SCREENSHOTS = Path(__file__).parent / "screenshots"
DEADLINE_S = 30.0
MAX_DEPTH = 4

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Receipts</title>
<link rel="icon" href="data:,">
<style>body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 40rem; }</style>
<h1>Receipts</h1>
<ul id="receipts"></ul>
<script src="/sdk.js"></script>
<script>
  const { Client, Realtime } = Appwrite;
  const { endpoint, project } = Object.fromEntries(new URLSearchParams(location.search));
  const realtime = new Realtime(new Client().setEndpoint(endpoint).setProject(project));
  realtime.subscribe("tablesdb.main.tables.receipts.rows", ({ payload }) => {
    const receipt = document.createElement("li");
    receipt.textContent = payload.title;
    document.querySelector("#receipts").append(receipt);
  });
</script>
</html>
"""

PYTHON = """
import json
import os
import urllib.request


def main(context):
    order = context.req.body_json
    receipt = {"rowId": "by-python", "data": {"title": order["title"] + " by Python"}}
    request = urllib.request.Request(
        os.environ["APPWRITE_FUNCTION_API_ENDPOINT"] + "/tablesdb/main/tables/receipts/rows",
        json.dumps(receipt).encode(),
        {
            "content-type": "application/json",
            "x-appwrite-project": os.environ["APPWRITE_FUNCTION_PROJECT_ID"],
            "x-appwrite-key": context.req.headers["x-appwrite-key"],
        },
    )
    with urllib.request.urlopen(request) as answer:
        return context.res.json({"status": answer.status})
"""

NODE = """
export default async ({ req, res }) => {
  const url = process.env.APPWRITE_FUNCTION_API_ENDPOINT + "/tablesdb/main/tables/receipts/rows";
  const answer = await fetch(url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "x-appwrite-project": process.env.APPWRITE_FUNCTION_PROJECT_ID,
      "x-appwrite-key": req.headers["x-appwrite-key"],
    },
    body: JSON.stringify({ rowId: "by-node", data: { title: `${req.bodyJson.title} by Node` } }),
  });
  return res.json({ status: answer.status });
};
"""

ECHO = """
import json
import os
import urllib.request


def main(context):
    request = urllib.request.Request(
        os.environ["APPWRITE_FUNCTION_API_ENDPOINT"] + "/tablesdb/main/tables/echoes/rows",
        json.dumps({"rowId": "unique()", "data": {"title": context.req.body_json["title"] + "!"}}).encode(),
        {
            "content-type": "application/json",
            "x-appwrite-project": os.environ["APPWRITE_FUNCTION_PROJECT_ID"],
            "x-appwrite-key": context.req.headers["x-appwrite-key"],
        },
    )
    urllib.request.urlopen(request).close()
    return context.res.empty()
"""


@pytest.fixture
def page_url() -> Iterator[str]:
    with serving(PAGE, SDK) as url:
        yield url


@pytest.fixture
async def page(require: Callable[[bool, str], None]) -> AsyncIterator[Page]:
    names = ("chromium", "chromium-browser", "google-chrome")
    browser_path = next(filter(None, map(shutil.which, names)), None)
    require(browser_path is not None, "Chromium is missing")
    async with async_playwright() as playwright:
        # Containers run the tests as the superuser, for whom Chromium has no sandbox.
        browser = await playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 900, "height": 500})
        yield page
        await browser.close()


@pytest.fixture(scope="module")
def own_server(serve_dev: Callable[..., "Server"], require: Callable[[bool, str], None]) -> "Server":
    """A server of these tests alone, where chains of functions are short."""
    require((SDK_FOLDER / "node_modules" / SERVER).is_dir(), "the SDKs are not installed")
    return serve_dev(REALTIME_FUNCTIONS_MAX_DEPTH=str(MAX_DEPTH))


@pytest.fixture
async def backend(own_server: "Server") -> AsyncIterator[Caller]:
    """The SDK for servers, with a key that may do everything."""
    async with callers(own_server.endpoint, own_server.project, [own_server.key]) as (backend,):
        yield backend


async def make_tables(backend: Caller, database: str, *names: str) -> None:
    """Make tables with a title in each row, which everybody may read."""
    await backend.call("tablesDB.create", databaseId=database, name=database)
    for name in names:
        named = {"databaseId": database, "tableId": name}
        await backend.call("tablesDB.createTable", **named, name=name, permissions=['read("any")'])
        await backend.call("tablesDB.createStringColumn", **named, key="title", size=200, required=True)


async def deploy(
    backend: Caller,
    folder: Path,
    function: str,
    code: str,
    *,
    runtime: str,
    entrypoint: str,
    events: list[str],
) -> None:
    """Make a function that may write rows, and activate its code."""
    await backend.call(
        "functions.create",
        functionId=function,
        name=function,
        runtime=runtime,
        entrypoint=entrypoint,
        events=events,
        scopes=["rows.write"],
    )
    path = folder / f"{function}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(entrypoint)
        member.size = len(code.encode())
        archive.addfile(member, io.BytesIO(code.encode()))
    await backend.call(
        "functions.createDeployment",
        functionId=function,
        code={"path": str(path), "name": path.name, "mediaType": "application/gzip"},
        activate=True,
    )


async def executions(backend: Caller, function: str, count: int) -> list[dict[str, Any]]:
    """Wait until a function has been executed so often, and all of it is over; return its executions, oldest first."""
    found: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(DEADLINE_S):
            while len(found) < count or any(each["status"] in ("waiting", "processing") for each in found):
                found = (await backend.call("functions.listExecutions", functionId=function))["executions"]
    except TimeoutError:
        raise AssertionError(f"waited for {count} executions of {function}: {found}") from None
    return found


async def subscribed(page: Page, url: str) -> None:
    """Open the page, and wait until the server has confirmed its subscription."""
    confirmed = asyncio.Event()

    def watch(frame: str | bytes) -> None:
        if '"to":"subscribe"' in str(frame):
            confirmed.set()

    page.on("websocket", lambda websocket: websocket.on("framereceived", watch))
    await page.goto(url)
    async with asyncio.timeout(DEADLINE_S):
        await confirmed.wait()


async def test_what_functions_write_for_a_row_is_seen_in_a_browser(
    own_server: "Server", backend: Caller, page: Page, page_url: str, tmp_path: Path
) -> None:
    await make_tables(backend, "main", "orders", "receipts")
    on_order = {"events": ["databases.*.tables.orders.rows.*.create"]}
    await deploy(
        backend, tmp_path, "in-python", PYTHON, runtime="python-3.11", entrypoint="main.py", **on_order
    )
    await deploy(backend, tmp_path, "in-node", NODE, runtime="node-22", entrypoint="main.js", **on_order)
    await subscribed(page, f"{page_url}?endpoint={own_server.endpoint}&project={own_server.project}")

    await backend.call(
        "tablesDB.createRow", databaseId="main", tableId="orders", rowId="tea", data={"title": "Tea"}
    )

    for function in ("in-python", "in-node"):
        (execution,) = await executions(backend, function, 1)
        assert (execution["status"], execution["trigger"]) == ("completed", "event"), execution
    receipts = page.locator("#receipts li")
    await expect(receipts).to_have_count(2)
    assert sorted(await receipts.all_text_contents()) == ["Tea by Node", "Tea by Python"]
    SCREENSHOTS.mkdir(exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / "triggered-functions.png")


async def test_function_that_sets_itself_off_is_stopped(backend: Caller, tmp_path: Path) -> None:
    await make_tables(backend, "loop", "echoes")
    on_echo = {"events": ["databases.loop.tables.echoes.rows.*.create"]}
    code = ECHO.replace("tablesdb/main", "tablesdb/loop")
    await deploy(backend, tmp_path, "echo", code, runtime="python-3.11", entrypoint="main.py", **on_echo)

    named = {"databaseId": "loop", "tableId": "echoes"}
    await backend.call("tablesDB.createRow", **named, rowId="first", data={"title": "Hello"})

    *ran, last = await executions(backend, "echo", MAX_DEPTH + 1)
    assert [each["status"] for each in ran] == ["completed"] * MAX_DEPTH, ran
    assert last["status"] == "failed"
    assert "set off" in last["errors"], last
    rows = (await backend.call("tablesDB.listRows", **named))["rows"]
    # Nobody wrote a row for the execution that was not run, and none comes later.
    assert sorted(row["title"] for row in rows) == ["Hello" + "!" * count for count in range(MAX_DEPTH + 1)]
