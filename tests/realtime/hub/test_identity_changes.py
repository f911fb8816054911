"""What open connections receive changes with who they are: wire specification 8.3, 16.8 and 16.12.

Nothing here looks at a clock: events and changes of a project come to a hub in one order, so an event that is
published after a change must already follow it.
"""

import asyncio
import contextlib
import enum
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
from redis.asyncio import Redis

from realtime.bus.keys import project_key, user_key
from realtime.events.event import Event
from realtime.hub.connection import Connection
from realtime.hub.revocation import precise_name
from realtime.identity.model import ApiKey, Identity, Membership, Project, Session, User
from realtime.identity.secrets import encode_session, hash_secret
from realtime.identity.store import IdentityStore
from realtime.publisher import Publisher

if TYPE_CHECKING:
    from tests.conftest import Proxy
    from tests.realtime.hub.conftest import Client, RunningHub, Start
    from workers.embedded import EmbeddedValkey

pytestmark = pytest.mark.asyncio(loop_scope="module")

HUB_SETTINGS = {"messages_per_minute": 0}

CHANNELS = ("rows", "account", "teams", "memberships")


class Received(NamedTuple):
    """What a connection was sent: its share of events meant for one role each, and everything else."""

    roles: set[str]
    """The roles whose events arrived."""
    events: list[str]
    """The full names of all other events, in order."""
    notices: list[str]
    """The codes of ``system`` frames, in order."""


def session(number: int = 1, *, lasts_s: float = 3600) -> Session:
    return Session(
        id=f"s{number}",
        secret_hash=hash_secret(f"secret{number}"),
        provider="email",
        expires_at=time.time() + lasts_s,
    )


def ada(**fields: Any) -> User:
    """Return Ada as she is before anything changes; ``fields`` are what has changed."""
    return User(
        **{
            "id": "ada",
            "email_verified": True,
            "labels": ("vip", "beta"),
            "memberships": (Membership(id="m1", team_id="red", roles=("owner",)),),
            "sessions": (session(1), session(2)),
            **fields,
        }
    )


ADAS_ROLES = {
    *("user:ada", "user:ada/verified", "users", "users/verified", "label:vip", "label:beta"),
    *("team:red", "team:red/owner", "member:m1"),
}
ALL_ROLES = {
    *ADAS_ROLES,
    *("guests", "user:ada/unverified", "users/unverified", "label:new", "team:red/viewer"),
    *("team:blue", "member:m2", "user:bob", "user:bob/unverified"),
}


async def receive_all(hub: "RunningHub", client: "Client") -> Received:
    """Publish one event for each role and then one for anyone; return what ``client`` was sent up to that."""
    events = [
        Event(name=f"databases.d.tables.t.rows.r{number}.create", payload={"role": role}, roles=[role])
        for number, role in enumerate([*sorted(ALL_ROLES), "any"])
    ]
    async with Publisher(hub.project, bus=hub.hub.bus) as publisher:
        await publisher.publish_many(events)
    received = Received(set(), [], [])
    while True:
        frame = await client.receive()
        data = frame["data"]
        if frame["type"] == "system":
            received.notices.append(data["code"])
        elif "role" not in data["payload"]:
            received.events.append(precise_name(data["events"]))
        elif data["payload"]["role"] == "any":
            return received
        else:
            assert data["payload"]["role"] not in received.roles, "received twice"
            received.roles.add(data["payload"]["role"])


@contextlib.asynccontextmanager
async def connected(hub: "RunningHub", **options: Any) -> "AsyncIterator[Client]":
    """Connect, as Ada's first session unless told otherwise, with a subscription to everything."""
    headers = options.pop("headers", {"x-appwrite-session": encode_session("ada", "secret1")})
    async with hub.greeted(headers=headers, **options) as client:
        await client.subscribe(*CHANNELS)
        yield client


async def put(hub: "RunningHub", user: User | None) -> None:
    """Write Ada's record, or delete it."""
    if user is None:
        assert await hub.hub.store.delete_user(hub.project, "ada")
    else:
        await hub.hub.store.put_user(hub.project, user)


