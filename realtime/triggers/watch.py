"""The triggers that workers act by: kept in memory, and read again when a version says that something changed."""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import NamedTuple

from realtime.bus.keys import bucket
from realtime.triggers.index import TriggerIndex
from realtime.triggers.model import Triggers
from realtime.triggers.store import TriggerStore

MAX_PROJECTS = 10_000
"""Of how many projects the triggers are kept."""

_AT_ONCE = 16
"""How many projects are read at a time."""


class _Known(NamedTuple):
    version: int
    triggers: TriggerIndex


class TriggerWatch:
    """What triggers there are, asked for after a batch of events was read. For one event loop.

    No event misses a trigger that was there before it: the versions are read in each call. What changes a moment later
    is heeded or not.
    """

    def __init__(self, store: TriggerStore) -> None:
        self._store = store
        # Those asked for last at the end.
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def indexes(self, projects: Collection[str]) -> Mapping[str, TriggerIndex]:
        """Return the triggers of each of the projects, as they are now.

        One round trip (one a bucket on a Cluster), and one more for each project in whose bucket something changed.

        Raises:
            redis.RedisError: Redis failed.
        """
        numbers = sorted({bucket(project) for project in projects})
        versions = dict(zip(numbers, await self._store.versions(numbers), strict=True))
        found: dict[str, TriggerIndex] = {}
        changed = []
        for project in projects:
            known = self._known.get(project)
            if known is None or known.version != versions[bucket(project)]:
                changed.append(project)
            else:
                found[project] = known.triggers
                self._known.move_to_end(project)
        for start in range(0, len(changed), _AT_ONCE):
            batch = changed[start : start + _AT_ONCE]
            for project, triggers in zip(
                batch, await asyncio.gather(*map(self._store.read, batch)), strict=True
            ):
                found[project] = self._keep(project, triggers)
        return found

    def _keep(self, project: str, triggers: Triggers) -> TriggerIndex:
        index = TriggerIndex(triggers)
        self._known[project] = _Known(triggers.version, index)
        self._known.move_to_end(project)
        if len(self._known) > MAX_PROJECTS:
            self._known.popitem(last=False)
        return index
