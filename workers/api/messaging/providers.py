"""Routes of providers, who deliver messages: one pair for each kind that creates and updates; list, get, delete.

What a provider is told to prove who we are is sealed, and never shown again.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends
from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from realtime.events.event import Event
from workers.api.access import Caller, requires
from workers.api.listing import ListParams, list_params
from workers.api.messaging.kinds import KINDS, ProviderKind
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.messaging.routes import told
from workers.models.messaging import Provider, ProviderList, provider_model
from workers.models.people import Row
from workers.store.conditions import contains_text
from workers.store.fields import Field
from workers.store.ids import choose_id
from workers.store.pages import fetch_page
from workers.store.sealing import Sealer
from workers.store.store import Transaction
from workers.store.tables import providers

router = APIRouter(tags=["messaging"])

FIELDS = {
    "$id": Field(providers.c.id, "id"),
    "$createdAt": Field(providers.c.created_at, "datetime"),
    "$updatedAt": Field(providers.c.updated_at, "datetime"),
    "name": Field(providers.c.name, "string"),
    "provider": Field(providers.c.provider, "string"),
    "type": Field(providers.c.type, "string"),
    "enabled": Field(providers.c.enabled, "boolean"),
}
"""What providers are listed by."""

Reader = Annotated[Caller, Depends(requires("providers.read"))]
Writer = Annotated[Caller, Depends(requires("providers.write"))]


@router.get(
    "/v1/messaging/providers",
    response_model=None,
    responses=documented(ProviderList),
    operation_id="messagingListProviders",
)
async def list_providers(
    request: Request, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List providers."""
    query = params.query(FIELDS)
    where = [providers.c.project_id == caller.project.id]
    if params.search:
        where.append(contains_text([providers.c.id, providers.c.name, providers.c.provider], params.search))
    async with services_of(request).store.read() as connection:
        page = await fetch_page(connection, providers, FIELDS, query, where=where, count=params.total)
    return respond({"total": page.total, "providers": [provider_model(row) for row in page.rows]})


def _creates(kind: ProviderKind) -> Callable[..., Awaitable[Response]]:
    """Return the handler that creates providers of a kind."""

    async def create_provider(request: Request, body: Any, caller: Writer) -> Response:
        services = services_of(request)
        given = {each.name: each.default for each in kind.parameters} | _said(kind, body)
        is_enabled = bool(body.enabled) and not kind.missing(given)
        async with services.store.write(caller.project) as tx:
            statement = insert(providers).values(
                project_id=tx.project.id,
                id=choose_id(body.providerId),
                name=body.name,
                provider=kind.word,
                type=kind.delivers,
                enabled=is_enabled,
                **_columns(services.sealer, kind, given),
                created_at=tx.now_text,
                updated_at=tx.now_text,
            )
            try:
                inserted = await tx.connection.execute(statement.returning(providers))
            except IntegrityError as error:
                raise refuse(Problem.PROVIDER_EXISTS) from error
            row = inserted.mappings().one()
            _emit(tx, "create", row)
        return respond(provider_model(row), 201)

    create_provider.__doc__ = (
        f"Create a provider of the kind `{kind.word}`. It is enabled only if all that it needs is said."
    )
    create_provider.__annotations__["body"] = kind.new_body
    return create_provider


def _updates(kind: ProviderKind) -> Callable[..., Awaitable[Response]]:
    """Return the handler that changes providers of a kind."""

    async def update_provider(request: Request, providerId: str, body: Any, caller: Writer) -> Response:
        services = services_of(request)
        async with services.store.write(caller.project) as tx:
            row = await _require(tx.connection, tx.project.id, providerId, lock=True)
            if row["provider"] != kind.word:
                raise refuse(Problem.PROVIDER_TYPE)
            given = told(services.sealer, row) | _said(kind, body)
            is_enabled = row["enabled"] if body.enabled is None else body.enabled
            if is_enabled and kind.missing(given):
                raise refuse(Problem.PROVIDER_CREDENTIALS, names=", ".join(kind.missing(given)))
            statement = (
                update(providers)
                .where(providers.c.seq == row["seq"])
                .values(
                    name=body.name or row["name"],
                    enabled=is_enabled,
                    **_columns(services.sealer, kind, given),
                    updated_at=tx.now_text,
                )
            )
            updated = await tx.connection.execute(statement.returning(providers))
            row = updated.mappings().one()
            _emit(tx, "update", row)
        return respond(provider_model(row))

    update_provider.__doc__ = f"Change a provider of the kind `{kind.word}`; what is left out stays."
    update_provider.__annotations__["body"] = kind.changes_body
    return update_provider


def _add_routes(kind: ProviderKind) -> None:
    path = f"/v1/messaging/providers/{kind.word}"
    name = f"{kind.sdk_name[0].upper()}{kind.sdk_name[1:]}Provider"
    router.add_api_route(
        path,
        _creates(kind),
        methods=["POST"],
        response_model=None,
        responses=documented(Provider, 201),
        operation_id=f"messagingCreate{name}",
    )
    router.add_api_route(
        f"{path}/{{providerId}}",
        _updates(kind),
        methods=["PATCH"],
        response_model=None,
        responses=documented(Provider),
        operation_id=f"messagingUpdate{name}",
    )


for _kind in KINDS.values():
    _add_routes(_kind)


@router.get(
    "/v1/messaging/providers/{providerId}",
    response_model=None,
    responses=documented(Provider),
    operation_id="messagingGetProvider",
)
async def get_provider(request: Request, providerId: str, caller: Reader) -> Response:
    """Return a provider."""
    async with services_of(request).store.read() as connection:
        return respond(provider_model(await _require(connection, caller.project.id, providerId)))


@router.delete(
    "/v1/messaging/providers/{providerId}",
    response_model=None,
    status_code=204,
    responses=documented(None),
    operation_id="messagingDeleteProvider",
)
async def delete_provider(request: Request, providerId: str, caller: Writer) -> Response:
    """Delete a provider. Targets that name it stay."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await _require(tx.connection, tx.project.id, providerId, lock=True)
        await tx.connection.execute(delete(providers).where(providers.c.seq == row["seq"]))
        _emit(tx, "delete", row)
    return respond(None)


def _said(kind: ProviderKind, body: Any) -> dict[str, Any]:
    """Return what a request tells a provider; what it leaves out, or says to be null, is not in it."""
    said = body.model_dump(include={each.name for each in kind.parameters})
    return {name: value for name, value in said.items() if value is not None}


def _columns(sealer: Sealer, kind: ProviderKind, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of ``providers`` that hold what the provider is told."""
    homes: dict[str, dict[str, Any]] = {"secret": {}, "credential": {}, "option": {}}
    for each in kind.parameters:
        if given.get(each.name) is not None:
            homes[each.home][each.name] = given[each.name]
    return {
        "secrets": sealer.seal(orjson.dumps(homes["secret"]).decode()),
        "credentials": homes["credential"],
        "options": homes["option"],
    }


async def _require(
    connection: AsyncConnection, project_id: str, provider_id: str, *, lock: bool = False
) -> RowMapping:
    """Return the row of a provider, or refuse with 404 ``provider_not_found``."""
    statement = select(providers).where(providers.c.project_id == project_id, providers.c.id == provider_id)
    found = await connection.execute(statement.with_for_update() if lock else statement)
    row = found.mappings().one_or_none()
    if row is None:
        raise refuse(Problem.PROVIDER_NOT_FOUND)
    return row


def _emit(tx: Transaction, action: str, row: Row) -> None:
    tx.emit(Event(f"providers.[providerId].{action}", provider_model(row), params={"providerId": row["id"]}))
