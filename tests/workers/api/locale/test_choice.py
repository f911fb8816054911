"""Which language a request asks for."""

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from workers.api.locale.choice import choose_locale


class TestChooseLocale:
    @pytest.mark.parametrize(
        ("locale", "accept", "chosen"),
        [
            ("", "", "en"),
            ("de", "", "de"),
            ("pt-br", "", "pt_BR"),
            ("pt_BR", "fr", "pt_BR"),
            ("zh-tw", "", "zh_Hant_TW"),
            ("xx-such", "fr", "fr"),
            ("../../etc/passwd", "", "en"),
            ("x" * 36, "", "en"),
            ("", "fr-CH, fr;q=0.9, en;q=0.8", "fr_CH"),
            ("", "en;q=0.5, de;q=0.7", "de"),
            ("", "de;q=0, es", "es"),
            ("", "*, it;q=0.4", "it"),
            ("", "de;q=x, it", "it"),
            ("", ";;;,,,=", "en"),
        ],
    )
    def test_headers_choose(self, locale: str, accept: str, chosen: str) -> None:
        assert choose_locale(locale, accept) == chosen

    @given(st.text(), st.text())
    def test_any_text_leads_to_a_locale(self, locale: str, accept: str) -> None:
        chosen = choose_locale(locale, accept)
        assert str(Locale.parse(chosen)) == chosen
