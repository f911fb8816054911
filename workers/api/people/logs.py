"""The log of what people did, which they and API keys can read."""

from starlette.requests import Request

from workers.api.addresses import address_of
from workers.api.people.agents import agent_of
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