async def put_silently(hub: "RunningHub", user: User | None) -> None:
    """Change the record without a word to the hub, as a writer without this store does."""
    key = user_key(hub.project, "ada")
    if user is None:
        await hub.hub.redis.delete(key)
    else:
        await hub.hub.redis.set(key, msgspec.json.encode(user))


class Change(NamedTuple):
    """One way in which a person changes, and the event that says so."""

    user: Callable[[], User | None]
    """The record afterwards."""
    roles: set[str]
    """The roles afterwards."""
    event: str
    payload: dict[str, Any]
    told_first: bool = True
    """Whether the event reaches the person when it comes before the change."""

    @property
    def signs_out(self) -> bool:
        return self.roles == {"guests"}


MEMBERSHIP = {"$id": "m1", "teamId": "red", "userId": "ada", "roles": ["owner"]}

CHANGES = {
    "membership removed": Change(
        lambda: ada(memberships=()),
        ADAS_ROLES - {"team:red", "team:red/owner", "member:m1"},
        "teams.red.memberships.m1.delete",
        MEMBERSHIP,
    ),
    "membership added": Change(
        lambda: ada(memberships=(*ada().memberships, Membership(id="m2", team_id="blue"))),
        ADAS_ROLES | {"team:blue", "member:m2"},
        "teams.blue.memberships.m2.create",
        {"$id": "m2", "teamId": "blue", "userId": "ada", "roles": []},
        told_first=False,
    ),
    "roles in a team changed": Change(
        lambda: ada(memberships=(Membership(id="m1", team_id="red", roles=("viewer",)),)),
        ADAS_ROLES - {"team:red/owner"} | {"team:red/viewer"},
        "teams.red.memberships.m1.update",
        {**MEMBERSHIP, "roles": ["viewer"]},
    ),
    "labels changed": Change(
        lambda: ada(labels=("vip", "new")),
        ADAS_ROLES - {"label:beta"} | {"label:new"},
        "users.ada.update.labels",
        {"$id": "ada", "labels": ["vip", "new"]},
    ),
    "verification lost": Change(
        lambda: ada(email_verified=False),
        ADAS_ROLES - {"user:ada/verified", "users/verified"} | {"user:ada/unverified", "users/unverified"},
        "users.ada.update.email",
        {"$id": "ada"},
    ),
    "blocked": Change(
        lambda: ada(active=False), {"guests"}, "users.ada.update.status", {"$id": "ada", "status": False}
    ),
    "session deleted": Change(
        lambda: ada(sessions=(session(2),)), {"guests"}, "users.ada.sessions.s1.delete", {"$id": "s1"}
    ),
    "all sessions deleted": Change(
        lambda: ada(sessions=()), {"guests"}, "users.ada.sessions.delete", {"$id": "ada"}
    ),
    "deleted": Change(lambda: None, {"guests"}, "users.ada.delete", {"$id": "ada"}),
}

changes = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())


class Order(enum.Enum):
    """How a change and the event about it reach the hub."""

    ANNOUNCED_AFTER = "record, then event"
    ANNOUNCED_BEFORE = "event, then record"
    EVENT_ALONE = "the event is all that the hub hears"


