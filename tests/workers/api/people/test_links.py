"""Links in mail lead to pages of the project, whatever somebody asks for."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.identity.model import Platform, Project
from realtime.settings import Settings
from workers.api.errors import ApiError
from workers.api.people.links import check_link, extend_link

PROJECT = Project(
    id="demo", platforms=(Platform(type="web", hostname="app.example.com", name="App"),), name="Demo"
)


class TestCheckLink:
    @pytest.mark.parametrize("url", ["https://app.example.com", "http://app.example.com:3000/a?b=c#d"])
    def test_page_of_a_platform_passes(self, url: str) -> None:
        check_link(url, PROJECT, Settings(domains=()))

    def test_page_of_the_servers_own_domain_passes(self) -> None:
        check_link("https://own.example.com/", PROJECT, Settings(domains=("own.example.com",)))

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "app.example.com",
            "//app.example.com/",
            "javascript:alert(1)",
            "ftp://app.example.com/",
            "https://evil.example/",
            "https://app.example.com.evil.example/",
            "https://app.example.com@evil.example/",
            "https://evil.example\\@app.example.com/",
            "https://evil.example\n@app.example.com/",
            "https://app.example.com/ and more",
            "https://[::1",
        ],
    )
    def test_anything_else_is_refused(self, url: str) -> None:
        with pytest.raises(ApiError, match="Invalid `url` param") as caught:
            check_link(url, PROJECT, Settings(domains=()))
        assert caught.value.status == 400


class TestExtendLink:
    def test_parameters_are_added_before_the_fragment(self) -> None:
        url = extend_link("https://a.example/p?x=1&secret=old#part", secret="a b&c", userId="ü")
        assert url == "https://a.example/p?x=1&secret=a+b%26c&userId=%C3%BC#part"

    @given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.text()), st.text())
    def test_parameters_are_read_back(self, there: dict[str, str], secret: str) -> None:
        url = extend_link(extend_link("https://a.example/p", **there), secret=secret)
        read = parse_qsl(urlsplit(url).query, keep_blank_values=True)
        assert read == [*((n, v) for n, v in there.items() if n != "secret"), ("secret", secret)]
