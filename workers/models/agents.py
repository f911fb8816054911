"""What a request tells of where it came from, as sessions and logs show it. Pure."""

from collections.abc import Mapping

from typing_extensions import TypedDict


class Agent(TypedDict):
    """The system, program and device behind a request; empty texts for what is not known."""

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


def agent_model(agent: Mapping[str, str]) -> Agent:
    """Return the members of a session or log for the ``agent`` that the store has of it."""
    return {
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