class TestStoredUser:
    async def test_before_any_change_roles_are_those_of_the_record(self, shared: "RunningHub") -> None:
        await put(shared, ada())
        async with connected(shared) as client:
            assert await receive_all(shared, client) == Received(ADAS_ROLES, [], [])

    @changes
    async def test_write_alone_changes_the_roles(self, shared: "RunningHub", change: Change) -> None:
        await put(shared, ada())
        async with connected(shared) as client:
            await put(shared, change.user())
            notices = ["signed_out"] if change.signs_out else []
            assert await receive_all(shared, client) == Received(change.roles, [], notices)

    @pytest.mark.parametrize("order", Order)
    @changes
    async def test_announcement_reaches_its_subject_once_and_nothing_more_follows(
        self, shared: "RunningHub", change: Change, order: Order
    ) -> None:
        async def announce() -> None:
            # To the end, so that what comes next is not part of what the event has read.
            await shared.deliver(change.event, change.payload)

        async def write() -> None:
            writer = put_silently if order is Order.EVENT_ALONE else put
            await writer(shared, change.user())

        await put(shared, ada())
        async with connected(shared) as client:
            in_order = (announce, write) if order is Order.ANNOUNCED_BEFORE else (write, announce)
            for step in in_order:
                await step()
            told = [] if order is Order.ANNOUNCED_BEFORE and not change.told_first else [change.event]
            notices = ["signed_out"] if change.signs_out else []
            assert await receive_all(shared, client) == Received(change.roles, told, notices)

            # Whatever else is said of her is for those who may read it now.
            await announce()
            await shared.publish("users.ada.update.name", {"$id": "ada"})
            later = await receive_all(shared, client)
            assert later.roles == change.roles
            if change.signs_out:
                assert later.events == []
            else:
                assert "users.ada.update.name" in later.events

    async def test_event_is_delivered_after_the_refresh_and_before_what_follows(
        self, shared: "RunningHub"
    ) -> None:
        """A backlog keeps the order: nothing overtakes the event that waits for Redis."""
        await put(shared, ada())
        async with connected(shared) as client:
            async with Publisher(shared.project, bus=shared.hub.bus) as publisher:
                await publisher.publish_many(
                    [
                        Event(name="users.ada.update.labels", payload={"$id": "ada"}),
                        *(
                            Event(name=f"databases.d.tables.t.rows.r{n}.create", payload={}, roles=["any"])
                            for n in range(3)
                        ),
                        Event(name="users.ada.update.prefs", payload={"$id": "ada"}),
                    ]
                )
            names = [precise_name((await client.receive_event())["events"]) for _ in range(5)]
        assert names[0] == "users.ada.update.labels"
        assert [name.split(".")[5] for name in names[1:4]] == ["r0", "r1", "r2"]
        assert names[4] == "users.ada.update.prefs"

    async def test_only_the_connections_of_the_session_that_ended_are_signed_out(
        self, shared: "RunningHub"
    ) -> None:
        await put(shared, ada())
        other = {"x-appwrite-session": encode_session("ada", "secret2")}
        async with connected(shared) as first, connected(shared, headers=other) as second:
            await put(shared, ada(sessions=(session(2),)))
            await shared.publish("users.ada.sessions.s1.delete", {"$id": "s1"})
            told = ["users.ada.sessions.s1.delete"]
            assert await receive_all(shared, first) == Received({"guests"}, told, ["signed_out"])
            assert await receive_all(shared, second) == Received(ADAS_ROLES, told, [])

            # It is sent what was published for the first one's sake and for its own.
            while (await second.receive_event())["payload"].get("role") != "any":
                pass

            # The second one goes the same way, though the person was told of a loss a moment ago.
            await put(shared, ada(sessions=()))
            await shared.publish("users.ada.sessions.s2.delete", {"$id": "s2"})
            frames = await receive_all(shared, second)
            assert frames.events == ["users.ada.sessions.s2.delete"]
            assert frames.notices == ["signed_out"]

    async def test_loss_soon_after_a_change_without_one_is_told(self, shared: "RunningHub") -> None:
        """The event of the first change came after it, and announces nothing that is still to come."""
        joined = ada(memberships=(*ada().memberships, Membership(id="m2", team_id="blue", roles=("viewer",))))
        membership = "teams.blue.memberships.m2"
        payload = {"$id": "m2", "userId": "ada", "teamId": "blue"}
        await put(shared, ada())
        async with connected(shared) as client:
            # Other tests have Ada told of losses before they come.
            shared.hub.registry.rooms[shared.project].announced.clear()
            await put(shared, joined)
            await shared.deliver(f"{membership}.update.status", payload)
            await put(shared, ada())
            await shared.publish(f"{membership}.delete", payload)
            received = await receive_all(shared, client)
        assert received.events == [f"{membership}.update.status", f"{membership}.delete"]
        assert received.roles == ADAS_ROLES

    async def test_loss_that_is_seen_before_its_event_is_told_by_that_event(
        self, shared: "RunningHub"
    ) -> None:
        """Ada was changed, and removed, before the hub came to the event of the first."""
        membership, payload = "teams.red.memberships.m1", {"$id": "m1", "userId": "ada", "teamId": "red"}
        await put(shared, ada())
        async with connected(shared) as client:
            shared.hub.registry.rooms[shared.project].announced.clear()
            await put(shared, ada(memberships=()))
            await shared.deliver(f"{membership}.update", payload)
            await shared.publish(f"{membership}.delete", payload)
            received = await receive_all(shared, client)
        assert received.events == [f"{membership}.update", f"{membership}.delete"]

    async def test_end_of_a_team_is_told_to_those_who_were_in_it(self, shared: "RunningHub") -> None:
        """They are changed first; the event names nobody."""
        await put(shared, ada())
        async with connected(shared) as client:
            # Other tests have Ada told of losses before they come.
            shared.hub.registry.rooms[shared.project].announced.clear()
            await put(shared, ada(memberships=()))
            await shared.publish("teams.red.delete", {"$id": "red"})
            assert (await receive_all(shared, client)).events == ["teams.red.delete"]

    async def test_other_people_and_projects_are_left_alone(self, shared: "RunningHub") -> None:
        await put(shared, ada())
        bob = await shared.add_user("bob")
        async with connected(shared, headers={"x-appwrite-session": bob}) as client:
            refreshes = (await shared.metrics())["realtime_identity_refreshes_total"]
            await put(shared, None)
            received = await receive_all(shared, client)
            assert received == Received(
                {"user:bob", "user:bob/unverified", "users", "users/unverified"}, [], []
            )
            assert (await shared.metrics())["realtime_identity_refreshes_total"] == refreshes

    async def test_token_of_a_session_ends_with_the_session(self, shared: "RunningHub") -> None:
        await put(shared, ada())
        token = shared.sign({"userId": "ada", "sessionId": "s1"})
        async with connected(shared, headers={"x-appwrite-jwt": token}) as client:
            await put(shared, ada(sessions=(session(2),)))
            assert await receive_all(shared, client) == Received({"guests"}, [], ["signed_out"])

    async def test_subscriptions_keep_their_ids_and_queries(self, shared: "RunningHub") -> None:
        await put(shared, ada())
        headers = {"x-appwrite-session": encode_session("ada", "secret1")}
        async with shared.connect(headers=headers, query="channels[]=rows") as client:
            (slot,) = (await client.receive())["data"]["subscriptions"]
            query = '{"method":"equal","attribute":"kind","values":["a"]}'
            await client.subscribe("rows", id="filtered", queries=[query])
            slots = set()
            for user in (ada(), ada(labels=()), None):
                await put(shared, user)
                for kind in ("a", "b"):
                    await shared.publish("databases.d.tables.t.rows.r.create", {"kind": kind}, roles=["any"])
                frames = [frame for frame in await receive_until(client, "b") if frame["type"] == "event"]
                first, second = (set(frame["data"]["subscriptions"]) for frame in frames)
                assert first - second == {"filtered"}
                slots |= second
        assert len(slots) == 1
        assert slot is not None


