"""Which IP addresses are anybody's to connect to. Pure.

Written out, not left to :attr:`ipaddress.IPv4Address.is_global`, whose answers differ between releases of Python.
Sources: the IANA registries of special-purpose addresses for IPv4 and IPv6, RFC 6890; wire specification 11.5.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

_SPECIAL_IPV4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by the customers of a carrier; the metadata of a cloud
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # the platform of a cloud, to its own machines
            "169.254.0.0/16",  # link-local; the metadata of most clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments; the metadata of a cloud
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)

_GLOBAL_IPV6 = IPv6Network("2000::/3")
"""All that is given out for unicast. Outside are loopback, mapped and compatible forms, link-local, multicast, ..."""

_SPECIAL_IPV6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, among them Teredo, which wraps an IPv4 address
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which wraps an IPv4 address
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)

_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether ``address`` is one of the public internet, so that everybody may have it connected to.

    An IPv6 address that wraps an IPv4 address is not, however public that one is: there is a plain way to write it. The
    exception is NAT64 (RFC 6052), as names resolve to where there is IPv6 only; then the IPv4 address is judged.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _GLOBAL_IPV6 and not any(address in network for network in _SPECIAL_IPV6)
