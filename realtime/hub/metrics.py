"""Every metric of the hub, in one table, and the counters behind them.

The hot path counts in plain integers (:class:`Stats`); once a second, and at every scrape, :class:`Metrics` moves
what was counted into Prometheus, which also adds several worker processes up. ``python -m realtime.hub.metrics``
prints the page ``docs/reference/metrics.md`` from the tables.
"""

import os
import sys
from collections import Counter
from typing import Literal

from prometheus_client import CollectorRegistry, Gauge, disable_created_metrics, generate_latest
from prometheus_client import Counter as PrometheusCounter
from prometheus_client.multiprocess import MultiProcessCollector

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that makes Prometheus share values between processes; the supervisor sets it."""

# name -> (help, label); a counter each, without the _total that Prometheus adds.
COUNTERS: dict[str, tuple[str, str | None]] = {
    "realtime_connections_opened": ("Connections that were greeted.", None),
    "realtime_connections_refused": ("Connections refused while opening, by error type.", "type"),
    "realtime_connections_closed": ("Greeted connections that ended, by reason.", "reason"),
    "realtime_messages_received": ("Messages from clients, by type.", "type"),
    "realtime_message_errors": ("Messages answered with an error, by error type.", "type"),
    "realtime_events_received": ("Events that reached this hub from Redis.", None),
    "realtime_events_undecodable": ("Messages from Redis that are no events; ignored.", None),
    "realtime_deliveries": ("Event frames handed to connections.", None),
    "realtime_events_without_receiver": ("Events that no connection of this hub was to receive.", None),
    "realtime_deliveries_replayed": (
        "Event frames sent again from the log, to subscriptions that go on from where they were.",
        None,
    ),
    "realtime_identity_refreshes": ("Identities read again because they may have changed.", None),
    "realtime_gaps": (
        "Times a project's events could not be read back completely after Redis was away.",
        None,
    ),
}

# name -> (help, how the values of several processes become one); a gauge each.
GAUGES: dict[str, tuple[str, Literal["livesum", "livemin"]]] = {
    "realtime_connections": ("Open, greeted connections.", "livesum"),
    "realtime_subscriptions": ("Subscriptions of open connections.", "livesum"),
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

    __slots__ = ("counted", "deliveries", "events_received", "events_without_receiver")

    def __init__(self) -> None:
        self.deliveries = 0
        self.events_received = 0
        self.events_without_receiver = 0
        # (metric, label value) -> count, for everything that happens less often than once an event
        self.counted: Counter[tuple[str, str]] = Counter()

    def count(self, metric: str, label: str = "") -> None:
        """Count one more for a metric of :data:`COUNTERS`."""
        self.counted[metric, label] += 1


class Metrics:
    """The Prometheus side of a hub's :class:`Stats`."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        # When each counter began is of no use here, and would double the page.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._counters = {
            name: PrometheusCounter(name, text, [label] if label else [], registry=self._registry)
            for name, (text, label) in COUNTERS.items()
        }
        self._gauges = {
            name: Gauge(name, text, registry=self._registry, multiprocess_mode=mode)
            for name, (text, mode) in GAUGES.items()
        }

    def set_gauges(self, *, connections: int, subscriptions: int, projects: int, redis_up: bool) -> None:
        """Set every gauge to its present value."""
        values = (connections, subscriptions, projects, int(redis_up))
        for gauge, value in zip(self._gauges.values(), values, strict=True):
            gauge.set(value)

    def flush(self) -> None:
        """Move what was counted since the last flush into Prometheus."""
        stats = self._stats
        for name in ("deliveries", "events_received", "events_without_receiver"):
            self._counters[f"realtime_{name}"].inc(getattr(stats, name))
            setattr(stats, name, 0)
        counted, stats.counted = stats.counted, Counter()
        for (metric, label), count in counted.items():
            counter = self._counters[metric]
            (counter.labels(label) if COUNTERS[metric][1] else counter).inc(count)

    def render(self) -> bytes:
        """Return the Prometheus text format, of all worker processes together if there are several."""
        self.flush()
        if MULTIPROCESS_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


def reference_page() -> str:
    """Return ``docs/reference/metrics.md``."""
    lines = [
        "# Metrics",
        "",
        "At `GET /metrics` of a hub, in the Prometheus text format; of all its processes together.",
        "This page is generated from the code by `python -m realtime.hub.metrics`.",
        "",
        "| Metric | Type | Label | Meaning |",
        "| --- | --- | --- | --- |",
    ]
    for name, (text, label) in COUNTERS.items():
        lines.append(f"| `{name}_total` | counter | {f'`{label}`' if label else ''} | {text} |")
    for name, (text, _) in GAUGES.items():
        lines.append(f"| `{name}` | gauge |  | {text} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference_page())
