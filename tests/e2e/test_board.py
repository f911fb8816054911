"""The shared board of `realtime dev`, in Chromium: two people in two windows, and what each sees of the other."""

import asyncio
import io
import re
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from PIL import Image, ImageDraw
from playwright.async_api import Browser, Locator, Page, Route, WebSocketRoute, async_playwright, expect

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

SCREENSHOTS = Path(__file__).parent / "screenshots"
WIDE = {"width": 1280, "height": 800}
NARROW = {"width": 380, "height": 800}


@pytest.fixture
async def browser(require: Callable[[bool, str], None]) -> AsyncIterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    require(path is not None, "Chromium is missing")
    async with async_playwright() as playwright:
        # Containers run the tests as the superuser, for whom Chromium has no sandbox.
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        expect.set_options(timeout=15_000)  # two windows on a busy machine
        yield browser
        await browser.close()


@pytest.fixture(scope="module")
def own_server(serve_dev: Callable[..., "Server"]) -> "Server":
    """A server of these tests alone, so that others do not use up its limits."""
    return serve_dev()


@pytest.fixture
async def board(own_server: "Server") -> "Server":
    """That server, with nothing on its board."""
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        response = await client.delete(
            f"{own_server.endpoint}/tablesdb/board/tables/cards/rows",
            headers={"X-Appwrite-Project": own_server.project, "X-Appwrite-Key": own_server.key},
        )
    assert response.status_code == 200, response.text
    return own_server


