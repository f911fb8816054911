"""The list of presences: those that the caller may read, by queries, from a cache if the caller lets it be old."""

import random
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from realtime.presences.model import Presence, presence_model
from workers.api.access import Caller, requires
from workers.api.list_cache import digest_of
from workers.api.listing import ListParams, list_params
from workers.api.rates import rate_limit
from workers.api.responses import documented
from workers.api.services import Services, services_of
from workers.models.presences import PresenceList
from workers.store.in_memory import MemoryField, page_of
from workers.store.queries import ListQuery

router = APIRouter(tags=["presences"])

MAX_TTL_S = 86_400
CACHE_HEADER = "X-Appwrite-Cache"

FIELDS: Mapping[str, MemoryField[Presence]] = {
    "$id": MemoryField(lambda presence: presence.id, "id"),
    "$createdAt": MemoryField(lambda presence: presence.created_at, "datetime"),
    "$updatedAt": MemoryField(lambda presence: presence.updated_at, "datetime"),
    "userId": MemoryField(lambda presence: presence.user_id, "id"),
    "status": MemoryField(lambda presence: presence.status, "string"),
    "source": MemoryField(lambda presence: presence.source, "string"),
    "expiresAt": MemoryField(lambda presence: presence.expires_at, "datetime"),
}
"""What presences are listed by."""

_SELECTABLE = frozenset({*FIELDS, "metadata", "$permissions"})

Reader = Annotated[Caller, Depends(requires("presences.read"))]
Ttl = Annotated[
    int, Query(ge=0, le=MAX_TTL_S, description="How many seconds old the answer may be; 0 for a fresh one.")
]


@router.get(
    "/v1/presences",
    response_model=None,
    responses=documented(PresenceList),
    operation_id="presencesList",
    # Its cost grows with the presences of the project.
    dependencies=[Depends(rate_limit(limit=120, window_s=60, by=("ip", "user", "url")))],
)
async def list_presences(
    request: Request, caller: Reader, params: Annotated[ListParams, Depends(list_params)], ttl: Ttl = 0
) -> Response:
    """List the presences that the caller may read; all of them for an API key.

    With ``ttl`` the answer may come from a cache, which the header ``X-Appwrite-Cache`` tells.
    """
    services = services_of(request)
    query = params.query(_SELECTABLE)
    if not ttl:
        return _answer(await _list(services, caller, query, count=params.total))
    project = caller.project.id
    roles = None if caller.is_privileged else sorted(caller.roles)
    version = await services.presences.lists_version(project)
    digest = digest_of("presences", project, version, roles, params.queries, params.total)
    kept = services.lists.get(digest, ttl_s=ttl)
    body = kept or await _list(services, caller, query, count=params.total)
    if kept is None:
        services.lists.put(digest, body)
    return _answer(body, {CACHE_HEADER: "miss" if kept is None else "hit"})


async def _list(services: Services, caller: Caller, query: ListQuery, *, count: bool) -> bytes:
    """Return the JSON of a page. Reads all presences of the project, since they have no index."""
    presences = [
        presence
        async for page in services.presences.pages(caller.project.id)
        for presence in page
        if caller.is_privileged or presence.is_granted("read", caller.roles)
    ]
    shown = page_of(presences, FIELDS, query, shuffle=random.shuffle, count=count)
    models = [_selected(presence_model(presence), query) for presence in shown.items]
    return orjson.dumps({"total": shown.total, "presences": models})


def _selected(model: dict[str, Any], query: ListQuery) -> dict[str, Any]:
    """Return a model with what ``select`` names, and what says which presence it is."""
    if not query.select or "*" in query.select:
        return model
    return {name: value for name, value in model.items() if name.startswith("$") or name in query.select}


def _answer(body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, media_type="application/json", headers=headers)
