"""How each event of people and databases is fired through the API: one case an event, in :data:`CASES`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from typing import Any, NamedTuple

import httpx
import pyotp

from realtime.client import RealtimeClient
from realtime.client.frames import Event
from tests.api import Api, Published
from tests.mailbox import Mailbox
from tests.topologies import DEADLINE_S
from workers.dev.demo import FAMILY_CHANNELS


class Fired(NamedTuple):
    """What a case did."""

    ids: dict[str, str]
    """Of the resources, by the parameters of the event's name; what is missing may be anything."""
    payload: dict[str, Any] | None
    """The resource as the API showed it; None if it shows nobody what has happened."""
    secret: str = ""
    """What must not be in the event."""


class World:
    """The API and a hub beside each other, and a server that listens to everything."""

    def __init__(self, api: Api, mailbox: Mailbox) -> None:
        self.api = api
        self.mailbox = mailbox
        self.received: dict[str, Event] = {}
        self._numbers = count(1)

    async def listen(self, client: RealtimeClient, ready: asyncio.Event) -> None:
        async with client.subscribe(FAMILY_CHANNELS) as events:
            ready.set()
            async for event in events:
                self.received[event.id] = event

    async def heard(self, event: Published) -> Event:
        async with asyncio.timeout(DEADLINE_S):
            while event.id not in self.received:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.002)
        return self.received[event.id]

    def new_id(self) -> str:
        return f"id{next(self._numbers)}"

    async def ask(
        self, method: str, path: str, body: Any = None, *, by: httpx.AsyncClient | None = None
    ) -> Any:
        response = await (by or self.api.server).request(method, f"/v1{path}", json=body)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else {}

    async def user(self) -> str:
        user_id = self.new_id()
        await self.ask("POST", "/users", {"userId": user_id, "email": f"{user_id}@example.com"})
        return user_id

    @contextlib.asynccontextmanager
    async def signed_in(self) -> AsyncIterator[tuple[str, httpx.AsyncClient]]:
        user_id = await self.user()
        session = await self.ask("POST", f"/users/{user_id}/sessions")
        async with self.api.guest(**{"X-Appwrite-Session": session["secret"]}) as client:
            yield user_id, client

    async def team(self) -> str:
        team_id = self.new_id()
        await self.ask("POST", "/teams", {"teamId": team_id, "name": "Team"})
        return team_id

    async def member(self) -> Any:
        team_id, user_id = await self.team(), await self.user()
        member: dict[str, Any] = await self.ask(
            "POST", f"/teams/{team_id}/memberships", {"roles": ["writer"], "userId": user_id}
        )
        return member


Case = Callable[[World], Awaitable[Fired]]

# Users.


async def create_user(world: World) -> Fired:
    user_id = world.new_id()
    body = {"userId": user_id, "email": f"{user_id}@example.com", "password": "a long password", "name": "U"}
    return Fired({"userId": user_id}, await world.ask("POST", "/users", body))


def update_user(method: str, path: str, body: dict[str, Any]) -> Case:
    async def case(world: World) -> Fired:
        user_id = await world.user()
        return Fired({"userId": user_id}, await world.ask(method, f"/users/{user_id}/{path}", body))

    return case


async def delete_user(world: World) -> Fired:
    user_id = await world.user()
    user = await world.ask("GET", f"/users/{user_id}")
    await world.ask("DELETE", f"/users/{user_id}")
    return Fired({"userId": user_id}, user)


async def delete_sessions(world: World) -> Fired:
    user_id = await world.user()
    await world.ask("POST", f"/users/{user_id}/sessions")
    user = await world.ask("GET", f"/users/{user_id}")
    await world.ask("DELETE", f"/users/{user_id}/sessions")
    return Fired({"userId": user_id}, user)


async def create_session(world: World) -> Fired:
    user_id = await world.user()
    session = await world.ask("POST", f"/users/{user_id}/sessions")
    return Fired({"userId": user_id, "sessionId": session["$id"]}, session, session["secret"])


async def update_session(world: World) -> Fired:
    async with world.signed_in() as (user_id, client):
        session = await world.ask("PATCH", "/account/sessions/current", by=client)
    return Fired({"userId": user_id, "sessionId": session["$id"]}, session | {"current": False})


async def delete_session(world: World) -> Fired:
    async with world.signed_in() as (user_id, client):
        session = await world.ask("GET", "/account/sessions/current", by=client)
        await world.ask("DELETE", "/account/sessions/current", by=client)
    return Fired({"userId": user_id, "sessionId": session["$id"]}, session | {"current": False})


