"""Which connections open: wire specification 2.1, 2.2, 2.5 and 2.6, over real sockets.

Each row of the specification's tables is a row here: what a client presents, and the ``connected`` frame or the
``error`` frame and close code that come of it. Who a connection acts as, and what it subscribes to by its URL, is in
the files beside this one.
"""

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest

from realtime.bus.keys import project_key
from realtime.identity.model import DevKey, Platform
from realtime.identity.secrets import hash_secret

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import Refusal, RunningHub, Start

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNKNOWN_PROJECT = (1008, "Missing or unknown project ID", 1008)
SWITCHED_OFF = (
    403,
    "The requested API is disabled. You can enable the API from the Appwrite console.",
    1008,
)
OTHER_REGION = (
    401,
    "Project is not accessible in this region. Please make sure you are using the correct endpoint",
    1008,
)
TOO_MANY = (1013, "Too many requests", 1013)

ANDROID = Platform(type="flutter-android", key="com.example.app")
NO_PLATFORM: tuple[Platform, ...] = ()

ADDRESSES = (f"203.0.113.{number}" for number in itertools.count(1))
"""Of clients behind a proxy: a new one for each attempt, so that none has used up its connections."""


async def no_connections(hub: "RunningHub") -> None:
    """Wait until the hub has noticed that every client has left."""
    await hub.until(lambda: hub.hub.registry.connection_count == 0)


def web(*hostnames: str) -> tuple[Platform, ...]:
    return tuple(Platform(type="web", hostname=hostname) for hostname in hostnames)


def unregistered(host: str, platform: str) -> str:
    return (
        f"Invalid Origin. Register your new client ({host}) as a new {platform} platform "
        "on your project console dashboard"
    )


def unsupported(scheme: str, origin: str) -> str:
    return (
        f"Invalid Scheme. The scheme used ({scheme}) in the Origin ({origin}) is not supported. If you are using a "
        "custom scheme, please change it to `appwrite-callback-<PROJECT_ID>`"
    )


class TestPath:
    @pytest.mark.parametrize("path", ["/v1/realtime", "/v1/realtime/"])
    async def test_path_with_or_without_slash_is_accepted(self, shared: "RunningHub", path: str) -> None:
        assert (await shared.greeting(path=path))["channels"] == []


class TestProject:
    """2.1 and 2.2, step 1."""

    async def test_header_names_it(self, shared: "RunningHub") -> None:
        token = shared.token("ada", project=shared.project)

        headers = {"X-Appwrite-Project": shared.project}
        assert await shared.user_of(None, headers=headers, jwt=token) == "ada"

    async def test_header_wins_over_the_url(self, shared: "RunningHub") -> None:
        assert await shared.refusal(headers={"X-Appwrite-Project": "nobody"}) == UNKNOWN_PROJECT
        assert await shared.greeting("nobody", headers={"X-Appwrite-Project": shared.project})

    async def test_unknown_one_is_refused(self, shared: "RunningHub") -> None:
        assert await shared.refusal("nobody") == UNKNOWN_PROJECT

    @pytest.mark.parametrize("project", ["a b", "../x", "{b1}", "*", "ü", "x" * 300])
    async def test_what_is_no_id_is_unknown(self, shared: "RunningHub", project: str) -> None:
        assert await shared.refusal(project) == UNKNOWN_PROJECT

    async def test_last_of_several_in_the_url_wins(self, shared: "RunningHub") -> None:
        assert await shared.greeting(None, query=f"project=nobody&project={shared.project}")

    @pytest.mark.parametrize(
        "options",
        [{}, {"query": "project="}, {"query": "project=console"}, {"query": "project[]=nobody"}],
        ids=["absent", "empty", "by name", "not a text"],
    )
    async def test_none_is_the_console(self, shared: "RunningHub", options: dict[str, Any]) -> None:
        """There is no error for a project that is missing; a value that is no text counts as absent."""
        token = shared.token("ada", project="console")

        assert await shared.user_of(None, jwt=token, **options) == "ada"

    async def test_record_that_cannot_be_decoded_is_a_server_error(self, shared: "RunningHub") -> None:
        await shared.hub.redis.set(project_key("broken"), b"no JSON")

        assert await shared.refusal("broken") == (500, "Error: Server Error", 1011)

    async def test_store_that_fails_asks_to_come_back(self, shared: "RunningHub") -> None:
        await shared.hub.redis.delete(project_key("failing"))
        await shared.hub.redis.rpush(project_key("failing"), "not a string")

        assert await shared.refusal("failing") == (
            503,
            "The server cannot reach its store. Try again.",
            1013,
        )


