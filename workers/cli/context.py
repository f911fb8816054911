"""Where commands find things: the settings, the running development instance, its Redis, key and secret.

A command line on the machine of a ``realtime dev`` needs no options: the port comes from the settings, the
key and the secret from the data folder.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from sqlalchemy.exc import SQLAlchemyError

from realtime.bus import RedisBus, connect, redis_url
from realtime.identity.store import IdentityStore
from realtime.settings import Settings
from realtime.triggers.store import TriggerStore
from workers.cli.output import CommandError
from workers.dev import kept
from workers.store.database import database_url, open_database
from workers.store.migrate import NewerDatabaseError, migrate
from workers.store.relay import Relay
from workers.store.store import Store
from workers.store.trigger_names import recount_names
from workers.store.write_through import WriteThrough

START_HINT = "Start `realtime dev`, or set REALTIME_REDIS_URL."


def load_settings(**overrides: object) -> Settings:
    """Return the settings of the environment; ``overrides`` that are not None win.

    Raises:
        pydantic.ValidationError: a value is not of its type.
    """
    return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]


def resolve(settings: Settings) -> Settings:
    """Return ``settings`` with the Redis and the secret of the data folder's instance where unset."""
    return settings.model_copy(
        update={
            "redis_url": redis_url(settings),
            "secret": settings.secret or kept.read(settings.data_dir / kept.SECRET_FILE),
        }
    )


def signing_secret(settings: Settings) -> str:
    """Return the secret that signs new tokens: the newest of ``REALTIME_SECRET``, else the kept one.

    Raises:
        CommandError: there is neither.
    """
    secrets = resolve(settings).secrets
    if not secrets:
        raise CommandError(
            f"No secret to sign with: {_nothing_kept(settings, kept.SECRET_FILE)}, or set REALTIME_SECRET."
        )
    return secrets[-1]


def development_key(settings: Settings) -> str:
    """Return the API key of the development instance.

    Raises:
        CommandError: none is set and none is kept.
    """
    key = settings.dev_key or kept.read(settings.data_dir / kept.KEY_FILE)
    if not key:
        raise CommandError(f"No API key: {_nothing_kept(settings, kept.KEY_FILE)}, or give --key.")
    return key


def _nothing_kept(settings: Settings, name: str) -> str:
    """Return where ``realtime dev`` would have kept the file, and how to come to the right place."""
    # The folder is mostly given as relative, so that what was looked at depends on where the command was called.
    return (
        f"there is no file {settings.data_dir.resolve() / name}. Start `realtime dev` here, call this from "
        "the folder that it was started in, set REALTIME_DATA_DIR to the absolute path of its data folder"
    )


def local_endpoint(settings: Settings) -> str:
    """Return the API endpoint of a server with these settings, as clients on this machine reach it."""
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}/v1"


def without_password(url: str) -> str:
    """Return ``url`` with the password in it, if there is one, replaced by stars."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    user = parts.username or ""
    return urlunsplit(parts._replace(netloc=f"{user}:***@{parts.netloc.rpartition('@')[2]}"))


@asynccontextmanager
async def open_redis(settings: Settings) -> AsyncIterator[Redis]:
    """Open the settings' Redis, or that of the running development instance.

    Raises:
        CommandError: Redis cannot be reached.
    """
    url = resolve(settings).redis_url
    redis = connect(url)
    try:
        await redis.ping()
        yield redis
    except (RedisConnectionError, RedisTimeoutError) as error:
        raise CommandError(f"Redis does not answer at {without_password(url)}. {START_HINT}") from error
    finally:
        await redis.aclose()


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[IdentityStore]:
    """Open the read model in that Redis. Raises what :func:`open_redis` raises."""
    async with open_redis(settings) as redis:
        yield IdentityStore(redis)


class Stores(NamedTuple):
    """What commands change: the data itself, and the read models of hubs and workers."""

    store: Store
    identities: IdentityStore
    triggers: TriggerStore


@asynccontextmanager
async def open_stores(settings: Settings, *, may_make: bool = True) -> AsyncIterator[Stores]:
    """Open the settings' database, migrated, and the read model; what is changed is told to hubs before this ends.

    Args:
        settings: where they are.
        may_make: whether a file of SQLite that is not there is made.

    Raises:
        CommandError: Redis or the database cannot be reached, or the database is of a newer version.
    """
    async with open_redis(settings) as redis:
        if not may_make:
            require_database(settings)
        try:
            database = open_database(settings)
        except ValueError as error:
            raise CommandError(str(error)) from error
        identities = IdentityStore(redis)
        triggers = TriggerStore(redis)
        through = WriteThrough(identities, triggers)
        relay = Relay(database, RedisBus.from_settings(settings, redis), through)
        try:
            await migrate(database)
            yield Stores(Store(database, relay), identities, triggers)
        except NewerDatabaseError as error:
            raise CommandError(str(error)) from error
        except (SQLAlchemyError, OSError) as error:
            where = database_url(settings).render_as_string(hide_password=True)
            raise CommandError(f"The database at {where} cannot be used: {reason_of(error)}") from error
        finally:
            await relay.aclose()
            await database.aclose()


@asynccontextmanager
async def open_updated_stores(settings: Settings, *, may_make: bool = True) -> AsyncIterator[Stores]:
    """Open what :func:`open_stores` does, and bring the read model to this release too: for servers, as they start.

    Raises:
        CommandError: as :func:`open_stores` does.
    """
    async with open_stores(settings, may_make=may_make) as stores:
        await recount_names(stores.store.database, stores.triggers)
        yield stores


def has_database(settings: Settings) -> bool:
    """Tell whether there may be a database: a file of SQLite would be made by asking it."""
    try:
        url = database_url(settings)
    except ValueError:
        return False
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


def require_database(settings: Settings) -> None:
    """Refuse a file of SQLite that is not there: opening it would make an empty one, which nobody else uses.

    Raises:
        CommandError: there is no such file, or the settings name no database.
    """
    try:
        url = database_url(settings)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if has_database(settings):
        return
    named = "REALTIME_DATABASE_URL" if settings.database_url else "REALTIME_DATA_DIR"
    raise CommandError(
        f"There is no database {Path(url.database or '').absolute()}. The API makes it: start `realtime api` first, "
        f"with the same {named}, or set {named} as it is set there."
    )


def migrate_stores(settings: Settings, *, may_make: bool = True) -> None:
    """Bring the database and the read model to this release, before anything is served. Blocks.

    Raises:
        CommandError: as :func:`open_stores` does.
    """

    async def open_once() -> None:
        async with open_updated_stores(settings, may_make=may_make):
            pass

    asyncio.run(open_once())


def reason_of(error: Exception) -> str:
    """Return why a database failed, in one line, without the statement."""
    original = getattr(error, "orig", None) or error
    return str(original).strip().partition("\n")[0] or type(original).__name__
