"""Whether those exist whom a message is to reach."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.api.problems import Problem, refuse
from workers.store.tables import targets, topics, users

_CALLED = {"email": ("an", "email"), "sms": ("an", "SMS"), "push": ("a", "push")}


async def check_recipients(
    connection: AsyncConnection,
    project_id: str,
    provider_type: str,
    *,
    topic_ids: Iterable[str],
    user_ids: Iterable[str],
    target_ids: Iterable[str],
) -> None:
    """Check that topics, users and targets exist, and that the targets get messages of this kind.

    Raises:
        ApiError: 404 ``topic_not_found``, ``user_not_found`` or ``user_target_not_found``; 400
            ``message_target_not_email`` and the like.
    """
    for table, ids, problem in (
        (topics, set(topic_ids), Problem.TOPIC_NOT_FOUND),
        (users, set(user_ids), Problem.USER_NOT_FOUND),
    ):
        if ids - set(await _column(connection, table, project_id, ids, table.c.id)):
            raise refuse(problem)
    wanted = set(target_ids)
    types = await _column(connection, targets, project_id, wanted, targets.c.provider_type)
    if len(types) < len(wanted):
        raise refuse(Problem.USER_TARGET_NOT_FOUND)
    if any(each != provider_type for each in types):
        article, name = _CALLED[provider_type]
        raise refuse(Problem.MESSAGE_TARGET_TYPE, type=provider_type, article=article, name=name)


async def _column(
    connection: AsyncConnection, table: Any, project_id: str, ids: set[str], column: Any
) -> list[str]:
    if not ids:
        return []
    found = await connection.execute(
        select(column).where(table.c.project_id == project_id, table.c.id.in_(ids))
    )
    return list(found.scalars())
