"""``POST /v1/events``: publish one event or a batch from any backend (wire specification 16.11).

The body is one event object, a list of them, or ``{"events": [...]}``. All of it is checked before any of it
is published, and it is published in one atomic step.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from fastapi import APIRouter
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import Response

from realtime.errors import InvalidEventError, InvalidPermissionError, NotPublishedError, TooMuchWaitsError
from realtime.events.event import Event, prepare
from realtime.identity.model import Project
from realtime.publisher import Published, Publisher
from workers.api import errors
from workers.api.access import depth_of, require_project, require_scope
from workers.api.services import services_of

PATH = "/v1/events"

SCOPE = "events.write"
"""What an API key needs."""

IDEMPOTENCY_HEADER = "Idempotency-Key"

_REPEATING = (
    f"Try again; a request that carries an {IDEMPOTENCY_HEADER} takes effect once, "
    "however often it is repeated."
)
"""What is said here only: no other route heeds that header."""

router = APIRouter()


class EventBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One event as it arrives; the members mean what they mean in :class:`realtime.events.event.Event`.

    Unknown members are refused: a misspelt ``permissions`` would publish to nobody, silently.
    """

    event: str
    """A concrete name, or a pattern such as ``users.[userId].create`` when ``params`` is given."""
    payload: msgspec.Raw
    """A JSON object; its bytes reach clients as they were sent."""
    params: dict[str, str] | None = None
    permissions: list[str] | None = None
    roles: list[str] | None = None
    database_type: Literal["legacy", "tablesdb", "documentsdb", "vectorsdb"] | None = None
    user_id: str | None = None
    actor_id: str = ""
    timestamp: str | None = None


class PublishedBody(msgspec.Struct, frozen=True):
    """What the caller is told of one event."""

    id: str
    """The event's position in the project's log."""
    events: list[str]
    channels: list[str]
    roles: list[str]


class ResponseBody(msgspec.Struct, frozen=True):
    """The answer to a batch, in the order of the request."""

    total: int
    events: list[PublishedBody]