async def create_recovery(world: World) -> Fired:
    user_id = await world.user()
    body = {"email": f"{user_id}@example.com", "url": "http://localhost/recover"}
    async with world.api.guest() as guest:
        # A guest is not told whether there is somebody with this address.
        await world.ask("POST", "/account/recovery", body, by=guest)
    secret = (await world.mailbox.link_to(body["email"]))["secret"]
    return Fired({"userId": user_id}, None, secret)


async def update_recovery(world: World) -> Fired:
    fired = await create_recovery(world)
    body = {"userId": fired.ids["userId"], "secret": fired.secret, "password": "a new password"}
    async with world.api.guest() as guest:
        token = await world.ask("PUT", "/account/recovery", body, by=guest)
    return Fired(fired.ids, token, fired.secret)


async def create_verification(world: World) -> Fired:
    async with world.signed_in() as (user_id, client):
        return await _verify(world, user_id, client)


async def update_verification(world: World) -> Fired:
    async with world.signed_in() as (user_id, client):
        fired = await _verify(world, user_id, client)
        body = {"userId": user_id, "secret": fired.secret}
        token = await world.ask("PUT", "/account/verifications/email", body, by=client)
    return Fired(fired.ids, token, fired.secret)


async def _verify(world: World, user_id: str, client: httpx.AsyncClient) -> Fired:
    body = {"url": "http://localhost/verify"}
    token = await world.ask("POST", "/account/verifications/email", body, by=client)
    secret = (await world.mailbox.link_to(f"{user_id}@example.com"))["secret"]
    return Fired({"userId": user_id, "verificationId": token["$id"]}, token, secret)


async def create_target(world: World) -> Fired:
    user_id, target_id = await world.user(), world.new_id()
    body = {"targetId": target_id, "providerType": "email", "identifier": f"{target_id}@example.org"}
    target = await world.ask("POST", f"/users/{user_id}/targets", body)
    return Fired({"userId": user_id, "targetId": target_id}, target)


async def update_target(world: World) -> Fired:
    fired = await create_target(world)
    path = f"/users/{fired.ids['userId']}/targets/{fired.ids['targetId']}"
    return Fired(fired.ids, await world.ask("PATCH", path, {"name": "Other"}))


async def delete_target(world: World) -> Fired:
    fired = await create_target(world)
    await world.ask("DELETE", f"/users/{fired.ids['userId']}/targets/{fired.ids['targetId']}")
    return fired


async def create_token(world: World) -> Fired:
    user_id = await world.user()
    token = await world.ask("POST", f"/users/{user_id}/tokens", {})
    return Fired({"userId": user_id, "tokenId": token["$id"]}, token, token["secret"])


async def create_challenge(world: World) -> Fired:
    async with world.signed_in() as (user_id, client):
        await _add_authenticator(world, client)
        return await _challenge(world, user_id, client)


async def _add_authenticator(world: World, client: httpx.AsyncClient) -> None:
    made = await world.ask("POST", "/account/mfa/authenticators/totp", by=client)
    otp = pyotp.TOTP(made["secret"]).now()
    await world.ask("PUT", "/account/mfa/authenticators/totp", {"otp": otp}, by=client)


async def _challenge(world: World, user_id: str, client: httpx.AsyncClient) -> Fired:
    challenge = await world.ask("POST", "/account/mfa/challenges", {"factor": "totp"}, by=client)
    return Fired({"userId": user_id, "challengeId": challenge["$id"]}, challenge)


# Teams.


async def create_team(world: World) -> Fired:
    team_id = world.new_id()
    team = await world.ask("POST", "/teams", {"teamId": team_id, "name": "Team"})
    return Fired({"teamId": team_id}, team)


async def update_team(world: World) -> Fired:
    team_id = await world.team()
    return Fired({"teamId": team_id}, await world.ask("PUT", f"/teams/{team_id}", {"name": "Other"}))


async def update_team_prefs(world: World) -> Fired:
    team_id = await world.team()
    prefs = await world.ask("PUT", f"/teams/{team_id}/prefs", {"prefs": {"theme": "dark"}})
    return Fired({"teamId": team_id}, prefs)


async def delete_team(world: World) -> Fired:
    team_id = await world.team()
    team = await world.ask("GET", f"/teams/{team_id}")
    await world.ask("DELETE", f"/teams/{team_id}")
    return Fired({"teamId": team_id}, team)


def _membership(member: dict[str, Any], secret: str = "") -> Fired:
    # Members are not told when somebody was last here; servers are.
    shown = member | {"userAccessedAt": ""}
    return Fired({"teamId": member["teamId"], "membershipId": member["$id"]}, shown, secret)


