"""Every metric of the workers, in one table, and the counters behind them.

Webhook and function workers count here as they work. ``realtime webhooks`` and ``realtime functions`` serve it at
``/metrics`` of ``REALTIME_WORKER_PORT``, and ``realtime dev`` beside the metrics of its hub.
``python -m workers.store.metrics`` prints the page ``docs/reference/metrics.md``, the hub's table and this one.
"""

import math
import re
import sys
from collections.abc import Collection
from typing import Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from realtime.hub import metrics as hub_metrics

WorkKind = Literal["webhooks", "functions"]
"""Whom an event of the work streams waits for."""

DeliveryOutcome = Literal["delivered", "retried", "dead", "refused"]
"""What an attempt made of its delivery: it arrived; it is tried again; it was given up; its target may not be
connected to."""

ExecutionOutcome = Literal["completed", "failed"]
"""How an execution ended."""

Trigger = Literal["http", "event", "schedule"]
"""What an execution was begun by."""

NO_RESPONSE = "none"
"""The class of status codes of attempts that were not answered."""

STATUS_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx", NO_RESPONSE)

ALL_KINDS: tuple[WorkKind, ...] = get_args(WorkKind)

# How the names of metrics begin that only workers of one kind count.
_OWN_NAMES: dict[WorkKind, str] = {
    "webhooks": "realtime_webhook",
    "functions": "realtime_execution|realtime_chains|realtime_schedules",
}

# name -> (help, labels); a counter each, without the _total that Prometheus adds.
COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "realtime_work_events": (
        "Events taken from the work streams, and recorded as deliveries or executions where one is wanted.",
        ("kind",),
    ),
    "realtime_work_buried": ("Events that could not be handled, and were laid aside.", ("kind",)),
    "realtime_webhook_attempts": (
        f"Requests to webhooks, by class of the status code; `{NO_RESPONSE}` if there was no response.",
        ("status",),
    ),
    "realtime_webhook_deliveries": (
        (
            "What became of deliveries: `delivered`; `retried`, once for each attempt that is not the last; `dead`, "
            "a dead letter; `refused`, a dead letter because its target may not be connected to."
        ),
        ("outcome",),
    ),
    "realtime_webhooks_disabled": (
        "Webhooks disabled because they failed for too long, or said so (410).",
        (),
    ),
    "realtime_executions": (
        "Executions that ended, by what began them; but for those that `realtime api` runs while the caller waits.",
        ("trigger", "outcome"),
    ),
    "realtime_chains_cut": ("Executions not run because the chain of triggers was too long.", ()),
    "realtime_schedules_fired": ("Executions begun by schedules.", ()),
}

# name -> (help, upper bounds in seconds); a histogram each, without labels.
HISTOGRAMS: dict[str, tuple[str, tuple[float, ...]]] = {
    "realtime_webhook_attempt_seconds": (
        "How long requests to webhooks took, to the end of the response or the failure.",
        (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30),
    ),
    "realtime_execution_seconds": (
        "How long the code of functions ran.",
        (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30, 60, 300, 900),
    ),
}

# name -> (help, labels, how the values of several processes become one); a gauge each.
GAUGES: dict[str, tuple[str, tuple[str, ...], Literal["livesum", "livemostrecent"]]] = {
    "realtime_work_waiting": (
        "Events in the work streams that no worker is done with; the same of every process. NaN while Redis is away.",
        ("kind",),
        "livemostrecent",
    ),
    "realtime_work_oldest_seconds": (
        "How long the oldest of them has waited; 0 when there is none, NaN while Redis is away.",
        ("kind",),
        "livemostrecent",
    ),
    "realtime_webhook_breakers_open": (
        "Webhooks that a process leaves alone for a moment, because they failed again and again.",
        (),
        "livesum",
    ),
}


