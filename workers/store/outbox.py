"""Writing to the outbox, in the transaction of the change that is to be told.

Every change does this, and with PostgreSQL a request would spend a fifth of its time here, so there the statement is
given to the driver as it is (``benchmarks/api.py``).
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from workers.store.tables import outbox

Kind = Literal["event", "user", "key", "project", "webhook", "function"]


class Record(NamedTuple):
    """What is to be told: an event, or that something in a read model is out of date."""

    project_id: str
    """In whose log and read model: the project, or ``console``."""
    kind: Kind
    body: bytes
    """The record of an event, ready to be published (:attr:`realtime.events.event.Prepared.record`); or the ID of what
    changed."""


_INSERT = (
    # In the order of the arrays, so that numbers grow with it.
    "INSERT INTO outbox (project_id, kind, body) SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[])"
)


async def append(connection: AsyncConnection, records: Sequence[Record]) -> None:
    """Write ``records`` to the outbox, in their order; they are told when the connection's transaction commits."""
    if connection.dialect.name == "postgresql":
        # Asked of the connection under the asynchronous one, which would switch to another stack for it.
        pooled = connection.sync_connection
        driver = None if pooled is None else pooled.connection.driver_connection
        # SQLAlchemy begins with its first statement; before that this would be a transaction of its own.
        if driver is not None and driver.is_in_transaction():
            projects, kinds, bodies = zip(*records, strict=True)
            await driver.execute(_INSERT, projects, kinds, bodies)
            return
    await connection.execute(outbox.insert(), [record._asdict() for record in records])