async def create_membership(world: World) -> Fired:
    return _membership(await world.member())


async def update_membership(world: World) -> Fired:
    member = await world.member()
    path = f"/teams/{member['teamId']}/memberships/{member['$id']}"
    return _membership(await world.ask("PATCH", path, {"roles": ["chief"]}))


async def accept_membership(world: World) -> Fired:
    team_id = world.new_id()
    async with world.signed_in() as (_, owner), world.signed_in() as (user_id, invited):
        await world.ask("POST", "/teams", {"teamId": team_id, "name": "Team"}, by=owner)
        body = {"roles": ["writer"], "email": f"{user_id}@example.com", "url": "http://localhost/join"}
        member = await world.ask("POST", f"/teams/{team_id}/memberships", body, by=owner)
        link = await world.mailbox.link_to(f"{user_id}@example.com")
        path = f"/teams/{team_id}/memberships/{member['$id']}/status"
        accepted = await world.ask("PATCH", path, {"userId": user_id, "secret": link["secret"]}, by=invited)
    return _membership(accepted, link["secret"])


async def delete_membership(world: World) -> Fired:
    member = await world.member()
    await world.ask("DELETE", f"/teams/{member['teamId']}/memberships/{member['$id']}")
    return _membership(member)


CASES: dict[str, Case] = {
    "users.[userId].create": create_user,
    "users.[userId].update": update_user("PATCH", "name", {"name": "Other"}),
    "users.[userId].update.email": update_user("PATCH", "email", {"email": "other@example.net"}),
    "users.[userId].update.name": update_user("PATCH", "name", {"name": "Other"}),
    "users.[userId].update.password": update_user("PATCH", "password", {"password": "a long password"}),
    "users.[userId].update.status": update_user("PATCH", "status", {"status": False}),
    "users.[userId].update.prefs": update_user("PATCH", "prefs", {"prefs": {"theme": "dark"}}),
    "users.[userId].update.phone": update_user("PATCH", "phone", {"number": "+4930123456"}),
    "users.[userId].update.mfa": update_user("PATCH", "mfa", {"mfa": True}),
    "users.[userId].update.labels": update_user("PUT", "labels", {"labels": ["vip"]}),
    "users.[userId].update.verification": update_user("PATCH", "verification", {"emailVerification": True}),
    "users.[userId].update.impersonator": update_user("PATCH", "impersonator", {"impersonator": True}),
    "users.[userId].delete": delete_user,
    "users.[userId].sessions.delete": delete_sessions,
    "users.[userId].sessions.[sessionId].create": create_session,
    "users.[userId].sessions.[sessionId].update": update_session,
    "users.[userId].sessions.[sessionId].delete": delete_session,
    "users.[userId].recovery.[recoveryId].create": create_recovery,
    "users.[userId].recovery.[recoveryId].update": update_recovery,
    "users.[userId].verification.[verificationId].create": create_verification,
    "users.[userId].verification.[verificationId].update": update_verification,
    "users.[userId].targets.[targetId].create": create_target,
    "users.[userId].targets.[targetId].update": update_target,
    "users.[userId].targets.[targetId].delete": delete_target,
    "users.[userId].tokens.[tokenId].create": create_token,
    "users.[userId].challenges.[challengeId].create": create_challenge,
    "teams.[teamId].create": create_team,
    "teams.[teamId].update": update_team,
    "teams.[teamId].update.prefs": update_team_prefs,
    "teams.[teamId].delete": delete_team,
    "teams.[teamId].memberships.[membershipId].create": create_membership,
    "teams.[teamId].memberships.[membershipId].update": update_membership,
    "teams.[teamId].memberships.[membershipId].update.status": accept_membership,
    "teams.[teamId].memberships.[membershipId].delete": delete_membership,
}
"""How each event is fired, by its pattern."""


