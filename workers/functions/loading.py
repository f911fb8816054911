"""What runs of a function have in common: read once for all of its executions that are begun together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.functions.calls import load_code, load_variables
from workers.functions.executor import Code
from workers.functions.shares import Lane
from workers.store.sealing import Sealer
from workers.store.tables import functions


@dataclass(frozen=True, slots=True)
class LoadedFunction:
    """A function as it is when executions of it are begun."""

    enabled: bool
    execute: tuple[str, ...]
    """The roles that may have it run."""
    logging: bool
    """Whether executions keep their logs."""
    code: Code | None
    """None if there is nothing that can be run."""
    variables: Callable[[], Mapping[str, str]] = field(repr=False)
    """As a call has them."""


async def load_function(connection: AsyncConnection, sealer: Sealer, lane: Lane) -> LoadedFunction | None:
    """Return the function of a lane; None if it is gone."""
    found = await connection.execute(
        select(functions.c.enabled, functions.c.execute, functions.c.logging).where(
            functions.c.project_id == lane.project_id, functions.c.id == lane.function_id
        )
    )
    row = found.one_or_none()
    if row is None:
        return None
    return LoadedFunction(
        enabled=row.enabled,
        execute=tuple(row.execute),
        logging=row.logging,
        code=await load_code(connection, lane.project_id, lane.function_id),
        variables=await load_variables(connection, sealer, lane.project_id, lane.function_id),
    )
