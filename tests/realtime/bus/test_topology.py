import pytest

from realtime.bus.topology import ClusterUrl, Credentials, RedisUrlError, SentinelUrl, parse_redis_url


class TestSingle:
    @pytest.mark.parametrize(
        "url", ["redis://host", "rediss://u:p@host:1/2", "unix:///run/valkey.sock", "http://x"]
    )
    def test_other_urls_are_left_to_the_client_library(self, url: str) -> None:
        assert parse_redis_url(url) == url


class TestSentinel:
    def test_every_part_is_read(self) -> None:
        url = "rediss-sentinel://ann:p%40ss@a:1,[::1]:2,c/main%20one/3?socket_timeout=2"

        assert parse_redis_url(url) == SentinelUrl(
            hosts=(("a", 1), ("::1", 2), ("c", 26379)),
            service="main one",
            database=3,
            is_tls=True,
            credentials=Credentials("ann", "p@ss"),
            query="socket_timeout=2",
        )

    def test_what_is_left_away_has_its_default(self) -> None:
        assert parse_redis_url("redis-sentinel://a/m") == SentinelUrl(
            hosts=(("a", 26379),),
            service="m",
            database=0,
            is_tls=False,
            credentials=Credentials(None, None),
            query="",
        )

    def test_password_alone_is_for_the_default_user(self) -> None:
        parsed = parse_redis_url("redis-sentinel://:secret@a/m")

        assert isinstance(parsed, SentinelUrl)
        assert parsed.credentials == Credentials(None, "secret")
        assert "secret" not in repr(parsed)

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("redis-sentinel://a:1", "does not name the service"),
            ("redis-sentinel://a:1/", "does not name the service"),
            ("redis-sentinel://a/m/x", "not a number"),
            ("redis-sentinel:///m", "no host"),
            ("redis-sentinel://a,,b/m", "no host"),
            ("redis-sentinel://a:x/m", "wrong port"),
            ("redis-sentinel://a:70000/m", "wrong port"),
            ("redis-sentinel://a:0/m", "wrong port"),
            ("redis-sentinel://:secret@:1/m", "no host"),
        ],
    )
    def test_other_shapes_are_refused_with_the_right_one(self, url: str, reason: str) -> None:
        with pytest.raises(RedisUrlError, match=reason) as caught:
            parse_redis_url(url)
        assert "redis-sentinel://[user:password@]host:26379" in str(caught.value)
        assert "secret" not in str(caught.value)


class TestCluster:
    @pytest.mark.parametrize("path", ["", "/", "/0"])
    def test_every_part_is_read(self, path: str) -> None:
        assert parse_redis_url(f"redis-cluster://ann:s@a:1,b{path}") == ClusterUrl(
            hosts=(("a", 1), ("b", 6379)), is_tls=False, credentials=Credentials("ann", "s"), query=""
        )

    def test_tls_is_in_the_scheme(self) -> None:
        parsed = parse_redis_url("rediss-cluster://a")

        assert isinstance(parsed, ClusterUrl)
        assert parsed.is_tls

    def test_database_is_refused(self) -> None:
        with pytest.raises(RedisUrlError, match="one database"):
            parse_redis_url("redis-cluster://a:1/2")

    def test_url_without_a_host_is_refused(self) -> None:
        with pytest.raises(RedisUrlError, match="redis-cluster://"):
            parse_redis_url("redis-cluster://")
