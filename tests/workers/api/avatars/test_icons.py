"""Which icon a page has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.api.avatars.icons import MAX_PAGE_BYTES, icon_of

URL = "https://example.com/blog/post"


class TestIconOf:
    @pytest.mark.parametrize(
        ("head", "icon"),
        [
            ("", "https://example.com/favicon.ico"),
            ('<link rel="icon" href="/i.png">', "https://example.com/i.png"),
            ('<LINK REL="Shortcut ICON" HREF="i.png">', "https://example.com/blog/i.png"),
            (
                '<link rel=icon href="//cdn.example.net/i.png?a=1&amp;b=2">',
                "https://cdn.example.net/i.png?a=1&b=2",
            ),
            ('<base href="/static/"><link rel="icon" href="i.png">', "https://example.com/static/i.png"),
            ('<link rel="stylesheet" href="/s.css">', "https://example.com/favicon.ico"),
            ('<link rel="icon" href="/i.svg">', "https://example.com/favicon.ico"),
            ('<link rel="icon" type="image/svg+xml" href="/i">', "https://example.com/favicon.ico"),
            ('<link rel="icon">', "https://example.com/favicon.ico"),
            ('<link rel="icon" href="http://[x">', "https://example.com/favicon.ico"),
            (
                (
                    '<link rel="icon" sizes="16x16" href="/16.png"><link rel="icon" sizes="48x48 72x72" href="/72.png">'
                    '<link rel="apple-touch-icon" sizes="180x180" href="/180.png">'
                ),
                "https://example.com/72.png",
            ),
            (
                '<link rel="icon" href="/a.png" sizes="any"><link rel="icon" href="/b.png">',
                "https://example.com/a.png",
            ),
            ("<![<", "https://example.com/favicon.ico"),
            ('<link rel="icon" href="/i.png"><![<', "https://example.com/i.png"),
        ],
    )
    def test_head_says_which(self, head: str, icon: str) -> None:
        assert icon_of(f"<!doctype html><html><head>{head}</head>".encode(), URL) == icon

    def test_rest_of_a_long_page_does_not_count(self) -> None:
        page = b" " * MAX_PAGE_BYTES + b'<link rel="icon" href="/late.png">'
        assert icon_of(page, URL) == "https://example.com/favicon.ico"

    @given(st.binary() | st.text(alphabet="<>!-[]/=\"' linkrelhcon&;").map(str.encode))
    def test_any_page_has_some(self, page: bytes) -> None:
        assert icon_of(page, URL)
