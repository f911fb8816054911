"""The log of what a person did, as clients are shown it. Pure."""

from collections.abc import Iterable

from typing_extensions import TypedDict

from workers.models.agents import Agent, agent_model
from workers.models.people import Row


class Log(Agent, TypedDict):
    """One thing that a person did."""

    event: str
    userId: str
    userEmail: str
    userName: str
    mode: str
    userType: str
    ip: str
    time: str


class LogList(TypedDict):
    """A page of a log."""

    total: int
    logs: list[Log]


def log_model(row: Row, user: Row) -> Log:
    """Return the model of a row of ``logs``, with the row of the user whose it is."""
    return {
        "event": row["event"],
        "userId": row["user_id"],
        "userEmail": user["email"] or "",
        "userName": user["name"],
        "mode": "default",
        "userType": "user",
        "ip": row["ip"],
        "time": row["time"],
        **agent_model(row["agent"]),
    }


def log_list_model(rows: Iterable[Row], user: Row, total: int) -> LogList:
    """Return the model of a page of rows of ``logs`` of one user, of ``total``."""
    return {"total": total, "logs": [log_model(row, user) for row in rows]}
