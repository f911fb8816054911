"""What a setting's value must be, beyond its type: checks with messages for whoever set it. Pure.

Each check returns the value or raises :class:`ValueError`. The messages never quote what may hold a password.
"""

import re
from ipaddress import ip_network

from realtime.identity.model import CONSOLE
from realtime.permissions import is_valid_id

JWKS_ALGORITHMS = ("RS256", "ES256", "EdDSA")
"""The signature algorithms that a key of a JWKS may have."""

REDIS_SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "redis-sentinel",
    "rediss-sentinel",
    "redis-cluster",
    "rediss-cluster",
)
"""The kinds of Redis: one server, a master that Sentinels watch, a Cluster; ``rediss`` is TLS."""

ENCRYPTION_KEY_MIN_LENGTH = 16
"""In characters. A key is hashed once, not stretched: a short one would be found by trying."""

_MAX_DELAYS = 100
_MAX_DELAY_S = 30 * 86_400

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def check_redis_url(url: str) -> str:
    """Check that ``url`` is empty, or has a scheme of :data:`REDIS_SCHEMES` and names something."""
    _check_url(url, REDIS_SCHEMES)
    return url


def check_jwks_url(url: str) -> str:
    """Check that ``url`` is empty or can be fetched over HTTP."""
    _check_url(url, ("https", "http"))
    return url


def check_algorithms(names: tuple[str, ...]) -> tuple[str, ...]:
    """Check that all of ``names`` are of :data:`JWKS_ALGORITHMS`.

    Those of shared secrets must not be among them, or a public key could be used as such a secret.
    """
    for name in names:
        if name not in JWKS_ALGORITHMS:
            raise ValueError(f"{name!r} is not one of {', '.join(JWKS_ALGORITHMS)}.")
    return names


def check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    """Check that all of ``networks`` are IP networks in CIDR form; an address alone is one too."""
    for network in networks:
        ip_network(network)
    return networks


def check_header_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Check that all of ``names`` may be names of HTTP headers: tokens of RFC 9110 section 5.6.2."""
    for name in names:
        if _TOKEN.fullmatch(name) is None:
            raise ValueError(f"{name!r} is not the name of a header, such as x-forwarded-for.")
    return names


def check_encryption_keys(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Check that none of ``keys`` is shorter than :data:`ENCRYPTION_KEY_MIN_LENGTH`."""
    if any(len(key) < ENCRYPTION_KEY_MIN_LENGTH for key in keys):
        raise ValueError(
            f"A key must have {ENCRYPTION_KEY_MIN_LENGTH} characters or more, "
            "such as those of `openssl rand -base64 32`."
        )
    return keys


def check_project(project_id: str) -> str:
    """Check that ``project_id`` can be the ID of a project (wire specification 7.1); the console's is taken."""
    if not is_valid_id(project_id):
        raise ValueError(
            "A project's ID has 1 to 255 of A-Z a-z 0-9 . _ - | @ + and begins with a letter or digit."
        )
    if project_id == CONSOLE:
        raise ValueError(f"The ID {CONSOLE} is reserved.")
    return project_id


def _check_url(url: str, schemes: tuple[str, ...]) -> None:
    scheme, separator, rest = url.partition("://")
    # What is written without a scheme may be a password.
    if url and (not separator or scheme not in schemes or not rest):
        raise ValueError(f"The URL must begin with one of {', '.join(f'{each}://' for each in schemes)}.")


def check_schedule(delays_s: tuple[float, ...]) -> tuple[float, ...]:
    """Check that each delay is a time of 0 to 30 days, and that there are not more than 100."""
    if len(delays_s) > _MAX_DELAYS or any(not 0 <= delay <= _MAX_DELAY_S for delay in delays_s):
        raise ValueError(f"give at most {_MAX_DELAYS} numbers of seconds, each from 0 to {_MAX_DELAY_S}")
    return delays_s