async def receive_until(client: "Client", kind: str) -> list[dict[str, Any]]:
    frames = [await client.receive()]
    while frames[-1]["data"].get("payload", {}).get("kind") != kind:
        frames.append(await client.receive())
    return frames


TOKEN_LOSSES = {
    "deleted": ("users.ada.delete", {"$id": "ada"}, {"guests"}),
    "blocked": ("users.ada.update.status", {"$id": "ada", "status": False}, {"guests"}),
    "label gone": (
        "users.ada.update.labels",
        {"$id": "ada", "labels": ["vip"]},
        ADAS_ROLES - {"label:beta"},
    ),
    "membership gone": (
        "teams.red.memberships.m1.delete",
        MEMBERSHIP,
        ADAS_ROLES - {"team:red", "team:red/owner", "member:m1"},
    ),
}


class TestTokenIdentity:
    """An identity that a token carries has no record: events take from it, and nothing adds to it."""

    def token(self, hub: "RunningHub") -> str:
        teams = [{"id": "red", "roles": ["owner"], "membershipId": "m1"}]
        return hub.token("ada", verified=True, labels=["vip", "beta"], teams=teams)

    @pytest.mark.parametrize(("event", "payload", "roles"), TOKEN_LOSSES.values(), ids=TOKEN_LOSSES.keys())
    async def test_event_alone_takes_the_roles_and_is_received_once(
        self, shared: "RunningHub", event: str, payload: dict[str, Any], roles: set[str]
    ) -> None:
        async with connected(shared, headers={"x-appwrite-jwt": self.token(shared)}) as client:
            assert await receive_all(shared, client) == Received(ADAS_ROLES, [], [])
            await shared.publish(event, payload)
            notices = ["signed_out"] if roles == {"guests"} else []
            assert await receive_all(shared, client) == Received(roles, [event], notices)
            await shared.publish(event, payload)
            later = await receive_all(shared, client)
            assert later.roles == roles
            assert later.events == ([event] if "user:ada" in roles and event.startswith("users.") else [])

    async def test_record_of_the_same_name_does_not_matter(self, shared: "RunningHub") -> None:
        async with connected(shared, headers={"x-appwrite-jwt": self.token(shared)}) as client:
            await put(shared, ada(active=False, labels=("new",)))
            assert await receive_all(shared, client) == Received(ADAS_ROLES, [], [])


