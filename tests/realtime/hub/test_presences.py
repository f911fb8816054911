"""Presences that connections set: wire specification 13.4 and 13.5, over real sockets."""

import asyncio
import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from realtime.client import RealtimeClient
from realtime.errors import CloseCode
from realtime.presences.model import Draft, default_permissions

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import Client, RunningHub

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANYBODY = ['read("any")']
STATUS_LENGTH = "Value must be a valid string and at least 1 chars and no longer than 255 chars"
FAR = "2999-01-01T00:00:00.000+00:00"


async def set_presence(client: "Client", **data: Any) -> dict[str, Any]:
    """Set a presence and return it as the response shows it; events that come before it are dropped."""
    await client.send({"type": "presence", "data": {"status": "on"} | data})
    while (frame := await client.receive())["type"] == "event":
        pass
    assert frame["type"] == "response", frame
    assert list(frame["data"]) == ["to", "presence"]
    assert frame["data"]["to"] == "presence"
    presence: dict[str, Any] = frame["data"]["presence"]
    return presence


async def refusal(client: "Client", **data: Any) -> tuple[int, str]:
    frame = await client.ask("presence", {"status": "on"} | data)
    assert frame["type"] == "error", frame
    return frame["data"]["code"], frame["data"]["message"]


async def refusal_or_none(client: "Client") -> int | None:
    """Set a presence; return with which code that is refused, None if it is not."""
    frame = await client.ask("presence", {"status": "on"})
    code: int | None = frame["data"].get("code")
    return code


async def logged(hub: "RunningHub") -> list[str]:
    """Return the first name of every event of the project."""
    page = await hub.hub.bus.read_page(hub.project, "0-0")
    return [json.loads(message)["data"]["events"][0] for _, message in page.events]


async def until_logged(hub: "RunningHub", name: str) -> list[str]:
    """Wait for an event; return the first names of all that there are by then."""
    async with asyncio.timeout(10):
        while True:
            names = await logged(hub)
            if name in names:
                return names


async def present(hub: "RunningHub") -> dict[str, str]:
    """Return the status of every presence, by user."""
    pages = [page async for page in hub.hub.presences.pages(hub.project)]
    return {each.user_id: each.status for page in pages for each in page}


class TestSwitchedOff:
    async def test_is_refused_and_the_connection_goes_on(self, shared: "RunningHub") -> None:
        record = await shared.hub.store.get_project(shared.project)
        assert record is not None
        closed = msgspec.structs.replace(record, disabled_services=("presences",))
        async with shared.greeted(jwt=shared.token("ada")) as ada:
            await shared.hub.store.put_project(closed)
            try:
                while (await refusal_or_none(ada)) != 403:
                    pass
            finally:
                await shared.hub.store.put_project(record)
            while (await refusal_or_none(ada)) is not None:
                pass


class TestSetting:
    async def test_response_shows_it_and_watchers_are_told(self, shared: "RunningHub") -> None:
        async with shared.greeted(jwt=shared.token("ada")) as ada, shared.greeted() as watcher:
            await watcher.subscribe("presences")
            began = time.time()
            shown = await set_presence(ada, presenceId="p1", metadata={"page": [1, {}]}, permissions=ANYBODY)
            told = await watcher.receive_event()

        assert list(shown) == [
            "$id", "$createdAt", "$updatedAt", "$permissions", "userId", "status", "source", "expiresAt", "metadata",
            "$sequence",
        ]  # fmt: skip
        assert (shown["$id"], shown["userId"], shown["status"]) == ("p1", "ada", "on")
        assert (shown["source"], shown["metadata"]) == ("realtime", {"page": [1, {}]})
        assert shown["$permissions"] == ANYBODY
        assert _unix(shown["expiresAt"]) == pytest.approx(began + 30 * 86_400, abs=5)
        assert shown["$createdAt"] == shown["$updatedAt"]
        assert told["events"][0] == "presences.p1.upsert"
        assert told["channels"] == ["presences", "presences.p1", "presences.upsert", "presences.p1.upsert"]
        assert told["payload"] == {key: value for key, value in shown.items() if key != "$sequence"}

    async def test_permissions_are_the_users_own_unless_given(self, shared: "RunningHub") -> None:
        async with shared.greeted(jwt=shared.token("ada")) as ada:
            shown = await set_presence(ada)
            wider = await set_presence(ada, permissions=['read("users")', 'write("user:ada")'])

        assert shown["$permissions"] == ['read("user:ada")', 'update("user:ada")', 'delete("user:ada")']
        assert wider["$permissions"] == ['read("users")', 'update("user:ada")', 'delete("user:ada")']

    async def test_id_is_made_if_none_is_given_and_kept(self, shared: "RunningHub") -> None:
        async with shared.greeted(jwt=shared.token("ada")) as ada:
            first = await set_presence(ada)
            second = await set_presence(ada, presenceId="other", status="away")

        assert len(first["$id"]) == 20
        assert (second["$id"], second["status"]) == (first["$id"], "away")

    async def test_any_json_value_may_be_metadata(self, shared: "RunningHub") -> None:
        """It is not validated; null counts as none."""
        async with shared.greeted(jwt=shared.token("ada")) as ada:
            for metadata in ([1], "x", 5, False):
                assert (await set_presence(ada, metadata=metadata))["metadata"] == metadata
            assert (await set_presence(ada, metadata=None))["metadata"] == {}

    async def test_stored_user_sets_one_too(self, shared: "RunningHub") -> None:
        session = await shared.add_user("eve")
        async with shared.greeted(headers={"x-appwrite-session": session}) as eve:
            assert (await set_presence(eve))["userId"] == "eve"


