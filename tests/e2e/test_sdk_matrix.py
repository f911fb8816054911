"""Every generation of the client SDKs, unmodified from npm, through the same story against a real server.

One case for each SDK and way of subscribing. The story: connect as a guest, receive, subscribe again, filter by
a query, unsubscribe, ping, lose the connection, come back with a session, and receive what only its user may read.
All cases run side by side, since each is mostly waiting (an SDK reconnects after a second); each reports for
itself.
"""

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import msgspec
import pytest

from realtime.identity.model import Platform, Session, User
from realtime.identity.secrets import encode_session, hash_secret

if TYPE_CHECKING:
    from tests.e2e.conftest import Proxy, ProxyTo, Server

SDK_FOLDER = Path(__file__).parent / "sdk"
DEADLINE_S = 30.0
SIDE_BY_SIDE = 6
ANYBODY = ['read("any")']

Channel = str | list[list[str]]


@dataclass(frozen=True)
class Case:
    """An SDK, one of its two ways of subscribing, and what that can do."""

    package: str
    major: int
    style: str

    @property
    def id(self) -> str:
        return f"{self.package}-{self.style}"

    @property
    def is_react_native(self) -> bool:
        return self.package == "react-native-appwrite"

    @property
    def pings(self) -> bool:
        return self.is_react_native or self.major >= 16

    @property
    def has_queries(self) -> bool:
        return self.is_react_native or self.major >= 22

    @property
    def has_session(self) -> bool:
        """Whether a session given by `setSession` is used for realtime."""
        return self.is_react_native or self.major >= 21

    @property
    def sends_jwt(self) -> bool:
        return not self.is_react_native and self.major >= 26

    @property
    def subscribes_by_message(self) -> bool:
        return self.is_react_native or self.major >= 25

    def rows_channel(self) -> Channel:
        """The channel of this case's rows, as the documentation of that generation writes it."""
        if self.has_queries and (not self.is_react_native or self.style == "service"):
            return [["tablesdb", "main"], ["table", self.id], ["row"]]
        if self.major >= 20:
            return f"databases.main.tables.{self.id}.rows"
        return f"databases.main.collections.{self.id}.documents"

    @property
    def unsubscribes_silently(self) -> bool:
        """Whether the SDK says nothing to the server, and drops the events of the subscription itself."""
        return self.subscribes_by_message and self.style == "client"

    def rows_name(self) -> str:
        channel = self.rows_channel()
        return channel if isinstance(channel, str) else f"tablesdb.main.tables.{self.id}.rows"

    def files_channel(self) -> str:
        return f"buckets.{self.id}.files"


CASES = [
    *(Case(f"appwrite-{major}", major, "client") for major in range(10, 28)),
    *(Case(f"appwrite-{major}", major, "service") for major in range(21, 28)),
    Case("react-native-appwrite", 0, "client"),
    Case("react-native-appwrite", 0, "service"),
]


class Driver:
    """The Node process around one SDK."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._changed = asyncio.Condition()
        self.reports: list[dict[str, Any]] = []

    async def read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._changed:
                self.reports.append(json.loads(line))
                self._changed.notify_all()

    async def do(self, command: str, **arguments: Any) -> None:
        """Send a command and wait until the driver has done it."""
        assert self._process.stdin is not None
        done = len(self._answers())
        self._process.stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")
        await self.until(lambda: len(self._answers()) > done, f"{command} to be done")
        answer = self._answers()[done]
        assert answer["type"] == "done", answer["message"]

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            story = "\n".join(json.dumps(report)[:400] for report in self.reports[-30:])
            raise AssertionError(f"waited for {what}; the driver's last reports:\n{story}") from None

    def payloads(self, name: str) -> list[str]:
        """The `$id` of every payload that a subscription's callback was given, in order."""
        return [report["event"]["payload"]["$id"] for report in self._events(name)]

    def last_event(self, name: str) -> dict[str, Any]:
        event: dict[str, Any] = self._events(name)[-1]["event"]
        return event

    @property
    def sockets(self) -> int:
        return sum(report["type"] == "socket" for report in self.reports)

    def frames(self, frame_type: str) -> list[dict[str, Any]]:
        """Frames of the newest socket."""
        return [
            report["frame"]
            for report in self.reports
            if report["type"] == "frame"
            and report["id"] == self.sockets
            and report["frame"]["type"] == frame_type
        ]

    def responses(self, to: str) -> list[dict[str, Any]]:
        return [frame["data"] for frame in self.frames("response") if frame["data"]["to"] == to]

    def channels(self) -> set[str]:
        """The channels that the server has confirmed on the newest socket."""
        named = [channel for frame in self.frames("connected") for channel in frame["data"]["channels"]]
        for response in self.responses("subscribe"):
            named += [channel for item in response["subscriptions"] for channel in item["channels"]]
        return set(named)

    async def subscribed(self, *channels: str) -> None:
        await self.until(lambda: set(channels) <= self.channels(), f"a subscription to {channels}")

    def _events(self, name: str) -> list[dict[str, Any]]:
        return [report for report in self.reports if report["type"] == "event" and report["name"] == name]

    def _answers(self) -> list[dict[str, Any]]:
        return [report for report in self.reports if report["type"] in {"done", "failed"}]