class Vocabulary(NamedTuple):
    """One way of naming what is in databases, and how its events are fired."""

    path: str
    table: str
    row: str
    column: str

    async def database(self, world: World) -> Fired:
        database_id = world.new_id()
        database = await world.ask("POST", self.path, {"databaseId": database_id, "name": "Main"})
        return Fired({"databaseId": database_id}, database)

    async def table_in(self, world: World) -> Fired:
        ids = {
            "databaseId": (await self.database(world)).ids["databaseId"],
            f"{self.table}Id": world.new_id(),
        }
        body = {f"{self.table}Id": ids[f"{self.table}Id"], "name": "Posts", "permissions": ['read("users")']}
        return Fired(ids, await world.ask("POST", self._tables(ids), body))

    async def column_in(self, world: World) -> Fired:
        ids = (await self.table_in(world)).ids
        body = {"key": "title", "size": 100, "required": False}
        column = await world.ask("POST", f"{self._table(ids)}/{self.column}s/string", body)
        return Fired(ids, column)

    async def index_in(self, world: World) -> Fired:
        ids = (await self.column_in(world)).ids
        body = {"key": "by_title", "type": "key", f"{self.column}s": ["title"]}
        return Fired(ids, await world.ask("POST", f"{self._table(ids)}/indexes", body))

    async def row_in(self, world: World) -> Fired:
        ids = (await self.column_in(world)).ids | {f"{self.row}Id": world.new_id()}
        body = {f"{self.row}Id": ids[f"{self.row}Id"], "data": {"title": "a"}}
        return Fired(ids, await world.ask("POST", f"{self._table(ids)}/{self.row}s", body))

    def _tables(self, ids: dict[str, str]) -> str:
        return f"{self.path}/{ids['databaseId']}/{self.table}s"

    def _table(self, ids: dict[str, str]) -> str:
        return f"{self._tables(ids)}/{ids[f'{self.table}Id']}"

    def _path(self, ids: dict[str, str], kind: str) -> str:
        paths = {
            "database": f"{self.path}/{ids['databaseId']}",
            "table": self._table(ids) if f"{self.table}Id" in ids else "",
            "column": f"{self._table(ids)}/{self.column}s/title" if f"{self.table}Id" in ids else "",
            "index": f"{self._table(ids)}/indexes/by_title" if f"{self.table}Id" in ids else "",
            "row": f"{self._table(ids)}/{self.row}s/{ids[f'{self.row}Id']}" if f"{self.row}Id" in ids else "",
        }
        return paths[kind]

    def changed(self, make: Case, kind: str, method: str, body: dict[str, Any], path: str = "") -> Case:
        """Return the case that makes something and then changes it."""

        async def case(world: World) -> Fired:
            ids = (await make(world)).ids
            where = self._table(ids) + path if path else self._path(ids, kind)
            return Fired(ids, await world.ask(method, where, body))

        return case

    def deleted(self, make: Case, kind: str) -> Case:
        """Return the case that makes something and then deletes it."""

        async def case(world: World) -> Fired:
            ids = (await make(world)).ids
            shown = await world.ask("GET", self._path(ids, kind))
            await world.ask("DELETE", self._path(ids, kind))
            return Fired(ids, shown)

        return case

    async def upserted(self, world: World) -> Fired:
        ids = (await self.column_in(world)).ids | {f"{self.row}Id": world.new_id()}
        return Fired(ids, await world.ask("PUT", self._path(ids, "row"), {"data": {"title": "a"}}))

    def cases(self, root: str, table: str, row: str, column: str) -> dict[str, Case]:
        """Return the cases for the names that begin with ``root``, in the words of the given vocabulary."""
        database = f"{root}.[databaseId]"
        tables = f"{database}.{table}s.[{table}Id]"
        rows, columns = f"{tables}.{row}s.[{row}Id]", f"{tables}.{column}s.[{column}Id]"
        indexes = f"{tables}.indexes.[indexId]"
        string = f"/{self.column}s/string/title"
        return {
            f"{database}.create": self.database,
            f"{database}.update": self.changed(self.database, "database", "PUT", {"name": "Other"}),
            f"{database}.delete": self.deleted(self.database, "database"),
            f"{tables}.create": self.table_in,
            f"{tables}.update": self.changed(self.table_in, "table", "PUT", {"name": "Other"}),
            f"{tables}.delete": self.deleted(self.table_in, "table"),
            f"{columns}.create": self.column_in,
            f"{columns}.update": self.changed(
                self.column_in, "column", "PATCH", {"required": False, "default": "b"}, string
            ),
            f"{columns}.delete": self.deleted(self.column_in, "column"),
            f"{indexes}.create": self.index_in,
            f"{indexes}.delete": self.deleted(self.index_in, "index"),
            f"{rows}.create": self.row_in,
            f"{rows}.update": self.changed(self.row_in, "row", "PATCH", {"data": {"title": "b"}}),
            f"{rows}.upsert": self.upserted,
            f"{rows}.delete": self.deleted(self.row_in, "row"),
        }


DOCUMENTS = Vocabulary("/databases", "collection", "document", "attribute")
ROWS = Vocabulary("/tablesdb", "table", "row", "column")

CASES |= DOCUMENTS.cases("databases", "collection", "document", "attribute")
# What is told in one vocabulary is told in the other one too.
CASES |= DOCUMENTS.cases("databases", "table", "row", "column")
CASES |= ROWS.cases("tablesdb", "table", "row", "column")
