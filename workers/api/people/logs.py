"""The log of what people did, which they and API keys can read."""

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request

from realtime.errors import InvalidQueryError
from workers.api.addresses import address_of
from workers.api.listing import ListParams
from workers.api.people.agents import agent_of
from workers.models.logs import LogList, log_list_model
from workers.models.people import Row
from workers.store.pages import fetch_page
from workers.store.queries import Order
from workers.store.store import Transaction
from workers.store.tables import logs


async def record(tx: Transaction, request: Request, user_id: str, event: str) -> None:
    """Note that the user did something.

    Args:
        tx: the transaction that it is done in.
        request: what the user asked for; says from where, and with what.
        user_id: the user.
        event: such as ``session.create`` or ``user.update``.
    """
    values = {
        "project_id": tx.project.id,
        "user_id": user_id,
        "event": event,
        "ip": address_of(request),
        "agent": agent_of(request),
        "time": tx.now_text,
    }
    await tx.connection.execute(logs.insert().values(values))


async def read_logs(connection: AsyncConnection, user: Row, params: ListParams) -> LogList:
    """Return a page of what a user did, latest first.

    Args:
        connection: what to read on.
        user: the row of the user.
        params: those of the request, of which only ``limit`` and ``offset`` are allowed.

    Raises:
        InvalidQueryError: there are other queries, or wrong ones.
    """
    query = params.query(())
    if query.filters or query.cursor is not None or query.random or query.select or query.orders:
        raise InvalidQueryError("Invalid query: Only the methods limit and offset are allowed here.")
    where = [logs.c.project_id == user["project_id"], logs.c.user_id == user["id"]]
    latest_first = msgspec.structs.replace(query, orders=(Order("", descending=True),))
    page = await fetch_page(connection, logs, {}, latest_first, where=where, count=params.total)
    return log_list_model(page.rows, user, page.total)
