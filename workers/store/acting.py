"""Who acts, in the task that handles a request: found out where the credentials are checked, told with each event.

It holds for that one task. Tasks that a request starts, such as the relay's, go on when it is over, and work for others
too: in them nobody acts.
"""

import asyncio
import weakref
from contextvars import ContextVar
from typing import Any

from realtime.events.event import NOBODY, Acting

__all__ = ["NOBODY", "Acting", "act_as", "who_acts"]

# The task is referred to weakly: it holds the context that holds this.
_acting: ContextVar[tuple[Acting, "weakref.ref[asyncio.Task[Any]]"] | None] = ContextVar(
    "realtime-acting", default=None
)


def act_as(acting: Acting) -> None:
    """Say who acts in the current task from now on. Call it in a task."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("Nobody acts outside of tasks.")
    _acting.set((acting, weakref.ref(task)))


def who_acts() -> Acting:
    """Return who acts in the current task; :data:`NOBODY` where nobody said so, as in tasks that this one starts."""
    found = _acting.get()
    if found is None:
        return NOBODY
    acting, task = found
    return acting if task() is asyncio.current_task() else NOBODY
