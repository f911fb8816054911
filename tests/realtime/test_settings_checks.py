import pytest

from realtime.settings_checks import (
    REDIS_SCHEMES,
    check_algorithms,
    check_encryption_keys,
    check_header_names,
    check_jwks_url,
    check_networks,
    check_project,
    check_redis_url,
    check_schedule,
)


class TestRedisUrl:
    @pytest.mark.parametrize("url", ["", *(f"{scheme}://somewhere" for scheme in REDIS_SCHEMES)])
    def test_known_scheme_is_accepted(self, url: str) -> None:
        assert check_redis_url(url) == url

    @pytest.mark.parametrize(
        "url", ["s3cret@host:6379", "http://:s3cret@host", "redis:s3cret", "redis://", "REDIS://s3cret", " "]
    )
    def test_other_one_is_refused_without_being_shown(self, url: str) -> None:
        with pytest.raises(ValueError, match="begin with one of redis://, rediss://, unix://, ") as caught:
            check_redis_url(url)
        assert "s3cret" not in str(caught.value)


class TestJwksUrl:
    @pytest.mark.parametrize("url", ["", "https://id.example.com/keys", "http://localhost/keys"])
    def test_http_url_is_accepted(self, url: str) -> None:
        assert check_jwks_url(url) == url

    @pytest.mark.parametrize("url", ["id.example.com/keys", "file:///etc/keys", "redis://host"])
    def test_other_one_is_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match="begin with one of https://, http://"):
            check_jwks_url(url)


class TestAlgorithms:
    def test_those_of_public_keys_are_accepted(self) -> None:
        assert check_algorithms(("EdDSA", "RS256")) == ("EdDSA", "RS256")

    @pytest.mark.parametrize("name", ["HS256", "none", "rs256", "RSA"])
    def test_others_are_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"'{name}' is not one of RS256, ES256, EdDSA"):
            check_algorithms(("RS256", name))


class TestNetworks:
    def test_networks_and_addresses_are_accepted(self) -> None:
        assert check_networks(("10.0.0.0/8", "::1")) == ("10.0.0.0/8", "::1")

    @pytest.mark.parametrize("network", ["localhost", "10.0.0.1/8", "10.0.0.0/33"])
    def test_others_are_refused(self, network: str) -> None:
        with pytest.raises(ValueError, match=network):
            check_networks((network,))


class TestHeaderNames:
    def test_tokens_are_accepted(self) -> None:
        assert check_header_names(("X-Forwarded-For", "cf-connecting-ip", "a_b")) == (
            "X-Forwarded-For",
            "cf-connecting-ip",
            "a_b",
        )

    @pytest.mark.parametrize("name", ["x forwarded", "x-real-ip:", "x-é", "x\n"])
    def test_others_are_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="is not the name of a header"):
            check_header_names((name,))


class TestEncryptionKeys:
    @pytest.mark.parametrize("keys", [(), ("x" * 16,), ("x" * 16, "y" * 44)])
    def test_long_ones_are_accepted(self, keys: tuple[str, ...]) -> None:
        assert check_encryption_keys(keys) == keys

    @pytest.mark.parametrize("short", ["s3cret", "s3cret" + "x" * 9])
    def test_a_short_one_among_them_is_refused_without_being_shown(self, short: str) -> None:
        with pytest.raises(ValueError, match="16 characters or more") as caught:
            check_encryption_keys(("x" * 16, short))
        assert "s3cret" not in str(caught.value)


class TestProject:
    def test_id_is_accepted(self) -> None:
        assert check_project("shop_1.test-2") == "shop_1.test-2"

    @pytest.mark.parametrize("project_id", ["", "my shop", "_x", "a:b", "x" * 256])
    def test_what_is_no_id_is_refused(self, project_id: str) -> None:
        with pytest.raises(ValueError, match="A project's ID has 1 to 255"):
            check_project(project_id)

    def test_id_of_the_console_is_taken(self) -> None:
        with pytest.raises(ValueError, match="console is reserved"):
            check_project("console")


class TestSchedule:
    @pytest.mark.parametrize("delays_s", [(), (0,), (5.0, 0.5), (2_592_000,), (1,) * 100])
    def test_delays_are_accepted(self, delays_s: tuple[float, ...]) -> None:
        assert check_schedule(delays_s) == delays_s

    @pytest.mark.parametrize(
        "delays_s", [(-1,), (5, 2_592_001), (float("nan"),), (float("inf"),), (1,) * 101]
    )
    def test_impossible_delays_are_refused(self, delays_s: tuple[float, ...]) -> None:
        with pytest.raises(ValueError, match="at most 100 numbers of seconds, each from 0 to 2592000"):
            check_schedule(delays_s)