_BATCH = msgspec.json.Decoder(list[msgspec.Raw] | dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_EVENT = msgspec.json.Decoder(EventBody)


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _request_schema() -> dict[str, Any]:
    """Return what the OpenAPI document says of the body."""
    _, schemas = msgspec.json.schema_components([EventBody])
    event = schemas["EventBody"]
    event["properties"]["payload"] = {"type": "object"}
    return {"oneOf": [event, {"type": "array", "items": event, "minItems": 1}]}


@router.post(
    PATH,
    responses={
        202: {"description": "Published.", **_json({"type": "object", "required": ["total", "events"]})}
    },
    openapi_extra={"requestBody": {"required": True, **_json(_request_schema())}},
    operation_id="eventsCreate",
    tags=["events"],
)
async def create_events(request: Request) -> Response:
    """Publish the events of the body; 202 with ``{total, events: [{id, events, channels, roles}]}``."""
    try:
        published = await _publish(request)
    except TooMuchWaitsError as error:
        raise errors.too_much_waits(request, error) from error
    except (NotPublishedError, RedisError, OSError) as error:
        raise errors.out_of_reach(request, error, _REPEATING) from error
    return Response(encode_response(published), status_code=202, media_type="application/json")


async def _publish(request: Request) -> list[Published]:
    """Check the request, and publish what it brings."""
    services = services_of(request)
    project = await require_project(request)
    depth = depth_of(await require_scope(request, project, SCOPE))
    idempotency_key = read_idempotency_key(request)
    try:
        async with asyncio.timeout(services.settings.request_timeout_s):
            body = await read_body(request, services.settings.events_max_bytes)
    except TimeoutError as error:
        raise errors.too_late(services.settings.request_timeout_s) from error
    batch = parse_events(body, max_batch=services.settings.events_max_batch)
    if depth:
        batch = [replace(event, depth=depth) for event in batch]
    # The caller retries, not the server: a request held open for seconds would only pile up.
    async with Publisher(project.id, bus=services.bus, retry_s=0, project_team=project.team_id) as publisher:
        try:
            return await publisher.publish_many(batch, idempotency_key=idempotency_key)
        except (InvalidEventError, InvalidPermissionError) as error:
            raise errors.bad_request(locate(error, batch, project)) from error


def read_idempotency_key(request: Request) -> str | None:
    """Return the ``Idempotency-Key`` header, None when there is none.

    Raises:
        ApiError: 400 when it is not 1 to 128 visible ASCII characters.
    """
    key = request.headers.get(IDEMPOTENCY_HEADER)
    if key is None:
        return None
    if not 1 <= len(key) <= 128 or not key.isascii() or not key.isprintable():
        raise errors.bad_request(
            "Invalid `Idempotency-Key` header: it must be 1 to 128 printable ASCII characters."
        )
    return key


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """Return the body, reading no more than ``limit_bytes`` of it.

    Raises:
        ApiError: 413 as soon as the body is known to be longer.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit_bytes:
        raise errors.too_large(limit_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            raise errors.too_large(limit_bytes)
    return bytes(body)


def parse_events(body: bytes, *, max_batch: int) -> list[Event]:
    """Return the events of a request body, in order.

    Raises:
        ApiError: 400 for what is not JSON, not of one of the three forms, or not an event, with the index of
            the first wrong one; and for no event at all, or more than ``max_batch``.
    """
    try:
        items = _split(body)
    except RecursionError as error:
        raise errors.bad_request("The request body is nested too deeply.") from error
    except msgspec.ValidationError as error:
        raise errors.bad_request(
            "The request body must be an event, a list of events, or `{events: [...]}`."
        ) from error
    except msgspec.DecodeError as error:
        raise errors.bad_request(f"The request body is not valid JSON: {error}.") from error
    if not items:
        raise errors.bad_request("The request body holds no event.")
    if len(items) > max_batch:
        raise errors.bad_request(f"The request body holds {len(items)} events; the limit is {max_batch}.")
    return [_parse_event(index, item) for index, item in enumerate(items)]


def _split(body: bytes) -> list[msgspec.Raw]:
    batch = _BATCH.decode(body)
    if isinstance(batch, list):
        return batch
    if set(batch) == {"events"}:
        return _LIST.decode(batch["events"])
    return [msgspec.Raw(body)]


def _parse_event(index: int, item: msgspec.Raw) -> Event:
    try:
        parsed = _EVENT.decode(item)
        if not bytes(parsed.payload).lstrip().startswith(b"{"):
            raise msgspec.ValidationError("Expected `object` - at `$.payload`")
    except (msgspec.MsgspecError, RecursionError) as error:
        raise errors.bad_request(f"Invalid event at index {index}: {error}.") from error
    return Event(
        name=parsed.event,
        payload=bytes(parsed.payload),
        params=parsed.params,
        permissions=parsed.permissions,
        roles=parsed.roles,
        database_type=parsed.database_type,
        user_id=parsed.user_id,
        actor_id=parsed.actor_id,
        timestamp=parsed.timestamp,
    )


def locate(error: Exception, batch: Sequence[Event], project: Project) -> str:
    """Return the text of ``error`` with the index of the first event of ``batch`` that cannot be prepared."""
    now = datetime.now(UTC)
    for index, event in enumerate(batch):
        try:
            prepare(event, project.id, now=now, project_team=project.team_id)
        except (InvalidEventError, InvalidPermissionError) as refusal:
            return f"Invalid event at index {index}: {refusal}"
    return str(error)


def encode_response(published: Sequence[Published]) -> bytes:
    """Return the body of the 202 response."""
    events = [
        PublishedBody(
            id=item.id, events=list(item.events), channels=list(item.channels), roles=list(item.roles)
        )
        for item in published
    ]
    return msgspec.json.encode(ResponseBody(total=len(events), events=events))
