from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.webhooks.response import EXCERPT_MAX_BYTES, excerpt, parse_retry_after

NOW = 1_700_000_000.0


class TestExcerpt:
    def test_short_body_is_whole(self) -> None:
        assert excerpt("größer".encode()) == "größer"

    def test_it_is_cut_between_characters(self) -> None:
        body = ("x" * (EXCERPT_MAX_BYTES - 1) + "ö").encode()
        assert excerpt(body) == "x" * (EXCERPT_MAX_BYTES - 1)
        assert excerpt(body[1:]) == "x" * (EXCERPT_MAX_BYTES - 2) + "ö"

    @pytest.mark.parametrize(
        ("body", "text"), [(b"a\0b", "ab"), (b"a\xffb", "a\ufffdb"), (b"a\xc3", "a\ufffd"), (b"", "")]
    )
    def test_what_cannot_be_kept_is_replaced(self, body: bytes, text: str) -> None:
        assert excerpt(body) == text

    @given(st.binary(max_size=50))
    def test_any_body_is_text_that_can_be_kept(self, body: bytes) -> None:
        text = excerpt(body)
        assert text == body.decode("utf-8", "replace").replace("\0", "")
        assert "\0" not in text.encode().decode()


class TestParseRetryAfter:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("120", 120.0),
            (" 0 ", 0.0),
            ("999999999", 999_999_999.0),
            ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
            ("Tue, 14 Nov 2023 23:14:20 +0100", 60.0),
            ("Tue, 14 Nov 2023 22:14:20 -0000", 60.0),
            ("Tuesday, 14-Nov-23 22:14:20 GMT", 60.0),
            ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
            ("", None),
            ("soon", None),
            ("-5", None),
            ("1.5", None),
            ("1e3", None),
            ("٣", None),
            ("9" * 10, None),
            ("Tue, 99 Nov 2023 22:14:20 GMT", None),
            ("Tue, 14 Nov 2023 22:14:20 +9999", None),
        ],
    )
    def test_header_asks_for_seconds(self, value: str, seconds: float | None) -> None:
        assert parse_retry_after(value, NOW) == seconds

    @given(st.integers(0, 7_000_000_000))
    def test_date_asks_for_the_time_until_it(self, moment: int) -> None:
        assert parse_retry_after(formatdate(moment, usegmt=True), NOW) == max(0.0, moment - NOW)

    @given(st.text())
    def test_any_text_is_understood_or_left(self, value: str) -> None:
        seconds = parse_retry_after(value, NOW)
        assert seconds is None or seconds >= 0
