"""Initials."""

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from workers.images.initials import color_of, draw_initials, initials_of
from workers.images.jobs import Initials


def drawn(name: str, width: int = 40, height: int = 40, **options: object) -> Image.Image:
    job = Initials(name, width, height, **options)  # type: ignore[arg-type]
    return Image.open(io.BytesIO(draw_initials(job).body))


class TestInitialsOf:
    @pytest.mark.parametrize(
        ("name", "initials"),
        [
            ("Ada Lovelace", "AL"),
            ("ada", "A"),
            ("Augusta Ada King", "AA"),
            ("ada.lovelace@example.com", "AL"),
            ("Jean-Luc", "JL"),
            ("(the) 2nd", "2"),
            ("Öö ßx", "ÖS"),
            ("Жанна Агузарова", "ЖА"),
            ("李 小龙", "李小"),
            ("", ""),
            ("!!! ???", ""),
        ],
    )
    def test_first_two_words_count(self, name: str, initials: str) -> None:
        assert initials_of(name) == initials


class TestDrawInitials:
    def test_color_is_that_of_the_initials(self) -> None:
        assert drawn("Ada Lovelace").getpixel((0, 0)) == color_of("Ada Lovelace") == color_of("Alan Li")
        assert drawn("Ada Lovelace", background=(1, 2, 3)).getpixel((0, 0)) == (1, 2, 3)

    def test_names_look_different(self) -> None:
        bodies = {
            drawn(name, background=(0, 0, 0)).tobytes()
            for name in ("Ada Lovelace", "Alan Turing", "Grace Hopper", "李 小龙", "")
        }
        assert len(bodies) == 5

    def test_accent_is_left_out_where_the_font_has_none(self) -> None:
        black = (0, 0, 0)
        assert (
            drawn("Émile Ångström", background=black).tobytes()
            == drawn("Emile Angstrom", background=black).tobytes()
        )

    def test_letters_can_be_read_on_light_and_dark(self) -> None:
        for background, ink in (((255, 255, 255), (33, 37, 41)), ((0, 0, 0), (255, 255, 255))):
            colors = drawn("W", background=background).getcolors(10_000)
            assert ink in {color for _, color in colors or ()}

    def test_no_name_leaves_the_color_alone(self) -> None:
        assert len(drawn("").getcolors() or ()) == 1

    def test_own_font_has_its_letters(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="resource"):
            draw_initials(Initials("Ada"), font_path=str(tmp_path / "none.ttf"))

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=20), st.integers(1, 60), st.integers(1, 60))
    def test_any_name_is_drawn_in_any_size(self, name: str, width: int, height: int) -> None:
        assert drawn(name, width, height).size == (width, height)
