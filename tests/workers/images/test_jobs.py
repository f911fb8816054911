"""Colors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.images.jobs import parse_color


class TestParseColor:
    @pytest.mark.parametrize(
        ("text", "color"),
        [("ffffff", (255, 255, 255)), ("#0A141E", (10, 20, 30)), ("f80", (255, 136, 0)), ("#000", (0, 0, 0))],
    )
    def test_hexadecimal_digits_are_a_color(self, text: str, color: tuple[int, int, int]) -> None:
        assert parse_color(text) == color

    @pytest.mark.parametrize(
        "text", ["", "#", "red", "ff", "ffff", "ff ff ff", "##ffffff", "ffffffff", "١٢٣"]
    )
    def test_other_texts_are_none(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"color|hex"):
            parse_color(text)

    @given(st.text(max_size=8))
    def test_any_text_is_a_color_or_a_value_error(self, text: str) -> None:
        try:
            color = parse_color(text)
        except ValueError:
            return
        assert all(0 <= part <= 255 for part in color)
