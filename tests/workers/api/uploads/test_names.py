"""What is kept of the names that clients claim."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.api.uploads.names import MAX_NAME_CHARS, clean_name, extension_of


class TestCleanName:
    @pytest.mark.parametrize(
        ("claimed", "kept"),
        [
            ("photo.jpg", "photo.jpg"),
            ("Übersicht 2026 (1).pdf", "Übersicht 2026 (1).pdf"),
            ("👩‍👧.png", "👩‍👧.png"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\me\\photo.jpg", "photo.jpg"),
            ("a\x00b\r\n.txt", "ab.txt"),
            ("exe\u202egpj.exe", "exegpj.exe"),
            ("  spaced  ", "spaced"),
            ("", "file"),
            ("..", "file"),
            ("dir/", "file"),
            ("\x00", "file"),
            (".env", ".env"),
        ],
    )
    def test_paths_and_marks_are_taken_off(self, claimed: str, kept: str) -> None:
        assert clean_name(claimed) == kept

    def test_a_long_name_keeps_its_extension(self) -> None:
        assert clean_name("x" * 300 + ".jpg") == "x" * 251 + ".jpg"

    def test_a_long_extension_is_none(self) -> None:
        assert clean_name("x." + "y" * 300) == ("x." + "y" * 300)[:255]
        assert clean_name("x" * 300) == "x" * 255

    @given(st.text(max_size=400))
    def test_any_name_becomes_one_that_is_harmless(self, claimed: str) -> None:
        name = clean_name(claimed)
        assert 0 < len(name) <= MAX_NAME_CHARS
        assert name not in (".", "..")
        assert not set(name) & set("/\\")
        assert all(unicodedata.category(char) not in ("Cc", "Cs") for char in name)
        assert clean_name(name) == name


class TestExtensionOf:
    @pytest.mark.parametrize(
        ("name", "extension"), [("a.JPG", "jpg"), ("a.tar.gz", "gz"), ("a", ""), ("a.", ""), (".env", "env")]
    )
    def test_it_is_what_follows_the_last_dot(self, name: str, extension: str) -> None:
        assert extension_of(name) == extension
