"""The request that tells a webhook of an event. Pure. Source: wire specification 11.3."""

import base64
import re
from typing import NamedTuple

from realtime import __version__
from realtime.triggers.model import Webhook
from workers.outbound.signing import appwrite_signature, standard_signature

# What ends a header, or what servers refuse in one.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


class Delivery(NamedTuple):
    """What one webhook is to be told of one event."""

    project_id: str
    delivery_id: str
    """The same for every attempt, so that a receiver recognises what it has had before."""
    event_id: str
    names: tuple[str, ...]
    """Every name of the event."""
    actor_id: str
    """The user who acted; empty for guests, API keys and whoever is not known."""
    payload: bytes
    """The event's payload, JSON: the body, byte for byte."""
    attempt: int = 1
    """Which attempt this is."""


class Credentials(NamedTuple):
    """What a webhook keeps secret, unsealed."""

    secrets: tuple[str, ...]
    """What signs: the newest, and the one before as long as it still does."""
    password: str = ""


def user_agent(contact: str) -> str:
    """Return the header ``User-Agent``; ``contact`` is whom to tell of abuse, empty for nobody."""
    report = f". Please report abuse at {contact}" if contact else ""
    return f"realtime/{__version__} (webhooks{report})"


def request_headers(
    webhook: Webhook, delivery: Delivery, credentials: Credentials, timestamp: int, agent: str
) -> dict[str, str]:
    """Return the headers of an attempt, but for those that belong to the connection.

    Args:
        webhook: whom it goes to.
        delivery: what it says.
        credentials: the webhook's.
        timestamp: the present, in Unix seconds.
        agent: what :func:`user_agent` returned.
    """
    headers = {
        # Nothing here unpacks.
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "User-Agent": _value(agent),
        "X-Appwrite-Webhook-Id": webhook.id,
        "X-Appwrite-Webhook-Name": _value(webhook.name),
        "X-Appwrite-Webhook-Events": _value(",".join(delivery.names)),
        "X-Appwrite-Webhook-User-Id": _value(delivery.actor_id),
        "X-Appwrite-Webhook-Project-Id": delivery.project_id,
        "X-Appwrite-Webhook-Signature": appwrite_signature(
            credentials.secrets[0], webhook.url, delivery.payload
        ),
        "webhook-id": delivery.delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": standard_signature(
            credentials.secrets, delivery.delivery_id, timestamp, delivery.payload
        ),
    }
    if webhook.auth_username and credentials.password:
        login = f"{webhook.auth_username}:{credentials.password}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
    return headers


def _value(text: str) -> str:
    """Return ``text`` as a header can have it: whoever names a webhook must not begin another header with it.

    Anything else than control characters stays, and is sent in UTF-8, as Appwrite does it.
    """
    # Most have nothing to replace, and to see that costs a tenth.
    return text.strip() if text.isprintable() else _CONTROLS.sub(" ", text).strip()
