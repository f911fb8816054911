"""How much may wait to be executed later: for people so little that nobody can take the room of all others.

What is scheduled and what waits for its turn are counted apart: what is scheduled may stay for weeks. So are people and
API keys: whatever strangers do, a server can still have its functions run. What events and schedules set off is
neither's, and has its own bound (:mod:`workers.functions.triggering`).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.api import errors
from workers.api.problems import Problem, refuse
from workers.functions.calls import Request
from workers.store.tables import executions

MAX_OF_USER = 50
"""How many executions of a user may wait, and how many be scheduled; likewise for the limits that follow."""

MAX_FROM_ADDRESS = 100
"""For one function, from one address. Anybody can be many users: an anonymous session makes one."""

MAX_OF_FUNCTION = 1_000
MAX_OF_PROJECT = 5_000
"""For all users and guests together."""

MAX_OF_KEYS = 10_000
"""For the API keys of a project together."""

MAX_AHEAD = timedelta(days=30)
"""How far ahead users and guests may schedule."""

MAX_BYTES = 65_536
"""How large path, headers and body of a request may be together that users and guests have wait."""


def check_extent(request: Request, path: str, scheduled_at: str, now: datetime) -> None:
    """Check what a user or guest wants kept for later, and how long.

    Args:
        request: what the function is to be called with.
        path: that of the call.
        scheduled_at: as in the store; empty for as soon as possible.
        now: the time.

    Raises:
        ApiError: 400 if it is for too late a time, 413 if it is too large.
    """
    if scheduled_at and datetime.fromisoformat(scheduled_at) > now + MAX_AHEAD:
        raise errors.bad_request(
            f"Invalid `scheduledAt` param: Value must be at most {MAX_AHEAD.days} days ahead."
        )
    headers = sum(len(name) + len(value) for name, value in request.headers.items())
    if len(path.encode()) + headers + len(request.body) > MAX_BYTES:
        raise errors.too_large(MAX_BYTES)


async def require_room(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """Check that an execution may be kept for later, given its row.

    Raises:
        ApiError: 429 if whoever made it has to wait for their own to end, 503 if there are too many altogether.
    """
    status = executions.c.status
    # Comparing leaves out those that have ended; unlike with `IS NOT NULL`, the index serves it everywhere.
    pending = and_(
        executions.c.project_id == row["project_id"],
        executions.c.due_at > "",
        status == "scheduled" if row["status"] == "scheduled" else status != "scheduled",
    )
    if row["origin"] is None:
        of_keys = pending & executions.c.origin.is_(None) & (executions.c.trigger == "http")
        if await _count(connection, of_keys, MAX_OF_KEYS) >= MAX_OF_KEYS:
            raise refuse(Problem.BUSY)
        return
    of_function = executions.c.function_id == row["function_id"]
    counted = await connection.execute(
        select(
            _count_of(executions.c.user_id == (row["user_id"] or "")),
            _count_of(of_function & (executions.c.origin == row["origin"])),
            _count_of(of_function),
            func.count(),
        ).where(pending, executions.c.origin.is_not(None))
    )
    of_user, from_address, of_all, of_project = counted.one()
    if of_user >= MAX_OF_USER or from_address >= MAX_FROM_ADDRESS:
        raise refuse(Problem.RATE_LIMIT)
    if of_all >= MAX_OF_FUNCTION or of_project >= MAX_OF_PROJECT:
        raise refuse(Problem.BUSY)


def _count_of(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((condition, 1)))


async def _count(connection: AsyncConnection, where: ColumnElement[bool], limit: int) -> int:
    """Return how many executions there are of some kind, but no more than ``limit``."""
    some = select(executions.c.seq).where(where).limit(limit).subquery()
    return int((await connection.execute(select(func.count()).select_from(some))).scalar_one())


def origin_of(address: str) -> str:
    """Return what an address is counted as: itself, or, of IPv6, the network of 64 bits that one customer has."""
    try:
        ip = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped or IPv6Address(int(ip) >> 64 << 64))
    return str(ip)
