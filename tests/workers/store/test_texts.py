"""Texts: what databases refuse is taken out of them, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from workers.store.texts import storable


class TestStorable:
    @given(st.text(st.characters(blacklist_categories=())))
    def test_text_can_be_kept_by_any_database(self, text: str) -> None:
        kept = storable(text)
        assert "\0" not in kept
        assert kept.encode().decode() == kept

    def test_text_without_such_characters_is_unchanged(self) -> None:
        assert storable("grüße 日本 🎉\n\t") == "grüße 日本 🎉\n\t"
