"""The executor of a process: each function is run by what can run it."""

from realtime.settings import Settings
from workers.files.store import FileStore
from workers.functions.executor import Call, NoExecutor, Outcome
from workers.functions.executors.http import HttpExecutor
from workers.functions.executors.process import ProcessExecutor
from workers.functions.executors.urls import is_url


class ChosenExecutor:
    """Runs functions at their URLs, and the code of deployments as processes, if that is wanted.

    Implements :class:`workers.functions.executor.Executor`.

    Args:
        http: for functions whose entrypoint is a URL.
        process: for all others; None for nothing.
    """

    def __init__(self, http: HttpExecutor, process: ProcessExecutor | None) -> None:
        self._http = http
        self._process = process
        self._nothing = NoExecutor()

    @classmethod
    def from_settings(
        cls, settings: Settings, files: FileStore, *, processes: bool | None = None
    ) -> "ChosenExecutor":
        """Return the executor that the settings ask for, to be closed with :meth:`aclose`.

        Args:
            settings: the settings.
            files: where the archives of deployments are; stays the caller's to close.
            processes: whether code of deployments is run; None for what the settings say.
        """
        if processes is None:
            processes = settings.functions_executor == "process"
        process = ProcessExecutor.from_settings(settings, files) if processes else None
        return cls(HttpExecutor.from_settings(settings), process)

    async def execute(self, call: Call) -> Outcome:
        """Run the function by what can run it."""
        if is_url(call.code.entrypoint):
            return await self._http.execute(call)
        return await (self._process or self._nothing).execute(call)

    async def aclose(self) -> None:
        """End the processes that wait for calls, and close connections; calls that run have to end before."""
        await self._http.aclose()
        if self._process is not None:
            await self._process.aclose()
