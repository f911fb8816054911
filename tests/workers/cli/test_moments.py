from datetime import UTC, datetime

import pytest

from workers.cli.moments import parse_moment
from workers.cli.output import CommandError

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


class TestParseMoment:
    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("", ""),
            ("0s", "2026-03-01T12:30:00.000+00:00"),
            ("45s", "2026-03-01T12:29:15.000+00:00"),
            ("15m", "2026-03-01T12:15:00.000+00:00"),
            ("36h", "2026-02-28T00:30:00.000+00:00"),
            ("1d", "2026-02-28T12:30:00.000+00:00"),
            ("2026-01-31", "2026-01-31T00:00:00.000+00:00"),
            ("2026-01-31T09:30", "2026-01-31T09:30:00.000+00:00"),
            ("2026-01-31T09:30:00.5+02:00", "2026-01-31T07:30:00.500+00:00"),
        ],
    )
    def test_time_is_a_date_or_how_long_ago_it_was(self, text: str, moment: str) -> None:
        assert parse_moment(text, NOW) == moment

    @pytest.mark.parametrize(
        "text", ["yesterday", "2 h", "-2h", "2w", "h", "999999d", "2026-13-01", "0001-01-01T00:00+14:00"]
    )
    def test_what_is_neither_is_refused_with_examples(self, text: str) -> None:
        with pytest.raises(CommandError, match=r"is no time: .*2026-01-31T09:30.*2h"):
            parse_moment(text, NOW)
