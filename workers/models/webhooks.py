"""Webhooks, as clients are shown them. Pure."""

from typing_extensions import TypedDict

from workers.models.people import Row

Webhook = TypedDict(
    "Webhook",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "name": str,
        "url": str,
        "events": list[str],
        "tls": bool,
        "authUsername": str,
        "authPassword": str,
        "secret": str,
        "enabled": bool,
        "logs": str,
        "attempts": int,
    },
)
"""Where events are sent to; ``attempts`` is how many failed, one after another, and ``logs`` says how the last did."""


class WebhookList(TypedDict):
    """A page of webhooks."""

    total: int
    webhooks: list[Webhook]


def webhook_model(row: Row, *, auth_password: str = "", secret: str = "") -> Webhook:
    """Return the model of a row of ``webhooks``.

    Args:
        row: the webhook.
        auth_password: the password, for servers that may read it; empty in events.
        secret: what deliveries are signed with, which is shown only when it is made.
    """
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "name": row["name"],
        "url": row["url"],
        "events": row["events"],
        "tls": row["tls"],
        "authUsername": row["auth_username"],
        "authPassword": auth_password,
        "secret": secret,
        "enabled": row["enabled"],
        "logs": row["logs"],
        "attempts": row["attempts"],
    }