@contextlib.asynccontextmanager
async def driven(package: str) -> AsyncIterator[Driver]:
    process = await asyncio.create_subprocess_exec(
        "node",
        "driver.cjs",
        package,
        cwd=SDK_FOLDER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=2**22,
    )
    driver = Driver(process)
    reading = asyncio.create_task(driver.read())
    try:
        yield driver
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


class Story:
    """What one case goes through."""

    def __init__(self, case: Case, server: "Server", driver: Driver, proxy: "Proxy") -> None:
        self.case = case
        self.server = server
        self.driver = driver
        self.proxy = proxy
        self.user_id = f"u-{case.id}"
        self.session_secret = f"secret-of-{case.id}"

    async def run(self) -> None:
        await self._seed_user()
        await self._connect()
        await self._receive()
        await self._subscribe_again()
        if self.case.has_queries:
            await self._filter()
        await self._unsubscribe()
        await self._ping()
        await self._come_back_signed_in()
        if self.case.sends_jwt:
            await self._connect_with_jwt()

    async def publish_row(self, row_id: str, *, permissions: list[str] = ANYBODY, **columns: str) -> None:
        name = f"databases.main.tables.{self.case.id}.rows.{row_id}.update"
        payload = {"$id": row_id, "$databaseId": "main", "$tableId": self.case.id, **columns}
        await self.server.publish(name, payload, permissions=permissions)

    async def publish_file(self, file_id: str) -> None:
        name = f"buckets.{self.case.id}.files.{file_id}.create"
        await self.server.publish(name, {"$id": file_id, "bucketId": self.case.id}, permissions=ANYBODY)

    async def received(self, name: str, *ids: str) -> None:
        await self.driver.until(
            lambda: self.driver.payloads(name)[-len(ids) :] == list(ids), f"{ids} on {name}"
        )

    async def _seed_user(self) -> None:
        session = Session(
            id="session",
            secret_hash=hash_secret(self.session_secret),
            provider="email",
            expires_at=time.time() + 3600,
        )
        async with self.server.store() as store:
            user = User(id=self.user_id, name="Ann", email=f"{self.user_id}@example.com", sessions=(session,))
            await store.put_user(self.server.project, user)

    async def _connect(self) -> None:
        await self._client("main")
        await self.driver.do(
            "subscribe",
            client="main",
            name="rows",
            channels=[self.case.rows_channel(), "account"],
            queries=[],
        )
        await self.driver.subscribed(self.case.rows_name(), "account")

    async def _client(self, name: str, **options: str) -> None:
        endpoint = f"http://127.0.0.1:{self.proxy.port}/v1"
        await self.driver.do(
            "client",
            name=name,
            endpoint=endpoint,
            project=self.server.project,
            style=self.case.style,
            **options,
        )

    async def _receive(self) -> None:
        await self.publish_row("secret", permissions=[f'read("user:{self.user_id}")'])
        await self.publish_row("first")
        await self.received("rows", "first")
        assert self.driver.payloads("rows") == ["first"], "a guest must not be shown a person's row"
        event = self.driver.last_event("rows")
        assert event["events"][0] == f"databases.main.tables.{self.case.id}.rows.first.update"
        assert self.case.rows_name() in event["channels"]
        assert event["payload"]["$tableId"] == self.case.id
        assert event["timestamp"].endswith("+00:00")

    async def _subscribe_again(self) -> None:
        await self.driver.do(
            "subscribe", client="main", name="files", channels=[self.case.files_channel()], queries=[]
        )
        await self.driver.subscribed(self.case.rows_name(), self.case.files_channel())
        await self.publish_file("image")
        await self.received("files", "image")
        await self.publish_row("second")
        await self.received("rows", "first", "second")
        assert self.driver.payloads("files") == ["image"]

    async def _filter(self) -> None:
        confirmed = self.driver.sockets, len(self.driver.responses("subscribe"))
        await self.driver.do(
            "subscribe",
            client="main",
            name="open",
            channels=[self.case.rows_channel()],
            queries=[["equal", "status", ["open"]]],
        )
        # The channel is not new, so the confirmation is: by a new connection, or by one more response.
        await self.driver.until(
            lambda: (
                (self.driver.sockets, len(self.driver.responses("subscribe"))) > confirmed
                and bool(self.driver.frames("connected"))
                and self.driver.channels() >= {self.case.rows_name(), self.case.files_channel()}
            ),
            "the subscription with a query",
        )
        await self.publish_row("closed", status="closed")
        await self.publish_row("open", status="open")
        await self.received("open", "open")
        await self.received("rows", "closed", "open")
        assert self.driver.payloads("open") == ["open"]

    async def _unsubscribe(self) -> None:
        await self.driver.do("unsubscribe", name="files")
        if not self.case.unsubscribes_silently:
            await self.driver.until(self._is_unsubscribed, "the server to unsubscribe")
        await self.publish_file("unseen")
        await self.publish_row("third")
        await self.driver.until(lambda: self.driver.payloads("rows")[-1] == "third", "the third row")
        assert self.driver.payloads("files") == ["image"]

    def _is_unsubscribed(self) -> bool:
        if self.case.subscribes_by_message:
            answers = self.driver.responses("unsubscribe")
            return any(item["removed"] for answer in answers for item in answer["subscriptions"])
        channels = self.driver.channels()
        return self.case.rows_name() in channels and self.case.files_channel() not in channels

    async def _ping(self) -> None:
        pongs = len(self.driver.frames("pong"))
        if not self.case.pings:
            await self.driver.do("send", message={"type": "ping"})
        await self.driver.until(lambda: len(self.driver.frames("pong")) > pongs, "a pong")

    async def _come_back_signed_in(self) -> None:
        session = encode_session(self.user_id, self.session_secret)
        if self.case.has_session:
            await self.driver.do("session", client="main", value=session)
        else:
            cookies = json.dumps({f"a_session_{self.server.project}": session})
            await self.driver.do("cookie", value=cookies)
        before = self.driver.sockets
        self.proxy.cut()
        await self.driver.until(lambda: self.driver.sockets > before, "another connection")
        await self.driver.subscribed(self.case.rows_name(), "account")
        await self.driver.until(lambda: bool(self.driver.responses("authentication")), "the authentication")
        assert self.driver.responses("authentication")[0]["user"]["$id"] == self.user_id

        await self.publish_row("private", permissions=[f'read("user:{self.user_id}")'])
        await self.driver.until(lambda: self.driver.payloads("rows")[-1] == "private", "the private row")
        await self.server.publish(f"users.{self.user_id}.update", {"$id": self.user_id, "name": "Ann"})
        await self.driver.until(
            lambda: self.driver.payloads("rows")[-1] == self.user_id, "the account's event"
        )

    async def _connect_with_jwt(self) -> None:
        claims = {"userId": self.user_id, "sessionId": "session", "exp": int(time.time()) + 600}
        await self._client("jwt", jwt=jwt.encode(claims, self.server.secret, algorithm="HS256"))
        before = self.driver.sockets
        await self.driver.do(
            "subscribe", client="jwt", name="mine", channels=[self.case.rows_channel()], queries=[]
        )
        await self.driver.until(lambda: self.driver.sockets > before, "a connection of its own")
        await self.driver.subscribed(self.case.rows_name())
        assert self.driver.frames("connected")[0]["data"]["user"]["$id"] == self.user_id
        await self.publish_row("by-jwt", permissions=[f'read("user:{self.user_id}")'])
        await self.received("mine", "by-jwt")


