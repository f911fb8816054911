"""What requests say of the deliveries that are to be made anew, and its limits."""

from typing import Annotated, Literal, Self

from pydantic import Field as BodyField
from pydantic import model_validator

from workers.api.params import MAX_ID_CHARS, Body, Time

MAX_EVENT_ID_CHARS = 41

DeliveryId = Annotated[str, BodyField(max_length=MAX_ID_CHARS)]


class NewRedeliveries(Body):
    """Which deliveries of a webhook are to be made anew: those that meet all of it."""

    since: Annotated[Time | None, BodyField(description="Recorded at this time or later.")] = None
    until: Annotated[Time | None, BodyField(description="Recorded before this time.")] = None
    eventId: Annotated[
        str | None, BodyField(min_length=1, max_length=MAX_EVENT_ID_CHARS, description="Of this event.")
    ] = None
    status: Annotated[
        Literal["pending", "delivered", "dead"] | None,
        BodyField(description="`dead` when left out; with `eventId`, any."),
    ] = None
    cursor: Annotated[
        DeliveryId, BodyField(description="The `cursor` of the answer before this one, to go on after it.")
    ] = ""

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.since is None and self.eventId is None:
            raise ValueError("Give since, eventId, or both.")
        return self


class NewProjectRedeliveries(NewRedeliveries):
    """Which deliveries of a project are to be made anew."""

    webhookIds: Annotated[
        tuple[Annotated[str, BodyField(max_length=MAX_ID_CHARS)], ...],
        BodyField(max_length=100, description="To these webhooks; to all when left out."),
    ] = ()
