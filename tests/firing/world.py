"""The world in which events are fired: the API, a hub beside it, and a server that listens to everything."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from typing import Any, NamedTuple

import httpx

from realtime.client import RealtimeClient
from realtime.client.frames import Event
from tests.api import PROJECT, Api, Published
from tests.mailbox import Mailbox
from tests.topologies import DEADLINE_S
from workers.dev.demo import FAMILY_CHANNELS

ROOT_KEY = "the-root-key"


class Fired(NamedTuple):
    """What a case did."""

    ids: dict[str, str]
    """Of the resources, by the parameters of the event's name; what is missing may be anything."""
    payload: dict[str, Any] | None
    """The resource as the API showed it; None if it shows nobody what has happened."""
    secret: str = ""
    """What must not be in the event."""
    project: str = PROJECT
    """Whose event it is."""


class World:
    """The API and a hub beside each other, and a server that listens to everything."""

    def __init__(self, api: Api, mailbox: Mailbox) -> None:
        self.api = api
        self.mailbox = mailbox
        # Whoever runs the server.
        self.root = api.holder(ROOT_KEY)
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
        self, method: str, path: str, body: Any = None, *, by: httpx.AsyncClient | None = None, **options: Any
    ) -> Any:
        """Make a request, with a JSON body or with other ``options`` of httpx; return what is answered."""
        if body is not None:
            options["json"] = body
        response = await (by or self.api.server).request(method, f"/v1{path}", **options)
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


def changed(make: Case, method: str, path: str, body: dict[str, Any]) -> Case:
    """Return the case that makes something and then changes it.

    Args:
        make: makes it.
        method: of the request that changes it.
        path: of that request, with the IDs of what was made in braces.
        body: of that request.
    """

    async def case(world: World) -> Fired:
        made = await make(world)
        return made._replace(payload=await world.ask(method, path.format(**made.ids), body))

    return case


def deleted(make: Case, path: str) -> Case:
    """Return the case that makes something and then deletes it; ``path`` has the IDs of what was made in braces."""

    async def case(world: World) -> Fired:
        made = await make(world)
        shown = await world.ask("GET", path.format(**made.ids))
        await world.ask("DELETE", path.format(**made.ids))
        return made._replace(payload=shown)

    return case