class TestKey:
    async def test_deleted_key_may_read_nothing_but_what_guests_may(self, shared: "RunningHub") -> None:
        await shared.add_key("k", "*")
        async with connected(shared, headers={"x-appwrite-key": "k"}) as client:
            assert await receive_all(shared, client) == Received(ALL_ROLES, [], [])
            await shared.hub.store.delete_key(shared.project, "id-k")
            assert await receive_all(shared, client) == Received({"guests"}, [], ["signed_out"])

    async def test_other_key_deleted_changes_nothing(self, shared: "RunningHub") -> None:
        await shared.add_key("k", "*")
        await shared.add_key("other", "*")
        async with connected(shared, headers={"x-appwrite-key": "k"}) as client:
            await shared.hub.store.delete_key(shared.project, "id-other")
            assert await receive_all(shared, client) == Received(ALL_ROLES, [], [])

    async def test_scopes_are_followed(self, shared: "RunningHub") -> None:
        await shared.add_key("k", "rows.read")
        async with connected(shared, headers={"x-appwrite-key": "k"}) as client:
            await shared.publish("users.ada.update.name", {"$id": "ada"})
            assert await receive_all(shared, client) == Received(ALL_ROLES, [], [])
            await shared.hub.store.put_key(shared.project, ApiKey(id="id-k", scopes=("users.read",)), "k")
            await shared.publish("users.ada.update.name", {"$id": "ada"})
            assert await receive_all(shared, client) == Received(set(), ["users.ada.update.name"], [])


class TestExpiry:
    async def test_session_token_and_key_end_when_they_end(self, shared: "RunningHub") -> None:
        await put(shared, ada(sessions=(session(1, lasts_s=0.3),)))
        await shared.add_key("k", "*", expires_at=time.time() + 0.3)
        token = shared.sign({"sub": "ada", "exp": int(time.time()) + 1})
        credentials = (
            {"x-appwrite-session": encode_session("ada", "secret1")},
            {"x-appwrite-jwt": token},
            {"x-appwrite-key": "k"},
        )
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(connected(shared, headers=headers)) for headers in credentials
            ]
            for client in clients:
                frame = await client.receive()
                assert (frame["type"], frame["data"]["code"]) == ("system", "signed_out")
            # No event announces an end that was known before: this one is about another session.
            await shared.publish("users.ada.sessions.s2.delete", {"$id": "s2"})
            for client in clients:
                received = await receive_all(shared, client)
                assert (received.roles, received.events) == ({"guests"}, [])
                # What is left of the rounds of the others:
                await client.receive_waiting()

    async def test_session_that_was_extended_goes_on(self, shared: "RunningHub") -> None:
        await put(shared, ada(sessions=(session(1, lasts_s=0.2),)))
        async with connected(shared) as client:
            await put(shared, ada(sessions=(session(1),)))
            expiring = shared.hub.registry.expiring
            await shared.until(lambda: expiring.next_at is None or expiring.next_at > time.time())
            assert await receive_all(shared, client) == Received({*ADAS_ROLES}, [], [])


