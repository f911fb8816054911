from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.outbound.addresses import is_public

NAT64 = IPv6Network("64:ff9b::/96")


class TestIsPublic:
    @pytest.mark.parametrize(
        "address",
        [
            "1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0",
            "192.167.255.255", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2001:4860:4860::8888",
            "2606:2800:220:1:248:1893:25c8:1946", "2a00::1", "64:ff9b::8.8.8.8",
        ],
    )  # fmt: skip
    def test_address_of_the_internet_is(self, address: str) -> None:
        assert is_public(ip_address(address))

    @pytest.mark.parametrize(
        "address",
        [
            "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1",
            "127.255.255.254", "168.63.129.16", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255",
            "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7",
            "203.0.113.7", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
            "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "100::1", "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::",
            "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fd12:3456::1", "fe80::1",
            "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1",
        ],
    )  # fmt: skip
    def test_any_other_is_not(self, address: str) -> None:
        assert not is_public(ip_address(address))

    @given(st.ip_addresses())
    def test_nothing_that_python_calls_special_is(self, address: IPv4Address | IPv6Address) -> None:
        is_special = (
            address.is_private or address.is_loopback or address.is_link_local or address.is_multicast
            or address.is_reserved or address.is_unspecified
        )  # fmt: skip
        assert not (is_public(address) and is_special and address not in NAT64)

    @given(st.ip_addresses(v=4))
    def test_address_behind_nat64_is_as_public_as_without(self, address: IPv4Address) -> None:
        assert is_public(NAT64[int(address)]) == is_public(address)
