"""What requests say about functions: each setting with its rules."""

from datetime import UTC, datetime
from typing import Annotated, Any

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field

from realtime.errors import InvalidEventError, InvalidPermissionError
from realtime.events.subscribed import MAX_NAMES, validate_subscribed
from realtime.permissions import validate_role
from workers.api.functions.runtimes import RUNTIMES
from workers.api.params import Body, CustomId, Name
from workers.api.projects.keys import MAX_SCOPES, Scope
from workers.models.functions import UNBOUNDED

MAX_ROLES = 100
MAX_ROLE_CHARS = 64
MAX_TIMEOUT_S = 900
DEFAULT_TIMEOUT_S = 15

_CRON_FIELDS = 5


def _check_runtime(value: str) -> str:
    if value not in RUNTIMES:
        raise ValueError(f"Value must be one of ({', '.join(RUNTIMES)})")
    return value


def _check_role(value: str) -> str:
    try:
        return validate_role(value)
    except InvalidPermissionError as error:
        raise ValueError(str(error)) from None


def _check_events(values: list[str]) -> list[str]:
    try:
        return list(validate_subscribed(values, for_function=True))
    except InvalidEventError as error:
        raise ValueError(str(error)) from None


def check_schedule(value: str) -> str:
    """Return a cron expression of five fields, or empty for none.

    Raises:
        ValueError: it is neither.
    """
    if not value:
        return value
    try:
        if len(value.split()) != _CRON_FIELDS:
            raise CronSimError("Wrong number of fields")
        CronSim(value, datetime.now(UTC))
    except CronSimError as error:
        raise ValueError(f"Value must be a valid cron expression of five fields ({error})") from None
    return " ".join(value.split())


def _check_specification(value: str) -> str:
    if value not in ("", UNBOUNDED):
        raise ValueError(f"Value must be one of ({UNBOUNDED})")
    return value


def _check_retention(value: int) -> int:
    if value:
        raise ValueError("Value must be 0: deployments are kept until somebody deletes them")
    return value


def _refuse_source(value: Any) -> Any:
    if value:
        raise ValueError("This server is not connected to version control. Upload deployments instead")
    return value


Role = Annotated[str, Field(max_length=MAX_ROLE_CHARS), AfterValidator(_check_role)]
Specification = Annotated[str, Field(max_length=128), AfterValidator(_check_specification)]
Nothing = Annotated[str, AfterValidator(_refuse_source)]
NoList = Annotated[list[str], AfterValidator(_refuse_source), Field(default=[])]


class FunctionSettings(Body):
    """What a function is; members that are left out get their defaults."""

    name: Name
    execute: Annotated[list[Role], Field(max_length=MAX_ROLES, default=[])]
    events: Annotated[list[str], AfterValidator(_check_events), Field(max_length=MAX_NAMES, default=[])]
    schedule: Annotated[str, Field(max_length=128), AfterValidator(check_schedule)] = ""
    timeout: Annotated[int, Field(ge=1, le=MAX_TIMEOUT_S)] = DEFAULT_TIMEOUT_S
    enabled: bool = True
    logging: bool = True
    entrypoint: Annotated[str, Field(max_length=1028)] = ""
    commands: Annotated[str, Field(max_length=8192)] = ""
    scopes: Annotated[list[Scope], Field(max_length=MAX_SCOPES, default=[])]
    installationId: Nothing = ""
    providerRepositoryId: Nothing = ""
    providerBranch: Nothing = ""
    providerRootDirectory: Nothing = ""
    providerSilentMode: bool = False
    providerBranches: NoList
    providerPaths: NoList
    buildSpecification: Specification = ""
    runtimeSpecification: Specification = ""
    deploymentRetention: Annotated[int, AfterValidator(_check_retention)] = 0

    def columns(self) -> dict[str, Any]:
        """Return the columns of ``functions`` that follow from this."""
        return {
            "name": self.name,
            "execute": list(dict.fromkeys(self.execute)),
            "events": list(dict.fromkeys(self.events)),
            "schedule": self.schedule,
            "timeout_s": self.timeout,
            "enabled": self.enabled,
            "logging": self.logging,
            "entrypoint": self.entrypoint,
            "commands": self.commands,
            "scopes": list(dict.fromkeys(self.scopes)),
        }


class NewFunction(FunctionSettings):
    """A function to be made."""

    functionId: CustomId
    runtime: Annotated[str, AfterValidator(_check_runtime)]


class FunctionChanges(FunctionSettings):
    """What a function is to become; it stays what it was by what is None."""

    runtime: Annotated[str, AfterValidator(_check_runtime)] | None = None


class ActiveDeployment(Body):
    """Which deployment is to be run from now on."""

    deploymentId: str
