"""Every metric of the hub, in one table, and the counters behind them.

The hot path counts in plain integers (:class:`Stats`); once a second, and at every scrape, :class:`Metrics` moves
what was counted into Prometheus, which also adds several worker processes up. The page ``docs/reference/metrics.md``
is made from these tables and those of the workers (:mod:`workers.store.metrics`).
"""

import os
from collections import Counter
from typing import Literal

from prometheus_client import CollectorRegistry, Gauge, disable_created_metrics, generate_latest
from prometheus_client import Counter as PrometheusCounter
from prometheus_client.multiprocess import MultiProcessCollector

from realtime.hub.ledger import Ledger

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that makes Prometheus share values between processes; the supervisor sets it."""

OTHER_PROJECTS = "_other"
"""What projects without series of their own are counted under; no project can have this ID."""

# name -> (help, labels); a counter each, without the _total that Prometheus adds.
COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "realtime_connections_opened": ("Connections that were greeted.", ()),
    "realtime_connections_refused": ("Connections refused while opening, by error type.", ("type",)),
    "realtime_connections_closed": ("Greeted connections that ended, by reason.", ("reason",)),
    "realtime_messages_received": ("Messages from clients, by type.", ("type",)),
    "realtime_message_errors": ("Messages answered with an error, by error type.", ("type",)),
    "realtime_events_received": (
        "Events that reached this hub from Redis, live or from the log.",
        ("project",),
    ),
    "realtime_events": (
        (
            "The same events, by what became of them: `delivered` to at least one connection; `filtered`, because "
            "of `no_subscriber`, `no_permission` or a `query`; or `dropped`, because they were `undecodable` or "
            "`not_text`, had an ID `too_far_ahead`, were too many in a `backlog` (the clients were closed, and are "
            "sent them when they return), or something `failed`. Also those of a `gap`, which were never received: "
            "the log did not have them any more."
        ),
        ("project", "outcome", "reason"),
    ),
    "realtime_deliveries": (
        (
            "Event frames handed to connections. One that ends may not have taken the last of them; nobody knows "
            "how many, but a subscription that returns is sent them again."
        ),
        (),
    ),
    "realtime_deliveries_replayed": (
        "Event frames sent again from the log, to subscriptions that go on from where they were.",
        (),
    ),
    "realtime_identity_refreshes": ("Identities read again because they may have changed.", ()),
    "realtime_gaps": (
        "Times a project's events could not be read back completely after Redis was away.",
        (),
    ),
}

# name -> (help, how the values of several processes become one); a gauge each.
GAUGES: dict[str, tuple[str, Literal["livesum", "livemin"]]] = {
    "realtime_connections": ("Open, greeted connections.", "livesum"),
    "realtime_subscriptions": ("Subscriptions of open connections.", "livesum"),
    "realtime_presences": (
        "Presences that open connections hold; one that several hold counts as many times.",
        "livesum",
    ),
    "realtime_projects": (
        "Projects with open connections; one with connections to several processes counts in each.",
        "livesum",
    ),
    "realtime_redis_up": (
        "Whether Redis has shown a sign of life within the probe timeout (1), to every process, or not (0).",
        "livemin",
    ),
}


class Stats:
    """What happened on this hub since the last flush, as plain numbers."""

    __slots__ = ("counted", "deliveries", "ledger", "replayed")

    def __init__(self) -> None:
        self.deliveries = 0
        self.replayed = 0
        # What became of each event.
        self.ledger = Ledger()
        # (metric, label value) -> count, for everything that happens less often than once an event
        self.counted: Counter[tuple[str, str]] = Counter()

    def count(self, metric: str, label: str = "") -> None:
        """Count one more for a metric of :data:`COUNTERS`."""
        self.counted[metric, label] += 1


class Metrics:
    """The Prometheus side of a hub's :class:`Stats`.

    Args:
        stats: What is counted.
        max_projects: How many projects have series of their own, in each process: the first ones that have events.
    """

    def __init__(self, stats: Stats, *, max_projects: int) -> None:
        self._stats = stats
        self._max_projects = max_projects
        # Those that have series of their own.
        self._projects: set[str] = set()
        # When each counter began is of no use here, and would double the page.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._counters = {
            name: PrometheusCounter(name, text, labels, registry=self._registry)
            for name, (text, labels) in COUNTERS.items()
        }
        self._gauges = {
            name: Gauge(name, text, registry=self._registry, multiprocess_mode=mode)
            for name, (text, mode) in GAUGES.items()
        }

    @property
    def registry(self) -> CollectorRegistry:
        """Where the metrics are; what else is made in it is rendered with them, of all processes together."""
        return self._registry

    def set_gauges(
        self, *, connections: int, subscriptions: int, presences: int, projects: int, redis_up: bool
    ) -> None:
        """Set every gauge to its present value."""
        values = (connections, subscriptions, presences, projects, int(redis_up))
        for gauge, value in zip(self._gauges.values(), values, strict=True):
            gauge.set(value)

    def flush(self) -> None:
        """Move what was counted since the last flush into Prometheus."""
        stats = self._stats
        self._counters["realtime_deliveries"].inc(stats.deliveries)
        self._counters["realtime_deliveries_replayed"].inc(stats.replayed)
        stats.deliveries = stats.replayed = 0
        counted, stats.counted = stats.counted, Counter()
        for (metric, label), count in counted.items():
            counter = self._counters[metric]
            (counter.labels(label) if COUNTERS[metric][1] else counter).inc(count)
        received, settled = stats.ledger.take()
        for project, count in received.items():
            self._counters["realtime_events_received"].labels(self._series(project)).inc(count)
        for (project, outcome), count in settled.items():
            self._counters["realtime_events"].labels(self._series(project), *outcome).inc(count)

    def _series(self, project: str) -> str:
        """Return what a project is counted under."""
        if not project or project in self._projects:
            return project
        if len(self._projects) >= self._max_projects:
            return OTHER_PROJECTS
        self._projects.add(project)
        return project

    def render(self) -> bytes:
        """Return the Prometheus text format, of all worker processes together if there are several."""
        self.flush()
        return render(self._registry)


def render(registry: CollectorRegistry) -> bytes:
    """Return the metrics of ``registry`` as Prometheus reads them; with several processes, those of all of them."""
    if MULTIPROCESS_VARIABLE not in os.environ:
        return generate_latest(registry)
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return generate_latest(together)


def reference_section() -> list[str]:
    """Return the lines of ``docs/reference/metrics.md`` that are about hubs."""
    lines = [
        "## Hubs",
        "",
        "At `GET /metrics` of a hub; of all its processes together.",
        "",
        "For each project, and so in total, `realtime_events_received_total` is the sum of `realtime_events_total`",
        "over all outcomes but those of a `gap`, and less the event for which identities are just being read again.",
        "The label `project` is empty if nobody can tell whose an event is, and",
        f"`{OTHER_PROJECTS}` for all projects beyond the first `REALTIME_METRICS_PROJECTS` of a process.",
        "",
        "| Metric | Type | Labels | Meaning |",
        "| --- | --- | --- | --- |",
    ]
    for name, (text, labels) in COUNTERS.items():
        shown = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{name}_total` | counter | {shown} | {text} |")
    for name, (text, _) in GAUGES.items():
        lines.append(f"| `{name}` | gauge |  | {text} |")
    return lines
