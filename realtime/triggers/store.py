"""The triggers' read model in Redis: where the API writes webhooks and functions, and workers read them.

All triggers of a project are one hash, which a worker reads in one step and keeps (key names:
:mod:`realtime.bus.keys`). Each bucket has a version, which every change of a trigger in it replaces by one that was
never there, in the same script; so a worker notices any change of any project by reading 64 numbers, and reads again
only what may be different. Which names an event is matched by is decided by who reads: wire specification 11.2 and
12.1. The names that enabled triggers wait for are counted beside, in the same script: by them publishing tells which
events to leave for workers.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog
from redis.asyncio import Redis

from realtime.bus.cluster import ClusterClient
from realtime.bus.keys import (
    BUCKETS,
    WORK_KINDS,
    WorkKind,
    bucket,
    trigger_names_key,
    triggers_key,
    triggers_version_key,
)
from realtime.bus.scripts import VERSION_SCRIPT, read_script
from realtime.permissions import is_valid_id
from realtime.triggers.model import FunctionTrigger, Triggers, Webhook

log = structlog.get_logger("realtime.triggers")

_FOLDER = Path(__file__).parent
_NAMES = _FOLDER / "names.lua"
_TYPES: dict[str, type[Webhook | FunctionTrigger]] = {"webhook": Webhook, "function": FunctionTrigger}


class TriggerStore:
    """Webhooks and functions of all projects in Redis.

    A read sees all writes that returned before. The last write wins, and writing the same record again changes
    nothing, not even the version. Every method raises :class:`redis.RedisError` when Redis fails: a write may then have
    happened or not, and can be repeated. Cancelling leaves a write whole or undone. Triggers are deleted with their
    project, by :meth:`realtime.identity.store.IdentityStore.delete_project`.
    """

    def __init__(self, redis: Redis) -> None:
        """Use ``redis``, whose owner closes it; made without ``decode_responses``."""
        self._redis = redis
        self._read = redis.register_script(read_script(_FOLDER / "read_triggers.lua"))
        self._write = redis.register_script(
            read_script(VERSION_SCRIPT, _NAMES, _FOLDER / "write_trigger.lua")
        )
        self._count_names = redis.register_script(read_script(_NAMES, _FOLDER / "count_names.lua"))

    async def put_webhook(self, project_id: str, webhook: Webhook) -> None:
        """Create the webhook, or replace its record.

        Raises:
            ValueError: an ID is not valid.
        """
        await self._put(project_id, "webhook", webhook)

    async def put_function(self, project_id: str, function: FunctionTrigger) -> None:
        """Create the function, or replace its record.

        Raises:
            ValueError: an ID is not valid.
        """
        await self._put(project_id, "function", function)

    async def delete(self, project_id: str, kind: str, trigger_id: str) -> bool:
        """Delete the ``webhook`` or ``function``, as ``kind`` says; return False when there was none of this ID."""
        return await self._change(project_id, f"{kind}:{trigger_id}", b"")

    async def recount(self, project_id: str) -> None:
        """Count the names that the project's triggers wait for anew: for what an earlier release has written."""
        await self._count_names(keys=_keys(project_id))

    async def counted_names(self, project_id: str, kind: WorkKind) -> dict[str, int]:
        """Return the names that the project's enabled webhooks, or functions, wait for, and how many for each."""
        names: dict[bytes, bytes] = await _answer(self._redis.hgetall(trigger_names_key(project_id, kind)))
        return {name.decode(): int(number) for name, number in names.items()}

    async def read(self, project_id: str) -> Triggers:
        """Return all triggers of a project, and the version of its bucket at that moment.

        Records that cannot be read, as one of a newer release might be, are skipped, which is logged.
        """
        version, entries = await self._read(keys=_keys(project_id)[:2])
        webhooks: list[Webhook] = []
        functions: list[FunctionTrigger] = []
        for name, record in zip(entries[::2], entries[1::2], strict=True):
            trigger = _decode(project_id, name.decode(), record)
            if isinstance(trigger, Webhook):
                webhooks.append(trigger)
            elif trigger is not None:
                functions.append(trigger)
        return Triggers(int(version or 0), tuple(_by_id(webhooks)), tuple(_by_id(functions)))

    async def list_ids(self, project_id: str) -> list[tuple[str, str]]:
        """Return kind and ID of every trigger of a project, in no order, also of records that cannot be read."""
        names: list[bytes] = await _answer(self._redis.hkeys(triggers_key(project_id)))
        split = (name.decode().partition(":") for name in names)
        return [(kind, trigger_id) for kind, _, trigger_id in split]

    async def versions(self, numbers: Sequence[int] = range(BUCKETS)) -> list[int]:
        """Return the versions of buckets, in the order of their numbers given; of all of them unless some are.

        One round trip; one a bucket on a Cluster.
        """
        if not numbers:
            return []
        names = [triggers_version_key(number) for number in numbers]
        if isinstance(self._redis, ClusterClient):
            # One after the other: at once, each would have a connection of its own.
            found = [await _answer(self._redis.get(name)) for name in names]
        else:
            found = await _answer(self._redis.mget(names))
        return [int(version or 0) for version in found]

    async def _put(self, project_id: str, kind: str, trigger: Webhook | FunctionTrigger) -> None:
        for id_ in (project_id, trigger.id):
            if not is_valid_id(id_):
                raise ValueError(f"{id_!r} is not a valid ID.")
        await self._change(project_id, f"{kind}:{trigger.id}", msgspec.json.encode(trigger))

    async def _change(self, project_id: str, name: str, record: bytes) -> bool:
        return bool(await self._write(keys=_keys(project_id), args=[name, record]))


async def _answer(reply: Any) -> Any:
    # redis-py types replies as maybe immediate.
    return await reply


def _keys(project_id: str) -> list[str]:
    names = (trigger_names_key(project_id, kind) for kind in WORK_KINDS)
    return [triggers_key(project_id), triggers_version_key(bucket(project_id)), *names]


def _decode(project_id: str, name: str, record: bytes) -> Webhook | FunctionTrigger | None:
    kind = name.partition(":")[0]
    try:
        return msgspec.json.decode(record, type=_TYPES[kind])
    except (KeyError, msgspec.MsgspecError):
        log.warning("the record of a trigger cannot be read", project=project_id, trigger=name)
        return None


def _by_id(triggers: Iterable[Any]) -> list[Any]:
    return sorted(triggers, key=lambda trigger: trigger.id)
