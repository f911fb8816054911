"""The read model: where hubs look up projects, users and API keys, and where their owners write them.

Every record is one JSON text in Redis (key names: :mod:`realtime.bus.keys`). A write replaces the whole
record, keeps its indexes and announces the change on the project's live channel, in one script: a hub that
hears of a change reads the new record, never the old one. The last write wins; writing the same record again
is harmless, so a store can be rebuilt at any time. Sources: wire specification 2.4, 8.4 and 16.12.
"""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog
from redis.asyncio import Redis

from realtime.bus.connect import publish_command
from realtime.bus.keys import (
    BUCKETS,
    WORK_KINDS,
    bucket,
    keys_key,
    live_channel,
    presence_order_key,
    presence_users_key,
    presences_key,
    project_key,
    projects_key,
    split_user_key,
    trigger_names_key,
    triggers_key,
    triggers_version_key,
    user_emails_key,
    user_key,
    user_key_pattern,
    user_phones_key,
)
from realtime.bus.scripts import VERSION_SCRIPT, read_script
from realtime.events.event import IdentityChange
from realtime.identity.model import CONSOLE, ApiKey, Project, User
from realtime.identity.secrets import hash_secret
from realtime.identity.shared import SharedReads
from realtime.permissions import is_valid_id

log = structlog.get_logger("realtime.identity")

_DELETE_BATCH = 500
"""How many users of a deleted project are removed with one command."""

_Record = TypeVar("_Record", Project, User, ApiKey)