class TestProjectSwitches:
    """2.2, steps 3 and 4."""

    async def test_websocket_switched_off_refuses_people(self, shared: "RunningHub") -> None:
        await shared.put_project(websocket_enabled=False)
        session = await shared.add_user("ada")

        assert await shared.refusal() == SWITCHED_OFF
        assert await shared.refusal(headers={"X-Appwrite-Session": session}) == SWITCHED_OFF

    async def test_websocket_switched_off_lets_keys_in(self, shared: "RunningHub") -> None:
        await shared.put_project(websocket_enabled=False)
        await shared.add_key("k1", "rows.read")

        assert await shared.greeting(headers={"X-Appwrite-Key": "k1"})

    async def test_other_region_is_refused(self, shared: "RunningHub") -> None:
        await shared.put_project(region="fra")

        assert await shared.refusal() == OTHER_REGION

    @pytest.mark.parametrize("region", ["", "default"])
    async def test_own_region_or_none_is_accepted(self, shared: "RunningHub", region: str) -> None:
        await shared.put_project(region=region)

        assert await shared.greeting()


class TestRate:
    """2.2, step 5, and the limits on how many connections there are at one time."""

    async def test_129th_connection_of_an_address_in_a_minute_is_refused(self, start_hub: "Start") -> None:
        async with start_hub() as hub:

            async def attempt() -> "Refusal":
                headers = {"X-Forwarded-For": next(ADDRESSES)}
                await asyncio.gather(*(hub.greeting(headers=headers) for _ in range(128)))
                refused = await hub.refusal(headers=headers)
                assert await hub.greeting(headers={"X-Forwarded-For": next(ADDRESSES)})
                return refused

            assert await hub.in_one_window(attempt) == TOO_MANY

    async def test_connections_over_the_limit_of_the_process_are_refused(self, start_hub: "Start") -> None:
        async with start_hub(max_connections=1) as hub:
            async with hub.greeted():
                assert await hub.refusal() == TOO_MANY
            await no_connections(hub)
            assert await hub.greeting()

    async def test_connections_over_the_limit_of_a_project_are_refused(self, start_hub: "Start") -> None:
        async with start_hub(max_project_connections=1) as hub:
            async with hub.greeted():
                assert await hub.refusal() == (1013, "Too many connections to this project", 1013)
                assert await hub.greeting("console")
            await no_connections(hub)
            assert await hub.greeting()


