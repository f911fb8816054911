from hypothesis import given
from hypothesis import strategies as st

from realtime.permissions import is_valid_id
from workers.functions.rows import deterministic_id, never_run, new_row, too_deep
from workers.store.tables import executions

NOW = "2026-03-01T12:00:00.000+00:00"

parts = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=4)


class TestDeterministicId:
    def test_is_the_same_in_every_release(self) -> None:
        assert deterministic_id("demo", "hello", "1-0") == "r5a7vpwils7byn2rnxjo5qlnnw"

    @given(parts)
    def test_is_one_that_clients_may_use_too(self, given_parts: list[str]) -> None:
        assert is_valid_id(deterministic_id(*given_parts))

    @given(parts, parts)
    def test_is_another_for_anything_else(self, one: list[str], other: list[str]) -> None:
        assert (deterministic_id(*one) == deterministic_id(*other)) == (one == other)


class TestNewRow:
    def test_has_every_column_but_the_number(self) -> None:
        row = new_row("demo", "e", "f", trigger="event", depth=1, now=NOW)
        assert set(row) == {column.name for column in executions.columns} - {"seq"}
        assert (row["status"], row["due_at"]) == ("waiting", NOW)

    def test_columns_that_are_given_count(self) -> None:
        row = new_row("demo", "e", "f", trigger="http", depth=1, now=NOW, status="scheduled", due_at="later")
        assert (row["status"], row["due_at"]) == ("scheduled", "later")


class TestNeverRun:
    def test_nothing_of_it_waits(self) -> None:
        row = new_row("demo", "e", "f", trigger="event", depth=4, now=NOW) | never_run(too_deep(3))
        assert (row["status"], row["response_status"], row["due_at"]) == ("failed", 0, None)
        assert row["errors"].startswith("The function was not run: it would be the end of a chain")
