"""Providers, topics, their subscribers and messages, as clients are shown them. Pure."""

from typing import Any

from typing_extensions import TypedDict

from workers.models.people import Row, Target, target_model

Provider = TypedDict(
    "Provider",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "name": str,
        "provider": str,
        "enabled": bool,
        "type": str,
        "credentials": dict[str, Any],
        "options": dict[str, Any],
    },
)
"""Somebody who delivers messages. Of the credentials only those are shown that are no secrets, such as a host."""


class ProviderList(TypedDict):
    """A page of providers."""

    total: int
    providers: list[Provider]


Topic = TypedDict(
    "Topic",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "name": str,
        "emailTotal": int,
        "smsTotal": int,
        "pushTotal": int,
        "subscribe": list[str],
    },
)
"""What people subscribe to. The totals count its subscribers; ``subscribe`` has the roles that may subscribe."""


class TopicList(TypedDict):
    """A page of topics."""

    total: int
    topics: list[Topic]


Subscriber = TypedDict(
    "Subscriber",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "targetId": str,
        "target": Target,
        "userId": str,
        "userName": str,
        "topicId": str,
        "providerType": str,
    },
)
"""A target that gets what is sent to a topic."""


class SubscriberList(TypedDict):
    """A page of subscribers."""

    total: int
    subscribers: list[Subscriber]


Message = TypedDict(
    "Message",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "providerType": str,
        "topics": list[str],
        "users": list[str],
        "targets": list[str],
        "scheduledAt": str | None,
        "deliveredAt": str | None,
        "deliveryErrors": list[str],
        "deliveredTotal": int,
        "data": dict[str, Any],
        "status": str,
    },
)
"""A message: ``data`` is what it says, ``status`` is draft, scheduled, processing, sent or failed."""


class MessageList(TypedDict):
    """A page of messages."""

    total: int
    messages: list[Message]


def provider_model(row: Row) -> Provider:
    """Return the model of a row of ``providers``."""
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "name": row["name"],
        "provider": row["provider"],
        "enabled": row["enabled"],
        "type": row["type"],
        "credentials": row["credentials"],
        "options": row["options"],
    }


def topic_model(row: Row) -> Topic:
    """Return the model of a row of ``topics``."""
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "name": row["name"],
        "emailTotal": row["email_total"],
        "smsTotal": row["sms_total"],
        "pushTotal": row["push_total"],
        "subscribe": row["subscribe"],
    }


def subscriber_model(row: Row, *, target: Row, user_name: str) -> Subscriber:
    """Return the model of a row of ``subscribers``, with the row of its target and the name of whose that is."""
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "targetId": row["target_id"],
        "target": target_model(target),
        "userId": row["user_id"],
        "userName": user_name,
        "topicId": row["topic_id"],
        "providerType": row["provider_type"],
    }


def message_model(row: Row) -> Message:
    """Return the model of a row of ``messages``."""
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "providerType": row["provider_type"],
        "topics": row["topics"],
        "users": row["users"],
        "targets": row["targets"],
        "scheduledAt": row["scheduled_at"],
        "deliveredAt": row["delivered_at"],
        "deliveryErrors": row["delivery_errors"],
        "deliveredTotal": row["delivered_total"],
        "data": row["data"],
        "status": row["status"],
    }
