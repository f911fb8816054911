"""Counters are exact, and what describes them comes from the same tables."""

from pathlib import Path

import pytest
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

from realtime.hub.ledger import DELIVERED, GAP
from realtime.hub.metrics import (
    COUNTERS,
    GAUGES,
    MULTIPROCESS_VARIABLE,
    OTHER_PROJECTS,
    Metrics,
    Stats,
    reference_section,
)


def samples(rendered: bytes) -> dict[tuple[str, ...], float]:
    """Return the samples by name and values of the labels, which come in the order of their names."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(rendered.decode())
        for sample in family.samples
    }


def metrics_of(stats: Stats, max_projects: int = 10) -> Metrics:
    return Metrics(stats, max_projects=max_projects)


class TestMetrics:
    def test_everything_counted_is_rendered_once(self) -> None:
        stats = Stats()
        rendered_by = metrics_of(stats)
        stats.deliveries = 5
        for reason in ("client", "client", "too_slow"):
            stats.count("realtime_connections_closed", reason)
        stats.count("realtime_gaps")
        stats.ledger.receive("demo")
        stats.ledger.settle("demo", DELIVERED)
        stats.ledger.settle("demo", GAP, 3)
        for _ in range(2):
            rendered = samples(rendered_by.render())
            assert rendered["realtime_deliveries_total",] == 5
            assert rendered["realtime_connections_closed_total", "client"] == 2
            assert rendered["realtime_connections_closed_total", "too_slow"] == 1
            assert rendered["realtime_gaps_total",] == 1
            assert rendered["realtime_events_received_total", "demo"] == 1
            assert rendered["realtime_events_total", "delivered", "demo", ""] == 1
            assert rendered["realtime_events_total", "dropped", "demo", "gap"] == 3

    def test_counting_goes_on_after_a_flush(self) -> None:
        stats = Stats()
        rendered_by = metrics_of(stats)
        for _ in range(2):
            stats.count("realtime_messages_received", "ping")
            stats.deliveries += 1
            stats.ledger.receive("demo")
            rendered_by.flush()
        rendered = samples(rendered_by.render())
        assert rendered["realtime_messages_received_total", "ping"] == 2
        assert rendered["realtime_deliveries_total",] == 2
        assert rendered["realtime_events_received_total", "demo"] == 2

    def test_projects_beyond_the_limit_share_a_series(self) -> None:
        """However many projects there are, the page is bounded; the sum over all of them is right."""
        stats = Stats()
        rendered_by = metrics_of(stats, max_projects=2)
        for project in ("", "a", "b", "c", "d", "a", "c"):
            stats.ledger.receive(project)
            rendered_by.flush()
        rendered = samples(rendered_by.render())
        received = {
            key[1]: count for key, count in rendered.items() if key[0] == "realtime_events_received_total"
        }
        assert received == {"": 1, "a": 2, "b": 1, OTHER_PROJECTS: 3}

    def test_gauges_have_the_values_they_were_set_to(self) -> None:
        rendered_by = metrics_of(Stats())
        rendered_by.set_gauges(connections=4, subscriptions=9, presences=3, projects=2, redis_up=True)
        rendered = samples(rendered_by.render())
        assert [rendered[name,] for name in GAUGES] == [4, 9, 3, 2, 1]

    def test_with_several_processes_the_page_is_what_all_of_them_have_written(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv(MULTIPROCESS_VARIABLE, str(tmp_path))
        # This process was not started by a supervisor: it has written nothing there.
        assert metrics_of(Stats()).render() == b""

    def test_metric_of_no_table_is_a_mistake(self) -> None:
        stats = Stats()
        stats.count("realtime_unheard_of")
        with pytest.raises(KeyError):
            metrics_of(stats).flush()


class TestRegistry:
    def test_metrics_of_others_are_rendered_with_those_of_the_hub(self) -> None:
        rendered_by = metrics_of(Stats())
        Counter("realtime_of_others", "Anything.", registry=rendered_by.registry).inc(3)
        assert samples(rendered_by.render())["realtime_of_others_total",] == 3


class TestReferenceSection:
    def test_every_metric_is_one_row(self) -> None:
        rows = [line for line in reference_section() if line.startswith("| `realtime_")]
        assert len(rows) == len(COUNTERS) + len(GAUGES)
        assert all(row.count(" | ") == 3 for row in rows)
