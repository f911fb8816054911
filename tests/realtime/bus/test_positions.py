import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.bus.positions import (
    START,
    Position,
    format_position,
    live_message,
    message_position,
    parse_position,
)

NUMBERS = st.integers(min_value=0, max_value=2**64 - 1)
POSITIONS = st.tuples(NUMBERS, NUMBERS)


class TestPosition:
    @given(POSITIONS)
    def test_text_and_bytes_round_trip(self, position: Position) -> None:
        text = format_position(position)

        assert parse_position(text) == position
        assert parse_position(text.encode()) == position

    def test_positions_compare_as_numbers(self) -> None:
        assert parse_position("9-0") < parse_position("10-0")
        assert parse_position("10-9") < parse_position("10-10")
        assert parse_position("0-1") > START

    @pytest.mark.parametrize(
        "text",
        [
            *(
                "",
                "-",
                "1",
                "1-",
                "-1",
                "1-2-3",
                "a-1",
                "1-b",
                " 1-2",
                "1-2 ",
                "+1-2",
                "1_0-2",
                "²-1",
                "1.0-2",
            ),
            *("18446744073709551616-0", "0-18446744073709551616", "9" * 5000 + "-0"),
        ],
    )
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="<milliseconds>-<sequence>"):
            parse_position(text)


class TestLiveMessage:
    def test_event_gets_its_id_as_the_first_member(self) -> None:
        assert live_message(b"5-1", b'{"project":"demo"}') == b'{"id":"5-1","project":"demo"}'

    @given(POSITIONS)
    def test_position_of_an_event_is_found_again(self, position: Position) -> None:
        message = live_message(format_position(position).encode(), b'{"project":"demo"}')

        assert message_position(message) == position

    @pytest.mark.parametrize(
        "message",
        [
            b"",
            b"{}",
            b'{"identity":{"user":"u"}}',
            b'{"id":""}',
            b'{"id":"',
            b'{"id":"x-1"}',
            b'{"project":"5-1"}',
        ],
    )
    def test_message_that_is_not_in_the_log_has_no_position(self, message: bytes) -> None:
        assert message_position(message) is None

    @given(st.binary())
    def test_any_bytes_have_a_position_or_none(self, message: bytes) -> None:
        message_position(message)
        message_position(b'{"id":"' + message)
