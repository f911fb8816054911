"""Which web pages and apps may connect: the check of the ``Origin`` header (wire specification 2.5 and 2.6).

The module is pure. It protects people from pages that would use their cookies; it is not authentication,
since anything but a browser can send any origin.
"""

import re
from collections.abc import Iterator, Sequence

from realtime.errors import ClientError, ErrorKind
from realtime.identity.model import CONSOLE, Platform, Project
from realtime.identity.secrets import verify_secret

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#\x00-\x1f\x7f]+(?:[/?#][^\s\x00-\x1f\x7f]*)?")
_DELIMITER = re.compile(r"[/?#]")
_PORT = re.compile(r":\d*$")

_WEB_PLATFORMS = frozenset({"web", "flutter-web", "unity"})
_WEB_SCHEMES = {
    "http": "Web",
    "https": "Web",
    "chrome-extension": "Web (Chrome Extension)",
    "moz-extension": "Web (Firefox Extension)",
    "safari-web-extension": "Web (Safari Extension)",
    "ms-browser-extension": "Web (Edge Extension)",
    "tauri": "Web (Tauri)",
}
"""Schemes whose host decides, with the platform names that refusals show."""
_APP_SCHEMES = {
    "appwrite-ios": "iOS",
    "appwrite-macos": "macOS",
    "appwrite-watchos": "watchOS",
    "appwrite-tvos": "tvOS",
    "appwrite-android": "Android",
    "appwrite-windows": "Windows",
    "appwrite-linux": "Linux",
}
"""Schemes of the app SDKs: acceptable once an app of that system is registered."""
_APPLE_SCHEMES = ("appwrite-ios", "appwrite-macos", "appwrite-watchos", "appwrite-tvos")
_LOOPBACK = frozenset({"127.0.0.1", "[::1]"})


def check_origin(
    origin: str, project: Project, *, platform_hosts: Sequence[str], dev_key: bool = False
) -> None:
    """Refuse an origin that is not registered with the project.

    Args:
        origin: the ``Origin`` header; empty (not a browser) passes.
        project: the console project accepts every origin.
        platform_hosts: host names that every project accepts, the server's own.
        dev_key: whether a valid dev key was shown: then any syntactically valid URL passes.

    Raises:
        ClientError: ``ORIGIN_REFUSED`` with the reason of wire specification 2.6.
    """
    if not origin or project.id == CONSOLE:
        return
    if dev_key:
        if _URL.fullmatch(origin) is None:
            raise _refused("Value must be a valid URL")
        return
    scheme, host = _split(origin)
    if not scheme and not host:
        raise _refused("Invalid Origin.")
    if scheme in _WEB_SCHEMES:
        if _is_allowed_host(host, [*platform_hosts, *_hosts(project.platforms)]):
            return
    elif scheme in _schemes(project):
        return
    platform = _WEB_SCHEMES.get(scheme) or _APP_SCHEMES.get(scheme)
    if platform is None:
        raise _refused(
            f"Invalid Scheme. The scheme used ({scheme}) in the Origin ({origin}) is not supported. "
            "If you are using a custom scheme, please change it to `appwrite-callback-<PROJECT_ID>`"
        )
    raise _refused(
        f"Invalid Origin. Register your new client ({host}) as a new {platform} platform "
        "on your project console dashboard"
    )


def _refused(reason: str) -> ClientError:
    return ClientError(ErrorKind.ORIGIN_REFUSED, reason=reason)


def is_dev_key(project: Project, secret: str, now: float) -> bool:
    """Tell whether ``secret`` is that of a dev key of the project at ``now``, Unix time in seconds."""
    return bool(secret) and any(
        verify_secret(secret, key.secret_hash)
        for key in project.dev_keys
        if key.expires_at is None or key.expires_at >= now
    )


def _split(origin: str) -> tuple[str, str]:
    """Return scheme and lower-case host, each empty when absent.

    ``urllib`` is not used: it knows no underscore in a scheme and folds its case, but project IDs in
    ``appwrite-callback-<PROJECT_ID>`` have both.
    """
    before, colon, after = origin.partition(":")
    scheme, rest = (before, after) if colon and _DELIMITER.search(before) is None else ("", origin)
    authority = _DELIMITER.split(rest[2:], maxsplit=1)[0] if rest.startswith("//") else ""
    return scheme, _PORT.sub("", authority.rpartition("@")[2]).lower()


def _hosts(platforms: Sequence[Platform]) -> Iterator[str]:
    for platform in platforms:
        if platform.type in _WEB_PLATFORMS:
            yield platform.hostname
        elif platform.type != "scheme":
            yield platform.key


def _schemes(project: Project) -> Iterator[str]:
    yield "exp"
    yield f"appwrite-callback-{project.id}"
    for platform in project.platforms:
        if platform.type == "scheme":
            yield platform.key
        elif platform.type == "apple":
            yield from _APPLE_SCHEMES
        elif platform.type not in _WEB_PLATFORMS:
            # The system ends the type: apple-ios, flutter-android, react-native-ios, android.
            yield f"appwrite-{platform.type.rpartition('-')[2]}"


def _is_allowed_host(host: str, allowed: Sequence[str]) -> bool:
    if not host:
        return False
    names = {host, "localhost"} if host in _LOOPBACK else {host}
    return any(_matches(name, pattern.lower()) for name in names for pattern in allowed)


def _matches(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and host != pattern[1:]
    return bool(pattern) and pattern in ("*", host)
