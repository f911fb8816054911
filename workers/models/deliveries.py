"""Deliveries to webhooks, as clients are shown them. Pure."""

from collections.abc import Iterable
from typing import Any

import orjson
from typing_extensions import TypedDict

from workers.models.people import Row

Delivery = TypedDict(
    "Delivery",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "webhookId": str,
        "eventId": str,
        "event": str,
        "status": str,
        "attempts": int,
        "responseStatusCode": int,
        "error": str,
        "nextAttemptAt": str,
    },
)
"""What is, or was, to be sent to a webhook because of an event.

``$id`` is the ``webhook-id`` of its requests; ``event`` the event's first name; ``status`` is ``pending``,
``delivered`` or ``dead``. ``responseStatusCode``, 0 for no response, and ``error`` are those of the last attempt.
``nextAttemptAt`` is empty when it is over; while an attempt is being made, it is when another one is made should that
never end.
"""


class DeliveryAttempt(TypedDict):
    """One attempt at a delivery.

    ``number`` counts from 1; ``duration`` is in seconds; ``responseStatusCode`` is 0 for no response; ``response`` the
    beginning of its body; ``error`` is empty if nothing went wrong.
    """

    number: int
    startedAt: str
    duration: float
    responseStatusCode: int
    response: str
    error: str


class DeliveryDetails(Delivery):
    """A delivery with what is sent and what came of it.

    ``events`` are all names of the event; ``userId`` is who acted, empty if that is not known; ``payload`` is the body
    of the requests, null if it is gone; ``history`` has the attempts, the last first, as far as they are kept.
    """

    events: list[str]
    userId: str  # noqa: N815 - as the API has it
    payload: Any
    history: list[DeliveryAttempt]


class DeliveryList(TypedDict):
    """A page of deliveries."""

    total: int
    deliveries: list[Delivery]


class Redeliveries(TypedDict):
    """How many deliveries are made anew; ``cursor`` is empty unless there are more of them, after that delivery."""

    total: int
    cursor: str


def delivery_model(row: Row) -> Delivery:
    """Return the model of a row of ``deliveries``."""
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "webhookId": row["webhook_id"],
        "eventId": row["event_id"],
        "event": row["event"],
        "status": row["status"],
        "attempts": row["attempts"],
        "responseStatusCode": row["response_status"],
        "error": row["error"],
        "nextAttemptAt": row["due_at"] or "",
    }


def attempt_model(row: Row) -> DeliveryAttempt:
    """Return the model of a row of ``delivery_attempts``."""
    return {
        "number": row["number"],
        "startedAt": row["started_at"],
        "duration": row["duration_s"],
        "responseStatusCode": row["response_status"],
        "response": row["response"],
        "error": row["error"],
    }


def details_model(row: Row, event: Row | None, history: Iterable[Row]) -> DeliveryDetails:
    """Return the whole model of a row of ``deliveries``.

    Args:
        row: the delivery.
        event: its row of ``webhook_events``; None if that is gone.
        history: its rows of ``delivery_attempts``, in the order in which they are shown.
    """
    return {
        **delivery_model(row),
        "events": event["names"] if event is not None else [row["event"]],
        "userId": event["actor_id"] if event is not None else "",
        # JSON already, and as large as events are: it is not read only to be written again.
        "payload": orjson.Fragment(event["payload"]) if event is not None else None,
        "history": [attempt_model(attempt) for attempt in history],
    }
