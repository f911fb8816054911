"""The log of what a person did, as clients are shown it. Pure."""

from collections.abc import Iterable

from typing_extensions import TypedDict

from workers.models.people import Row


class Log(TypedDict):
    """One thing that a person did."""

    event: str
    userId: str
    userEmail: str
    userName: str
    mode: str
    userType: str
    ip: str
    time: str
    osCode: str
    osName: str
    osVersion: str
    clientType: str
    clientCode: str
    clientName: str
    clientVersion: str
    clientEngine: str
    clientEngineVersion: str
    deviceName: str
    deviceBrand: str
    deviceModel: str
    countryCode: str
    countryName: str


class LogList(TypedDict):
    """A page of a log."""

    total: int
    logs: list[Log]


def log_model(row: Row, user: Row) -> Log:
    """Return the model of a row of ``logs``, with the row of the user whose it is."""
    agent: dict[str, str] = row["agent"]
    return {
        "event": row["event"],
        "userId": row["user_id"],
        "userEmail": user["email"] or "",
        "userName": user["name"],
        "mode": "default",
        "userType": "user",
        "ip": row["ip"],
        "time": row["time"],
        "osCode": agent.get("osCode", ""),
        "osName": agent.get("osName", ""),
        "osVersion": agent.get("osVersion", ""),
        "clientType": agent.get("clientType", ""),
        "clientCode": agent.get("clientCode", ""),
        "clientName": agent.get("clientName", ""),
        "clientVersion": agent.get("clientVersion", ""),
        "clientEngine": agent.get("clientEngine", ""),
        "clientEngineVersion": agent.get("clientEngineVersion", ""),
        "deviceName": agent.get("deviceName", ""),
        "deviceBrand": agent.get("deviceBrand", ""),
        "deviceModel": agent.get("deviceModel", ""),
        # Where an address is would have to be looked up in a database that changes weekly.
        "countryCode": "--",
        "countryName": "Unknown",
    }


def log_list_model(rows: Iterable[Row], user: Row, total: int) -> LogList:
    """Return the model of a page of rows of ``logs`` of one user, of ``total``."""
    return {"total": total, "logs": [log_model(row, user) for row in rows]}
