"""What a user agent says of itself, in the terms of the session and log models."""

from starlette.requests import Request
from ua_parser import parse

MAX_CHARS = 512
"""How much of a user agent is looked at: a longer one is no browser's."""

_OS_CODES = {
    "Android": "AND",
    "Chrome OS": "COS",
    "Debian": "DEB",
    "Fedora": "FED",
    "iOS": "IOS",
    "Linux": "LIN",
    "Mac OS X": "MAC",
    "Ubuntu": "UBT",
    "Windows": "WIN",
}

# By family: the code, and the engine that draws its pages.
_CLIENTS = {
    "Android": ("AN", "WebKit"),
    "Chrome": ("CH", "Blink"),
    "Chrome Mobile": ("CM", "Blink"),
    "Chrome Mobile iOS": ("CI", "WebKit"),
    "Edge": ("PS", "Blink"),
    "Edge Mobile": ("PS", "Blink"),
    "Firefox": ("FF", "Gecko"),
    "Firefox Mobile": ("FM", "Gecko"),
    "Firefox iOS": ("FM", "WebKit"),
    "HeadlessChrome": ("HC", "Blink"),
    "Mobile Safari": ("MF", "WebKit"),
    "Opera": ("OP", "Blink"),
    "Opera Mobile": ("OM", "Blink"),
    "Safari": ("SF", "WebKit"),
    "Samsung Internet": ("SB", "Blink"),
}

_DESKTOPS = frozenset({"Chrome OS", "Debian", "Fedora", "Linux", "Mac OS X", "Ubuntu", "Windows"})
_TABLETS = ("iPad", "Tablet", "Tab ")


def agent_of(request: Request) -> dict[str, str]:
    """Return what the user agent of ``request`` says, see :func:`describe_agent`."""
    return describe_agent(request.headers.get("User-Agent", ""))


def describe_agent(text: str) -> dict[str, str]:
    """Return the ``os*``, ``client*`` and ``device*`` members of a session for a ``User-Agent`` header.

    All are there; those that are not known are empty.
    """
    found = parse(text[:MAX_CHARS])
    os, client, device = found.os, found.user_agent, found.device
    os_name = os.family if os is not None else ""
    client_name = client.family if client is not None else ""
    code, engine = _CLIENTS.get(client_name, ("", ""))
    return {
        "osCode": _OS_CODES.get(os_name, ""),
        "osName": os_name,
        "osVersion": _version(os.major, os.minor) if os is not None else "",
        "clientType": "browser" if code else "",
        "clientCode": code,
        "clientName": client_name,
        "clientVersion": _version(client.major, client.minor) if client is not None else "",
        "clientEngine": engine,
        # Blink goes by the version of the browser; what the others say of theirs is frozen.
        "clientEngineVersion": _version(client.major, client.minor) if client and engine == "Blink" else "",
        "deviceName": _device_name(os_name, device.family if device is not None else ""),
        "deviceBrand": (device.brand or "") if device is not None else "",
        "deviceModel": (device.model or "") if device is not None else "",
    }


def _version(major: str | None, minor: str | None) -> str:
    return ".".join(part for part in (major, minor) if part)


def _device_name(os_name: str, family: str) -> str:
    if os_name in _DESKTOPS:
        return "desktop"
    if os_name in ("Android", "iOS"):
        return "tablet" if any(word in family for word in _TABLETS) else "smartphone"
    return ""
