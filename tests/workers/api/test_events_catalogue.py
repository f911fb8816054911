"""Every event of the catalogue that the API's services fire is fired through the API, and heard over a hub.

A new event in the catalogue without a case here fails a test; so does a case for an event that is gone.
"""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import redis

from realtime.client import RealtimeClient
from realtime.events.catalogue import walk
from realtime.events.routing import route
from realtime.settings import Settings
from tests.api import KEY, PROJECT, Published, running_api, running_hub
from tests.firing import CASES, Fired, World
from tests.firing.world import ROOT_KEY
from tests.mailbox import Mailbox
from workers.dev.demo import FAMILY_CHANNELS
from workers.embedded import EmbeddedValkey

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOT_OFFERED = {
    "documentsdb": "document databases are those of `databases` here",
    "vectorsdb": "there are no vector databases",
    "sites": "no sites are hosted",
    "schedules": "schedules are kept with what they set off",
    "rules": "there are no domains to rule over",
    "reports": "there are no advisors; whoever makes reports publishes these events",
    "migrations": "nothing is migrated over the API",
}
"""Resources of the catalogue that no service of this server is about, and why."""

NOT_FIRED = {
    "users.[userId].challenges.[challengeId].update": "a challenge that was met is gone; its session changes",
    "users.[userId].identities.[identityId].delete": "nobody has identities of other providers",
    "databases.[databaseId].collections.[collectionId].indexes.[indexId].update": "indexes are never changed",
    "databases.[databaseId].tables.[tableId].indexes.[indexId].update": "indexes are never changed",
    "tablesdb.[databaseId].tables.[tableId].indexes.[indexId].update": "indexes are never changed",
    "functions.[functionId].deployments.[deploymentId].update": "deployments are ready at once, for good",
    "webhooks.[webhookId].update.disabled": "workers fire it, for a webhook that fails for too long",
    "projects.[projectId].ping": "nobody asks to be told that a client was set up",
}
"""Events of the other resources that no route fires, and why."""


SECRETS = {"password", "hash", "hashOptions", "secret"}
"""Members that servers are shown, and events never have."""


def catalogue() -> Iterator[str]:
    """Yield the pattern of every event of these services."""
    for path in walk():
        if path[0].word not in NOT_OFFERED:
            resource = ".".join(f"{each.word}.[{each.param}]" for each in path)
            for action, attributes in path[-1].actions.items():
                if action != "sessions":
                    yield f"{resource}.{action}"
                yield from (f"{resource}.{action}.{attribute}" for attribute in attributes)


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as mailbox:
        yield mailbox


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    valkey: EmbeddedValkey, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory, mailbox: Mailbox
) -> AsyncIterator[World]:
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
    folder = tmp_path_factory.mktemp("catalogue")
    shutil.copy(sqlite_template, folder / "realtime.db")
    settings = Settings(
        redis_url=valkey.url,
        data_dir=folder,
        secret="a-secret-that-signs-the-tokens-of-tests",
        limits="off",
        smtp_url=mailbox.url,
        root_key=ROOT_KEY,
    )
    async with running_api(settings) as api, running_hub(settings) as endpoint:
        world, ready = World(api, mailbox), asyncio.Event()
        async with RealtimeClient(endpoint, PROJECT, key=KEY) as listener:
            listening = asyncio.create_task(world.listen(listener, ready))
            await ready.wait()
            yield world
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


class TestCatalogue:
    async def test_every_event_has_a_case_or_a_reason(self) -> None:
        assert set(catalogue()) == CASES.keys() | NOT_FIRED.keys()
        assert CASES.keys().isdisjoint(NOT_FIRED)

    @pytest.mark.parametrize("pattern", CASES)
    async def test_event_is_fired_once_and_heard(self, world: World, pattern: str) -> None:
        before = len(await world.api.published())
        fired = await CASES[pattern](world)
        published = await world.api.published(fired.project)
        event = self._the_one(pattern, fired, published[before if fired.project == PROJECT else 0 :])

        # Of a variable, `secret` says whether it is one.
        assert not any(event.payload.get(key) for key in SECRETS if "variables" not in pattern)
        if fired.payload is None:
            assert event.payload["userId"] == fired.ids["userId"]
        else:
            assert self._told(event.payload) == self._told(fired.payload)
        assert not fired.secret or fired.secret not in str(event.payload)
        name = next(name for name in event.events if self._name(pattern, fired.ids).fullmatch(name))
        way = route(name, event.payload, project_id=fired.project)
        assert set(way.channels) <= set(event.channels)
        if way.project != "console":
            assert set(way.roles) <= set(event.roles)
        assert re.sub(r"\[\w+\]", "*", pattern) in event.events
        if set(FAMILY_CHANNELS) & set(event.channels):
            heard = await world.heard(event)
            assert list(heard.events) == event.events
            assert list(heard.channels) == event.channels
            assert heard.payload == event.payload

    def _told(self, payload: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in payload.items() if key not in SECRETS}

    def _the_one(self, pattern: str, fired: Fired, published: list[Published]) -> Published:
        name = self._name(pattern, fired.ids)
        found = [event for event in published if any(map(name.fullmatch, event.events))]
        assert len(found) == 1, [event.name for event in published]
        return found[0]

    def _name(self, pattern: str, ids: dict[str, str]) -> re.Pattern[str]:
        """Return what the concrete name looks like: IDs that are not known may be anything but `*`."""
        same = {"tableId": "collectionId", "rowId": "documentId"}
        known = ids | {param: ids[other] for param, other in same.items() if other in ids}
        parts = re.split(r"\[(\w+)\]", pattern)
        return re.compile(
            "".join(
                re.escape(part) if number % 2 == 0 else re.escape(known.get(part, "")) or r"[^.*]+"
                for number, part in enumerate(parts)
            )
        )
