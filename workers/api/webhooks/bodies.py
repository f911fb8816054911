"""What requests say of webhooks, and its limits. Source: wire specification 11.1."""

from typing import Annotated

from pydantic import AfterValidator
from pydantic import Field as BodyField

from realtime.errors import InvalidEventError
from realtime.events.subscribed import MAX_NAMES, validate_subscribed
from workers.api.params import Body, CustomId, Name
from workers.outbound.targets import MAX_URL_CHARS


def _check_events(names: list[str]) -> list[str]:
    try:
        return list(validate_subscribed(names))
    except InvalidEventError as error:
        raise ValueError(str(error)) from None


Url = Annotated[
    str,
    BodyField(
        max_length=MAX_URL_CHARS, description="Where to: http or https, at a host of the public internet."
    ),
]
Events = Annotated[
    list[str],
    AfterValidator(_check_events),
    BodyField(max_length=MAX_NAMES, description="Names of events, with `*` for any ID: `users.*.create`."),
]
Secret = Annotated[
    str,
    BodyField(min_length=8, max_length=256, description="Signs deliveries; one is made if there is none."),
]
Credential = Annotated[str, BodyField(max_length=256)]


class WebhookChanges(Body):
    """What a webhook is to be; what is left out gets its default."""

    name: Name
    url: Url
    events: Events
    enabled: bool = True
    tls: Annotated[bool, BodyField(description="Whether to verify the certificate of the endpoint.")] = False
    authUsername: Credential = ""
    authPassword: Credential = ""


class NewWebhook(WebhookChanges):
    """A webhook to be made."""

    webhookId: CustomId
    secret: Secret | None = None


class NewSecret(Body):
    """What deliveries are signed with from now on."""

    secret: Secret | None = None