class TestImpersonation:
    @contextlib.asynccontextmanager
    async def impersonating(self, hub: "RunningHub") -> "AsyncIterator[Client]":
        await put(hub, ada(impersonator=True))
        await hub.add_user("bob")
        headers = {
            "x-appwrite-session": encode_session("ada", "secret1"),
            "x-appwrite-impersonate-user-id": "bob",
        }
        async with connected(hub, headers=headers) as client:
            yield client

    async def test_follows_the_person_impersonated(self, shared: "RunningHub") -> None:
        async with self.impersonating(shared) as client:
            await shared.add_user("bob", labels=("new",))
            received = await receive_all(shared, client)
            assert received.roles == {
                *("user:bob", "user:bob/unverified", "users", "users/unverified", "label:new"),
            }

    async def test_labels_of_the_impersonator_do_not_matter(self, shared: "RunningHub") -> None:
        async with self.impersonating(shared) as client:
            await put(shared, ada(impersonator=True, labels=("new",)))
            assert "label:new" not in (await receive_all(shared, client)).roles

    @pytest.mark.parametrize(
        "change",
        [
            lambda hub: put(hub, ada(impersonator=False)),
            lambda hub: put(hub, ada(impersonator=True, active=False)),
            lambda hub: put(hub, ada(impersonator=True, sessions=())),
            lambda hub: put(hub, None),
            lambda hub: hub.add_user("bob", active=False),
            lambda hub: hub.hub.store.delete_user(hub.project, "bob"),
        ],
        ids=["right lost", "blocked", "session ended", "deleted", "target blocked", "target deleted"],
    )
    async def test_what_it_rests_on_is_gone_makes_a_guest(
        self, shared: "RunningHub", change: "Callable[[RunningHub], Awaitable[object]]"
    ) -> None:
        async with self.impersonating(shared) as client:
            await change(shared)
            assert await receive_all(shared, client) == Received({"guests"}, [], ["signed_out"])


class TestAuthentication:
    async def test_account_channels_follow_to_another_user(self, shared: "RunningHub") -> None:
        """Wire specification 5.3."""
        await put(shared, ada())
        bob = await shared.add_user("bob")
        async with connected(shared) as client:
            answer = await client.ask("authentication", {"session": bob})
            assert answer["data"]["user"]["$id"] == "bob"
            for user in ("ada", "bob"):
                await shared.publish(f"users.{user}.update.name", {"$id": user})
            received = await receive_all(shared, client)
        assert received.roles == {"user:bob", "user:bob/unverified", "users", "users/unverified"}
        assert received.events == ["users.bob.update.name"]

    async def test_whoever_became_somebody_else_hears_no_more_of_the_first(
        self, shared: "RunningHub"
    ) -> None:
        await put(shared, ada())
        bob = await shared.add_user("bob")
        async with connected(shared) as client:
            await client.subscribe("account.ada", id="fixed")
            await client.ask("authentication", {"session": bob})
            await shared.publish("users.ada.sessions.s1.delete", {"$id": "s1"})
            await shared.publish("teams.red.memberships.m1.delete", MEMBERSHIP)
            assert (await receive_all(shared, client)).events == []

    async def test_guest_who_signs_in_is_followed_from_then_on(self, shared: "RunningHub") -> None:
        await put(shared, ada())
        async with connected(shared, headers={}) as client:
            await client.ask("authentication", {"session": encode_session("ada", "secret1")})
            assert (await receive_all(shared, client)).roles == ADAS_ROLES
            await put(shared, ada(labels=()))
            assert (await receive_all(shared, client)).roles == ADAS_ROLES - {"label:vip", "label:beta"}