class IdentityStore:
    """Records of projects, users and API keys in Redis.

    Reads are one command and see all writes that returned before. IDs that cannot exist are not looked up.
    Every method raises :class:`redis.RedisError` when Redis fails: a write may then have happened or not, and
    can be repeated. Cancelling leaves a write whole or undone.
    """

    def __init__(self, redis: Redis) -> None:
        """Use ``redis``, whose owner closes it; made without ``decode_responses``."""
        self._redis = redis
        # The one that live channels are subscribed for.
        self._publish_command = publish_command(redis)
        self._read_access = redis.register_script(_script("read_access.lua"))
        self._accesses = SharedReads(self._get_access)
        self._write_project = redis.register_script(
            read_script(VERSION_SCRIPT, Path(__file__).with_name("write_project.lua"))
        )
        self._write_user = redis.register_script(_script("write_user.lua"))
        self._write_key = redis.register_script(_script("write_key.lua"))

    # Projects.

    async def get_project(self, project_id: str) -> Project | None:
        """Return the project; None when there is none of this ID."""
        if not is_valid_id(project_id):
            return None
        return _decode(await _answer(self._redis.get(project_key(project_id))), Project)

    async def list_projects(self) -> list[Project]:
        """Return every project, by ID. Reads all buckets: for start-up and administration."""
        ids = [
            member.decode()
            for number in range(BUCKETS)
            for member in await _answer(self._redis.smembers(projects_key(number)))
        ]
        projects = [await self.get_project(project_id) for project_id in sorted(ids)]
        return [project for project in projects if project is not None]

    async def put_project(self, project: Project) -> None:
        """Create the project, or replace its record.

        Raises:
            ValueError: the ID is not valid, or reserved.
        """
        _check_ids(project.id)
        if project.id == CONSOLE:
            raise ValueError(f"The ID {CONSOLE} is reserved.")
        await self._run(
            self._write_project,
            project.id,
            [project_key(project.id), projects_key(bucket(project.id))],
            IdentityChange(project=True),
            [project.id, msgspec.json.encode(project)],
        )

    async def delete_project(self, project_id: str) -> bool:
        """Delete the project with its users, keys, triggers and presences; its events stay until the log's own end.

        The project is gone at once; its users follow, found by a scan of the whole database. If that is cut
        short, call again.

        Returns:
            False when there was no such project.
        """
        if not is_valid_id(project_id):
            return False
        number = bucket(project_id)
        belongings = (
            user_emails_key(project_id),
            user_phones_key(project_id),
            keys_key(project_id),
            triggers_key(project_id),
            *(trigger_names_key(project_id, kind) for kind in WORK_KINDS),
            presences_key(project_id),
            presence_users_key(project_id),
            presence_order_key(project_id),
        )
        existed = await self._run(
            self._write_project,
            project_id,
            [project_key(project_id), projects_key(number), triggers_version_key(number), *belongings],
            IdentityChange(project=True, all=True),
            [project_id, b""],
        )
        await self._delete_users(project_id)
        return existed

    # Users.

    async def get_user(self, project_id: str, user_id: str) -> User | None:
        """Return the user; None when the project has none of this ID."""
        if not is_valid_id(user_id):
            return None
        return _decode(await _answer(self._redis.get(user_key(project_id, user_id))), User)

    async def find_user_by_email(self, project_id: str, email: str) -> User | None:
        """Return the user with this e-mail address, whatever its letters' case; None when there is none."""
        field = _email_field(email)
        user = await self._find(project_id, user_emails_key(project_id), field)
        return user if user is not None and _email_field(user.email) == field else None

    async def find_user_by_phone(self, project_id: str, phone: str) -> User | None:
        """Return the user with exactly this phone number; None when there is none."""
        user = await self._find(project_id, user_phones_key(project_id), _encode(phone))
        return user if user is not None and user.phone == phone else None

    async def put_user(self, project_id: str, user: User) -> None:
        """Create the user, or replace the record, and have open connections of the user follow.

        Raises:
            ValueError: an ID, label or team role is not a valid ID, and could pass for another role.
        """
        _check_ids(project_id, user.id, *user.labels)
        for membership in user.memberships:
            _check_ids(membership.id, membership.team_id, *membership.roles)
        record = msgspec.json.encode(user)
        await self._change_user(project_id, user.id, [record, _email_field(user.email), _encode(user.phone)])

    async def delete_user(self, project_id: str, user_id: str) -> bool:
        """Delete the user; open connections become guests. Return False when there was no such user."""
        return is_valid_id(user_id) and await self._change_user(project_id, user_id, [b"", b"", b""])

    async def scan_users(self) -> AsyncIterator[tuple[str, str]]:
        """Yield the project and ID of every user, in no order; of those that come or go meanwhile some, maybe twice.

        Looks at the names of all keys in Redis: for administration.
        """
        async for key in self._redis.scan_iter(match=user_key_pattern(), count=1000):
            yield split_user_key(key.decode())

    # API keys.

    async def get_project_and_key(self, project_id: str, secret: str) -> tuple[Project | None, ApiKey | None]:
        """Return the project, and its key with this secret, expired or not; None for what there is not.

        For servers that make many requests: it costs half of two reads, and those who ask the same at once share one.
        """
        if not secret or not is_valid_id(project_id):
            return await self.get_project(project_id), None
        return await self._accesses.get((project_id, hash_secret(secret)))

    async def _get_access(self, names: tuple[str, str]) -> tuple[Project | None, ApiKey | None]:
        project_id, secret_hash = names
        project, key = await self._read_access(
            keys=[project_key(project_id), keys_key(project_id)], args=[secret_hash]
        )
        return _decode(project, Project), _decode(key, ApiKey)

    async def get_key(self, project_id: str, secret: str) -> ApiKey | None:
        """Return the key with this secret, expired or not; None when the project has none."""
        if not secret:
            return None
        return _decode(await _answer(self._redis.hget(keys_key(project_id), hash_secret(secret))), ApiKey)

    async def list_keys(self, project_id: str) -> list[ApiKey]:
        """Return the project's keys, by ID. Records that cannot be read are skipped, which is logged."""
        keys: list[ApiKey] = []
        for record in await _answer(self._redis.hvals(keys_key(project_id))):
            try:
                keys.append(msgspec.json.decode(record, type=ApiKey))
            except msgspec.MsgspecError:
                log.warning("the record of an API key cannot be read", project=project_id)
        return sorted(keys, key=lambda key: key.id)

    async def put_key(self, project_id: str, key: ApiKey, secret: str) -> None:
        """Create the key, or replace the one with its ID; a former secret is good no longer.

        Raises:
            ValueError: an ID is not valid, or the secret is empty.
        """
        if not secret:
            raise ValueError("The secret of an API key must not be empty.")
        await self.put_hashed_key(project_id, key, hash_secret(secret))

    async def put_hashed_key(self, project_id: str, key: ApiKey, secret_hash: str) -> None:
        """Do what :meth:`put_key` does, for a secret that only its :func:`hash <hash_secret>` is known of.

        Raises:
            ValueError: an ID is not valid.
        """
        _check_ids(project_id, key.id)
        await self._change_key(project_id, key.id, [msgspec.json.encode(key), secret_hash.encode()])

    async def delete_key(self, project_id: str, key_id: str) -> bool:
        """Delete the key; connections that it opened become guests. Return False when there was none."""
        return await self._change_key(project_id, key_id, [b"", b""])

    # How it is done.

    async def _find(self, project_id: str, index: str, field: bytes) -> User | None:
        user_id = await _answer(self._redis.hget(index, field)) if field else None
        return await self.get_user(project_id, user_id.decode()) if user_id is not None else None

    async def _change_user(self, project_id: str, user_id: str, arguments: Sequence[bytes]) -> bool:
        keys = [user_key(project_id, user_id), user_emails_key(project_id), user_phones_key(project_id)]
        change = IdentityChange(user=user_id)
        return await self._run(self._write_user, project_id, keys, change, [user_id, *arguments])

    async def _change_key(self, project_id: str, key_id: str, arguments: Sequence[bytes]) -> bool:
        # Nobody knows which connections a key opened, so all of the project are checked. Keys rarely change.
        change = IdentityChange(all=True)
        keys = [keys_key(project_id)]
        return await self._run(self._write_key, project_id, keys, change, [key_id, *arguments])

    async def _delete_users(self, project_id: str) -> None:
        batch: list[bytes] = []
        async for key in self._redis.scan_iter(match=user_key(project_id, "*"), count=1000):
            batch.append(key)
            if len(batch) == _DELETE_BATCH:
                await self._redis.unlink(*batch)
                batch.clear()
        if batch:
            await self._redis.unlink(*batch)

    async def _run(
        self,
        script: Any,
        project_id: str,
        keys: Sequence[str],
        change: IdentityChange,
        arguments: Sequence[str | bytes],
    ) -> bool:
        """Run a script that announces ``change``, and return what it does; only here is decided how."""
        announcement = msgspec.json.encode({"identity": change})
        answer = await script(
            keys=keys, args=[self._publish_command, live_channel(project_id), announcement, *arguments]
        )
        return bool(answer)


def _script(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


async def _answer(reply: Any) -> Any:
    # redis-py types replies as maybe immediate, and as text or bytes.
    return await reply


def _decode(record: bytes | None, record_type: type[_Record]) -> _Record | None:
    return None if record is None else msgspec.json.decode(record, type=record_type)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _email_field(email: str) -> bytes:
    """Return the address as it is indexed: ASCII letters in lower case, as the script can do it too."""
    return _encode(email).lower()


def _check_ids(*ids: str) -> None:
    for id_ in ids:
        if not is_valid_id(id_):
            raise ValueError(f"{id_!r} is not a valid ID, label or team role.")
