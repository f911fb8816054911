"""Who receives an event: wire specification 8.1, 8.2 and 16.7, end to end."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from realtime.errors import InvalidPermissionError
from realtime.identity.model import Membership

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import Client, RunningHub

pytestmark = pytest.mark.asyncio(loop_scope="module")

POSTS = "databases.main.tables.posts.rows"


async def received_by(clients: Mapping[str, "Client"]) -> set[str]:
    """Return the names of the clients for which an event is waiting; exactly one frame each."""
    received: set[str] = set()
    for name, client in clients.items():
        frames = await client.receive_waiting()
        assert len(frames) <= 1
        if frames:
            received.add(name)
    return received


async def five_people(hub: "RunningHub", stack: AsyncExitStack) -> dict[str, "Client"]:
    """Connect a guest, three stored users and one whose token says who he is; all subscribe to ``rows``.

    Ada is verified, a vip, and owns team red. Bob edits there. Cyd was invited, and has not answered yet. Dan, who
    brings a token, edits there too.
    """
    ada = await hub.add_user(
        "ada", email_verified=True, labels=("vip",), memberships=(Membership("m1", "red", ("owner",)),)
    )
    bob = await hub.add_user("bob", memberships=(Membership("m2", "red", ("editor",)),))
    cyd = await hub.add_user("cyd", memberships=(Membership("m3", "red", ("owner",), confirmed=False),))
    token = hub.token("dan", verified=True, labels=["vip"], teams=["red/editor"])
    options: dict[str, dict[str, Any]] = {
        "guest": {},
        "ada": {"headers": {"X-Appwrite-Session": ada}},
        "bob": {"headers": {"X-Appwrite-Session": bob}},
        "cyd": {"headers": {"X-Appwrite-Session": cyd}},
        "token": {"jwt": token},
    }
    clients = {name: await stack.enter_async_context(hub.greeted(**how)) for name, how in options.items()}
    await asyncio.gather(*(client.subscribe("rows") for client in clients.values()))
    return clients


class TestReaders:
    """8.1 and 8.2: one event for each role; who of five very different people receives it."""

    @pytest.mark.parametrize(
        ("role", "readers"),
        [
            ("any", "guest ada bob cyd token"),
            ("guests", "guest"),
            ("users", "ada bob cyd token"),
            ("users/verified", "ada token"),
            ("users/unverified", "bob cyd"),
            ("user:ada", "ada"),
            ("user:ada/verified", "ada"),
            ("user:ada/unverified", ""),
            ("user:bob/unverified", "bob"),
            ("user:dan", "token"),
            ("team:red", "ada bob token"),
            ("team:red/owner", "ada"),
            ("team:red/editor", "bob token"),
            ("team:blue", ""),
            ("member:m1", "ada"),
            ("member:m3", ""),
            ("label:vip", "ada token"),
            ("label:beta", ""),
        ],
    )
    async def test_those_who_hold_the_role_receive_it(
        self, shared: "RunningHub", role: str, readers: str
    ) -> None:
        async with AsyncExitStack() as stack:
            clients = await five_people(shared, stack)
            name = f"{POSTS}.1.create"
            await shared.deliver(name, {"$id": "1"}, permissions=[f'read("{role}")', 'update("any")'])

            assert await received_by(clients) == set(readers.split())

    @pytest.mark.parametrize(
        ("options", "readers"),
        [
            ({"permissions": []}, ""),
            ({"permissions": ['create("any")', 'update("users")', 'delete("any")', 'write("any")']}, ""),
            ({"roles": ["user:ada", "user:bob"]}, "ada bob"),
            ({"roles": ["team:red", "user:ada"]}, "ada bob token"),
            ({}, "cyd"),
        ],
        ids=["none", "no read", "two users", "overlapping", "those of the payload"],
    )
    async def test_permissions_and_roles_name_the_readers(
        self, shared: "RunningHub", options: dict[str, Any], readers: str
    ) -> None:
        async with AsyncExitStack() as stack:
            clients = await five_people(shared, stack)
            payload = {"$id": "1", "$permissions": ['read("user:cyd")']}
            await shared.deliver(f"{POSTS}.1.create", payload, **options)

            assert await received_by(clients) == set(readers.split())

    async def test_reader_without_a_subscription_receives_nothing(self, shared: "RunningHub") -> None:
        async with shared.greeted() as idle, shared.greeted() as other:
            await other.subscribe("files", "row", "rows.", "rows.delete", f"{POSTS}.2", "*", "")
            await shared.deliver(f"{POSTS}.1.create", {"$id": "1"}, roles=["any"])

            assert await received_by({"idle": idle, "other": other}) == set()


class TestKeys:
    """16.7: what a server receives with an API key. No permission is asked for."""

    @pytest.mark.parametrize(
        ("scopes", "families"),
        [
            (["*"], "rows files account teams memberships executions presences"),
            (["realtime.read"], "rows files account teams memberships executions presences"),
            (["rows.read"], "rows"),
            (["documents.read"], "rows"),
            (["files.read"], "files"),
            (["users.read"], "account"),
            (["teams.read"], "teams memberships"),
            (["execution.read"], "executions"),
            (["executions.read"], "executions"),
            (["presences.read"], "presences"),
            (["rows.read", "files.read"], "rows files"),
            (["rows.write", "events.write"], ""),
            ([], ""),
        ],
    )
    async def test_scopes_name_the_channels(
        self, shared: "RunningHub", scopes: list[str], families: str
    ) -> None:
        await shared.add_key("k1", *scopes)
        channels = ["rows", "files", "account", "teams", "memberships", "executions", "presences"]
        events: list[tuple[str, dict[str, Any]]] = [
            (f"{POSTS}.1.create", {"$id": "rows"}),
            ("buckets.b.files.f.create", {"$id": "files"}),
            ("users.ada.update.name", {"$id": "account"}),
            ("teams.red.create", {"$id": "teams"}),
            ("teams.red.memberships.m.create", {"$id": "memberships", "userId": "ada"}),
            ("functions.f.executions.e.create", {"$id": "executions", "$permissions": ['read("user:x")']}),
            ("presences.p.upsert", {"$id": "presences", "$permissions": ['read("user:x")']}),
        ]

        async with shared.greeted(headers={"X-Appwrite-Key": "k1"}) as server:
            await server.subscribe(*channels)
            for name, payload in events:
                await shared.deliver(name, payload)
            frames = await server.receive_waiting()

        assert [frame["data"]["payload"]["$id"] for frame in frames] == families.split()

    async def test_event_that_nobody_may_read_reaches_keys(self, shared: "RunningHub") -> None:
        await shared.add_key("k1", "*")

        async with (
            shared.greeted(headers={"X-Appwrite-Key": "k1"}) as server,
            shared.greeted(jwt=shared.token("ada")) as user,
        ):
            await server.subscribe("rows", queries=['{"method":"equal","attribute":"$id","values":["1"]}'])
            await user.subscribe("rows")
            for id_ in "12":
                await shared.deliver(f"{POSTS}.{id_}.create", {"$id": id_}, permissions=[])

            assert await received_by({"server": server, "user": user}) == {"server"}

    @pytest.mark.parametrize("role", ["keys", "keys:rows", "keys:none"])
    async def test_internal_roles_cannot_be_published_to(self, shared: "RunningHub", role: str) -> None:
        with pytest.raises(InvalidPermissionError):
            await shared.publish(f"{POSTS}.1.create", {"$id": "1"}, roles=[role])


class TestProjects:
    async def test_event_of_another_project_never_arrives(self, shared: "RunningHub") -> None:
        await shared.add_key("k1", "*")
        await shared.add_key("k1", "*", project="demo")
        key = {"X-Appwrite-Key": "k1"}

        async with (
            shared.greeted(headers=key) as own,
            shared.greeted("demo", headers=key) as other,
            shared.greeted("console") as console,
        ):
            clients = {"own": own, "other": other, "console": console}
            for client in clients.values():
                await client.subscribe("rows", "projects", f"projects.{shared.project}")
            await shared.deliver(f"{POSTS}.1.create", {"$id": "1"}, roles=["any"])

            assert await received_by(clients) == {"own"}

            await shared.deliver(f"{POSTS}.1.create", {"$id": "1"}, roles=["any"], project="demo")

            assert await received_by(clients) == {"other"}
