"""Every count of the workers is rendered, and the page of all metrics comes from the tables."""

import math
import runpy
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from realtime.hub import metrics as hub_metrics
from realtime.hub.metrics import Stats
from workers.store import metrics
from workers.store.metrics import COUNTERS, GAUGES, HISTOGRAMS, WorkerMetrics, reference_page

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"


def samples(rendered: bytes) -> dict[tuple[str, ...], float]:
    """Return the samples by name and values of the labels, which come in the order of their names."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(rendered.decode())
        for sample in family.samples
    }


class TestWorkerMetrics:
    def test_everything_is_counted_under_its_labels(self) -> None:
        counted = WorkerMetrics()
        counted.count_handled("webhooks", 7)
        counted.count_handled("functions")
        counted.count_buried("functions")
        counted.count_delivery("delivered")
        counted.count_delivery("retried")
        counted.count_delivery("retried")
        counted.count_disabled()
        counted.count_execution("event", "completed", 0.3)
        counted.count_execution("schedule", "failed", 0)
        counted.count_chain_cut()
        counted.count_schedule_fired()
        rendered = samples(counted.render())
        assert rendered["realtime_work_events_total", "webhooks"] == 7
        assert rendered["realtime_work_events_total", "functions"] == 1
        assert rendered["realtime_work_buried_total", "functions"] == 1
        assert rendered["realtime_webhook_deliveries_total", "delivered"] == 1
        assert rendered["realtime_webhook_deliveries_total", "retried"] == 2
        assert rendered["realtime_webhooks_disabled_total",] == 1
        assert rendered["realtime_executions_total", "completed", "event"] == 1
        assert rendered["realtime_executions_total", "failed", "schedule"] == 1
        assert rendered["realtime_execution_seconds_count",] == 2
        assert rendered["realtime_execution_seconds_sum",] == pytest.approx(0.3)
        assert rendered["realtime_chains_cut_total",] == 1
        assert rendered["realtime_schedules_fired_total",] == 1

    @pytest.mark.parametrize(
        ("status", "status_class"),
        [
            (0, "none"),
            (99, "none"),
            (100, "1xx"),
            (204, "2xx"),
            (301, "3xx"),
            (499, "4xx"),
            (500, "5xx"),
            (599, "5xx"),
            (600, "none"),
            (-1, "none"),
        ],
    )
    def test_attempts_are_counted_by_the_class_of_their_status(self, status: int, status_class: str) -> None:
        """However odd what a stranger answers is, the number of series is bounded."""
        counted = WorkerMetrics()
        counted.count_attempt(status, 0.2)
        rendered = samples(counted.render())
        attempts = {key[1]: count for key, count in rendered.items() if key[0].endswith("attempts_total")}
        assert attempts == dict.fromkeys(metrics.STATUS_CLASSES, 0) | {status_class: 1}
        assert rendered["realtime_webhook_attempt_seconds_bucket", "0.1"] == 0
        assert rendered["realtime_webhook_attempt_seconds_bucket", "0.25"] == 1

    def test_gauges_have_the_values_they_were_set_to(self) -> None:
        counted = WorkerMetrics()
        counted.set_waiting("webhooks", 12, 3.5)
        counted.set_waiting("functions", 2, 1)
        counted.set_waiting("functions")
        counted.set_open_breakers(4)
        rendered = samples(counted.render())
        assert rendered["realtime_work_waiting", "webhooks"] == 12
        assert rendered["realtime_work_oldest_seconds", "webhooks"] == 3.5
        assert math.isnan(rendered["realtime_work_waiting", "functions"])
        assert math.isnan(rendered["realtime_work_oldest_seconds", "functions"])
        assert rendered["realtime_webhook_breakers_open",] == 4

    def test_every_series_is_there_from_the_beginning(self) -> None:
        """An alert on growth would miss a series that begins with one."""
        before = samples(WorkerMetrics().render())
        assert before["realtime_webhook_deliveries_total", "dead"] == 0
        assert before["realtime_executions_total", "failed", "event"] == 0
        assert before["realtime_work_buried_total", "webhooks"] == 0
        assert {key[0] for key in before if key[0].endswith("_total")} == {
            f"{name}_total" for name in COUNTERS
        }

    def test_what_other_workers_count_is_left_out(self) -> None:
        counted = WorkerMetrics()
        counted.count_handled("functions", 3)
        everything = samples(counted.render())
        assert samples(counted.render(["webhooks", "functions"])) == everything
        webhooks, functions = samples(counted.render(["webhooks"])), samples(counted.render(["functions"]))
        assert webhooks.keys() | functions.keys() == everything.keys()
        assert not webhooks.keys() & functions.keys()
        assert functions["realtime_work_events_total", "functions"] == 3
        assert webhooks["realtime_work_events_total", "webhooks"] == 0
        assert {name.split("_")[1] for name, *_ in webhooks} == {"work", "webhook", "webhooks"}
        assert b" realtime_execution" not in counted.render(["webhooks"])

    def test_in_the_registry_of_a_hub_they_are_rendered_with_its_own(self) -> None:
        hub = hub_metrics.Metrics(Stats(), max_projects=1)
        WorkerMetrics(hub.registry).count_chain_cut()
        rendered = samples(hub.render())
        assert rendered["realtime_chains_cut_total",] == 1
        assert rendered["realtime_gaps_total",] == 0

    def test_two_sets_do_not_share_their_counts(self) -> None:
        first, second = WorkerMetrics(), WorkerMetrics(CollectorRegistry())
        first.count_chain_cut()
        assert samples(second.render())["realtime_chains_cut_total",] == 0

    def test_no_name_is_also_one_of_the_hub(self) -> None:
        hub = {*hub_metrics.COUNTERS, *hub_metrics.GAUGES}
        assert not hub & {*COUNTERS, *GAUGES, *HISTOGRAMS}


class TestReferencePage:
    def test_page_is_up_to_date(self) -> None:
        assert PAGE.read_text() == reference_page(), (
            "run: python -m workers.store.metrics > docs/reference/metrics.md"
        )

    def test_every_metric_is_one_row(self) -> None:
        rows = [line for line in reference_page().splitlines() if line.startswith("| `realtime_")]
        own = len(COUNTERS) + len(HISTOGRAMS) + len(GAUGES)
        assert len(rows) == own + len(hub_metrics.COUNTERS) + len(hub_metrics.GAUGES)
        assert all(row.count(" | ") == 3 for row in rows)

    def test_module_run_as_a_program_prints_the_page(self, capsys: pytest.CaptureFixture[str]) -> None:
        runpy.run_path(metrics.__file__, run_name="__main__")
        assert capsys.readouterr().out == reference_page()