class TestRefusals:
    async def test_role_of_others_is_refused_with_those_held(self, shared: "RunningHub") -> None:
        async with shared.greeted(jwt=shared.token("ada")) as ada:
            code, message = await refusal(ada, permissions=['read("team:red")'])
            await ada.assert_silent()

        assert code == 401
        assert message == (
            "Permissions must be one of: (any, user:ada, user:ada/unverified, users, users/unverified)"
        )

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (
                {"status": "x" * 256},
                f'Attribute "status" has invalid format. {STATUS_LENGTH}',
            ),
            (
                {"metadata": {"x": "y" * 10_000}},
                'Attribute "metadata" has invalid format. Value must be at most 8192 bytes of JSON',
            ),
            (
                {"metadata": json.loads("[" * 33 + "]" * 33)},
                'Attribute "metadata" has invalid format. Value must have at most 32 levels',
            ),
        ],
    )
    async def test_what_cannot_be_kept_is_refused(
        self, shared: "RunningHub", data: dict[str, Any], text: str
    ) -> None:
        async with shared.greeted(jwt=shared.token("ada")) as ada:
            assert await refusal(ada, **data) == (400, f"Invalid document structure: {text}")
            await ada.assert_silent()
            assert await logged(shared) == []

    async def test_creating_is_no_permission_of_a_presence(self, shared: "RunningHub") -> None:
        async with shared.greeted(jwt=shared.token("ada")) as ada:
            code, message = await refusal(ada, permissions=['create("any")'])

        assert code == 1003
        assert message.startswith('permissions: Permission "create" is not allowed.')

    async def test_id_of_somebody_else_is_refused(self, shared: "RunningHub") -> None:
        async with (
            shared.greeted(jwt=shared.token("ada")) as ada,
            shared.greeted(jwt=shared.token("bob")) as bob,
        ):
            await set_presence(ada, presenceId="p1")
            code, message = await refusal(bob, presenceId="p1")
            await bob.assert_silent()

        assert code == 409
        assert message.startswith("Presence with the requested ID 'p1' already exists.")
        await until_logged(shared, "presences.p1.delete")

    async def test_user_who_is_gone_is_refused(self, shared: "RunningHub", monkeypatch: Any) -> None:
        session = await shared.add_user("eve")
        async with shared.greeted(headers={"x-appwrite-session": session}) as eve:

            async def get_user(*_: object) -> None:
                """Answer as if the user had been deleted, before the connection hears of it."""

            monkeypatch.setattr(shared.hub.store, "get_user", get_user)
            assert await refusal(eve) == (404, "User with the requested ID could not be found.")
            await eve.assert_silent()

    async def test_api_key_is_no_user(self, shared: "RunningHub") -> None:
        await shared.add_key("server", "*")
        async with shared.greeted(headers={"x-appwrite-key": "server"}) as server:
            assert await refusal(server) == (401, "User must be authorized")