async def tell(case: Case, server: "Server", proxy_to: "ProxyTo") -> None:
    async with proxy_to(server) as proxy, driven(case.package) as driver:
        await Story(case, server, driver, proxy).run()


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
    server: "Server",
    proxy_to: "ProxyTo",
    require: Callable[[bool, str], None],
) -> dict[str, BaseException | None]:
    """Run the stories of all selected cases; how each of them ended."""
    require(shutil.which("node") is not None, "Node.js is missing")
    require(
        (SDK_FOLDER / "node_modules").is_dir(), "the SDKs are not installed (make test-e2e installs them)"
    )
    chosen = {item.name for item in request.session.items if item.path == Path(__file__)}
    selected = {case.id: case for case in CASES if any(name.endswith(f"[{case.id}]") for name in chosen)}

    async def run() -> list[BaseException | None]:
        async with server.store() as store:
            project = await store.get_project(server.project)
            assert project is not None
            app = Platform(
                type="react-native-ios", key="com.example.app", name="The app of the React Native SDK"
            )
            platforms = (*project.platforms, app)
            await store.put_project(msgspec.structs.replace(project, platforms=platforms))
        gate = asyncio.Semaphore(SIDE_BY_SIDE)

        async def one(case: Case) -> None:
            async with gate:
                await tell(case, server, proxy_to)

        return await asyncio.gather(*map(one, selected.values()), return_exceptions=True)

    return dict(zip(selected, asyncio.run(run()), strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_sdk_works_as_its_documentation_shows(case: Case, outcomes: dict[str, BaseException | None]) -> None:
    outcome = outcomes[case.id]
    if outcome is not None:
        raise outcome
