from ipaddress import ip_address

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.outbound.targets import MAX_URL_CHARS, Target, TargetError, check_port, parse_target


class TestParse:
    @pytest.mark.parametrize(
        ("url", "host", "port"),
        [
            ("https://example.com", "example.com", 443),
            ("http://example.com/hook?a=b#c", "example.com", 80),
            ("HTTPS://Hooks.Example.COM:8443/x", "hooks.example.com", 8443),
            ("https://example.com./", "example.com", 443),
            ("https://bücher.example/", "xn--bcher-kva.example", 443),
            ("http://my_service:3000/", "my_service", 3000),
            ("http://8.8.8.8/", "8.8.8.8", 80),
            ("http://127.0.0.1./", "127.0.0.1", 80),
            ("http://[2001:4860::8888]:8080/", "2001:4860::8888", 8080),
            ("https://example.com?x", "example.com", 443),
            ("https://example.com/a@b:c\u00e9", "example.com", 443),
        ],
    )
    def test_host_and_port_are_those_of_the_url(self, url: str, host: str, port: int) -> None:
        target = parse_target(url)
        assert (target.host, target.port) == (host, port)

    @pytest.mark.parametrize(
        "url",
        [
            "", "example.com", "//example.com", "ftp://example.com", "file:///etc/passwd", "javascript:alert(1)",
            "gopher://example.com/", "http://", "http:///path", "http:example.com", "http:/example.com",
            # Somebody else's host behind what looks like a name.
            "http://user@example.com/", "http://user:pass@example.com/", "http://example.com@127.0.0.1/",
            "http://example.com\\@127.0.0.1/", "http://127.0.0.1\\.example.com/", "http://1.1.1.1 &@2.2.2.2# @3.3.3.3/",
            # IPv4 in other forms.
            "http://2130706433/", "http://0x7f000001/", "http://0x7F.1/", "http://0177.0.0.1/", "http://127.1/",
            "http://127.0.1/", "http://0/", "http://127.0.0.1.5/", "http://256.0.0.1/", "http://example.0x7f/",
            "http://01.01.01.01/", "http://0x7f.0.0.1/", "http://127.0.0.1../",
            # The same in other digits, letters and dots.
            "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/", "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/",
            "http://127\u30020\u30020\u30021/x y", "http://\u24dbocalhost/",
            "http://%31%32%37.0.0.1/", "http://localhost%00.example.com/", "http://exa%6dple.com/",
            # IPv6.
            "http://[::1", "http://::1/", "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[v1.x]/",
            "http://[::ffff:127.1]/", "http://[]/",
            # Names and ports that are none.
            "http://a..b/", "http://.example.com/", "http://-a.example/", f"http://{'a' * 64}.com/",
            f"http://{'a.' * 130}com/", "http://exa mple.com/", "http://example.com:0/", "http://example.com:65536/",
            "http://example.com:\uff18\uff10/", "http://example.com:-1/", "http://example.com:80:80/", "http://[::1]80/",
            "http://*.example.com/", "http://example.com\n/", "http://example.com/\r\nHost: x", "http://exam\u200bple.com/",
            "http://example.com/\x00", "http://example.com/\u202e",
        ],
    )  # fmt: skip
    def test_url_that_could_be_misread_is_refused(self, url: str) -> None:
        with pytest.raises(TargetError, match=r"^URL must "):
            parse_target(url)

    def test_longest_url_passes_and_a_longer_one_does_not(self) -> None:
        url = "https://example.com/".ljust(MAX_URL_CHARS, "x")
        assert parse_target(url).host == "example.com"
        with pytest.raises(TargetError, match="at most 2048 chars"):
            parse_target(url + "x")

    @given(st.text(alphabet="a0.:/@[]%\\#?x1-\uff17\u3002 ", max_size=25))
    def test_what_passes_is_what_the_client_connects_to(self, rest: str) -> None:
        try:
            target = parse_target(f"http://{rest}")
        except TargetError:
            return
        url = httpx.URL(f"http://{rest}")
        assert target.host == url.raw_host.decode().removesuffix(".")
        assert target.port == (url.port or 80)
        assert not url.userinfo


class TestLocalNames:
    @pytest.mark.parametrize(
        "host",
        ["localhost", "db", "printer.local", "a.localhost", "x.internal", "router.home.arpa", "a.test"],
    )
    def test_name_that_no_registry_gives_out_is_local(self, host: str) -> None:
        assert parse_target(f"http://{host}/").is_local_name

    @pytest.mark.parametrize("host", ["example.com", "localhost.example.com", "127.0.0.1", "[::1]"])
    def test_any_other_host_is_not(self, host: str) -> None:
        assert not parse_target(f"http://{host}/").is_local_name


class TestPorts:
    @pytest.mark.parametrize("port", [80, 443, 1024, 3000, 8080, 65535])
    def test_ports_of_web_servers_pass(self, port: int) -> None:
        check_port(Target("example.com", port, None))

    @pytest.mark.parametrize("port", [22, 25, 53, 465, 587, 993, 1023])
    def test_ports_of_other_services_are_refused(self, port: int) -> None:
        with pytest.raises(TargetError, match="port 80, 443"):
            check_port(Target("8.8.8.8", port, ip_address("8.8.8.8")))
