"""Counts of events are by project and outcome, and are taken once."""

from realtime.hub.index import Miss
from realtime.hub.ledger import DELIVERED, FAILED, FILTERED, GAP, Ledger, dropped


class TestOutcome:
    def test_every_miss_is_filtered_by_its_own_reason(self) -> None:
        assert {tuple(outcome) for outcome in FILTERED.values()} == {
            ("filtered", "no_subscriber"),
            ("filtered", "no_permission"),
            ("filtered", "query"),
        }
        assert FILTERED.keys() == set(Miss)

    def test_dropped_says_why(self) -> None:
        assert dropped("gap") == GAP == ("dropped", "gap")
        assert FAILED == ("dropped", "failed")


class TestLedger:
    def test_counts_are_by_project_and_outcome(self) -> None:
        ledger = Ledger()
        for project in ("a", "a", "b"):
            ledger.receive(project)
        ledger.settle("a", DELIVERED)
        ledger.settle("a", DELIVERED)
        ledger.settle("b", GAP, 7)
        assert ledger.received == {"a": 2, "b": 1}
        assert ledger.settled == {("a", DELIVERED): 2, ("b", GAP): 7}

    def test_what_was_taken_is_not_taken_again(self) -> None:
        ledger = Ledger()
        ledger.receive("a")
        ledger.settle("a", DELIVERED)
        assert ledger.take() == ({"a": 1}, {("a", DELIVERED): 1})
        assert ledger.take() == ({}, {})
