"""What requests say about messages: who gets them, when, and what they say. Pure."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from workers.api.messaging.kinds import check_one_line
from workers.api.params import Body, CustomId
from workers.api.people.fields import Prefs
from workers.store.times import from_iso, to_text

MAX_IDS = 100
"""How many topics, users, targets and copies a message may name, each."""

MAX_CONTENT_CHARS = 64_230
"""How long the content of a message may be."""


def _check_schedule(value: Any) -> Any:
    if value is None or value == "":
        return None
    try:
        moment = from_iso(value)
    except (TypeError, ValueError) as error:
        raise ValueError("Value must be a valid date in ISO 8601 form") from error
    if moment <= to_text(datetime.now(UTC)):
        raise ValueError("Value must be a date in the future")
    return moment


def _refuse_attachments(value: list[str] | None) -> list[str] | None:
    if value:
        raise ValueError("Attachments are not supported; put a link to the file into the content")
    return value


def _each_once(value: list[str]) -> list[str]:
    return list(dict.fromkeys(value))


Id = Annotated[str, Field(max_length=255)]
Ids = Annotated[list[Id], Field(max_length=MAX_IDS), AfterValidator(_each_once)]
Subject = Annotated[str, Field(min_length=1, max_length=998), AfterValidator(check_one_line)]
Content = Annotated[str, Field(min_length=1, max_length=MAX_CONTENT_CHARS)]
SmsContent = Annotated[str, Field(min_length=1, max_length=900)]
ShortText = Annotated[str, Field(max_length=2048)]
Schedule = Annotated[
    str | None,
    BeforeValidator(_check_schedule),
    Field(description="When it is to be sent: a time in the future, in ISO 8601 form."),
]
Attachments = Annotated[list[Id] | None, AfterValidator(_refuse_attachments)]
Priority = Literal["normal", "high"]


class NewMessage(Body):
    """What every new message has."""

    messageId: CustomId
    topics: Ids = Field(default=[])
    users: Ids = Field(default=[])
    targets: Ids = Field(default=[])
    draft: bool = False
    scheduledAt: Schedule = None


class MessageChanges(Body):
    """What every change of a message may have; what is left out stays."""

    topics: Ids | None = None
    users: Ids | None = None
    targets: Ids | None = None
    draft: bool | None = None
    scheduledAt: Schedule = None


class NewEmail(NewMessage):
    """An e-mail to be made."""

    subject: Subject
    content: Content
    cc: Ids = Field(default=[])
    bcc: Ids = Field(default=[])
    attachments: Attachments = None
    html: bool = False


class EmailChanges(MessageChanges):
    """What of an e-mail is to change."""

    subject: Subject | None = None
    content: Content | None = None
    cc: Ids | None = None
    bcc: Ids | None = None
    attachments: Attachments = None
    html: bool | None = None


class NewSms(NewMessage):
    """A text message to be made."""

    content: SmsContent


class SmsChanges(MessageChanges):
    """What of a text message is to change."""

    content: SmsContent | None = None


class _Notification(Body):
    """What a push notification says."""

    title: ShortText | None = None
    body: Content | None = None
    data: Prefs | None = None
    action: ShortText | None = None
    image: ShortText | None = None
    icon: ShortText | None = None
    sound: ShortText | None = None
    color: ShortText | None = None
    tag: ShortText | None = None
    badge: int | None = Field(default=None, ge=-1, le=2**31 - 1)
    contentAvailable: bool | None = None
    critical: bool | None = None
    priority: Priority | None = None


class NewPush(_Notification, NewMessage):
    """A push notification to be made."""


class PushChanges(_Notification, MessageChanges):
    """What of a push notification is to change."""


CONTENTS: dict[str, frozenset[str]] = {
    "email": frozenset({"subject", "content", "cc", "bcc", "html"}),
    "sms": frozenset({"content"}),
    "push": frozenset(_Notification.model_fields),
}
"""Which members of a body say what a message says, by what kind of message it is."""
