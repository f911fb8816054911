"""What the routes of the API work with: the settings, the read model, the bus, the store and its relay."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

from starlette.requests import Request

from realtime.bus import RedisBus
from realtime.identity.resolver import Resolver
from realtime.identity.store import IdentityStore
from realtime.presences.store import PresenceStore
from realtime.presences.sweeper import Sweeper
from realtime.settings import Settings
from realtime.triggers.store import TriggerStore
from workers.api.list_cache import ListCache
from workers.api.mail import Mailer, mailer_of
from workers.files.discards import Discards
from workers.files.opening import open_file_store
from workers.files.store import FileStore
from workers.functions.executions import Executions
from workers.functions.executors.chosen import ChosenExecutor
from workers.images.pool import ImagePool
from workers.messaging.dispatcher import Dispatcher
from workers.messaging.routes import Routes
from workers.outbound.guard import Guard
from workers.store.database import open_database
from workers.store.maintenance import Maintenance
from workers.store.metrics import WorkerMetrics
from workers.store.relay import Relay
from workers.store.sealing import Sealer
from workers.store.store import Store
from workers.store.write_through import WriteThrough


@dataclass(frozen=True, slots=True)
class Services:
    """What routes work with; one for each application."""

    settings: Settings
    identities: IdentityStore
    resolver: Resolver
    bus: RedisBus
    store: Store
    relay: Relay
    mailer: Mailer
    sealer: Sealer
    files: FileStore
    executor: ChosenExecutor
    executions: Executions
    presences: PresenceStore
    lists: ListCache
    dispatcher: Dispatcher
    images: ImagePool
    metrics: WorkerMetrics

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        identities: IdentityStore,
        resolver: Resolver,
        bus: RedisBus,
        metrics: WorkerMetrics | None = None,
    ) -> Self:
        """Return services on the settings' database, and on connections to Redis that stay the caller's to close.

        What workers do is counted in ``metrics``; None for new ones.

        Raises:
            ValueError: the settings name a database of an unknown kind, or a mail server by no URL of one.
            OSError: the data folder cannot be written.
        """
        database = open_database(settings)
        presences = PresenceStore(bus, lease_s=settings.presence_lease_s)
        relay = Relay(database, bus, WriteThrough(identities, TriggerStore(bus.redis), presences))
        store, sealer = Store(database, relay), Sealer.from_settings(settings)
        metrics = metrics or WorkerMetrics()
        files = open_file_store(settings)
        executor = ChosenExecutor.from_settings(settings, files)
        return cls(
            settings,
            identities,
            resolver,
            bus,
            store,
            relay,
            mailer_of(settings),
            sealer,
            files,
            executor,
            Executions(
                store,
                sealer,
                executor,
                secrets=settings.secrets,
                concurrency=settings.functions_concurrency,
                function_concurrency=settings.functions_function_concurrency,
                metrics=metrics,
            ),
            presences,
            ListCache(),
            Dispatcher(store, Routes.from_settings(settings, sealer)),
            ImagePool.from_settings(settings),
            metrics,
        )

    @property
    def discards(self) -> Discards:
        """What removes the bytes that nobody needs any more."""
        return Discards(self.store.database, self.files, upload_lifetime_s=self.settings.upload_lifetime_s)

    @property
    def guard(self) -> Guard:
        """What may be connected to where strangers say where."""
        return Guard.from_settings(self.settings)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Publish the outbox, remove what is over and send messages, until the block ends; then close all of it."""
        maintenance = Maintenance(self.store, self.settings)
        sweeper = Sweeper(self.presences, lease_s=self.settings.presence_lease_s)
        try:
            async with (
                self.relay.running(),
                self.discards.running(),
                self.dispatcher.running(),
                maintenance.running(),
                sweeper.running(),
                self.executions.ending(),
            ):
                yield
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close database and files, and end the processes that draw and that run functions."""
        await self.images.aclose()
        await self.executor.aclose()
        await self.files.aclose()
        await self.store.database.aclose()


def services_of(request: Request) -> Services:
    """Return the services of the application that ``request`` was made to."""
    services: Services = request.app.state.services
    return services