class TestOrigin:
    """2.6."""

    @pytest.mark.parametrize(
        ("platforms", "origin"),
        [
            (NO_PLATFORM, ""),
            (NO_PLATFORM, "http://localhost"),
            (NO_PLATFORM, "https://localhost:3000"),
            (NO_PLATFORM, "http://127.0.0.1:5173"),
            (NO_PLATFORM, "http://[::1]:5173"),
            (NO_PLATFORM, "exp://192.168.0.1"),
            (NO_PLATFORM, "appwrite-callback-{project}://x"),
            (web("app.example.com"), "https://app.example.com"),
            (web("app.example.com"), "https://APP.example.com:8443"),
            (web("app.example.com"), "chrome-extension://app.example.com"),
            (web("app.example.com"), "tauri://app.example.com"),
            (web("*.example.com"), "https://a.b.example.com"),
            (web("*"), "https://anything.test"),
            ((ANDROID,), "https://com.example.app"),
            ((ANDROID,), "appwrite-android://com.example.app"),
            ((Platform(type="scheme", key="myapp"),), "myapp://anything"),
        ],
    )
    async def test_registered_one_is_accepted(
        self, shared: "RunningHub", platforms: tuple[Platform, ...], origin: str
    ) -> None:
        await shared.put_project(platforms=platforms)

        assert await shared.greeting(headers={"Origin": origin.format(project=shared.project)})

    @pytest.mark.parametrize(
        ("platforms", "origin", "text"),
        [
            (NO_PLATFORM, "https://appwrite.unknown", unregistered("appwrite.unknown", "Web")),
            (NO_PLATFORM, "http://appwrite.unknown:81", unregistered("appwrite.unknown", "Web")),
            (web("*.example.com"), "https://example.com", unregistered("example.com", "Web")),
            (web("example.com"), "https://a.example.com", unregistered("a.example.com", "Web")),
            (web("example.com"), "https://", unregistered("", "Web")),
            (NO_PLATFORM, "chrome-extension://abc", unregistered("abc", "Web (Chrome Extension)")),
            (NO_PLATFORM, "moz-extension://abc", unregistered("abc", "Web (Firefox Extension)")),
            (NO_PLATFORM, "safari-web-extension://abc", unregistered("abc", "Web (Safari Extension)")),
            (NO_PLATFORM, "ms-browser-extension://abc", unregistered("abc", "Web (Edge Extension)")),
            (NO_PLATFORM, "appwrite-ios://com.x", unregistered("com.x", "iOS")),
            (NO_PLATFORM, "appwrite-macos://com.x", unregistered("com.x", "macOS")),
            (NO_PLATFORM, "appwrite-watchos://com.x", unregistered("com.x", "watchOS")),
            (NO_PLATFORM, "appwrite-tvos://com.x", unregistered("com.x", "tvOS")),
            (NO_PLATFORM, "appwrite-android://com.x", unregistered("com.x", "Android")),
            (NO_PLATFORM, "appwrite-windows://com.x", unregistered("com.x", "Windows")),
            (NO_PLATFORM, "appwrite-linux://com.x", unregistered("com.x", "Linux")),
            (NO_PLATFORM, "myapp://anything", unsupported("myapp", "myapp://anything")),
            (
                NO_PLATFORM,
                "appwrite-callback-x://a",
                unsupported("appwrite-callback-x", "appwrite-callback-x://a"),
            ),
            (NO_PLATFORM, "null", "Invalid Origin."),
        ],
    )
    async def test_other_one_is_refused(
        self, shared: "RunningHub", platforms: tuple[Platform, ...], origin: str, text: str
    ) -> None:
        await shared.put_project(platforms=platforms)

        assert await shared.refusal(headers={"Origin": origin}) == (1008, text, 1008)

    async def test_console_accepts_any(self, shared: "RunningHub") -> None:
        assert await shared.greeting("console", headers={"Origin": "https://appwrite.unknown"})

    async def test_dev_key_accepts_any_url(self, shared: "RunningHub") -> None:
        """2.5: in the header or in the URL."""
        await shared.put_project(dev_keys=(DevKey("d", hash_secret("dev")),))
        origin = {"Origin": "https://appwrite.unknown"}

        assert await shared.greeting(headers=origin | {"X-Appwrite-Dev-Key": "dev"})
        assert await shared.greeting(headers=origin, devKey="dev")
        assert await shared.greeting(headers=origin | {"X-Appwrite-Dev-Key": "dev"}, devKey="wrong")

    async def test_dev_key_does_not_accept_what_is_no_url(self, shared: "RunningHub") -> None:
        await shared.put_project(dev_keys=(DevKey("d", hash_secret("dev")),))

        assert await shared.refusal(headers={"Origin": "null"}, devKey="dev") == (
            1008,
            "Value must be a valid URL",
            1008,
        )

    @pytest.mark.parametrize("secret", ["wrong", "ended"])
    async def test_invalid_dev_key_changes_nothing(self, shared: "RunningHub", secret: str) -> None:
        ended = DevKey("e", hash_secret("ended"), time.time() - 1)
        await shared.put_project(dev_keys=(DevKey("d", hash_secret("dev")), ended))

        refused = await shared.refusal(headers={"Origin": "https://appwrite.unknown"}, devKey=secret)

        assert refused == (1008, unregistered("appwrite.unknown", "Web"), 1008)


class TestOrderOfChecks:
    """2.2: of two reasons to refuse, the client is told the earlier one."""

    ORIGIN = {"Origin": "https://appwrite.unknown"}  # noqa: RUF012 - a constant
    BAD_QUERY = "channels[]=rows&rows=5"

    async def test_project_before_user(self, shared: "RunningHub") -> None:
        assert await shared.refusal("nobody", jwt="garbage") == UNKNOWN_PROJECT

    async def test_user_before_switch(self, shared: "RunningHub") -> None:
        await shared.put_project(websocket_enabled=False)

        assert (await shared.refusal(jwt="garbage")).message.startswith("Failed to verify JWT.")

    async def test_switch_before_region(self, shared: "RunningHub") -> None:
        await shared.put_project(websocket_enabled=False, region="fra")

        assert await shared.refusal() == SWITCHED_OFF

    async def test_region_before_origin(self, shared: "RunningHub") -> None:
        await shared.put_project(region="fra")

        assert await shared.refusal(headers=self.ORIGIN) == OTHER_REGION

    async def test_rate_before_origin(self, start_hub: "Start") -> None:
        async with start_hub(connections_per_minute=1) as hub:

            async def attempt() -> list["Refusal"]:
                headers = self.ORIGIN | {"X-Forwarded-For": next(ADDRESSES)}
                return [await hub.refusal(headers=headers) for _ in range(2)]

            first, second = await hub.in_one_window(attempt)

        assert first.message == unregistered("appwrite.unknown", "Web")
        assert second == TOO_MANY

    async def test_origin_before_queries(self, shared: "RunningHub") -> None:
        refused = await shared.refusal(headers=self.ORIGIN, query=self.BAD_QUERY)

        assert refused.message == unregistered("appwrite.unknown", "Web")