class TestWhileOpening:
    """A connection is not in its room while its identity is read: a change in that moment is not missed."""

    @pytest.mark.parametrize("method", ["resolve", "authenticate"])
    async def test_change_after_the_reading_has_it_read_again(
        self, shared: "RunningHub", monkeypatch: pytest.MonkeyPatch, method: str
    ) -> None:
        await put(shared, ada())
        resolver = shared.hub.resolver
        original: Callable[..., Awaitable[Identity]] = getattr(resolver, method)
        readings: list[Identity] = []

        async def read_just_before_a_change(project: Project, *args: Any, **options: Any) -> Identity:
            room = shared.hub.registry.rooms[shared.project]
            readings.append(await original(project, *args, **options))
            if len(readings) == 1:
                changes_before = room.changes
                await put(shared, ada(labels=("new",)))
                await shared.until(lambda: room.changes > changes_before)
            return readings[-1]

        if method == "resolve":
            monkeypatch.setattr(resolver, method, read_just_before_a_change)
            async with connected(shared) as client:
                received = await receive_all(shared, client)
        else:
            async with connected(shared, headers={}) as client:
                monkeypatch.setattr(resolver, method, read_just_before_a_change)
                await client.ask("authentication", {"session": encode_session("ada", "secret1")})
                received = await receive_all(shared, client)
        assert len(readings) == 2
        assert received.roles == ADAS_ROLES - {"label:vip", "label:beta"} | {"label:new"}

    async def test_project_deleted_meanwhile_refuses(
        self, shared: "RunningHub", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resolver = shared.hub.resolver
        original = resolver.resolve

        async def resolve(project: Project, *args: Any, **options: Any) -> Identity:
            room = shared.hub.registry.rooms[shared.project]
            identity = await original(project, *args, **options)
            if not room.is_deleted:
                await shared.hub.store.delete_project(shared.project)
                await shared.until(lambda: room.is_deleted)
            return identity

        monkeypatch.setattr(resolver, "resolve", resolve)
        assert await shared.refusal() == (1008, "Missing or unknown project ID", 1008)


class TestProject:
    async def test_deleted_project_closes_its_connections_and_accepts_none(
        self, shared: "RunningHub"
    ) -> None:
        other = f"{shared.project}other"
        await shared.hub.store.put_project(Project(id=other))
        async with (
            shared.greeted() as guest,
            connected(shared, headers={}) as second,
            shared.greeted(other) as elsewhere,
        ):
            await shared.hub.store.delete_project(shared.project)
            assert await guest.closed() == 1008
            assert await second.closed() == 1008
            await elsewhere.assert_silent()
        assert shared.project in shared.hub.registry.rooms
        assert await shared.refusal() == (1008, "Missing or unknown project ID", 1008)

    async def test_project_made_anew_accepts_connections_at_once(self, shared: "RunningHub") -> None:
        async with shared.greeted() as client:
            await shared.hub.store.delete_project(shared.project)
            await client.closed()
            await shared.put_project()
            await shared.until(lambda: not shared.hub.registry.rooms[shared.project].is_deleted)
            async with connected(shared, headers={}) as again:
                assert (await receive_all(shared, again)).roles == {"guests"}

    async def test_changed_record_judges_the_next_connection(self, shared: "RunningHub") -> None:
        room_of = shared.hub.registry.rooms
        async with connected(shared, headers={}) as client:
            await shared.put_project(websocket_enabled=False)
            await shared.until(lambda: not room_of[shared.project].project.websocket_enabled)
            assert (await shared.refusal()).code == 403
            # Who is in stays in.
            assert (await receive_all(shared, client)).roles == {"guests"}
            await shared.put_project()
            await shared.until(lambda: room_of[shared.project].project.websocket_enabled)
            assert await shared.greeting()

    async def test_project_that_was_deleted_while_redis_was_away_is_found_gone(
        self, shared: "RunningHub"
    ) -> None:
        async with shared.greeted() as client:
            await shared.hub.redis.delete(project_key(shared.project))
            shared.hub._resuming(shared.project)
            await client.assert_silent()
            shared.hub._resumed(shared.project, True, 0)
            assert await client.closed() == 1008

    async def test_project_that_redis_lost_is_not_taken_for_deleted(self, shared: "RunningHub") -> None:
        """Nobody deleted it: a client that is told to go for good would not be there when it is written anew."""
        async with shared.greeted() as client:
            await client.subscribe("rows")
            await shared.hub.redis.delete(project_key(shared.project))
            shared.hub._resuming(shared.project)
            shared.hub._resumed(shared.project, False, None)
            frames = await client.receive_waiting()
            assert [frame["data"]["code"] for frame in frames] == ["gap"]
            await shared.put_project()
            await shared.deliver("databases.d.tables.t.rows.1.create", {}, roles=["any"])
            await client.receive_event()


@pytest.mark.asyncio(loop_scope="function")
class TestRedisAway:
    """What cannot be read again is not trusted: the client has to prove who it is when it comes back."""

    async def test_right_that_was_lost_while_nobody_heard_it_reads_nothing_of_after_the_loss(
        self, start_hub: "Start", redis_client: Redis
    ) -> None:
        event = "databases.main.tables.posts.rows.1.create"
        async with start_hub() as hub:
            session = await hub.add_user("ada", labels=("staff",))
            async with hub.greeted(headers={"X-Appwrite-Session": session}) as client:
                await client.subscribe("rows")
                await redis_client.client_kill_filter(_type="pubsub")
                await hub.add_user("ada", labels=())
                await hub.publish(event, {"n": 1}, permissions=['read("label:staff")'])
                await hub.publish(event, {"n": 2}, permissions=['read("any")'])
                assert (await client.receive_event())["payload"] == {"n": 2}
                await client.assert_silent()

    @pytest.fixture
    async def limited_url(self, valkey: "EmbeddedValkey", redis_url: str) -> "AsyncIterator[str]":
        """A URL whose user the server can be told to refuse commands of."""
        async with Redis.from_url(redis_url) as admin:
            await admin.acl_setuser(
                "hub",
                enabled=True,
                passwords=["+password"],
                keys=["*"],
                channels=["*"],
                categories=["+@all"],
            )
            yield redis_url.replace("unix://", "unix://hub:password@")
            await admin.acl_deluser("hub")

    async def test_identity_that_cannot_be_read_is_closed_with_try_again(
        self, start_hub: "Start", limited_url: str, redis_client: Redis
    ) -> None:
        async with start_hub(redis_url=limited_url) as hub:
            await put(hub, ada())
            async with connected(hub) as client, hub.greeted() as guest:
                await redis_client.acl_setuser("hub", commands=["-get"])
                await IdentityStore(redis_client).put_user("demo", ada(active=False))
                assert await client.closed() == 1013
                await guest.assert_silent()
                await redis_client.acl_setuser("hub", commands=["+get"])
                assert (await hub.metrics())["realtime_connections_closed_total/identity_unreadable"] == 1
            # Closed, it may come back, and is who it is now.
            async with connected(hub) as client:
                assert (await receive_all(hub, client)).roles == {"guests"}

    async def test_changes_while_redis_was_away_are_found_out_afterwards(
        self, start_hub: "Start", proxy: "Proxy", redis_client: Redis
    ) -> None:
        store = IdentityStore(redis_client)
        async with start_hub(redis_url=proxy.url) as hub:
            await put(hub, ada())
            async with connected(hub) as client, hub.greeted(None) as console:
                proxy.refuse()
                await hub.until(lambda: not hub.hub.listener.healthy)
                await store.put_user("demo", ada(labels=()))
                proxy.accept()
                await hub.until(lambda: hub.hub.listener.healthy)
                user_links = hub.hub.registry.rooms["demo"].users["ada"]
                await hub.until(lambda: all("label:vip" not in c.identity.roles for c in user_links))
                assert (await receive_all(hub, client)).roles == ADAS_ROLES - {"label:vip", "label:beta"}
                # The console has no record, and is there all the same.
                await console.assert_silent()

    async def test_project_deleted_while_redis_was_away_closes_its_connections(
        self, start_hub: "Start", proxy: "Proxy", redis_client: Redis
    ) -> None:
        async with start_hub(redis_url=proxy.url) as hub, hub.greeted() as client:
            proxy.refuse()
            await IdentityStore(redis_client).delete_project("demo")
            proxy.accept()
            async with asyncio.timeout(10):
                assert await client.closed() == 1008


@pytest.mark.asyncio(loop_scope="function")
class TestExpiryTimer:
    async def test_however_often_it_is_asked_there_is_one(self, hub: "RunningHub") -> None:
        now = time.time()
        for _ in range(100):
            hub.hub.registry.expiring.add(now + 0.9, Connection(Unplugged(), "peer"))
            hub.hub._expire()
        pending = hub.hub._expiry_timer
        assert pending is not None
        hub.hub._expire()
        assert pending.cancelled()


class Unplugged:
    """A wire that leads nowhere."""

    buffered_bytes = 0

    @property
    def write(self) -> Callable[[bytes], None]:
        return self.send

    def send(self, frame: bytes) -> None: ...

    def close(self, code: int, reason: str = "") -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...
