"""The port to what runs the code of functions.

Whoever wants a function run makes a :class:`Call`, and gets an :class:`Outcome`; how the code is run, and where, is
the executor's business alone (:mod:`workers.functions.executors`).
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Trigger = Literal["http", "event", "schedule"]
"""What an execution was begun by."""

FAILED = 500
"""The status code of an execution that brought no response."""


class Failure(enum.Enum):
    """Why an execution brought no response of the function's own."""

    TIMEOUT = "timeout"
    """It took longer than the function may."""
    CRASH = "crash"
    """The code could not be started, or ended before it had answered."""
    UNREACHABLE = "unreachable"
    """What runs the code could not be reached."""
    NO_EXECUTOR = "no executor"
    """Nothing is configured that could run it."""
    NO_DEPLOYMENT = "no deployment"
    """There is no code to run."""
    NOT_ALLOWED = "not allowed"
    """It was allowed when somebody asked for it, and is not any more."""


@dataclass(frozen=True, slots=True)
class Code:
    """What is run: a function, by its active deployment."""

    function_id: str
    name: str
    runtime: str
    """Such as ``python-3.11`` or ``node-22``."""
    entrypoint: str
    """The path of the file to run, within the archive; or the URL that the function lives at."""
    commands: str
    """What the function wants done before its first run, as shell commands; empty for nothing."""
    timeout_s: int
    scopes: tuple[str, ...]
    """What the API key in the call's headers may do."""
    deployment_id: str
    """Empty, as the storage key is, for a function that lives at a URL."""
    storage_key: str
    """Where the archive, a tar.gz, is in the file store."""
    size_bytes: int


@dataclass(slots=True)
class Output:
    """What code has written."""

    logs: str = ""
    errors: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a function."""

    project_id: str
    code: Code
    execution_id: str
    trigger: Trigger
    method: str
    path: str
    """With the query string, if there is one; begins with a slash."""
    headers: Mapping[str, str] = field(repr=False)
    """By lower-case names; those of :mod:`workers.functions.headers` among them."""
    body: bytes = field(repr=False)
    variables: Callable[[], Mapping[str, str]] = field(repr=False)
    """Returns the variables of the function's environment, which are encrypted until then.

    Raises :class:`workers.store.sealing.UnsealError` when the key they were encrypted with is gone.
    """
    left: Output = field(default_factory=Output, compare=False, repr=False)
    """What the code had written when the call was cancelled, if the executor knows: then there is no outcome."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call."""

    status: int
    """The status code of the response, 100 to 599."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    logs: str = ""
    errors: str = ""
    duration_s: float = 0.0
    """How long the code ran."""
    failure: Failure | None = None
    """Why there is no response of the function's own; None when there is one, even of status 500."""


class Executor(Protocol):
    """Runs the code of functions. Shared by the tasks of one event loop."""

    async def execute(self, call: Call) -> Outcome:
        """Run the function once, and return what came of it.

        The code is started at most once a call; but a call may come again, with the same execution ID, when the
        process that made it died. Calls are independent: any number at once, in no order. Cancelling ends the code,
        and whatever it started, before this returns; that is also how the timeout is enforced, by the caller. What
        goes wrong is an outcome with a ``failure``; any exception counts as :attr:`Failure.CRASH`, and its text is
        not shown to anybody.
        """


class NoExecutor:
    """Runs nothing, and says so."""

    async def execute(self, call: Call) -> Outcome:  # noqa: ARG002 - the port's signature
        """Return the failure :attr:`Failure.NO_EXECUTOR`, at once."""
        return Outcome(
            FAILED,
            errors=(
                "The function was not run: this server has no executor for the code of deployments, only for functions "
                "that live at a URL. With REALTIME_FUNCTIONS_EXECUTOR=process it runs code too; this execution is not "
                "repeated."
            ),
            failure=Failure.NO_EXECUTOR,
        )
