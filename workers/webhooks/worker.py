"""The webhook worker: events in, requests out. Any number of processes may run one each."""

import contextlib
from collections.abc import AsyncIterator

from realtime.bus.work import WorkQueue
from realtime.settings_workers import WorkerSettings
from realtime.triggers.watch import TriggerWatch
from workers.store.intake import Intake
from workers.store.metrics import WorkerMetrics
from workers.store.store import Store
from workers.webhooks.attempts import Sends
from workers.webhooks.dispatcher import Dispatcher
from workers.webhooks.recording import Recording


class WebhookWorker:
    """What takes events off the work streams, records their deliveries, and delivers. For one event loop."""

    def __init__(
        self,
        store: Store,
        sender: Sends,
        events: WorkQueue,
        watch: TriggerWatch,
        settings: WorkerSettings,
        metrics: WorkerMetrics,
    ) -> None:
        """Make it.

        Args:
            store: where deliveries are kept. Its relay must run, or nobody is told of webhooks that are disabled.
            sender: what makes attempts; running.
            events: the work streams of webhooks.
            watch: which webhooks there are.
            settings: all that begins with ``webhooks_``.
            metrics: what counts.
        """
        self._dispatcher = Dispatcher(store, sender, settings, metrics)
        recording = Recording(
            store.database,
            metrics,
            max_pending=settings.webhooks_max_pending,
            announce=self._dispatcher.announce,
        )
        self._intake = Intake(events, watch, recording.record, metrics)

    def look(self) -> None:
        """Look soon for deliveries that others have made due. Never blocks."""
        self._dispatcher.look()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work until the block ends. Then nothing more is taken; what is being sent gets a few seconds to end."""
        async with self._dispatcher.running(), self._intake.running():
            yield
