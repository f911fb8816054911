"""What the health routes answer. Pure."""

from typing import Literal

from typing_extensions import TypedDict


class HealthStatus(TypedDict):
    """Whether one part works; ``ping`` is how long it took to answer, in milliseconds."""

    name: str
    ping: int
    status: Literal["pass", "fail"]


class HealthTime(TypedDict):
    """How the clocks of Redis (remote) and of this server agree, as Unix times and a difference in seconds."""

    remoteTime: int
    localTime: int
    diff: int


class HealthQueue(TypedDict):
    """How much waits to be done, and since when the oldest of it does, in seconds; 0 if nothing waits."""

    size: int
    lag: float


class HealthFailed(TypedDict):
    """How much was given up."""

    size: int


class HealthAntivirus(TypedDict):
    """Whether files are searched for viruses."""

    version: str
    status: Literal["disabled", "offline", "online"]


class HealthCertificate(TypedDict):
    """The certificate of a domain; the times are Unix times in seconds."""

    name: str
    subjectSN: str
    issuerOrganisation: str
    validFrom: str
    validTo: str
    signatureTypeSN: str


class HealthVersion(TypedDict):
    """The server's version."""

    version: str


def status_model(name: str, ping_s: float, *, passed: bool) -> HealthStatus:
    """Return the model of a part that answered after ``ping_s`` seconds, or failed."""
    return {"name": name, "ping": round(ping_s * 1000), "status": "pass" if passed else "fail"}