class Window:
    """A window of somebody's own browser, open on the board."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @classmethod
    async def open(cls, browser: Browser, server: "Server", *, narrow: bool = False) -> "Window":
        context = await browser.new_context(viewport=NARROW if narrow else WIDE)  # type: ignore[arg-type]
        page = await context.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        window = cls(page)
        page.on("close", lambda _: problems.clear())
        await page.goto(f"http://localhost:{server.port}/")
        await window.is_live()
        window.problems = problems
        return window

    problems: list[str]

    async def is_live(self) -> None:
        await expect(self.page.locator("#state")).to_have_text("live")

    async def sign_up(self, name: str) -> None:
        await self.page.locator("label", has=self.page.locator("input[value=sign-up]")).click()
        await self.page.get_by_label("Name").fill(name)
        await self.page.get_by_label("E-mail").fill(f"{name.lower()}@example.com")
        await self.page.get_by_label("Password").fill("a-long-password")
        await self.page.get_by_role("button", name="Sign up").click()
        await expect(self.page.locator("#person .name")).to_have_text(name)
        await self.is_live()

    async def log_in(self, name: str, password: str) -> None:
        await self.page.locator("label", has=self.page.locator("input[value=log-in]")).click()
        await self.page.get_by_label("E-mail").fill(f"{name.lower()}@example.com")
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Log in").click()

    async def stay_a_guest(self, name: str) -> None:
        await self.page.get_by_label("Name").fill(name)
        await self.page.get_by_role("button", name="Join").click()
        await expect(self.page.locator("#person .name")).to_have_text(f"{name} (guest)")
        await self.is_live()

    async def add(self, column: str, title: str, *, private: bool = False) -> None:
        form = self.page.locator(f"[data-column={column}] .add")
        await form.get_by_placeholder("Add a card").fill(title)
        if private:
            await form.get_by_label("Only for me").check()
        await form.get_by_role("button", name="Add").click()

    async def choose(self, column: str, name: str, content: bytes, media_type: str = "image/png") -> None:
        picker = self.page.locator(f"[data-column={column}] .add input[type=file]")
        await picker.set_input_files({"name": name, "mimeType": media_type, "buffer": content})

    async def has_loaded(self, picture: Locator) -> None:
        """Wait until there is a picture that is not broken."""
        await expect(picture).to_be_visible()
        loaded = "image => image.complete && image.naturalWidth > 0 || null"
        await self.page.wait_for_function(loaded, arg=await picture.element_handle())

    async def shows_here(self, *names: str) -> None:
        """Wait until exactly these people are said to be here, in this order."""
        await expect(self.page.locator("#here .name")).to_have_text(names)

    def card(self, title: str) -> Locator:
        return self.page.locator(".item", has=self.page.locator(".title", has_text=title))

    async def use(self, tool: str, title: str) -> None:
        await self.card(title).hover()
        await self.card(title).locator(f"[data-tool={tool}]").click()

    async def shows(self, **columns: list[str]) -> None:
        """Wait until the columns hold exactly these cards, in this order."""
        for column, titles in columns.items():
            await expect(self.page.locator(f"[data-column={column}] .item .title")).to_have_text(titles)

    async def picture(self, name: str) -> None:
        SCREENSHOTS.mkdir(exist_ok=True)
        await self.page.mouse.move(0, 0)
        await self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


async def test_two_people_share_a_board(board: "Server", browser: Browser) -> None:
    ada = await Window.open(browser, board)
    bob = await Window.open(browser, board)
    await ada.picture("board-visitor")
    await ada.page.locator("label", has=ada.page.locator("input[value=sign-up]")).click()
    await ada.picture("board-sign-up")
    await ada.sign_up("Ada")
    await bob.stay_a_guest("Bob")

    await ada.add("todo", "Write the invitation")
    await ada.add("todo", "Book a room")
    await bob.shows(todo=["Write the invitation", "Book a room"])
    await bob.add("doing", "Bake a cake")
    await ada.shows(todo=["Write the invitation", "Book a room"], doing=["Bake a cake"])
    await expect(ada.card("Bake a cake").locator(".by")).to_have_text("Bob")

    # A private card is its maker's alone, even for somebody who comes later.
    await ada.add("todo", "Buy a present for Bob", private=True)
    await ada.shows(todo=["Write the invitation", "Book a room", "Buy a present for Bob"])
    await expect(ada.card("present").locator(".badge")).to_be_visible()

    # By then, whatever Bob could have been sent of the card would have come.
    await bob.use("on", "Book a room")
    await ada.shows(
        todo=["Write the invitation", "Buy a present for Bob"], doing=["Bake a cake", "Book a room"]
    )
    await bob.shows(todo=["Write the invitation"], doing=["Bake a cake", "Book a room"])
    await expect(ada.card("Book a room").locator(".by")).to_have_text("Ada, then Bob")
    assert "present" not in await bob.page.locator("body").inner_text()

    await ada.card("Bake a cake").drag_to(ada.page.locator("[data-column=done] .cards"))
    await bob.shows(doing=["Book a room"], done=["Bake a cake"])

    await ada.use("edit", "Bake a cake")
    await ada.page.get_by_label("Title").fill("Bake two cakes")
    await ada.page.get_by_label("Title").press("Enter")
    await bob.shows(done=["Bake two cakes"])
    told = [
        "Ada renamed “Bake a cake” to “Bake two cakes”",
        "Ada moved “Bake a cake” to Done",
        "Bob moved “Book a room” to Doing",
        "Bob added “Bake a cake” to Doing",
        "Ada added “Book a room” to To do",
        "Ada added “Write the invitation” to To do",
    ]
    await expect(bob.page.locator("#activity li span")).to_have_text(told)
    # Whoever acts is told of it in the same words as the others, and alone of what is private.
    told.insert(3, "Ada added “Buy a present for Bob” to To do")
    await expect(ada.page.locator("#activity li span")).to_have_text(told)

    # Anybody who is logged in may change a card for all; only who made it may delete it.
    await expect(bob.card("Write the invitation").locator("[data-tool=delete]")).to_be_hidden()
    await ada.picture("board-ada")
    await bob.picture("board-bob")
    await ada.use("delete", "Write the invitation")
    await bob.shows(todo=[], doing=["Book a room"], done=["Bake two cakes"])
    await expect(bob.page.locator("#activity li span").first).to_have_text(
        "Ada deleted “Write the invitation”"
    )

    eve = await Window.open(browser, board, narrow=True)
    await eve.shows(todo=[], doing=["Book a room"], done=["Bake two cakes"])
    await expect(eve.page.locator(".tools").first).to_be_hidden()
    await eve.picture("board-narrow-visitor")
    await eve.stay_a_guest("Eve")
    await eve.add("todo", "Invite the neighbours, and tell them that it may be loud")
    await ada.shows(
        todo=["Buy a present for Bob", "Invite the neighbours, and tell them that it may be loud"]
    )
    await eve.picture("board-narrow")
    width = await eve.page.evaluate("document.documentElement.scrollWidth")
    assert width <= NARROW["width"]
    assert [window.problems for window in (ada, bob, eve)] == [[], [], []]


async def test_who_logs_out_sees_what_visitors_see_and_may_come_back(
    board: "Server", browser: Browser
) -> None:
    anna = await Window.open(browser, board)
    await anna.sign_up("Anna")
    await anna.add("todo", "Mine", private=True)
    await anna.add("todo", "Ours")
    await anna.shows(todo=["Mine", "Ours"])
    await anna.page.get_by_role("button", name="Log out").click()
    await expect(anna.page.locator("#welcome")).to_be_visible()
    await anna.shows(todo=["Ours"])
    await anna.log_in("Anna", "a-wrong-password")
    await expect(anna.page.locator("#join-error")).to_contain_text("Invalid credentials")
    await anna.log_in("Anna", "a-long-password")
    await anna.shows(todo=["Mine", "Ours"])
    await anna.page.reload()
    await anna.shows(todo=["Mine", "Ours"])


async def test_who_joins_may_add_cards_before_the_others_have_been_loaded(
    board: "Server", browser: Browser
) -> None:
    eve = await Window.open(browser, board)
    fields = eve.page.get_by_placeholder("Add a card")
    await expect(fields.first).to_be_hidden()
    may_load = asyncio.Event()

    async def hold(route: Route) -> None:
        if route.request.method == "GET":
            await may_load.wait()
        await route.continue_()

    await eve.page.route(re.compile("/v1/(tablesdb|storage)/"), hold)
    await eve.page.get_by_label("Name").fill("Eve")
    await eve.page.get_by_role("button", name="Join").click()
    await expect(eve.page.locator("#person .name")).to_have_text("Eve (guest)")
    for index in range(3):
        await expect(fields.nth(index)).to_be_visible(timeout=5000)
    await eve.add("todo", "At once")
    await eve.shows(todo=["At once"])
    may_load.set()
    await eve.is_live()
    await eve.shows(todo=["At once"])


async def test_title_is_saved_or_cancelled_by_mouse_and_keyboard(board: "Server", browser: Browser) -> None:
    ada = await Window.open(browser, board, narrow=True)
    await ada.stay_a_guest("Ada")
    await ada.add("todo", "Draft")
    await ada.shows(todo=["Draft"])
    item = ada.page.locator("[data-column=todo] .item")
    edit, field = item.locator("[data-tool=edit]"), item.get_by_label("Title")

    await edit.click()
    await expect(field).to_be_focused()
    await expect(edit).to_be_hidden()
    await field.fill("Thrown away")
    await ada.picture("board-edit-narrow")
    await item.get_by_role("button", name="Cancel").click()
    await ada.shows(todo=["Draft"])
    await expect(edit).to_be_focused()
    await edit.press("Enter")
    await field.fill("Thrown away too")
    await field.press("Escape")
    await ada.shows(todo=["Draft"])

    # What is nothing is not saved, and looking elsewhere loses nothing.
    await edit.click()
    await field.fill("  ")
    await item.get_by_role("button", name="Save").click()
    await expect(field).to_be_focused()
    await field.fill("Final")
    await ada.page.locator("#activity").click()
    await expect(field).to_have_value("Final")
    await item.get_by_role("button", name="Save").click()
    await ada.shows(todo=["Final"])
    await edit.click()
    await ada.page.locator("h1").click()
    await expect(field).to_have_count(0)
    assert ada.problems == []


async def test_problem_goes_once_the_board_works_again(board: "Server", browser: Browser) -> None:
    ada = await Window.open(browser, board)
    problem = ada.page.locator("#problem")
    files = "**/v1/storage/buckets/board-pictures/files?*"
    await ada.page.route(files, lambda route: route.fulfill(status=503, json={"message": "Not now."}))
    await ada.stay_a_guest("Ada")
    await expect(problem).to_have_text("Not all of the board could be loaded: Not now.")
    await ada.page.unroute(files)
    await ada.add("todo", "Go on")
    await ada.shows(todo=["Go on"])
    await expect(problem).to_be_hidden()


async def test_cards_of_others_are_text(board: "Server", browser: Browser) -> None:
    ada = await Window.open(browser, board)
    bob = await Window.open(browser, board)
    await ada.stay_a_guest("<b>Ada</b>")
    title = "<img src=x onerror=alert(1)>"
    await ada.add("done", title)
    await bob.shows(done=[title])
    await expect(bob.card("img").locator(".by")).to_have_text(re.compile("^<b>Ada</b>$"))
    assert [ada.problems, bob.problems] == [[], []]


async def test_board_catches_up_after_the_connection_was_lost(board: "Server", browser: Browser) -> None:
    ada = await Window.open(browser, board)
    bob = await Window.open(browser, board)
    sockets: list[WebSocketRoute] = []
    is_cut = False

    async def carry(socket: WebSocketRoute) -> None:
        if is_cut:
            await socket.close()
        else:
            socket.connect_to_server()
            sockets.append(socket)

    await bob.page.route_web_socket("**/v1/realtime*", carry)
    await bob.page.reload()
    await bob.is_live()
    await ada.stay_a_guest("Ada")
    await ada.add("todo", "First")
    await bob.shows(todo=["First"])
    is_cut = True
    await sockets[-1].close()
    await expect(bob.page.locator("#state")).to_have_text("reconnecting")
    await ada.add("todo", "Second")
    await ada.use("delete", "First")
    await ada.shows(todo=["Second"])
    is_cut = False
    await bob.shows(todo=["Second"])
    await bob.is_live()
    assert len(sockets) == 2
    await ada.add("todo", "Third")
    await bob.shows(todo=["Second", "Third"])


async def test_people_are_shown_for_as_long_as_they_have_a_window(board: "Server", browser: Browser) -> None:
    visitor = await Window.open(browser, board)
    ada = await Window.open(browser, board)
    await expect(ada.page.locator("#here")).to_be_hidden()
    await ada.stay_a_guest("Ada")
    await ada.shows_here("Ada (you)")
    bob = await Window.open(browser, board, narrow=True)
    await bob.stay_a_guest("<i>Bob</i>")
    await ada.shows_here("Ada (you)", "<i>Bob</i>")
    await bob.shows_here("<i>Bob</i> (you)", "Ada")

    # A second window of the same person is the same person.
    second = Window(await ada.page.context.new_page())
    await second.page.goto(f"http://localhost:{board.port}/")
    await second.shows_here("Ada (you)", "<i>Bob</i>")
    await bob.shows_here("<i>Bob</i> (you)", "Ada")
    await bob.picture("board-here-narrow")
    await ada.page.close()
    carol = await Window.open(browser, board)
    await carol.stay_a_guest("Carol")
    # By then, a word that Ada had left would have come.
    await bob.shows_here("<i>Bob</i> (you)", "Ada", "Carol")
    await second.page.close()
    await bob.shows_here("<i>Bob</i> (you)", "Carol")
    await carol.page.get_by_role("button", name="Log out").click()
    await bob.shows_here("<i>Bob</i> (you)")
    await expect(visitor.page.locator("#here")).to_be_hidden()
    assert [window.problems for window in (visitor, bob, carol)] == [[], [], []]


def drawn(width: int, height: int) -> bytes:
    """Return a PNG of hills below a sun."""
    image = Image.new("RGB", (width, height), "#bfe3ff")
    draw = ImageDraw.Draw(image)
    draw.ellipse((width * 0.62, height * 0.12, width * 0.78, height * 0.12 + width * 0.16), fill="#ffd166")
    draw.ellipse((-width * 0.3, height * 0.55, width * 0.7, height * 1.9), fill="#5aa469")
    draw.ellipse((width * 0.35, height * 0.65, width * 1.4, height * 2), fill="#3f7d4e")
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


async def test_card_carries_a_picture(board: "Server", browser: Browser) -> None:
    ada = await Window.open(browser, board)
    bob = await Window.open(browser, board)
    await ada.stay_a_guest("Ada")
    await ada.choose("todo", "hills.png", drawn(900, 600))
    await expect(ada.page.locator("[data-column=todo] .chosen")).to_have_text("hills.png")
    await ada.add("todo", "Hike")
    await bob.has_loaded(bob.card("Hike").locator(".picture img"))
    await ada.has_loaded(ada.card("Hike").locator(".picture img"))
    await expect(ada.page.locator("[data-column=todo] .chosen")).to_be_hidden()
    await ada.choose("done", "secret.png", drawn(300, 500))
    await ada.add("done", "Plan", private=True)
    await ada.has_loaded(ada.card("Plan").locator(".picture img"))
    await ada.add("doing", "Pack")
    await bob.shows(todo=["Hike"], doing=["Pack"], done=[])
    await ada.picture("board-picture")

    # By the keyboard, and back.
    await bob.page.get_by_role("button", name="Show the picture of Hike").focus()
    await bob.page.keyboard.press("Enter")
    await bob.has_loaded(bob.page.locator("#viewer img"))
    await bob.picture("board-picture-large")
    await bob.page.keyboard.press("Escape")
    await expect(bob.page.locator("#viewer")).to_be_hidden()
    await expect(bob.page.get_by_role("button", name="Show the picture of Hike")).to_be_focused()

    # Who comes later finds it too.
    await bob.page.reload()
    await bob.has_loaded(bob.card("Hike").locator(".picture img"))
    await ada.use("delete", "Hike")
    await bob.shows(todo=[], doing=["Pack"])
    await ada.use("delete", "Plan")
    await ada.shows(done=[])
    await expect_files(board, 0)
    assert [ada.problems, bob.problems] == [[], []]


async def test_nobody_passes_for_somebody_else(board: "Server", browser: Browser) -> None:
    ada = await Window.open(browser, board)
    bob = await Window.open(browser, board)
    await ada.stay_a_guest("Ada")
    await bob.stay_a_guest("Bob")
    await ada.add("todo", "Hike")
    await bob.shows(todo=["Hike"])
    await ada.page.goto("about:blank")
    await bob.shows_here("Bob (you)")
    async with httpx.AsyncClient(
        base_url=board.endpoint, headers={"X-Appwrite-Project": board.project}, trust_env=False
    ) as eve:
        own_id = (await eve.post("/account/sessions/anonymous")).json()["userId"]
        (card,) = (await eve.get("/tablesdb/board/tables/cards/rows")).json()["rows"]
        (ada_id,) = re.findall(r'delete\("user:(.+?)"\)', " ".join(card["$permissions"]))
        answers = [
            await eve.put(f"/presences/{ada_id}", json={"status": "here"}),
            await eve.post(
                "/storage/buckets/board-pictures/files",
                data={
                    "fileId": card["$id"],
                    "permissions[]": ['read("any")', f'delete("user:{own_id}")'],
                },
                files={"file": ("picture.png", drawn(30, 30), "image/png")},
            ),
        ]
        assert [answer.status_code for answer in answers] == [200, 201]

        await ada.page.goto(f"http://localhost:{board.port}/")
        await bob.shows_here("Bob (you)", "Ada")
        await bob.page.reload()
        await ada.choose("done", "own.png", drawn(30, 30))
        await ada.add("done", "Swim")
        for window in (ada, bob):
            await window.has_loaded(window.card("Swim").locator(".picture img"))
            await expect(window.card("Hike").locator(".picture")).to_be_hidden()
        await ada.use("delete", "Hike")
        await ada.use("delete", "Swim")
        await bob.shows(todo=[], done=[])
        await expect(ada.page.locator("#problem")).to_be_hidden()
        await eve.delete(f"/storage/buckets/board-pictures/files/{card['$id']}")
    await expect_files(board, 0)


async def test_what_is_no_picture_is_refused_and_leaves_nothing(board: "Server", browser: Browser) -> None:
    ada = await Window.open(browser, board, narrow=True)
    await ada.stay_a_guest("Ada")
    refusals = (
        ("notes.txt", b"Milk, bread", "text/plain", "“notes.txt” is not a PNG, JPEG, GIF or WebP picture."),
        ("huge.png", bytes(5_000_001), "image/png", "“huge.png” is larger than 5 MB."),
        ("fake.png", b"<script>alert(1)</script>", "image/png", "“fake.png” cannot be read as a picture."),
    )
    for name, content, media_type, told in refusals:
        await ada.choose("todo", name, content, media_type)
        await ada.add("todo", "Kept")
        await expect(ada.page.locator("#problem")).to_have_text(told)
        await expect(ada.page.get_by_placeholder("Add a card").first).to_have_value("Kept")
    await ada.picture("board-picture-refused")
    await ada.page.get_by_role("button", name="Without picture").click()
    await ada.add("todo", "Kept")
    await ada.shows(todo=["Kept"])
    await expect(ada.page.locator("#problem")).to_be_hidden()
    await expect_files(board, 0)
    width = await ada.page.evaluate("document.documentElement.scrollWidth")
    assert width <= NARROW["width"]
    assert ada.problems == []


async def expect_files(server: "Server", count: int) -> None:
    """Wait until the bucket of the board holds so many files."""
    headers = {"X-Appwrite-Project": server.project, "X-Appwrite-Key": server.key}
    async with asyncio.timeout(10), httpx.AsyncClient(trust_env=False, headers=headers) as client:
        while True:
            listed = await client.get(f"{server.endpoint}/storage/buckets/board-pictures/files")
            if listed.json()["total"] == count:
                return
