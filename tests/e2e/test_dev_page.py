"""The page of `realtime dev`, in Chromium: what somebody sees who has just started it."""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

SCREENSHOTS = Path(__file__).parent / "screenshots"
FOREIGN = "evil.example"
"""A name that resolves to this machine, in this browser."""


@pytest.fixture
async def browser(require: Callable[[bool, str], None]) -> AsyncIterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    require(path is not None, "Chromium is missing")
    async with async_playwright() as playwright:
        # Containers run the tests as the superuser, for whom Chromium has no sandbox.
        arguments = ["--no-sandbox", f"--host-resolver-rules=MAP {FOREIGN} 127.0.0.1"]
        browser = await playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        await browser.close()


@pytest.fixture
async def page(server: "Server", browser: Browser) -> AsyncIterator[Page]:
    """The page, with both people connected; what the browser complains of fails the test."""
    page = await browser.new_page(viewport={"width": 1200, "height": 900})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    await page.goto(f"http://localhost:{server.port}/events")
    for person in ("ada", "bob"):
        await expect(page.locator(f"section[data-user={person}] .state")).to_have_text("connected")
    yield page
    # Chromium itself writes a line for every response that is an error.
    assert [problem for problem in problems if "status of 400" not in problem] == []


async def publish(page: Page, role: str) -> str:
    """Publish what the form holds for `role`, and return what the page says became of it."""
    await page.locator("#outcome").evaluate("(outcome) => outcome.replaceChildren()")
    await page.locator("label", has=page.locator(f"input[value='{role}']")).click()
    await page.get_by_role("button", name="Publish").click()
    await expect(page.locator("#outcome span")).to_have_count(2)
    return "; ".join(await page.locator("#outcome span").all_text_contents())


async def test_event_reaches_those_who_may_read_it_and_no_other(page: Page) -> None:
    entries = {person: page.locator(f"section[data-user={person}] .log li") for person in ("ada", "bob")}
    outcomes = {
        role: await publish(page, role) for role in ("any", "users", "team:editors", "user:ada", "user:bob")
    }
    for role in ("any", "users"):
        assert "Ada received it in " in outcomes[role]
        assert "Bob received it in " in outcomes[role]
    for role in ("team:editors", "user:ada"):
        assert outcomes[role].startswith("Ada received it in ")
        assert outcomes[role].endswith("; Bob may not read it")
    assert outcomes["user:bob"].startswith("Ada may not read it; Bob received it in ")
    await expect(entries["ada"]).to_have_count(4)
    await expect(entries["bob"]).to_have_count(3)
    await expect(entries["ada"].first.locator(".name")).to_have_text(
        "databases.main.tables.posts.rows.hello.create"
    )
    await expect(entries["ada"].first.locator(".on")).to_have_text("on rows, documents")
    SCREENSHOTS.mkdir(exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / "dev-page.png", full_page=True)


async def test_event_of_another_publisher_is_shown_as_text(page: Page, server: "Server") -> None:
    title = "<img src=x onerror=alert(1)>"
    await server.publish("buckets.b.files.f.create", {"title": title}, roles=["user:ada"])
    entry = page.locator("section[data-user=ada] .log li").first
    await expect(entry.locator(".payload")).to_contain_text(title)
    await expect(entry.locator(".on")).to_have_text("on files")
    await expect(page.locator("section[data-user=ada] [data-number=count]")).to_have_text("1")


async def test_person_who_left_receives_nothing_until_back(page: Page) -> None:
    bob = page.locator("section[data-user=bob]")
    await bob.get_by_role("button", name="Disconnect").click()
    await expect(bob.locator(".state")).to_have_text("disconnected")
    assert (await publish(page, "any")).endswith("; Bob is not connected")
    await bob.get_by_role("button", name="Connect").click()
    await expect(bob.locator(".state")).to_have_text("connected")
    assert "Bob received it in " in await publish(page, "any")


async def test_channels_are_changed_without_a_new_connection(page: Page) -> None:
    connections: list[str] = []
    page.on("websocket", lambda socket: connections.append(socket.url))
    channels = page.locator("section[data-user=bob]").get_by_label("Channels")
    await channels.fill("files")
    await channels.press("Enter")
    assert (await publish(page, "any")).endswith("; Bob is not subscribed to any of its channels")
    await channels.fill("files, databases.*.tables.*.rows")
    await channels.press("Enter")
    assert "Bob received it in " in await publish(page, "any")
    on = page.locator("section[data-user=bob] .log li").first.locator(".on")
    await expect(on).to_have_text("on databases.*.tables.*.rows")
    assert connections == []


async def test_mistakes_are_told_where_they_are_made(page: Page) -> None:
    await publish(page, "any")
    await page.get_by_label("Payload").fill("[1, 2]")
    await page.get_by_role("button", name="Publish").click()
    await expect(page.locator("#payload-error")).to_contain_text("must be a JSON object")
    await expect(page.locator("#outcome span")).to_have_count(0)
    SCREENSHOTS.mkdir(exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / "dev-page-mistake.png", full_page=True)
    await page.get_by_label("Payload").fill("{}")
    await page.get_by_label("Event", exact=True).fill("users.1.create; no such event")
    await page.get_by_role("button", name="Publish").click()
    await expect(page.locator("#outcome .bad")).to_contain_text("Invalid event at index 0")


async def test_foreign_name_that_points_here_gets_no_secrets(server: "Server", browser: Browser) -> None:
    page = await browser.new_page()
    await page.goto(f"http://{FOREIGN}:{server.port}/events")
    await expect(page.get_by_role("alert").first).to_contain_text("open it through http://localhost")
    response = await page.request.get(
        f"http://127.0.0.1:{server.port}/dev/config.json", headers={"Host": FOREIGN}
    )
    assert response.status == 403
    assert server.key not in await page.content()
