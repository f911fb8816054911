from datetime import UTC, datetime, timedelta

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from workers.functions.cron import last_due, next_due

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

minutes = st.one_of(st.just("*"), st.builds(str, st.integers(0, 59)), st.just("*/7"), st.just("5-9,40"))
hours = st.one_of(st.just("*"), st.builds(str, st.integers(0, 23)), st.just("*/5"))
days = st.one_of(st.just("*"), st.builds(str, st.integers(1, 28)))
weekdays = st.one_of(st.just("*"), st.builds(str, st.integers(0, 6)), st.just("MON-FRI"))
schedules = st.builds("{} {} {} * {}".format, minutes, hours, days, weekdays)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


class TestNextDue:
    def test_time_at_which_it_is_due_is_not_after_itself(self) -> None:
        assert next_due("0 12 * * *", NOON) == NOON + timedelta(days=1)

    def test_fraction_of_a_second_before_counts(self) -> None:
        assert next_due("0 12 * * *", NOON - timedelta(milliseconds=1)) == NOON

    def test_last_day_of_february_is_found_in_leap_years(self) -> None:
        assert next_due("0 0 29 2 *", NOON) == datetime(2028, 2, 29, tzinfo=UTC)

    @pytest.mark.parametrize("schedule", ["", "every day", "61 * * * *", "0 0 30 2 *"])
    def test_what_is_no_schedule_is_never_due(self, schedule: str) -> None:
        assert next_due(schedule, NOON) is None


class TestLastDue:
    def test_time_at_which_it_is_due_is_its_own_last(self) -> None:
        assert last_due("0 12 * * *", NOON) == NOON

    def test_fraction_of_a_second_after_counts(self) -> None:
        assert last_due("0 12 * * *", NOON + timedelta(milliseconds=1)) == NOON

    def test_what_is_no_schedule_never_was_due(self) -> None:
        assert last_due("* * *", NOON) is None

    @given(schedule=schedules, until=moments)
    def test_no_time_is_between_the_last_and_the_next(self, schedule: str, until: datetime) -> None:
        last = last_due(schedule, until)
        following = next_due(schedule, until)
        assert last is not None
        assert following is not None
        assert last <= until < following
        # From the last one, forwards, the next one comes at once; and it is one itself.
        assert next_due(schedule, last) == following
        assert next_due(schedule, last - timedelta(seconds=1)) == last

    @given(until=moments, every=st.integers(1, 59), hour=st.integers(0, 23))
    def test_is_what_counting_minutes_back_finds(self, until: datetime, every: int, hour: int) -> None:
        schedule = f"*/{every} {hour} * * *"
        moment = until.replace(second=0, microsecond=0)
        while not (moment.hour == hour and moment.minute % every == 0):
            moment -= MINUTE
        assert last_due(schedule, until) == moment


def test_library_has_five_fields_begin_with_the_minute() -> None:
    assert next(CronSim("0 12 * * *", NOON - MINUTE)) == NOON
