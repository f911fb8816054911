"""The address that a request comes from, behind the proxies that the settings trust."""

import functools
import ipaddress

from starlette.requests import Request

from realtime.hub.handshake import client_ip
from workers.api.services import services_of


def address_of(request: Request) -> str:
    """Return the IP address of who made ``request``; empty when the server was not told any."""
    settings = services_of(request).settings
    return client_ip(
        request.client.host if request.client else "",
        request.headers.items(),
        header_names=settings.trusted_ip_headers,
        trusted=functools.partial(_is_within, settings.trusted_proxies),
    )


@functools.lru_cache(maxsize=1024)
def _is_within(networks: tuple[str, ...], text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(network) for network in networks)
