"""The headers that a function is called with, and which of them an execution keeps. Pure.

Source: wire specification 12.2 and 12.3.
"""

import re
from collections.abc import Iterable, Mapping

from realtime import __version__
from workers.functions.executor import Trigger

OWN_PREFIX = "x-appwrite-"
"""What the names of those headers begin with that only the server sets."""

MAX_HEADERS = 100
MAX_NAME_CHARS = 128
MAX_VALUE_CHARS = 8192

_KEPT_REQUEST = ("content-type", "agent", "content-length", "host", "x-appwrite-client-ip")
_KEPT_RESPONSE = ("content-type", "content-length")

# RFC 9110 section 5.6.2; a value has no control characters but the tab.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]")


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers that a caller gives, by lower-case names and without those that only the server sets.

    Raises:
        ValueError: there are too many, or one is too long or could not be sent.
    """
    if len(headers) > MAX_HEADERS:
        raise ValueError(f"There can be at most {MAX_HEADERS} headers")
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or len(name) > MAX_NAME_CHARS:
            raise ValueError(
                f"The name of a header has letters, digits and hyphens, and at most {MAX_NAME_CHARS} chars"
            )
        if len(value) > MAX_VALUE_CHARS or _NOT_IN_VALUE.search(value):
            raise ValueError(
                f"The value of a header has at most {MAX_VALUE_CHARS} chars, and no control characters"
            )
    lower = {name.lower(): value for name, value in headers.items()}
    return {name: value for name, value in lower.items() if not name.startswith(OWN_PREFIX)}


def http_headers(
    given: Mapping[str, str],
    *,
    execution_id: str,
    key: str,
    user_id: str,
    user_jwt: str,
    client_ip: str,
) -> dict[str, str]:
    """Return the headers of a call that somebody made through the API.

    Args:
        given: what they gave, as :func:`check_headers` returns it.
        execution_id: the execution.
        key: the API key of the execution; empty for none.
        user_id: who made it; empty for guests and API keys.
        user_jwt: a token that stands for them; empty for none.
        client_ip: where they called from; empty if that is not known.
    """
    return dict(given) | _own(
        "http", execution_id=execution_id, key=key, user_id=user_id, user_jwt=user_jwt, client_ip=client_ip
    )


def event_headers(*, execution_id: str, key: str, event: str, user_id: str) -> dict[str, str]:
    """Return the headers of a call that an event triggered.

    Args:
        execution_id: the execution.
        key: the API key of the execution; empty for none.
        event: the first of the event's names.
        user_id: who acted; empty if that is not known. No token stands for them.
    """
    headers = _own("event", execution_id=execution_id, key=key, user_id=user_id)
    return headers | {"content-type": "application/json", "x-appwrite-event": event}


def schedule_headers(*, execution_id: str, key: str) -> dict[str, str]:
    """Return the headers of a call that is made since its time has come."""
    return _own("schedule", execution_id=execution_id, key=key)


def _own(
    trigger: Trigger,
    *,
    execution_id: str,
    key: str,
    user_id: str = "",
    user_jwt: str = "",
    client_ip: str = "",
) -> dict[str, str]:
    headers = {
        "user-agent": f"Appwrite/{__version__}",
        "x-appwrite-execution-id": execution_id,
        "x-appwrite-key": key,
        "x-appwrite-trigger": trigger,
        "x-appwrite-user-id": user_id,
        "x-appwrite-user-jwt": user_jwt,
        # Nobody here knows where an address is.
        "x-appwrite-country-code": "",
        "x-appwrite-continent-code": "",
        "x-appwrite-continent-eu": "false",
    }
    if client_ip:
        headers["x-appwrite-client-ip"] = client_ip
    return headers


def kept_request_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those headers of a call that its record keeps: the others may hold secrets."""
    return _chosen(headers, _KEPT_REQUEST)


def kept_response_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those headers of a response that the record of its execution keeps."""
    return _chosen(headers, _KEPT_RESPONSE)


def _chosen(headers: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    lower = {name.lower(): value for name, value in headers.items()}
    return {name: lower[name] for name in names if name in lower}