class WorkerMetrics:
    """What the workers of one process count. A call takes about a microsecond.

    Args:
        registry: where the metrics are made; None for a new one. A registry takes one of these.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        # When each counter began is of no use here, and would double the page.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry or CollectorRegistry()
        self._counters = {
            name: Counter(name, text, labels, registry=self._registry)
            for name, (text, labels) in COUNTERS.items()
        }
        self._histograms = {
            name: Histogram(name, text, buckets=bounds, registry=self._registry)
            for name, (text, bounds) in HISTOGRAMS.items()
        }
        self._gauges = {
            name: Gauge(name, text, labels, registry=self._registry, multiprocess_mode=mode)
            for name, (text, labels, mode) in GAUGES.items()
        }
        self._show_zeros()

    def count_handled(self, kind: WorkKind, events: int = 1) -> None:
        """Count events of a work stream that are done with."""
        self._counters["realtime_work_events"].labels(kind).inc(events)

    def count_buried(self, kind: WorkKind) -> None:
        """Count an event that was laid aside because it cannot be handled."""
        self._counters["realtime_work_buried"].labels(kind).inc()

    def count_attempt(self, status: int, duration_s: float) -> None:
        """Count a request to a webhook; ``status`` is 0 if there was no response."""
        status_class = f"{status // 100}xx" if 100 <= status < 600 else NO_RESPONSE
        self._counters["realtime_webhook_attempts"].labels(status_class).inc()
        self._histograms["realtime_webhook_attempt_seconds"].observe(duration_s)

    def count_delivery(self, outcome: DeliveryOutcome) -> None:
        """Count what became of a delivery; also one that died without an attempt."""
        self._counters["realtime_webhook_deliveries"].labels(outcome).inc()

    def count_disabled(self) -> None:
        """Count a webhook that was disabled by its failures, or its own answer."""
        self._counters["realtime_webhooks_disabled"].inc()

    def count_execution(self, trigger: Trigger, outcome: ExecutionOutcome, duration_s: float) -> None:
        """Count an execution that ended; ``duration_s`` is how long its code ran, 0 if it did not."""
        self._counters["realtime_executions"].labels(trigger, outcome).inc()
        self._histograms["realtime_execution_seconds"].observe(duration_s)

    def count_chain_cut(self) -> None:
        """Count an execution that is not run because its chain is too long."""
        self._counters["realtime_chains_cut"].inc()

    def count_schedule_fired(self) -> None:
        """Count an execution that a schedule began."""
        self._counters["realtime_schedules_fired"].inc()

    def set_open_breakers(self, count: int) -> None:
        """Set how many webhooks are being left alone by this process."""
        self._gauges["realtime_webhook_breakers_open"].set(count)

    def set_waiting(self, kind: WorkKind, events: float = math.nan, oldest_s: float = math.nan) -> None:
        """Set how many events wait, and for how many seconds the oldest does; nothing if nobody knows."""
        self._gauges["realtime_work_waiting"].labels(kind).set(events)
        self._gauges["realtime_work_oldest_seconds"].labels(kind).set(oldest_s)

    def render(self, kinds: Collection[WorkKind] = ALL_KINDS) -> bytes:
        """Return the metrics in the Prometheus text format, of all processes of a command together.

        Args:
            kinds: whose work the command does. What only other workers count is left out: its zeros would read as if
                nothing happened there.
        """
        page = hub_metrics.render(self._registry)
        for kind in ALL_KINDS:
            if kind not in kinds:
                lines = rf'(?:# (?:HELP|TYPE) )?(?:{_OWN_NAMES[kind]})|\w+\{{kind="{kind}"\}}'
                page = re.sub(rf"^(?:{lines}).*\n".encode(), b"", page, flags=re.MULTILINE)
        return page

    def _show_zeros(self) -> None:
        """Make every series, so that the first of its kind is seen to grow from zero."""
        for kind in ALL_KINDS:
            self._counters["realtime_work_events"].labels(kind)
            self._counters["realtime_work_buried"].labels(kind)
        for status_class in STATUS_CLASSES:
            self._counters["realtime_webhook_attempts"].labels(status_class)
        for outcome in get_args(DeliveryOutcome):
            self._counters["realtime_webhook_deliveries"].labels(outcome)
        for trigger in get_args(Trigger):
            for ended in get_args(ExecutionOutcome):
                self._counters["realtime_executions"].labels(trigger, ended)


def reference_page() -> str:
    """Return ``docs/reference/metrics.md``."""
    lines = [
        "# Metrics",
        "",
        "In the Prometheus text format. This page is generated from the code by `python -m workers.store.metrics`.",
        "",
        *hub_metrics.reference_section(),
        "",
        "## Workers",
        "",
        "At `GET /metrics` of `realtime webhooks` and `realtime functions`, on `REALTIME_WORKER_PORT`; of all",
        "processes of the command together, without what only the other one counts. `realtime dev` has all of these,",
        "beside those of its hub; `realtime api` has no metrics.",
        "",
        "| Metric | Type | Labels | Meaning |",
        "| --- | --- | --- | --- |",
    ]
    for name, (text, labels) in COUNTERS.items():
        lines.append(f"| `{name}_total` | counter | {_shown(labels)} | {text} |")
    for name, (text, _) in HISTOGRAMS.items():
        lines.append(f"| `{name}` | histogram |  | {text} |")
    for name, (text, labels, _) in GAUGES.items():
        lines.append(f"| `{name}` | gauge | {_shown(labels)} | {text} |")
    return "\n".join(lines) + "\n"


def _shown(labels: tuple[str, ...]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


if __name__ == "__main__":
    sys.stdout.write(reference_page())
