"""URLs of functions, and where calls go."""

import posixpath
import re

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.functions.executors.urls import check_url, is_url, url_of_call
from workers.outbound.targets import TargetError


class TestIsUrl:
    def test_files_are_none(self) -> None:
        assert [is_url(each) for each in ("main.py", "", "https.py", "http:/x", "src/http://x")] == [
            False
        ] * 5
        assert [is_url(each) for each in ("http://x", "HTTPS://x", "https://")] == [True] * 3


class TestCheckUrl:
    def test_url_that_paths_can_be_put_behind_passes(self) -> None:
        for url in ("https://example.com", "http://example.com:8080/a/b/", "https://[2606:4700::1]/"):
            assert check_url(url) == url

    @pytest.mark.parametrize(
        "url",
        [
            "https://example.com/?",
            "https://example.com/?a=b",
            "https://example.com/#",
            "https://u@example.com",
        ],
    )
    def test_url_with_more_than_that_is_refused(self, url: str) -> None:
        with pytest.raises(TargetError):
            check_url(url)


class TestUrlOfCall:
    @pytest.mark.parametrize(
        ("url", "path", "expected"),
        [
            ("https://example.com/", "/", "https://example.com/"),
            ("https://example.com/f", "/", "https://example.com/f"),
            ("https://example.com/f/", "/", "https://example.com/f/"),
            ("https://example.com/f", "/a?b=c&d", "https://example.com/f/a?b=c&d"),
            ("https://example.com/f/", "/a/", "https://example.com/f/a/"),
            ("https://example.com/f", "/?b=c", "https://example.com/f/?b=c"),
            ("https://example.com", "//evil.example/", "https://example.com//evil.example/"),
            ("https://example.com", "/@evil.example", "https://example.com/@evil.example"),
            ("https://example.com", "/ä b", "https://example.com/%C3%A4%20b"),
            ("https://example.com", "/a#b", "https://example.com/a"),
            ("https://example.com/f", "/../a%2F%e4?b=%20+", "https://example.com/f/a%2F%e4?b=%20+"),
            ("https://example.com/f", "/../../a/..", "https://example.com/f"),
            ("https://example.com/f", "/..a/.b;../c..", "https://example.com/f/..a/.b;../c.."),
            ("https://example.com/f", "/a\\b?c=/../\\..", "https://example.com/f/a%5Cb?c=/../\\.."),
            ("https://example.com/f", "/%252e%252e/a", "https://example.com/f/%252e%252e/a"),
            ("https://EXAMPLE.com:443/f", "/a", "https://example.com/f/a"),
            ("https://bücher.example/f", "/a", "https://xn--bcher-kva.example/f/a"),
        ],
    )
    def test_path_comes_behind_the_url(self, url: str, path: str, expected: str) -> None:
        assert str(url_of_call(url, path)) == expected

    @pytest.mark.parametrize(
        "path",
        [
            "/%2e%2e/%2e%2e/admin",
            "/.%2E",
            "/a/%2e/b",
            "/\\..\\..\\admin",
            "/..%2f..%2fadmin",
            "/a%5c..%5Cadmin",
            "/..;/admin",
            "/%2e%2e;a=b/admin?c",
        ],
    )
    def test_path_that_a_server_may_take_for_a_way_out_is_refused(self, path: str) -> None:
        with pytest.raises(httpx.InvalidURL, match="may be read as"):
            url_of_call("https://example.com/f/secret", path)

    @given(
        st.lists(
            st.sampled_from([".", "%2e", "%2E", "/", "\\", "%2f", "%5C", "a", ";", "?", "#"]), max_size=9
        )
    )
    def test_no_path_leads_out_of_the_functions_own(self, pieces: list[str]) -> None:
        try:
            url = url_of_call("https://example.com/f/secret", "/" + "".join(pieces))
        except httpx.InvalidURL:
            return
        assert "\\" not in url.raw_path
        # What the least careful server makes of it.
        path = re.sub(";[^/]*", "", url.path.replace("\\", "/"))
        assert posixpath.normpath(path).startswith("/f/secret")

    @given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=50))
    def test_no_path_leads_to_another_host(self, path: str) -> None:
        try:
            url = url_of_call("https://example.com:8443/f", "/" + path)
        except httpx.InvalidURL:
            return
        assert (url.scheme, url.host, url.port, url.user) == ("https", "example.com", 8443, None)
        assert url.raw_path.startswith("/f")