class TestClosing:
    async def test_watchers_are_told_that_somebody_left(self, shared: "RunningHub") -> None:
        async with shared.greeted() as watcher:
            await watcher.subscribe("presences")
            async with shared.greeted(jwt=shared.token("ada")) as ada:
                shown = await set_presence(ada, presenceId="p1", permissions=ANYBODY)
                await watcher.receive_event()
            told = await watcher.receive_event()

        assert told["events"][0] == "presences.p1.delete"
        assert told["payload"] == {key: value for key, value in shown.items() if key != "$sequence"}
        assert await present(shared) == {}

    async def test_last_tab_takes_it_along(self, shared: "RunningHub") -> None:
        async with shared.greeted(jwt=shared.token("ada")) as first:
            await set_presence(first, presenceId="p1")
            async with shared.greeted(jwt=shared.token("ada")) as second:
                await set_presence(second, presenceId="p2", status="here")
            await shared.until(lambda: len(shared.hub.holdings) == 1)
            await shared.hub.holdings.flush(5)
            assert await present(shared) == {"ada": "here"}

        names = await until_logged(shared, "presences.p1.delete")
        assert names == ["presences.p1.upsert"] * 2 + ["presences.p1.delete"]

    async def test_first_tab_may_go_first(self, shared: "RunningHub") -> None:
        async with shared.greeted(jwt=shared.token("ada")) as second:
            async with shared.greeted(jwt=shared.token("ada")) as first:
                await set_presence(first, presenceId="p1")
                await set_presence(second, presenceId="p1", status="here")
            await shared.until(lambda: len(shared.hub.holdings) == 1)
            await shared.hub.holdings.flush(5)
            assert await present(shared) == {"ada": "here"}

        assert (await until_logged(shared, "presences.p1.delete")).count("presences.p1.delete") == 1

    async def test_deleted_before_is_told_once(self, shared: "RunningHub") -> None:
        async with shared.greeted(jwt=shared.token("ada")) as ada:
            await set_presence(ada, presenceId="p1")
            assert await shared.hub.presences.delete(shared.project, "p1")
        await shared.until(lambda: not len(shared.hub.holdings))
        await shared.hub.holdings.flush(5)

        assert await logged(shared) == ["presences.p1.upsert", "presences.p1.delete"]

    async def test_taken_over_by_the_api_it_stays(self, shared: "RunningHub") -> None:
        async with shared.greeted(jwt=shared.token("ada")) as ada:
            await set_presence(ada, presenceId="p1")
            permissions = default_permissions("ada")
            draft = Draft("p1", "ada", "by API", permissions, {}, "rest", expires_at=FAR)
            await shared.hub.presences.upsert(shared.project, draft)
        await shared.until(lambda: not len(shared.hub.holdings))
        await shared.hub.holdings.flush(5)

        assert await present(shared) == {"ada": "by API"}

    async def test_many_that_leave_together_are_all_gone(self, shared: "RunningHub") -> None:
        async with shared.greeted(jwt=shared.token("watcher")) as watcher:
            clients = [shared.greeted(jwt=shared.token(f"u{number}")) for number in range(60)]
            opened = await asyncio.gather(*(each.__aenter__() for each in clients))
            await asyncio.gather(*(set_presence(each) for each in opened))
            assert len(await present(shared)) == 60
            await asyncio.gather(*(each.__aexit__(None, None, None) for each in clients))
            await shared.until(lambda: not len(shared.hub.holdings))
            await shared.hub.holdings.flush(5)
            await watcher.assert_silent()

        assert await present(shared) == {}
        assert len([name for name in await logged(shared) if name.endswith(".delete")]) == 60


class TestIdentity:
    async def test_becoming_somebody_else_ends_it(self, shared: "RunningHub") -> None:
        async with shared.greeted(jwt=shared.token("ada")) as client:
            await set_presence(client, presenceId="p1")
            await client.ask("authentication", {"jwt": shared.token("bob")})
            await until_logged(shared, "presences.p1.delete")
            assert (await set_presence(client, presenceId="p1"))["userId"] == "bob"
            assert await present(shared) == {"bob": "on"}

    async def test_authenticating_again_as_the_same_keeps_it(self, shared: "RunningHub") -> None:
        async with shared.greeted(jwt=shared.token("ada")) as client:
            await set_presence(client, presenceId="p1")
            await client.ask("authentication", {"jwt": shared.token("ada", labels=["vip"])})
            await shared.hub.holdings.flush(5)
            assert await present(shared) == {"ada": "on"}
        await until_logged(shared, "presences.p1.delete")

    async def test_ending_session_ends_it(self, shared: "RunningHub") -> None:
        session = await shared.add_user("eve")
        async with shared.greeted(headers={"x-appwrite-session": session}) as eve:
            await set_presence(eve, presenceId="p1")
            await shared.add_user("eve", sessions=())
            await until_logged(shared, "presences.p1.delete")
            assert (await eve.receive())["data"]["code"] == "signed_out"


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class TestPythonClient:
    async def test_its_presence_lasts_as_long_as_the_client(self, shared: "RunningHub") -> None:
        endpoint = f"{shared.http}/v1"
        async with RealtimeClient(endpoint, shared.project, jwt=shared.token("ada")) as client:
            shown = await client.set_presence("online", metadata={"x": 1}, permissions=ANYBODY)
            assert (shown["userId"], shown["metadata"]) == ("ada", {"x": 1})
            # The hub hangs up; the client comes back.
            for connection in list(shared.hub.registry.rooms[shared.project].connections):
                shared.hub.end(connection, CloseCode.GOING_AWAY, reason="test")
            await until_logged(shared, f"presences.{shown['$id']}.delete")
            async with asyncio.timeout(10):
                while await present(shared) != {"ada": "online"}:
                    pass
        async with asyncio.timeout(10):
            while await present(shared):
                pass
        assert {name.split(".")[1] for name in await logged(shared)} == {shown["$id"]}
