"""What clients say on an open connection, and the answers: wire specification 4 and 13.4, over real sockets.

Texts are checked to the letter, since SDKs and their users match on them. Every refusal but those with code 1008
leaves the connection as it was. Subscriptions have a file of their own.
"""

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest

from realtime.identity.model import GUEST, Identity, Session
from realtime.identity.resolver import Resolver
from realtime.identity.secrets import encode_session, hash_secret

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import RunningHub, Start

pytestmark = pytest.mark.asyncio(loop_scope="module")

POSTS = "databases.main.tables.posts.rows"
A = '{"method":"equal","attribute":"status","values":["a"]}'
FORMAT = "Message format is not valid."
TYPE = "Message type is not valid."
SESSION_LENGTH = "session: Value must be a valid string and at least 1 chars and no longer than 2048 chars"
STATUS_LENGTH = "status: Value must be a valid string and at least 1 chars and no longer than 2048 chars"


@pytest.fixture
def slow_authentication(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Let authentication, which makes anybody a guest, wait until this is set."""
    may_answer = asyncio.Event()

    async def authenticate(*_: object, **__: object) -> Identity:
        await may_answer.wait()
        return GUEST

    monkeypatch.setattr(Resolver, "authenticate", authenticate)
    return may_answer


def error(code: int, message: str) -> dict[str, Any]:
    return {"type": "error", "data": {"code": code, "message": message}}


class TestAnyMessage:
    """4.1."""

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", FORMAT),
            ("hello", FORMAT),
            ('{"type":"ping"', FORMAT),
            ("null", FORMAT),
            ("5", FORMAT),
            ('"ping"', FORMAT),
            ("true", FORMAT),
            ("{}", FORMAT),
            ("[]", FORMAT),
            ('["type"]', FORMAT),
            ('{"kind":"ping"}', FORMAT),
            ('{"data":{}}', TYPE),
            ('{"type":null}', TYPE),
            ('{"type":5}', TYPE),
            ('{"type":["ping"]}', TYPE),
            ('{"type":"Ping"}', TYPE),
            ('{"type":"publish","data":{}}', TYPE),
            ('{"type":"authentication"}', "Payload is not valid. Session is required"),
            ('{"type":"authentication","data":null}', "Payload is not valid. Session is required"),
            ('{"type":"subscribe"}', "Payload is not valid. Items is required"),
            ('{"type":"subscribe","data":null}', "Payload is not valid. Items is required"),
            ('{"type":"unsubscribe"}', "Payload is not valid. Items is required"),
            ('{"type":"presence"}', "Payload is not valid. Status is required"),
            ('{"type":"presence","data":{}}', "Payload is not valid. Status is required"),
        ],
    )
    async def test_malformed_one_is_refused_and_the_connection_stays(
        self, shared: "RunningHub", text: str, reason: str
    ) -> None:
        async with shared.greeted() as client:
            await client.send(text)

            assert await client.receive() == error(1003, reason)
            await client.assert_silent()

    async def test_33rd_in_a_minute_is_refused_and_the_connection_stays(self, shared: "RunningHub") -> None:
        """Every message counts: pings, and those that are refused for something else."""

        async def attempt() -> list[dict[str, Any]]:
            async with shared.greeted() as client:
                answers = []
                for number in range(34):
                    await client.send("garbage" if number % 2 else {"type": "ping"})
                    answers.append(await client.receive())
                return answers

        answers = await shared.in_one_window(attempt)

        assert answers[:32] == [{"type": "pong"}, error(1003, FORMAT)] * 16
        assert answers[32:] == [error(1013, "Too many messages.")] * 2

    async def test_count_is_each_connections_own(self, shared: "RunningHub") -> None:
        async def attempt() -> list[dict[str, Any]]:
            async with shared.greeted() as noisy, shared.greeted() as quiet:
                for _ in range(33):
                    last = await noisy.ask("ping")
                return [last, await quiet.ask("ping")]

        assert await shared.in_one_window(attempt) == [error(1013, "Too many messages."), {"type": "pong"}]

    async def test_limit_is_a_setting(self, start_hub: "Start") -> None:
        async with start_hub(limits="off") as hub, hub.greeted() as client:
            for _ in range(100):
                assert await client.ask("ping") == {"type": "pong"}

    @pytest.mark.parametrize(
        "text", ['{"type":"ping"}', '{"type":"ping","data":{"x":1}}', ' {"type" : "ping"}\n']
    )
    @pytest.mark.parametrize("project", ["", "console"])
    async def test_ping_is_answered_with_pong_and_nothing_else(
        self, shared: "RunningHub", project: str, text: str
    ) -> None:
        """4.5 and 3.5."""
        async with shared.greeted(project) as client:
            await client.socket.send(text)

            assert await client.socket.recv() == '{"type":"pong"}'

    async def test_binary_frame_is_read_like_a_text_frame(self, shared: "RunningHub") -> None:
        async with shared.greeted() as client:
            await client.send(b'{"type":"ping"}')

            assert await client.receive() == {"type": "pong"}


class TestOrder:
    """4.1: messages of a connection are answered in their order, since SDKs do not wait in between."""

    async def test_pipelined_authentication_decides_for_the_subscribe_behind_it(
        self, shared: "RunningHub"
    ) -> None:
        session = await shared.add_user("ada")

        async with shared.greeted() as client:
            await client.send({"type": "authentication", "data": {"session": session}})
            await client.send({"type": "subscribe", "data": [{"channels": ["account"]}]})

            assert (await client.receive())["data"]["to"] == "authentication"
            subscribed = (await client.receive())["data"]
            await client.assert_silent()

        assert subscribed["subscriptions"][0]["channels"] == ["account", "account.ada"]

    async def test_messages_sent_before_the_greeting_are_answered_after_it(
        self, shared: "RunningHub"
    ) -> None:
        session = await shared.add_user("ada")

        async with shared.connect() as client:
            await client.send({"type": "authentication", "data": {"session": session}})
            await client.send({"type": "subscribe", "data": [{"channels": ["rows"]}]})
            frames = [await client.receive() for _ in range(3)]

        kinds = [frame["data"].get("to", frame["type"]) for frame in frames]
        assert kinds == ["connected", "authentication", "subscribe"]

    async def test_no_message_is_lost_when_many_wait(self, shared: "RunningHub") -> None:
        """Behind an authentication the hub stops reading for a while."""
        session = await shared.add_user("ada")

        async def attempt() -> list[str]:
            async with shared.connect() as client:
                await client.send({"type": "authentication", "data": {"session": session}})
                for number in range(31):
                    await client.send({"type": "unsubscribe", "data": [{"subscriptionId": str(number)}]})
                frames = [(await client.receive())["data"] for _ in range(33)]
            return [frame["subscriptions"][0]["subscriptionId"] for frame in frames[2:]]

        assert await shared.in_one_window(attempt) == [str(number) for number in range(31)]

    async def test_ping_is_answered_while_others_wait(
        self, shared: "RunningHub", slow_authentication: asyncio.Event
    ) -> None:
        async with shared.greeted() as client:
            await client.send({"type": "authentication", "data": {"session": "s"}})
            await client.send({"type": "subscribe", "data": [{"channels": ["ping"]}]})
            await client.send("ping")
            await client.send({"type": "ping"})

            assert await client.receive() == {"type": "pong"}
            slow_authentication.set()
            answers = [await client.receive() for _ in range(3)]

        assert [answer["data"].get("to", answer["data"].get("message")) for answer in answers] == [
            *("authentication", "subscribe", FORMAT)
        ]

    async def test_message_counts_in_the_minute_when_it_came_in(
        self,
        shared: "RunningHub",
        slow_authentication: asyncio.Event,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        minutes = itertools.count(1000)
        now = 60.0 * next(minutes)
        monkeypatch.setattr(shared.hub._conversation, "_clock", lambda: now)
        async with shared.greeted() as client:
            (connection,) = shared.hub.registry.rooms[shared.project].connections
            await client.send({"type": "authentication", "data": {"session": "s"}})
            for _ in range(10):
                await client.send({"type": "unsubscribe", "data": [{"subscriptionId": "x"}]})
            await shared.until(lambda: len(connection.inbox or ()) == 10)
            now = 60.0 * next(minutes)
            slow_authentication.set()
            for _ in range(11):
                assert (await client.receive())["type"] == "response"
            assert [await client.ask("ping") for _ in range(33)] == [
                *[{"type": "pong"}] * 32,
                error(1013, "Too many messages."),
            ]

    async def test_excess_is_refused_in_its_turn(
        self, shared: "RunningHub", slow_authentication: asyncio.Event
    ) -> None:
        async def attempt() -> list[str]:
            async with shared.greeted() as client:
                for _ in range(31):
                    await client.ask("ping")
                await client.send({"type": "authentication", "data": {"session": "s"}})
                await client.send({"type": "ping"})
                slow_authentication.set()
                return [(await client.receive())["type"] for _ in range(2)]

        assert await shared.in_one_window(attempt) == ["response", "error"]

    async def test_client_whose_messages_wait_is_not_taken_for_silent(
        self, shared: "RunningHub", slow_authentication: asyncio.Event
    ) -> None:
        """The hub does not read its pongs, since it does not read at all."""
        async with shared.greeted() as client:
            (connection,) = shared.hub.registry.rooms[shared.project].connections
            await client.send({"type": "authentication", "data": {"session": "s"}})
            for _ in range(20):
                await client.send({"type": "unsubscribe", "data": [{"subscriptionId": "x"}]})
            await shared.until(lambda: connection.is_paused)
            for _ in range(3 * shared.hub.settings.heartbeat_interval_s):
                shared.hub._beat()
            assert not connection.closed
            slow_authentication.set()
            for _ in range(21):
                assert (await client.receive())["type"] == "response"
            assert not connection.is_paused
            await shared.until(lambda: not connection.awaits_pong)

    async def test_messages_of_a_refused_connection_are_not_answered(self, shared: "RunningHub") -> None:
        async with shared.connect("nobody") as client:
            await client.send({"type": "ping"})

            assert (await client.refused()).close_code == 1008


class TestAuthentication:
    """4.2, 5.3 and 16.7."""

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            ({}, "Payload is not valid. Session is required"),
            ({"session": None}, "Payload is not valid. Session is required"),
            ({"session": ""}, SESSION_LENGTH),
            ({"session": 5}, SESSION_LENGTH),
            ({"session": "x" * 2049}, SESSION_LENGTH),
            ({"session": "x" * 2048}, "Session is not valid."),
            ({"session": "garbage"}, "Session is not valid."),
            ({"session": encode_session("nobody", "secret")}, "Session is not valid."),
            ({"session": encode_session("ada", "wrong")}, "Session is not valid."),
            ({"session": encode_session("ada", "ended")}, "Session is not valid."),
            ({"session": encode_session("eve", "secret-of-eve")}, "Session is not valid."),
            ({"jwt": "garbage"}, "Failed to verify JWT. Invalid token: Incomplete segments"),
            ({"jwt": ""}, SESSION_LENGTH.replace("session", "jwt").replace("2048", "4096")),
            ({"key": "unknown"}, "The API key is unknown or has expired."),
            ({"key": ["k1"]}, SESSION_LENGTH.replace("session", "key").replace("2048", "4096")),
            ([], "Payload is not valid. Session is required"),
            ("text", "Payload is not valid. Session is required"),
        ],
    )
    async def test_failure_is_told_and_changes_nothing(
        self, shared: "RunningHub", data: object, reason: str
    ) -> None:
        ended = Session("old", hash_secret("ended"), "email", time.time() - 1)
        await shared.add_user("ada", sessions=(ended,))
        await shared.add_user("eve", active=False)

        async with shared.greeted(jwt=shared.token("bob")) as client:
            await client.subscribe("rows")
            assert await client.ask("authentication", data) == error(1003, reason)
            await shared.deliver(f"{POSTS}.1.create", {"$id": "1"}, roles=["user:bob"])

            assert (await client.receive_event())["subscriptions"] == ["s"]

    async def test_success_is_answered_with_the_account(self, shared: "RunningHub") -> None:
        session = await shared.add_user("ada", name="Ada")

        async with shared.greeted() as client:
            frame = await client.ask("authentication", {"session": session, "extra": 1})

        assert list(frame["data"]) == ["to", "success", "user"]
        assert frame["data"]["to"] == "authentication"
        assert frame["data"]["success"] is True
        assert (frame["data"]["user"]["$id"], frame["data"]["user"]["name"]) == ("ada", "Ada")

    async def test_roles_are_replaced_and_subscriptions_stay(self, shared: "RunningHub") -> None:
        session = await shared.add_user("ada")

        async with shared.greeted(jwt=shared.token("bob", teams=["red"])) as client:
            await client.subscribe("rows", queries=[A])
            await client.ask("authentication", {"session": session})
            for role, status in (("user:bob", "a"), ("team:red", "a"), ("user:ada", "b"), ("user:ada", "a")):
                payload = {"role": role, "status": status}
                await shared.deliver(f"{POSTS}.1.update", payload, roles=[role])
            frames = await client.receive_waiting()

        assert [(frame["data"]["payload"]["role"], frame["data"]["subscriptions"]) for frame in frames] == [
            ("user:ada", ["s"])
        ]

    async def test_account_channels_of_a_guest_become_the_users(self, shared: "RunningHub") -> None:
        session = await shared.add_user("ada")

        async with shared.greeted() as client:
            await client.subscribe("account", id="all")
            await client.subscribe("account.update", id="updates")
            await client.ask("authentication", {"session": session})
            await shared.deliver("users.ada.update.name", {"$id": "ada"})
            updated = await client.receive_event()
            await shared.deliver("users.ada.sessions.s1.create", {"$id": "s1"})
            signed_in = await client.receive_event()
            await shared.deliver("users.bob.update.name", {"$id": "bob"})
            await client.assert_silent()

        assert sorted(updated["subscriptions"]) == ["all", "updates"]
        assert signed_in["subscriptions"] == ["all"]

    async def test_account_channels_follow_to_another_user(self, shared: "RunningHub") -> None:
        session = await shared.add_user("ada")

        async with shared.greeted(jwt=shared.token("bob")) as client:
            await client.subscribe("account.update")
            await client.ask("authentication", {"session": session})
            await shared.deliver("users.bob.update.name", {"$id": "bob"})
            await shared.deliver("users.ada.update.name", {"$id": "ada"})

            assert (await client.receive_event())["payload"] == {"$id": "ada"}
            assert (await client.subscribe("account", id="t"))["subscriptions"] == [
                {"subscriptionId": "t", "channels": ["account", "account.ada"], "queries": []}
            ]

    async def test_token_is_accepted(self, shared: "RunningHub") -> None:
        async with shared.greeted() as client:
            frame = await client.ask("authentication", {"jwt": shared.token("bob", name="Bob")})

        assert (frame["data"]["user"]["$id"], frame["data"]["user"]["name"]) == ("bob", "Bob")

    async def test_token_of_a_user_who_is_gone_is_refused(self, shared: "RunningHub") -> None:
        async with shared.greeted() as client:
            answer = await client.ask("authentication", {"jwt": shared.sign({"userId": "nobody"})})

        assert answer == error(1003, "Session is not valid.")

    async def test_key_is_accepted_and_has_no_user(self, shared: "RunningHub") -> None:
        await shared.add_key("k1", "*")

        async with shared.greeted() as client:
            frame = await client.ask("authentication", {"key": "k1"})
            await client.subscribe("rows")
            await shared.deliver(f"{POSTS}.1.create", {"$id": "1"}, roles=["user:nobody"])
            event = await client.receive_event()

        assert frame["data"] == {"to": "authentication", "success": True, "user": None}
        assert event["payload"] == {"$id": "1"}

    async def test_session_outranks_token_and_key(self, shared: "RunningHub") -> None:
        session = await shared.add_user("ada")

        async with shared.greeted() as client:
            data = {"key": "unknown", "jwt": "garbage", "session": session}
            frame = await client.ask("authentication", data)

        assert frame["data"]["user"]["$id"] == "ada"


class TestPresence:
    """13.4: how a message is judged. What becomes of a presence is in test_presences.py."""

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            ({"status": ""}, STATUS_LENGTH),
            ({"status": 5}, STATUS_LENGTH),
            ({"status": "x" * 2049}, STATUS_LENGTH),
            ({"status": "on", "presenceId": "_x"}, "presenceId: Value is not a valid id."),
            ({"status": "on", "permissions": "any"}, "permissions: Permissions must be an array of strings."),
            ({"status": "on", "permissions": [5]}, "permissions: Every permission must be of type string."),
        ],
    )
    async def test_user_is_told_why_not(self, shared: "RunningHub", data: object, reason: str) -> None:
        async with shared.greeted(jwt=shared.token("ada")) as client:
            assert await client.ask("presence", data) == error(1003, reason)
            await client.assert_silent()

    async def test_guest_is_refused_and_the_connection_stays(self, shared: "RunningHub") -> None:
        async with shared.greeted() as client:
            assert await client.ask("presence", {"status": "on"}) == error(401, "User must be authorized")
            await client.assert_silent()

    async def test_console_is_refused_and_closes(self, shared: "RunningHub") -> None:
        async with shared.greeted("console") as client:
            await client.send({"type": "presence", "data": {"status": "on"}})

            assert await client.refused() == (1008, "Presence requires a project context.", 1008)
